import type { CloseReason } from '../contract/close-reason.ts'
import type { PoolContext } from './pool-context.ts'
import { type Slot, SlotState } from './slot.ts'

/** The one path that closes connections. */
export class Closer<C> {
  readonly #context: PoolContext<C>

  constructor(context: PoolContext<C>) {
    this.#context = context
  }

  /** Closes one connection, after the hook. Its slot is free when the close has settled or taken too long. */
  close(slot: Slot<C>, reason: CloseReason): void {
    const { slots, events, turns, calls } = this.#context
    slots.close(slot, reason)
    const closingAt = calls.clock.now()
    events.closing(slot.id, reason, closingAt - slot.openedAt)
    turns.later(() => {
      slot.pending?.abandon()
      slot.pending = undefined
      calls.inPoolContext(() => void this.#finish(slot, reason, closingAt))
    })
  }

  /** Closes idle connections above maxSize, the longest idle first. */
  closeSurplus(): void {
    const { slots } = this.#context
    while (slots.taken - slots.count(SlotState.closing) > slots.limits.maxSize) {
      const slot = slots.peekIdle('fifo')
      if (slot === undefined) return
      this.close(slot, 'surplus')
    }
  }

  /** Closes the connections in these states. Returns how many they were. */
  closeAll(...states: readonly SlotState[]): number {
    const found = this.#context.slots.in(...states)
    for (const slot of found) this.close(slot, 'poolClosed')
    return found.length
  }

  /** Closes a connection that never became the pool's. */
  async closeStray(connection: C): Promise<void> {
    const { calls, manager, options, reports } = this.#context
    const bounds = { what: 'close', limitMs: options.closeTimeoutMs }
    const outcome = await calls.outcome(bounds, () => manager.close(connection))
    if (!outcome.ok) reports.failure('CLOSE_FAILED', 'close of a connection', outcome.error)
  }

  async #finish(slot: Slot<C>, reason: CloseReason, closingAt: number): Promise<void> {
    const { calls, manager, marks, options, reports, slots, events, turns } = this.#context
    const { beforeClose, validationTimeoutMs, closeTimeoutMs } = options
    if (beforeClose !== undefined) {
      const hook = await calls.outcome({ what: 'beforeClose', limitMs: validationTimeoutMs }, () =>
        marks.runHook('beforeClose', () => beforeClose(slot.connection, reason)),
      )
      if (!hook.ok) reports.failure('HOOK_FAILED', 'hook beforeClose', hook.error)
    }
    const closed = await calls.outcome({ what: 'close', limitMs: closeTimeoutMs }, () =>
      manager.close(slot.connection),
    )
    turns.run(() => {
      if (!closed.ok) reports.failure('CLOSE_FAILED', `close of connection ${slot.id}`, closed.error)
      slots.free(slot)
      events.closed(slot.id, calls.clock.now() - closingAt)
    })
  }
}

import type { CloseReason } from './close-reason.ts'
import type { Parts } from './parts.ts'
import { type Slot, SlotState } from './slot.ts'

/** What the closer tells the circulation. */
export interface CloserEvents<C> {
  /** A close begins: from here on the connection is nobody's. */
  closing(slot: Slot<C>): void
  /** A close has settled, or took too long: a place is free. */
  freed(): void
}

/** The one path that closes connections. */
export class Closer<C> {
  readonly #parts: Parts<C>
  readonly #on: CloserEvents<C>

  constructor(parts: Parts<C>, on: CloserEvents<C>) {
    this.#parts = parts
    this.#on = on
  }

  /** Closes one connection, after the hook. Its place is free when the close has settled or taken too long. */
  close(slot: Slot<C>, reason: CloseReason): void {
    const { beforeClose, validationTimeoutMs } = this.#parts.options
    this.#parts.slots.close(slot, reason)
    slot.abandon?.()
    slot.abandon = undefined
    this.#on.closing(slot)
    const closingAt = this.#parts.calls.clock.now()
    this.#parts.events.closing(slot.id, reason, closingAt - slot.openedAt)
    if (beforeClose === undefined) return this.#closeNow(slot, closingAt)
    this.#parts.calls.bounded(
      { what: 'beforeClose', limitMs: validationTimeoutMs, run: () => beforeClose(slot.connection, reason) },
      (outcome) => {
        if (!outcome.ok) this.#parts.calls.report(outcome.error)
        this.#closeNow(slot, closingAt)
      },
    )
  }

  /** Closes idle connections: all of them, or those above maxSize, the longest idle first. */
  closeIdle(reason: 'cleared' | 'surplus' | 'poolClosed'): void {
    const slots = this.#parts.slots
    for (let slot = slots.peekIdle('fifo'); slot !== undefined; slot = slots.peekIdle('fifo')) {
      if (reason === 'surplus' && slots.taken - slots.closing <= slots.limits.maxSize) return
      this.close(slot, reason)
    }
  }

  /** Ends the pool's connections in these states. Returns how many they were. */
  closeAll(...states: readonly SlotState[]): number {
    const found = [...this.#parts.slots.all()].filter(({ state }) => states.includes(state))
    for (const slot of found) this.close(slot, 'poolClosed')
    return found.length
  }

  #closeNow(slot: Slot<C>, closingAt: number): void {
    const { closeTimeoutMs } = this.#parts.options
    this.#parts.calls.bounded(
      { what: 'close', limitMs: closeTimeoutMs, run: () => this.#parts.manager.close(slot.connection) },
      (outcome) => {
        if (!outcome.ok)
          this.#parts.reports.failure('CLOSE_FAILED', `close of connection ${slot.id}`, outcome.error)
        this.#parts.slots.free(slot)
        this.#parts.events.closed(slot.id, this.#parts.calls.clock.now() - closingAt)
        this.#on.freed()
      },
    )
  }
}

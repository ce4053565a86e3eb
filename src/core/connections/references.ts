import type { PoolContext } from './pool-context.ts'
import type { Slot } from './slot.ts'

/** Sets which connections keep the process alive, with `allowExitOnIdle`: those that are not idle. */
export class References<C> {
  readonly #context: PoolContext<C>

  constructor(context: PoolContext<C>) {
    this.#context = context
  }

  unrefIdle(): void {
    for (const slot of this.#context.slots.idleSlots()) if (slot.isRef) this.set(slot, false)
  }

  set(slot: Slot<C>, isRef: boolean): void {
    if (slot.isRef === isRef) return
    slot.isRef = isRef
    const { manager, calls, reports } = this.#context
    const outcome = calls.begin(
      () => (isRef ? manager.ref?.(slot.connection) : manager.unref?.(slot.connection)),
      undefined,
    )
    if ('ok' in outcome && !outcome.ok) reports.report(outcome.error)
  }
}

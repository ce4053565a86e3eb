import type { CloseReason } from './close-reason.ts'
import type { Parts } from './parts.ts'
import type { Slot } from './slot.ts'

/** Judges single connections, without a wait. */
export class Fitness<C> {
  readonly #parts: Parts<C>

  constructor(parts: Parts<C>) {
    this.#parts = parts
  }

  /**
   * Why a connection may neither be handed out nor kept, in the promised order. `error`: what its borrower failed with;
   * `isAsked`: whether the manager is asked about one that is otherwise well.
   */
  flawOf(slot: Slot<C>, now: number, error: unknown, isAsked: boolean): CloseReason | undefined {
    const { slots, options } = this.#parts
    if (slot.generation !== slots.generation) return 'cleared'
    if (slot.uses >= options.maxUses) return 'uses'
    if (slot.expiresAt <= now) return 'lifetime'
    if (slot.lost) return 'lost'
    const { hasSurplus } = slots
    if ((isAsked || hasSurplus) && this.isBroken(slot.connection, error)) return 'broken'
    return hasSurplus ? 'surplus' : undefined
  }

  /** Asks the manager; what it throws is reported, and means that the connection is broken. */
  isBroken(connection: C, error: unknown): boolean {
    try {
      return this.#parts.manager.hasBroken(connection, error)
    } catch (thrown) {
      this.#parts.calls.report(thrown)
      return true
    }
  }

  /** Whether a connection was unused for so long that it is to be checked at a checkout. */
  needsCheck(slot: Slot<C>, now: number): boolean {
    const { testOnCheckOut, validationBypassMs } = this.#parts.options
    if (!testOnCheckOut) return false
    return now - Math.max(slot.lastUsedAt, slot.checkedAt) >= validationBypassMs
  }
}

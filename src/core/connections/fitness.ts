import type { CloseReason } from '../contract/close-reason.ts'
import type { ConnectionManager } from '../contract/manager.ts'
import { isThenable } from '../runtime/user-calls.ts'
import type { PoolContext } from './pool-context.ts'
import type { Slot } from './slot.ts'
import type { Slots } from './slots.ts'

/** Judges single connections, synchronously. */
export class Fitness<C> {
  readonly #context: PoolContext<C>
  readonly #slots: Slots<C>
  readonly #manager: ConnectionManager<C>
  readonly #maxUses: number
  // Infinity: a checkout never needs a check.
  readonly #bypassMs: number

  constructor(context: PoolContext<C>) {
    const { testOnCheckOut, validationBypassMs, maxUses } = context.options
    this.#context = context
    this.#slots = context.slots
    this.#manager = context.manager
    this.#maxUses = maxUses
    this.#bypassMs = testOnCheckOut ? validationBypassMs : Infinity
  }

  /** Why a connection may neither be handed out nor kept, in the promised order. `error`: what its holder's work failed with. */
  closeReasonFor(slot: Slot<C>, now: number, error?: unknown): CloseReason | undefined {
    const { generation, hasSurplus } = this.#slots
    if (
      slot.generation === generation &&
      slot.uses < this.#maxUses &&
      slot.expiresAt > now &&
      !slot.lost &&
      !hasSurplus &&
      !this.#context.closed
    ) {
      return this.isBroken(slot.connection, error) ? 'broken' : undefined
    }
    return this.#reasonFor(slot, now, error)
  }

  // A method of its own: most connections are healthy, and skip it.
  #reasonFor(slot: Slot<C>, now: number, error: unknown): CloseReason | undefined {
    if (this.#context.closed) return 'poolClosed'
    if (slot.generation !== this.#slots.generation && slot.clearAt <= now) return 'cleared'
    if (slot.uses >= this.#maxUses) return 'uses'
    if (slot.expiresAt <= now) return 'lifetime'
    if (slot.lost) return 'lost'
    if (this.isBroken(slot.connection, error)) return 'broken'
    return this.#slots.hasSurplus ? 'surplus' : undefined
  }

  /** Calls the manager's hasBroken. A throw is reported, and means that the connection is broken. */
  isBroken(connection: C, error: unknown): boolean {
    let result: unknown
    try {
      result = this.#manager.hasBroken(connection, error)
      if (result === false || result === true) return result
      if (!isThenable(result)) return Boolean(result)
    } catch (thrown) {
      this.#context.reports.report(thrown)
      return true
    }
    this.#context.reports.promised('hasBroken', result, 'the connection counts as unbroken')
    return false
  }

  /** Whether a connection was unused for so long that a checkout needs a check. */
  needsCheck(slot: Slot<C>, now: number): boolean {
    return now - Math.max(slot.lastUsedAt, slot.checkedAt) >= this.#bypassMs
  }
}

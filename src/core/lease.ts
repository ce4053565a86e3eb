import type { Circulation } from './circulation.ts'
import type { Slot } from './slot.ts'

/**
 * One checkout of one connection. Give it back exactly when the work is done: `using lease = await pool.acquire()`
 * does so at the end of the block. A lease that was given back is worthless: it cannot touch the next borrower.
 */
export class Lease<C> {
  #slot: Slot<C> | undefined
  readonly #circulation: Circulation<C>

  /** Leases are made by a pool. */
  constructor(circulation: Circulation<C>, slot: Slot<C>) {
    this.#circulation = circulation
    this.#slot = slot
  }

  /** The connection. Throws LeaseReleasedError after the lease was given back. */
  get connection(): C {
    return this.#held('use').connection
  }

  /**
   * Gives the connection back. `error` is what the work failed with, if it did: the manager looks at it to tell whether the connection
   * broke. Does nothing the second time. Never throws.
   */
  release(error?: unknown): void {
    const slot = this.#slot
    if (slot === undefined) return
    this.#slot = undefined
    this.#circulation.giveBack(slot, error, this)
  }

  /** Gives the connection back to be closed, whatever its state. Does nothing after a release. Never throws. */
  destroy(): void {
    const slot = this.#slot
    if (slot === undefined) return
    this.#slot = undefined
    this.#circulation.destroy(slot, this)
  }

  /**
   * Takes the connection out of the pool for good: its slot is free for another, and closing it is the caller's duty.
   * Throws LeaseReleasedError after the lease was given back.
   */
  detach(): C {
    const slot = this.#held('detach')
    this.#slot = undefined
    this.#circulation.detach(slot, this)
    return slot.connection
  }

  /** Same as `release()`. */
  [Symbol.dispose](): void {
    this.release()
  }

  /** For `run`: whether the connection broke under its borrower, whose work failed with this error. */
  static hasBroken<C>(lease: Lease<C>, error: unknown): boolean {
    return lease.#slot !== undefined && lease.#circulation.hasBroken(lease.#slot, error)
  }

  /** For tracing: the number of the connection; undefined after the lease was given back. */
  static connectionOf<C>(lease: Lease<C>): number | undefined {
    return lease.#slot?.id
  }

  #held(use: string): Slot<C> {
    if (this.#slot === undefined) throw this.#circulation.reports.released(use)
    return this.#slot
  }
}

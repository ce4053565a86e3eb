import type { CloseReason } from '../contract/close-reason.ts'
import type { LeaseReleasedError } from '../contract/errors.ts'
import type { Slot } from '../connections/slot.ts'

/** The receiver of released leases. */
export interface LeaseHome<C> {
  release(slot: Slot<C>, error: unknown, lease: Lease<C>): void
  destroy(slot: Slot<C>, lease: Lease<C>): void
  detach(slot: Slot<C>, lease: Lease<C>): void
  /** The connection has served a caller, although it is not returned yet. */
  served(slot: Slot<C>): void
  /** Why the connection is closed at its return; undefined when it is kept. */
  reasonToClose(slot: Slot<C>, error: unknown): CloseReason | undefined
  usedAfterRelease(): LeaseReleasedError
}

/**
 * One checkout of one connection. Release it when the work is done: `using lease = await pool.acquire()` releases it at the
 * end of the block. A released lease cannot affect the next holder.
 */
export class Lease<C> {
  #slot: Slot<C> | undefined
  readonly #home: LeaseHome<C>

  /** Leases are created by a pool. */
  constructor(home: LeaseHome<C>, slot: Slot<C>) {
    this.#home = home
    this.#slot = slot
  }

  /** The connection. Throws LeaseReleasedError after the release. */
  get connection(): C {
    return this.#held().connection
  }

  /**
   * Returns the connection to the pool. `error` is the error that the work failed with, if it failed: the manager uses it
   * to detect a broken connection. Does nothing the second time. Never throws.
   */
  release(error?: unknown): void {
    const slot = this.#slot
    if (slot === undefined) return
    this.#slot = undefined
    this.#home.release(slot, error, this)
  }

  /** Returns the connection to be closed, whatever its state. Does nothing after a release. Never throws. */
  destroy(): void {
    const slot = this.#slot
    if (slot === undefined) return
    this.#slot = undefined
    this.#home.destroy(slot, this)
  }

  /**
   * Takes the connection out of the pool for good: its slot is free for another one, and closing it becomes the caller's
   * duty. Throws LeaseReleasedError after the release.
   */
  detach(): C {
    const slot = this.#held()
    this.#slot = undefined
    this.#home.detach(slot, this)
    return slot.connection
  }

  /** Same as `release()`. */
  [Symbol.dispose](): void {
    this.release()
  }

  /** Why the pool will close the connection at its return, if the holder's work failed with this error. For `run` and for shares. */
  static reasonToClose<C>(lease: Lease<C>, error: unknown): CloseReason | undefined {
    return lease.#slot === undefined ? undefined : lease.#home.reasonToClose(lease.#slot, error)
  }

  /**
   * Calls `onLost` when the driver reports the end of the leased connection. Stop it with `undefined` before the release.
   * For shares.
   */
  static watch<C>(lease: Lease<C>, onLost: ((error: unknown) => void) | undefined): void {
    if (lease.#slot !== undefined) lease.#slot.onLost = onLost
  }

  /** Reports that the connection has served a caller: its end does not count as a failed connect. For shares. */
  static served<C>(lease: Lease<C>): void {
    if (lease.#slot !== undefined) lease.#home.served(lease.#slot)
  }

  /** The number of the connection, for tracing; undefined after the release. */
  static connectionOf<C>(lease: Lease<C>): number | undefined {
    return lease.#slot?.id
  }

  #held(): Slot<C> {
    if (this.#slot === undefined) throw this.#home.usedAfterRelease()
    return this.#slot
  }
}

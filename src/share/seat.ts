import type { Lease } from '../core/callers/lease.ts'
import { isPoolError, type PoolError } from '../core/contract/errors.ts'
import type { Seat } from '../core/contract/share.ts'
import type { AbortWatch, AbortWatchers } from '../core/runtime/abort-watchers.ts'
import type { Carrier, Occupant } from './carrier.ts'
import type { Place } from './places.ts'

/** A caller that settles when its signal aborts. */
export interface Abortable {
  aborted(reason: unknown): void
}

/** The parts of a share that a seat uses. */
export interface SeatHome<C> {
  readonly name: string
  readonly losses: number
  /** One listener per signal, however many callers share it. */
  readonly aborts: AbortWatchers<Abortable>
  /** A seat of a connection is free again. */
  left(carrier: Carrier<C>): void
  /** Whether more seats exist than the connections have. */
  readonly hasSurplus: boolean
  usedAfterEnd(): PoolError
  dirty(carrier: Carrier<C>, reason: string): PoolError
  end(carrier: Carrier<C>, error: PoolError): void
  /** The loss, if the error means that the connection broke. */
  lossBy(carrier: Carrier<C>, error: unknown): PoolError | undefined
}

/**
 * One caller's use of a connection: the caller settles as soon as its outcome is known, the seat ends when its work has
 * settled and every statement is answered.
 */
export class SeatUse<C, T> implements Seat, Occupant, Abortable {
  readonly carrier: Carrier<C>
  readonly #home: SeatHome<C>
  readonly #lease: Lease<Place>
  // Undefined once the caller has settled.
  #resolve: ((value: T) => void) | undefined
  readonly #reject: (error: unknown) => void
  #watch: AbortWatch<Abortable> | undefined = undefined
  #ended: (() => void) | undefined = undefined
  #unanswered = 0
  #hasSent = false
  // True once statements are rejected.
  #isClosed = false
  #hasEnded = false

  previous: Occupant | undefined = undefined
  next: Occupant | undefined = undefined

  constructor(
    home: SeatHome<C>,
    carrier: Carrier<C>,
    lease: Lease<Place>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.#home = home
    this.carrier = carrier
    this.#lease = lease
    this.#resolve = resolve
    this.#reject = reject
    carrier.add(this)
  }

  get share(): string {
    return this.#home.name
  }

  /** Whether the caller is still waiting for its outcome. */
  get isOpen(): boolean {
    return this.#resolve !== undefined
  }

  sent(): void {
    if (this.#isClosed) throw this.#home.usedAfterEnd()
    const { carrier } = this
    if (carrier.loss !== undefined) throw carrier.loss
    this.#hasSent = true
    this.#unanswered++
    carrier.unanswered++
    carrier.cork()
  }

  answered(): void {
    if (this.#unanswered === 0) return
    this.#unanswered--
    this.carrier.answered(this.#home.losses)
    if (this.#unanswered === 0 && this.#isClosed) this.#end()
  }

  dirty(reason: string): void {
    const { carrier } = this
    if (carrier.loss !== undefined) return
    const error = this.#home.dirty(carrier, reason)
    this.#fail(error)
    this.#home.end(carrier, error)
    this.#end()
  }

  onSettled(ended: () => void): void {
    this.#ended = ended
  }

  /** Settles the caller when its signal aborts. The seat stays taken until its statements are answered. */
  watch(signal: AbortSignal): void {
    this.#watch = this.#home.aborts.watch(signal, this)
  }

  aborted(reason: unknown): void {
    this.#fail(reason)
    this.#close()
  }

  /** The connection is lost: a caller that waits for an answer, or has sent nothing yet, cannot succeed. */
  lost(loss: PoolError): void {
    if (this.#unanswered === 0 && this.#hasSent && !this.#isClosed) return
    this.#fail(loss)
    this.#end()
  }

  /** The connection is not fit for this caller's work. */
  refuse(error: unknown): void {
    this.#fail(error)
    this.#end()
  }

  fulfilled(value: T): void {
    this.#close()
    this.#settle()?.(value)
  }

  rejected(error: unknown): void {
    if (this.#resolve !== undefined) {
      const loss = isPoolError(error) ? undefined : this.#home.lossBy(this.carrier, error)
      this.#fail(loss ?? error)
    }
    this.#close()
  }

  #fail(error: unknown): void {
    if (this.#settle() !== undefined) this.#reject(error)
  }

  // Returns the caller's resolve function at the first call only.
  #settle(): ((value: T) => void) | undefined {
    const resolve = this.#resolve
    if (resolve === undefined) return undefined
    this.#resolve = undefined
    if (this.#watch !== undefined) this.#home.aborts.end(this.#watch)
    return resolve
  }

  #close(): void {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#ended?.()
    }
    if (this.#unanswered === 0 || this.carrier.loss !== undefined) this.#end()
  }

  #end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#isClosed = true
    this.carrier.remove(this)
    // The connection leaves first, if it is to be returned: then the seat may not go to the next caller.
    this.#home.left(this.carrier)
    if (this.#home.hasSurplus) return this.#lease.destroy()
    this.#lease.connection.isJudged = true
    this.#lease.release()
  }
}

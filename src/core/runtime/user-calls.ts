import { AsyncResource } from 'node:async_hooks'
import { type Clock, LONGEST_DELAY_MS, type TimerHandle } from '../contract/clock.ts'

/** The outcome of a call into user code. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown }

/** The error of a call that took longer than its limit. */
export class TimeLimitError extends Error {
  constructor(what: string, limitMs: number) {
    super(`${what} took longer than ${limitMs} ms`)
    this.name = 'TimeLimitError'
  }
}

/** The error of a call whose outcome is no longer needed, because its connection is closed. */
export class AbandonedError extends Error {
  constructor(what: string) {
    super(`${what} was abandoned`)
    this.name = 'AbandonedError'
  }
}

/** The limits of a call. */
export interface Bounds<T> {
  /** The name of the call, for its errors. */
  readonly what: string
  /** Infinity disables the limit. */
  readonly limitMs: number
  /** Aborted when the call takes too long or is abandoned. Default: none. */
  readonly controller?: AbortController | undefined
  /** Receives a value that arrives after the call took too long or was abandoned. Default: the value is ignored. */
  readonly late?: ((value: T) => void) | undefined
}

// A timer that rings later than this was held up by the event loop: the call gets back the time that the stall took.
const STALL_MS = 20

/** A call whose promise has not settled. */
export class PendingCall<T> {
  /** Settles once, and never rejects. */
  readonly outcome: Promise<Outcome<T>>
  readonly #bounds: Bounds<T>
  readonly #clock: Clock
  #resolve: (outcome: Outcome<T>) => void = () => {}
  #isSettled = false
  #isExtended = false
  #timer: TimerHandle | undefined = undefined
  #dueAt = Infinity

  constructor(bounds: Bounds<T>, promise: PromiseLike<T>, clock: Clock) {
    this.#bounds = bounds
    this.#clock = clock
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve
    })
    Promise.resolve(promise).then(
      (value) => (this.#isSettled ? bounds.late?.(value) : this.#settle({ ok: true, value })),
      (error: unknown) => this.#settle({ ok: false, error }),
    )
    if (bounds.limitMs < Infinity) this.#arm(bounds.limitMs)
  }

  /** Gives up the call: it fails now, and its signal aborts. */
  abandon(): void {
    if (!this.#isSettled) this.#fail(new AbandonedError(this.#bounds.what))
  }

  #settle(outcome: Outcome<T>): void {
    if (this.#isSettled) return
    this.#isSettled = true
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer)
    this.#resolve(outcome)
  }

  #fail(error: Error): void {
    this.#settle({ ok: false, error })
    this.#bounds.controller?.abort(error)
  }

  #arm(delayMs: number): void {
    this.#dueAt = this.#clock.now() + delayMs
    this.#timer = this.#clock.setTimeout(() => this.#ring(), Math.min(delayMs, LONGEST_DELAY_MS))
    this.#timer.unref?.()
  }

  #ring(): void {
    const { what, limitMs } = this.#bounds
    const lateMs = this.#clock.now() - this.#dueAt
    if (lateMs > STALL_MS && !this.#isExtended) {
      this.#isExtended = true
      this.#arm(Math.min(lateMs, limitMs))
      return
    }
    this.#fail(new TimeLimitError(what, limitMs))
  }
}

/**
 * Every call into a manager or a hook goes through here: in the async context in which the pool was created, bounded in
 * time. Whatever the call does (throw, reject, hang, settle twice or late) results in one Outcome.
 */
export class UserCalls {
  /** The pool's clock. Its timers are created in the pool's own async context. */
  readonly clock: Clock
  // AsyncLocalStorage.snapshot() would do the same at five times the cost.
  readonly #context = new AsyncResource('cenote')

  constructor(clock: Clock) {
    this.clock = {
      now: () => clock.now(),
      // A timer created for a caller would keep the caller's async context alive.
      setTimeout: (callback, delayMs) =>
        this.#context.runInAsyncScope(clock.setTimeout, clock, callback, delayMs),
      clearTimeout: (handle) => clock.clearTimeout(handle),
    }
  }

  /** Runs a task in the async context in which the pool was created. */
  inPoolContext(task: () => void): void {
    this.#context.runInAsyncScope(task)
  }

  /** Calls, and returns how the call ended, or the promise that it returned. */
  begin<T, S>(run: (subject: S) => T | PromiseLike<T>, subject: S): Outcome<T> | PromiseLike<T> {
    try {
      // No closure: a reset at each return would be most of what a checkout allocates.
      const result = this.#context.runInAsyncScope(run, undefined, subject)
      return isThenable(result) ? result : { ok: true, value: result }
    } catch (error) {
      return { ok: false, error }
    }
  }

  /** Calls, bounded in time: returns how a synchronous call ended, or the pending call. */
  call<T>(bounds: Bounds<T>, run: () => T | PromiseLike<T>): Outcome<T> | PendingCall<T> {
    const begun = this.begin(run, undefined)
    return isThenable(begun) ? new PendingCall(bounds, begun, this.clock) : begun
  }

  /** The outcome of a call, bounded in time. */
  async outcome<T>(bounds: Bounds<T>, run: () => T | PromiseLike<T>): Promise<Outcome<T>> {
    const call = this.call(bounds, run)
    return call instanceof PendingCall ? await call.outcome : call
  }
}

/** Whether a value is a promise, of whatever library. Reads `then`, which may throw. */
export function isThenable<T, V>(value: V | PromiseLike<T>): value is PromiseLike<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

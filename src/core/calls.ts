import { AsyncResource } from 'node:async_hooks'
import { type Clock, LONGEST_DELAY_MS, type TimerHandle } from './clock.ts'
import type { Events } from './events.ts'

/** How a call into user code ended. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown }

/** The error of a call that took too long. */
export class TimeLimitError extends Error {
  constructor(what: string, limitMs: number) {
    super(`${what} took longer than ${limitMs} ms`)
    this.name = 'TimeLimitError'
  }
}

/** What bounds a call. */
export interface Bounds {
  /** What is called, in its errors. */
  readonly what: string
  /** Infinity: none. */
  readonly limitMs: number
  /** Aborted when the call takes too long or is given up. Default: none, where it takes no signal. */
  readonly controller?: AbortController | undefined
}

/** One call into user code. */
export interface BoundedCall<T> extends Bounds {
  readonly run: () => T | PromiseLike<T>
}

/** A call that gave a promise. */
export interface Pending<T> {
  readonly ok?: undefined
  readonly promise: PromiseLike<T>
}

function nothing(): void {}

/**
 * Every call into a manager, a hook or onError goes through here: in the async context in which the pool was made,
 * bounded in time, and whatever it does (throw, reject, hang, settle twice or late) comes back as one Outcome.
 */
export class Calls {
  /** The pool's clock; its timers are made in the pool's own async context. */
  readonly clock: Clock
  readonly #events: Events
  readonly #onError: ((error: unknown) => void) | undefined
  // AsyncLocalStorage.snapshot() would do the same at five times the cost.
  readonly #context = new AsyncResource('cenote')

  constructor(clock: Clock, events: Events, onError: ((error: unknown) => void) | undefined) {
    this.#events = events
    this.#onError = onError
    this.clock = {
      now: () => clock.now(),
      // A timer made on behalf of a caller would keep that caller's async context alive.
      setTimeout: (callback, delayMs) =>
        this.#context.runInAsyncScope(clock.setTimeout, clock, callback, delayMs),
      clearTimeout: (handle) => clock.clearTimeout(handle),
    }
  }

  /**
   * Calls, and tells `done` how it ended: at once if the call returned no promise. After `limitMs` it has failed and
   * its controller is aborted; a value that arrives after that, or after the call was given up, goes to `late`. Returns how to give it up.
   */
  bounded<T>(
    call: BoundedCall<T>,
    done: (outcome: Outcome<T>) => void,
    late: (value: T) => void = nothing,
  ): () => void {
    const begun = this.begin(call.run, undefined)
    if (begun.ok === undefined) return this.wait(call, begun, done, late)
    done(begun)
    return nothing
  }

  /** Calls, about a subject: how it ended, or a promise to wait for. */
  begin<T, S>(run: (subject: S) => T | PromiseLike<T>, subject: S): Outcome<T> | Pending<T> {
    try {
      // No closure: a reset at each return would be most of what a checkout allocates.
      const result = this.#context.runInAsyncScope(run, undefined, subject)
      if (isThenable(result)) return { promise: result }
      return { ok: true, value: result }
    } catch (error) {
      return { ok: false, error }
    }
  }

  /** Calls a synchronous predicate of the user's; a throw is told to `report` and counts as `onThrow`. */
  predicate(call: () => boolean, onThrow: boolean): boolean {
    try {
      return call()
    } catch (error) {
      this.report(error)
      return onThrow
    }
  }

  /** Tells a failure that belongs to no caller. */
  report(error: unknown): void {
    this.#events.failed(error)
    const onError = this.#onError
    if (onError === undefined) return
    // A failure of the failure's own outlet has nowhere left to go.
    this.bounded({ what: 'onError', limitMs: Infinity, run: () => onError(error) as unknown }, nothing)
  }

  /** Waits for a call that has begun, as `bounded` does. */
  wait<T>(
    { what, limitMs, controller }: Bounds,
    { promise }: Pending<T>,
    done: (outcome: Outcome<T>) => void,
    late: (value: T) => void = nothing,
  ): () => void {
    let timer: TimerHandle | undefined
    let settled = false
    const finish = (outcome: Outcome<T> | undefined): void => {
      settled = true
      if (timer !== undefined) this.clock.clearTimeout(timer)
      if (outcome !== undefined) done(outcome)
    }
    Promise.resolve(promise).then(
      (value) => (settled ? late(value) : finish({ ok: true, value })),
      (error: unknown) => (settled ? undefined : finish({ ok: false, error })),
    )
    if (limitMs < Infinity) {
      timer = this.clock.setTimeout(
        () => {
          const error = new TimeLimitError(what, limitMs)
          finish({ ok: false, error })
          controller?.abort(error)
        },
        Math.min(limitMs, LONGEST_DELAY_MS),
      )
      timer.unref?.()
    }
    return () => {
      if (settled) return
      finish(undefined)
      controller?.abort(new Error(`${what} was given up`))
    }
  }
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

import { type AcquirePhase, occupancy, textOf, timeoutMessage } from './messages.ts'
import { redact } from './redact.ts'
import type { PoolState } from './state.ts'

export type { AcquirePhase } from './messages.ts'

/** The reason of a {@link PoolError}, stable across versions. Compare this instead of a message. */
export type PoolErrorCode =
  | 'ACQUIRE_TIMEOUT'
  | 'CONNECT_FAILED'
  | 'POOL_CLOSED'
  | 'QUEUE_FULL'
  | 'OVERLOADED'
  | 'LEASE_RELEASED'
  | 'INVALID_OPTIONS'
  | 'NESTED_ACQUIRE'
  | 'INVALID_RESULT'
  | 'CANCEL_FAILED'
  | 'CHECK_FAILED'
  | 'HOOK_FAILED'
  | 'CLOSE_FAILED'
  | 'LEASE_LEAKED'
  | 'LEASE_ABANDONED'
  | 'CONNECTION_LOST'
  | 'CONNECTION_DIRTY'
  | 'PROBE_FAILED'
  | 'SHARE_REFUSED'

const BRAND: unique symbol = Symbol.for('cenote.PoolError') as never

/** The details of every {@link PoolError}. */
export interface PoolErrorDetails {
  /** The pool's name. */
  readonly pool: string
  /** The pool at the moment of the error. Undefined for an error of its options, when the pool does not exist yet. */
  readonly state?: PoolState | undefined
  readonly cause?: unknown
}

/**
 * The base of every error that a pool creates. Errors of the caller's own function pass through `run` untouched, and the
 * reason of an aborted signal passes through `acquire`: neither is a PoolError.
 *
 * Test with {@link isPoolError} or `code`, not with `instanceof`: two installed copies of the package have two classes.
 *
 * @example
 * ```ts
 * import { Pool, PoolError } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * await pool.close()
 * const error = await pool.acquire().catch((error: unknown) => error)
 * if (error instanceof PoolError) console.log(error.pool, error.code, error.state?.closed) // prints orders POOL_CLOSED true
 * ```
 */
export class PoolError<Code extends PoolErrorCode = PoolErrorCode> extends Error {
  readonly code: Code
  /** The name of the pool. */
  readonly pool: string
  /** The pool at the moment of the error; `undefined` when no pool could be created. */
  readonly state: PoolState | undefined

  constructor(code: Code, message: string, details: PoolErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.pool = details.pool
    this.state = details.state
  }
}
Object.defineProperty(PoolError.prototype, BRAND, { value: true })
nameOf(PoolError, 'PoolError')

/** Every error that a pool creates, discriminated by `code`. */
export type AnyPoolError =
  | AcquireTimeoutError
  | ConnectError
  | PoolClosedError
  | QueueFullError
  | OverloadedError
  | LeaseReleasedError
  | PoolOptionsError
  | PoolError<
      | 'NESTED_ACQUIRE'
      | 'INVALID_RESULT'
      | 'CANCEL_FAILED'
      | 'CHECK_FAILED'
      | 'HOOK_FAILED'
      | 'CLOSE_FAILED'
      | 'LEASE_LEAKED'
      | 'LEASE_ABANDONED'
      | 'CONNECTION_LOST'
      | 'CONNECTION_DIRTY'
      | 'PROBE_FAILED'
      | 'SHARE_REFUSED'
    >

/**
 * Whether a value is an error created by a pool, of this or of another installed copy of the package. A comparison of
 * `code` then narrows the type.
 *
 * @example
 * ```ts
 * import { isPoolError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 1 })
 * using lease = await pool.acquire()
 * const error = await pool.acquire({ timeoutMs: 10 }).catch((error: unknown) => error)
 * if (isPoolError(error) && error.code === 'ACQUIRE_TIMEOUT') console.log(error.phase) // prints queue
 * ```
 */
export function isPoolError(value: unknown): value is AnyPoolError {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true
}

/**
 * The deadline of an acquire passed. `cause` is the last connect or check error, if there has been one since a success.
 *
 * @example
 * ```ts
 * import { AcquireTimeoutError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 1 })
 * using lease = await pool.acquire()
 * const error = await pool.acquire({ timeoutMs: 10 }).catch((error: unknown) => error)
 * if (error instanceof AcquireTimeoutError) console.log(error.phase, error.timeoutMs) // prints queue 10
 * ```
 */
export class AcquireTimeoutError extends PoolError<'ACQUIRE_TIMEOUT'> {
  /** `queue`: for a release; `connect`: for a new connection; `check`: for isValid; `hook`: for beforeAcquire. */
  readonly phase: AcquirePhase
  /** The time that the caller had, in milliseconds. */
  readonly timeoutMs: number

  /** `message` is the text of another timeout with the same moment, phase and time. Default: it is composed. */
  constructor(
    phase: AcquirePhase,
    timeoutMs: number,
    details: PoolErrorDetails,
    message: string = timeoutMessage(phase, timeoutMs, details),
  ) {
    super('ACQUIRE_TIMEOUT', message, details)
    this.phase = phase
    this.timeoutMs = timeoutMs
  }
}
nameOf(AcquireTimeoutError, 'AcquireTimeoutError')

/**
 * A connection could not be opened, and no retry was wanted or would help. `cause` is the manager's error.
 *
 * @example
 * ```ts
 * import { ConnectError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const manager = new ScriptedManager()
 * manager.connects.push('fail')
 * const pool = new Pool(manager, { retryConnect: false })
 * const error = await pool.acquire().catch((error: unknown) => error)
 * console.log(error instanceof ConnectError, error instanceof ConnectError && error.cause !== undefined) // prints true true
 * ```
 */
export class ConnectError extends PoolError<'CONNECT_FAILED'> {
  constructor(message: string, details: PoolErrorDetails) {
    super('CONNECT_FAILED', message, details)
  }
}
nameOf(ConnectError, 'ConnectError')

/**
 * The pool is closed, or was closed while the caller waited.
 *
 * @example
 * ```ts
 * import { Pool, PoolClosedError } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager())
 * await pool.close()
 * await pool.acquire().catch((error) => console.log(error instanceof PoolClosedError)) // prints true
 * ```
 */
export class PoolClosedError extends PoolError<'POOL_CLOSED'> {
  constructor(details: PoolErrorDetails) {
    super(
      'POOL_CLOSED',
      `pool '${details.pool}' is closed. Acquire before close(), or open a new pool`,
      details,
    )
  }
}
nameOf(PoolClosedError, 'PoolClosedError')

/**
 * As many callers as `maxWaiting` allows are waiting already.
 *
 * @example
 * ```ts
 * import { Pool, QueueFullError } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 1, maxWaiting: 1 })
 * using lease = await pool.acquire()
 * pool.acquire({ timeoutMs: 10 }).catch(() => {})
 * await pool.acquire().catch((error) => console.log(error instanceof QueueFullError)) // prints true
 * ```
 */
export class QueueFullError extends PoolError<'QUEUE_FULL'> {
  /** `message` is the text for another limit than `maxWaiting`. Default: it is composed. */
  constructor(
    maxWaiting: number,
    details: PoolErrorDetails,
    message: string = `acquire rejected: ${maxWaiting} callers (maxWaiting) already wait for pool '${details.pool}' (${occupancy(details.state)}). ` +
      'Raise maxWaiting or maxSize, or send fewer requests',
  ) {
    super('QUEUE_FULL', message, details)
  }
}
nameOf(QueueFullError, 'QueueFullError')

/**
 * The caller was shed from a queue that has been standing for too long (option `overload`). `cause` is the last connect
 * error, if connecting fails.
 *
 * @example
 * ```ts
 * import { OverloadedError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 1, overload: { targetMs: 5, intervalMs: 20 } })
 * using lease = await pool.acquire() // held too long for the others
 * await pool.acquire().catch((error) => console.log(error instanceof OverloadedError)) // prints true
 * ```
 */
export class OverloadedError extends PoolError<'OVERLOADED'> {
  /** Wait of this caller, in milliseconds. */
  readonly waitedMs: number

  constructor(waitedMs: number, limits: { targetMs: number; intervalMs: number }, details: PoolErrorDetails) {
    const { targetMs, intervalMs } = limits
    super(
      'OVERLOADED',
      `acquire rejected after ${Math.round(waitedMs)} ms: pool '${details.pool}' is overloaded (${occupancy(details.state)}). ` +
        `No caller got a connection within ${targetMs} ms (overload.targetMs) for ${intervalMs} ms (overload.intervalMs). ` +
        (details.cause === undefined
          ? 'Release connections sooner, raise maxSize, send fewer requests, or raise overload.targetMs'
          : `The last connect attempt failed: ${textOf(details.cause)}`),
      details,
    )
    this.waitedMs = waitedMs
  }
}
nameOf(OverloadedError, 'OverloadedError')

/**
 * A lease was used after its release.
 *
 * @example
 * ```ts
 * import { LeaseReleasedError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager())
 * const lease = await pool.acquire()
 * lease.release()
 * try {
 *   void lease.connection
 * } catch (error) {
 *   console.log(error instanceof LeaseReleasedError) // prints true
 * }
 * ```
 */
export class LeaseReleasedError extends PoolError<'LEASE_RELEASED'> {
  /** `message`: the text, if what was used is not a lease. Default: it is composed. */
  constructor(
    details: PoolErrorDetails,
    message: string = `lease of pool '${details.pool}' was used after release. Acquire a new lease`,
  ) {
    super('LEASE_RELEASED', message, details)
  }
}
nameOf(LeaseReleasedError, 'LeaseReleasedError')

/**
 * An option or argument is invalid. Nothing was opened or changed.
 *
 * @example
 * ```ts
 * import { Pool, PoolOptionsError } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * try {
 *   new Pool(new ScriptedManager(), { maxSize: 0 })
 * } catch (error) {
 *   if (error instanceof PoolOptionsError) console.log(error.message) // prints maxSize must be an integer >= 1 (got 0)
 * }
 * ```
 */
export class PoolOptionsError extends PoolError<'INVALID_OPTIONS'> {
  /** The name of the option or argument. */
  readonly option: string
  /** The value that was given. It is not enumerable: logged errors do not show it. */
  declare readonly value: unknown

  constructor(pool: string, option: string, value: unknown, problem: string) {
    super('INVALID_OPTIONS', redact(problem), { pool })
    this.option = option
    Object.defineProperty(this, 'value', { value, enumerable: false })
  }
}
nameOf(PoolOptionsError, 'PoolOptionsError')

// On the prototype, so that no error pays for an own property.
function nameOf(errorClass: { prototype: Error }, name: string): void {
  Object.defineProperty(errorClass.prototype, 'name', { value: name, configurable: true, writable: true })
}

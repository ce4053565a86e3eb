import type { PoolState } from './state.ts'

/** What a {@link PoolError} is about, stable across versions; compare this rather than a message. */
export type PoolErrorCode =
  | 'ACQUIRE_TIMEOUT'
  | 'CONNECT_FAILED'
  | 'POOL_CLOSED'
  | 'QUEUE_FULL'
  | 'OVERLOADED'
  | 'LEASE_RELEASED'
  | 'INVALID_OPTIONS'
  | 'CHECK_FAILED'
  | 'HOOK_FAILED'
  | 'CLOSE_FAILED'
  | 'LEASE_LEAKED'
  | 'LEASE_ABANDONED'

const BRAND: unique symbol = Symbol.for('cenote.PoolError') as never

/** What every {@link PoolError} is made of. */
export interface PoolErrorDetails {
  /** The pool's name. */
  readonly pool: string
  /** The pool at the moment of the error; none for an error of its options, when there is no pool yet. */
  readonly state?: PoolState | undefined
  readonly cause?: unknown
}

/**
 * The base of every error that a pool makes. Errors of the caller's own function pass through `run` untouched and
 * the reason of an aborted signal through `acquire`: neither is one of these.
 *
 * Test with {@link isPoolError} or `code`, not with `instanceof`: two installed copies of the package have two
 * classes.
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
export class PoolError extends Error {
  readonly code: PoolErrorCode
  /** The name of the pool. */
  readonly pool: string
  /** The pool at the moment of the error; `undefined` where no pool could be made. */
  readonly state: PoolState | undefined

  constructor(code: PoolErrorCode, message: string, details: PoolErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.pool = details.pool
    this.state = details.state
  }
}
Object.defineProperty(PoolError.prototype, BRAND, { value: true })
nameOf(PoolError, 'PoolError')

/**
 * Whether a value is an error made by a pool, of this or of another installed copy of the package.
 *
 * @example
 * ```ts
 * import { isPoolError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager())
 * await pool.close()
 * const error = await pool.acquire().catch((error: unknown) => error)
 * console.log(isPoolError(error) && error.code) // prints POOL_CLOSED
 * ```
 */
export function isPoolError(value: unknown): value is PoolError {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true
}

/** What a caller was waiting for when its time ran out. */
export type AcquirePhase = 'queue' | 'connect' | 'check' | 'hook'

/**
 * The deadline of an acquire passed. `cause` is the last connect error, when there has been one since a success.
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
export class AcquireTimeoutError extends PoolError {
  /** `queue`: for somebody's return; `connect`: for a new connection; `check`: for isValid; `hook`: for beforeAcquire. */
  readonly phase: AcquirePhase
  /** The time that the caller had, in milliseconds. */
  readonly timeoutMs: number

  /** `message`: that of another time-out of the same moment, phase and time. Default: one is made. */
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
export class ConnectError extends PoolError {
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
export class PoolClosedError extends PoolError {
  constructor(details: PoolErrorDetails) {
    super(
      'POOL_CLOSED',
      `pool '${details.pool}' is closed: acquire before close(), or open a new pool`,
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
export class QueueFullError extends PoolError {
  constructor(maxWaiting: number, details: PoolErrorDetails) {
    super(
      'QUEUE_FULL',
      `acquire refused: ${maxWaiting} callers (maxWaiting) already wait for '${details.pool}' (${occupancy(details.state)}). ` +
        'Raise maxWaiting or maxSize, or send less at once',
      details,
    )
  }
}
nameOf(QueueFullError, 'QueueFullError')

/**
 * The caller was shed from the queue, which has been standing for too long (`overload`).
 *
 * @example
 * ```ts
 * import { OverloadedError, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 1, overload: { targetMs: 5, intervalMs: 20 } })
 * using lease = await pool.acquire() // held for too long for the others
 * await pool.acquire().catch((error) => console.log(error instanceof OverloadedError)) // prints true
 * ```
 */
export class OverloadedError extends PoolError {
  /** How long this caller had waited, in milliseconds. */
  readonly waitedMs: number

  constructor(waitedMs: number, limits: { targetMs: number; intervalMs: number }, details: PoolErrorDetails) {
    const { targetMs, intervalMs } = limits
    super(
      'OVERLOADED',
      `acquire shed after ${Math.round(waitedMs)} ms in the queue of '${details.pool}' (${occupancy(details.state)}): for ` +
        `${intervalMs} ms (overload.intervalMs) nobody got a connection within ${targetMs} ms (overload.targetMs), so ` +
        `callers that waited for more than ${2 * targetMs} ms are refused until the queue moves again. ` +
        'Shorten what holds connections, raise maxSize, send less, or raise overload.targetMs',
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
export class LeaseReleasedError extends PoolError {
  constructor(use: string, details: PoolErrorDetails) {
    super(
      'LEASE_RELEASED',
      `${use} of a lease of '${details.pool}' that was given back: its connection may be somebody else's by now. ` +
        'Acquire again, or release later',
      details,
    )
  }
}
nameOf(LeaseReleasedError, 'LeaseReleasedError')

/**
 * An option or argument is wrong. Nothing was opened or changed.
 *
 * @example
 * ```ts
 * import { Pool, PoolOptionsError } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * try {
 *   new Pool(new ScriptedManager(), { maxSize: 0 })
 * } catch (error) {
 *   if (error instanceof PoolOptionsError) console.log(error.message) // prints maxSize is 0: allowed is a whole number >= 1
 * }
 * ```
 */
export class PoolOptionsError extends PoolError {
  /** The name of the option or argument. */
  readonly option: string
  /** The value that was given. */
  readonly value: unknown

  constructor(pool: string, option: string, value: unknown, problem: string) {
    super('INVALID_OPTIONS', problem, { pool })
    this.option = option
    this.value = value
  }
}
nameOf(PoolOptionsError, 'PoolOptionsError')

/** `10 of 10 in use, 37 waiting, 0 opening` */
export function occupancy(state: PoolState | undefined): string {
  if (state === undefined) return 'state unknown'
  const { inUse, maxSize, idle, waiting, opening, closing } = state
  return (
    `${inUse} of ${maxSize} in use, ${waiting} waiting, ${opening} opening` +
    (idle > 0 ? `, ${idle} idle` : '') +
    (closing > 0 ? `, ${closing} closing` : '') +
    (state.paused ? ', paused' : '')
  )
}

function timeoutMessage(
  phase: AcquirePhase,
  timeoutMs: number,
  { pool, state, cause }: PoolErrorDetails,
): string {
  const where = `acquire timed out after ${timeoutMs} ms`
  const numbers = `(${occupancy(state)})`
  if (state?.paused === true)
    return `${where} while '${pool}' was paused ${numbers}. Call resume(), or pause for less time`
  switch (phase) {
    case 'queue':
      return `${where} in the queue of '${pool}' ${numbers}. Raise maxSize, shorten what holds connections, or look for a lease that is never released (leakThresholdMs)`
    case 'connect':
      return `${where} waiting for '${pool}' to connect ${numbers}. ${cause === undefined ? 'No attempt has answered yet' : `The last attempt failed: ${textOf(cause)}`}. Check that the server is up and reachable`
    case 'check':
      return `${where} waiting for '${pool}' to check a connection ${numbers}. The server does not answer isValid; look at its load or the network, or lower validationTimeoutMs`
    case 'hook':
      return `${where} waiting for the hook beforeAcquire of '${pool}' ${numbers}. Make the hook faster`
  }
}

/** The message of an error, or a value as text. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // Node's AggregateError of a dual-stack connect has an empty message.
  const { message, code } = error as Error & { code?: unknown }
  return message !== '' ? message : typeof code === 'string' ? code : error.name
}

// On the prototype, so that no error pays for an own property.
function nameOf(errorClass: { prototype: Error }, name: string): void {
  Object.defineProperty(errorClass.prototype, 'name', { value: name, configurable: true, writable: true })
}

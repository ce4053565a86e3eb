import type { CloseReason } from './close-reason.ts'

/**
 * Counters since the pool was made. At every instant
 * `started = direct + waited + timedOut + aborted + refused + pending` and
 * `opened + added = connections + detached + the sum of closed`.
 */
export interface PoolStatistics {
  /** `tryAcquire` is not counted here. */
  readonly acquires: {
    readonly started: number
    /** Got a connection within the call. */
    readonly direct: number
    /** Got a connection after waiting for a return, a connect, a check or a hook. */
    readonly waited: number
    readonly timedOut: number
    readonly aborted: number
    /** Queue full, shed, pool closed or connect error. */
    readonly refused: number
    readonly pending: number
  }
  /** Of the acquires that waited and got a connection, in milliseconds; the percentiles within 3 %. 0: none waited yet. */
  readonly waitMs: {
    readonly total: number
    readonly max: number
    readonly p50: number
    readonly p95: number
    readonly p99: number
  }
  readonly connects: { readonly opened: number; readonly failed: number }
  /** Connections that `add` adopted. */
  readonly added: number
  /** Connections closed, by reason; one counts from the moment at which its close begins. */
  readonly closed: Readonly<Record<CloseReason, number>>
  /** Connections that left the pool open, by `lease.detach`. */
  readonly detached: number
}

/** A pool at one instant. `connections` + `opening` + `closing` is at most `maxSize`, but while it is being lowered. */
export interface PoolState {
  /** Open connections: `idle` + `inUse`. */
  readonly connections: number
  readonly idle: number
  /** Leased, or being checked, or being reset after a return. */
  readonly inUse: number
  readonly opening: number
  readonly closing: number
  /** Callers in the queue for whom no idle connection is being checked. */
  readonly waiting: number
  /** How long the caller at the head of the queue has waited, in milliseconds; 0: nobody waits. */
  readonly headWaitMs: number
  readonly maxSize: number
  readonly minIdle: number
  /** How often `clear()` was called. */
  readonly generation: number
  readonly paused: boolean
  /** True from the call of `close()` on. */
  readonly closed: boolean
  readonly statistics: PoolStatistics
}

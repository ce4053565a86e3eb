import type { CloseReason } from './close-reason.ts'

/**
 * Counters since the pool was created. At every instant
 * `started = direct + waited + timedOut + aborted + refused + pending` and
 * `opened + added = connections + detached + the sum of closed`.
 */
export interface PoolStatistics {
  /** Outcomes of acquires. `tryAcquire` is not counted here. */
  readonly acquires: {
    readonly started: number
    /** Acquires that got a connection within the call. */
    readonly direct: number
    /** Acquires that got a connection after waiting for a return, a connect, a check or a hook. */
    readonly waited: number
    readonly timedOut: number
    readonly aborted: number
    /** Acquires rejected because the queue was full or overloaded, the pool closed, or connecting failed. */
    readonly refused: number
    readonly pending: number
  }
  /** Waits of the acquires that waited and got a connection, in milliseconds, 0 at first; the percentiles are within 3 %. */
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
  /** Connections closed, by reason; a connection counts from the moment its close begins. */
  readonly closed: Readonly<Record<CloseReason, number>>
  /** Connections that left the pool open, by `lease.detach`. */
  readonly detached: number
}

/** A pool at one instant. `connections` + `opening` + `closing` is at most `maxSize`, except while `maxSize` is being lowered. */
export interface PoolState {
  /** Open connections: `idle` + `inUse`. */
  readonly connections: number
  readonly idle: number
  /** Connections that are leased, checked, or reset after a return. */
  readonly inUse: number
  readonly opening: number
  readonly closing: number
  /** Callers in the queue for which no idle connection is being checked. */
  readonly waiting: number
  /** Wait of the caller at the head of the queue, in milliseconds; 0 when the queue is empty. */
  readonly headWaitMs: number
  readonly maxSize: number
  readonly minIdle: number
  /** Number of calls of `clear()`. */
  readonly generation: number
  readonly paused: boolean
  /** Whether `close()` was called. */
  readonly closed: boolean
  readonly statistics: PoolStatistics
}

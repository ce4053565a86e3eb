import type { PoolStatistics } from '../core/contract/state.ts'

/** Counters of a share since it was created: those of a pool, counted in seats, and what is particular to a share. */
export interface ShareStatistics extends PoolStatistics {
  /** Connections that were lost while the share held them, dirty ones included. */
  readonly lost: number
  /** Connections that were closed because a statement left something open on them. */
  readonly dirty: number
}

/** A share at one instant. */
export interface ShareState {
  readonly name: string
  /** Connections that the share holds. */
  readonly connections: number
  /** Seats that these connections have together. */
  readonly seats: number
  /** Seats that are taken: their work runs, or a statement of theirs is not answered. */
  readonly taken: number
  /** Callers that wait for a seat. */
  readonly waiting: number
  /** Whether a connection has more than one seat: what stands before the server can pipeline, as far as is known. */
  readonly pipelining: boolean
  /** Whether `close()` was called. */
  readonly closed: boolean
  readonly statistics: ShareStatistics
}

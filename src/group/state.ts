import type { PoolStatistics } from '../core/contract/state.ts'

/** One key: its slots and its waiting callers. */
export interface KeyInsight {
  readonly key: string
  /** Connections that are open, opening or closing. */
  readonly slots: number
  /** Callers in its queue. */
  readonly waiting: number
  /** Time that the caller at the head of its queue has waited, in milliseconds; 0 when no caller waits. */
  readonly headWaitMs: number
  /** Its rank among the keys that wait for a slot, from 1 on; 0 if it waits for none. */
  readonly rank: number
}

/** A group at one instant, key by key. */
export interface GroupInsight {
  readonly poolId: number
  readonly state: GroupState
  /** The keys that wait for a slot, in their order, then all others, those with the most slots first. */
  readonly keys: readonly KeyInsight[]
}

/** Anything that describes itself like a group: any `PoolGroup`, also of another installed copy of the package. */
export interface GroupInsightSource {
  readonly options: { readonly name: string; readonly total: number }
  look(): GroupInsight
  explain(): string
}

/** A group at one instant. `taken` + `free` is `total`, except while `total` is being lowered. */
export interface GroupState {
  /** Maximum number of connections over all keys. */
  readonly total: number
  /** Connections that are open, opening or closing, over all keys. */
  readonly taken: number
  readonly free: number
  /** Connections that are leased, checked, or reset after a return. */
  readonly inUse: number
  readonly opening: number
  readonly closing: number
  /** Callers in the queues of all keys. */
  readonly waiting: number
  /** Keys with a caller that waits for a slot of the group. */
  readonly wantingKeys: number
  /** Keys with connections or callers, and those not forgotten yet. */
  readonly keys: number
  /** Keys whose last connect attempt failed. */
  readonly failingKeys: number
  /** Whether `close()` was called. */
  readonly closed: boolean
  /** Sums over all keys since the group was created, forgotten ones included. */
  readonly statistics: PoolStatistics
}

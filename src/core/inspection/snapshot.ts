import type { Queue } from '../callers/queue.ts'
import { SlotState } from '../connections/slot.ts'
import type { Slots } from '../connections/slots.ts'
import type { PoolState, PoolStatistics } from '../contract/state.ts'

/** The parts of a pool that a snapshot reads. */
export interface SnapshotSource<C> {
  readonly slots: Slots<C>
  readonly queue: Queue<C>
  readonly paused: boolean
  readonly closed: boolean
}

/** Copies the counts of a pool at this instant. */
export function snapshot<C>({ slots, queue, paused, closed }: SnapshotSource<C>): PoolState {
  return {
    connections: slots.open,
    idle: slots.idle,
    inUse: slots.inUse,
    opening: slots.count(SlotState.opening),
    closing: slots.count(SlotState.closing),
    waiting: Math.max(0, queue.size - slots.arriving),
    headWaitMs: queue.headWaitMs,
    maxSize: slots.limits.maxSize,
    minIdle: slots.limits.minIdle,
    generation: slots.generation,
    paused,
    closed,
    statistics: statistics(slots, queue),
  }
}

function statistics<C>(slots: Slots<C>, queue: Queue<C>): PoolStatistics {
  const [p50 = 0, p95 = 0, p99 = 0] = queue.waits.percentiles([0.5, 0.95, 0.99])
  return {
    acquires: { ...queue.counts, pending: queue.size },
    waitMs: { total: queue.waits.totalMs, max: queue.waits.maxMs, p50, p95, p99 },
    connects: { opened: slots.opened, failed: slots.failed },
    added: slots.added,
    closed: { ...slots.closed },
    detached: slots.detached,
  }
}

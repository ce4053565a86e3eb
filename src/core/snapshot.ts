import type { Circulation } from './circulation.ts'
import type { PoolState, PoolStatistics } from './state.ts'

/** The pool at this instant: a copy of its counts. */
export function snapshot<C>({ slots, queue, paused, closed }: Circulation<C>): PoolState {
  return {
    connections: slots.open,
    idle: slots.idle,
    inUse: slots.inUse,
    opening: slots.opening,
    closing: slots.closing,
    waiting: Math.max(0, queue.size - slots.checking),
    headWaitMs: queue.headWaitMs,
    maxSize: slots.limits.maxSize,
    minIdle: slots.limits.minIdle,
    generation: slots.generation,
    paused,
    closed,
    statistics: statistics(slots, queue),
  }
}

function statistics<C>(slots: Circulation<C>['slots'], queue: Circulation<C>['queue']): PoolStatistics {
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

import { type CloseReason, CLOSE_REASONS } from '../core/contract/close-reason.ts'
import type { PoolStatistics } from '../core/contract/state.ts'
import type { PoolEngine } from '../core/engine.ts'
import type { Histogram } from '../core/runtime/histogram.ts'

const ENDS = ['started', 'direct', 'waited', 'timedOut', 'aborted', 'refused'] as const

/** Counters of many pools together. */
export class Totals {
  readonly acquires = { started: 0, direct: 0, waited: 0, timedOut: 0, aborted: 0, refused: 0, pending: 0 }
  readonly connects = { opened: 0, failed: 0 }
  added = 0
  detached = 0
  readonly closed: Record<CloseReason, number> = Object.fromEntries(
    CLOSE_REASONS.map((reason) => [reason, 0]),
  ) as Record<CloseReason, number>

  /** A caller was rejected before it reached a pool. */
  refuse(): void {
    this.acquires.started++
    this.acquires.refused++
  }

  add<C>({ queue, slots }: PoolEngine<C>): this {
    for (const end of ENDS) this.acquires[end] += queue.counts[end]
    this.acquires.pending += queue.size
    this.connects.opened += slots.opened
    this.connects.failed += slots.failed
    this.added += slots.added
    this.detached += slots.detached
    for (const reason of CLOSE_REASONS) this.closed[reason] += slots.closed[reason]
    return this
  }

  copy(): Totals {
    const copy = new Totals()
    Object.assign(copy.acquires, this.acquires)
    Object.assign(copy.connects, this.connects)
    Object.assign(copy.closed, this.closed)
    copy.added = this.added
    copy.detached = this.detached
    return copy
  }

  statistics(waits: Histogram): PoolStatistics {
    const [p50 = 0, p95 = 0, p99 = 0] = waits.percentiles([0.5, 0.95, 0.99])
    return {
      acquires: this.acquires,
      waitMs: { total: waits.totalMs, max: waits.maxMs, p50, p95, p99 },
      connects: this.connects,
      added: this.added,
      closed: this.closed,
      detached: this.detached,
    }
  }
}

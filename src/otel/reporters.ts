import type { PoolEvent } from '../index.ts'
import type { Selection } from './selection.ts'

/** One part of an instrumentation: its metrics, or its spans. */
export interface Reporter {
  readonly selection: Selection
  /** The provider that takes its reports at this moment. */
  provider(): object
}

/**
 * The reporters of one kind in this process, in the order in which they began. When several of them have the same provider,
 * only the first that selects a pool reports it: calling `instrument` twice does not count anything twice.
 */
export class Reporters {
  readonly #active = new Set<Reporter>()

  add(reporter: Reporter): void {
    this.#active.add(reporter)
  }

  delete(reporter: Reporter): void {
    this.#active.delete(reporter)
  }

  /** Whether this reporter is the one that reports the pool. */
  isFirst(reporter: Reporter, pool: Pick<PoolEvent, 'poolId' | 'groupId'>): boolean {
    if (!reporter.selection.has(pool)) return false
    if (this.#active.size === 1) return true
    const provider = reporter.provider()
    for (const each of this.#active) {
      if (each === reporter) return true
      if (each.provider() === provider && each.selection.has(pool)) return false
    }
    return false
  }
}

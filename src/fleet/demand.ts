import type { PoolState } from '../core/contract/state.ts'

// Number of samples of a pool. Fewer than there are in a beat, so that unused connections are known at the next beat.
const REMEMBERED = 4

/** The demand of a pool: the maximum of some samples, so that a gap between two requests gives nothing away. */
export class Demand {
  readonly #recent: number[] = []

  /** Looks at the pool, several times a beat. */
  sample({ inUse, waiting }: Pick<PoolState, 'inUse' | 'waiting'>): void {
    this.#recent.push(inUse + waiting)
    if (this.#recent.length > REMEMBERED) this.#recent.shift()
  }

  /** Connections, at most `limit`. */
  upTo(limit: number): number {
    return Math.min(limit, Math.max(0, ...this.#recent))
  }
}

import type { PoolState } from '../core/state.ts'

// A demand that ends is forgotten by this part at each beat.
const DECAY = 0.3

/** What a pool could use: up at once, down slowly, so that a pause between two bursts gives nothing away. */
export class Demand {
  #peak = 0
  #smooth = 0

  /** Looks at the pool, several times a beat. */
  sample({ inUse, waiting }: Pick<PoolState, 'inUse' | 'waiting'>): void {
    this.#peak = Math.max(this.#peak, inUse + waiting)
  }

  /** Once a beat: the demand to tell, a whole number of at most `most`. */
  take(most: number): number {
    const peak = Math.min(this.#peak, most)
    this.#peak = 0
    const decayed = this.#smooth + (peak - this.#smooth) * DECAY
    // Without an end it would ask for one connection too many for ever.
    this.#smooth = decayed - peak < 0.5 ? peak : decayed
    return Math.ceil(this.#smooth)
  }
}

import type { Waits } from './protocol.ts'

const LARGEST_SAMPLE = 1_024

/** The waits of one tick: all of them, or where there are very many an even sample. */
export class WaitSample {
  #sample: number[] = []
  #seen = 0
  #max = 0

  add(waitMs: number): void {
    this.#seen++
    this.#max = Math.max(this.#max, waitMs)
    if (this.#sample.length < LARGEST_SAMPLE) {
      this.#sample.push(waitMs)
      return
    }
    // Each wait of the tick has the same chance to stay.
    const place = Math.floor(Math.random() * this.#seen)
    if (place < LARGEST_SAMPLE) this.#sample[place] = waitMs
  }

  /** The percentiles, and a new beginning. */
  take(): Waits {
    const sorted = this.#sample.sort((a, b) => a - b)
    const at = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? 0
    const waits = { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: this.#max }
    this.#sample = []
    this.#seen = 0
    this.#max = 0
    return waits
  }
}

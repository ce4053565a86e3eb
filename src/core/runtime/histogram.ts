// Log-linear buckets over microseconds: 32 a power of two, so a bucket is at most 1/32 of its value wide. 2^40 µs is 12 days.
const SUB_BITS = 5
const SUB_BUCKETS = 1 << SUB_BITS
const MAX_MICROS = 2 ** 40

/** A histogram of durations in milliseconds: O(1) to record, constant size, percentiles within 3 %. */
export class Histogram {
  // Allocated at the first duration: most of what an unused pool would keep in memory.
  #buckets: Uint32Array | undefined = undefined
  readonly #whole: Histogram | undefined
  #count = 0
  #total = 0
  #max = 0

  /** `whole`: another histogram that records the same durations. */
  constructor(whole?: Histogram) {
    this.#whole = whole
  }

  record(durationMs: number): void {
    this.#whole?.record(durationMs)
    this.#count++
    this.#total += durationMs
    if (durationMs > this.#max) this.#max = durationMs
    const index = bucketOf(durationMs)
    const buckets = (this.#buckets ??= new Uint32Array((40 - SUB_BITS + 2) * SUB_BUCKETS))
    buckets[index] = (buckets[index] as number) + 1
  }

  get totalMs(): number {
    return this.#total
  }

  get maxMs(): number {
    return this.#max
  }

  /** The values at or below which the given parts (ascending, 0 to 1) of all durations lie; 0 where there are none. */
  percentiles(parts: readonly number[]): number[] {
    const buckets = this.#buckets
    if (buckets === undefined) return parts.map(() => 0)
    const values: number[] = []
    let seen = 0
    let index = -1
    for (const part of parts) {
      const rank = Math.min(Math.max(1, Math.ceil(part * this.#count)), this.#count)
      while (seen < rank) {
        index++
        seen += buckets[index] as number
      }
      values.push(Math.min(this.#max, upperEdgeMs(index)))
    }
    return values
  }
}

function bucketOf(durationMs: number): number {
  const micros = Math.min(durationMs * 1000, MAX_MICROS)
  // 32-bit integers where they suffice: Math.pow would cost more than the rest of a hand-over's statistics.
  if (micros < 2 ** 31) {
    const whole = micros | 0
    if (whole < SUB_BUCKETS) return whole
    const octave = 31 - SUB_BITS - Math.clz32(whole)
    return octave * SUB_BUCKETS + (whole >>> octave)
  }
  const octave = 63 - SUB_BITS - Math.clz32(micros / 2 ** 32)
  return octave * SUB_BUCKETS + Math.floor(micros / 2 ** octave)
}

function upperEdgeMs(index: number): number {
  if (index < SUB_BUCKETS) return (index + 1) / 1000
  const octave = Math.floor(index / SUB_BUCKETS) - 1
  const sub = index % SUB_BUCKETS
  return ((SUB_BUCKETS + sub + 1) * 2 ** octave) / 1000
}

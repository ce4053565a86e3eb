import type { RetryRecord, RetrySchedule } from '../core/connections/retry-schedule.ts'
import type { Clock } from '../core/contract/clock.ts'

interface FreshError {
  readonly error: unknown
  readonly at: number
}

/**
 * The state that outlives a key that fails to connect: one small record until its backoff has run out, and for a moment its last error,
 * where retrying cannot fix it. Both leave in the order in which they came.
 */
export class Backoffs<C> {
  readonly #clock: Clock
  // A record is kept for as long as a schedule continues after its last failure.
  readonly #keepMs: number
  readonly #freshMs: number
  readonly #records = new Map<string, RetryRecord>()
  readonly #fresh = new Map<string, FreshError>()

  constructor(clock: Clock, { minMs, maxMs }: { readonly minMs: number; readonly maxMs: number }) {
    this.#clock = clock
    this.#keepMs = 2 * maxMs
    this.#freshMs = minMs
  }

  /** Keeps the schedule of a key that is forgotten. */
  save(key: string, schedule: RetrySchedule<C>): void {
    this.forget(key)
    const record = schedule.save()
    if (record === undefined) return
    this.#records.set(key, record)
    const fresh = schedule.lastFinal
    if (fresh !== undefined) this.#fresh.set(key, fresh)
  }

  /** Gives a new key the schedule that it had before. */
  restore(key: string, schedule: RetrySchedule<C>): void {
    this.expire()
    const record = this.#records.get(key)
    if (record !== undefined) schedule.restore(record, this.#fresh.get(key))
    this.forget(key)
  }

  forget(key: string): void {
    this.#records.delete(key)
    this.#fresh.delete(key)
  }

  /** Drops what has run out. Returns when the next one will; Infinity: there is none. */
  expire(): number {
    const now = this.#clock.now()
    let next = Infinity
    for (const [key, { at }] of this.#fresh) {
      if (at + this.#freshMs > now) {
        next = at + this.#freshMs
        break
      }
      this.#fresh.delete(key)
    }
    for (const [key, { failedAt }] of this.#records) {
      if (failedAt + this.#keepMs > now) return Math.min(next, failedAt + this.#keepMs)
      this.#records.delete(key)
    }
    return next
  }

  clear(): void {
    this.#records.clear()
    this.#fresh.clear()
  }
}

import type { Clock, TimerHandle } from '../core/contract/clock.ts'

interface Timer extends TimerHandle {
  readonly at: number
  readonly order: number
  readonly callback: () => void
  isRef: boolean
}

/**
 * Time that stands still until `advance` moves it: a `Clock` for tests. `advance` runs what is due, in order, and lets
 * promises settle between any two timers.
 *
 * @example
 * ```ts
 * import { VirtualClock } from 'cenote/testing'
 *
 * const clock = new VirtualClock()
 * clock.setTimeout(() => console.log(`rings at ${clock.now()}`), 60_000) // prints rings at 60000
 * await clock.advance(60_000)
 * ```
 */
export class VirtualClock implements Clock {
  #now: number
  #order = 0
  readonly #timers = new Set<Timer>()
  readonly #random: () => number

  /**
   * `random` stands in for Math.random: always 0.5 by default, so that jitter is the same in each run. `startMs` is what
   * `now` gives at first, by default 0: with another, a test notices where a moment is taken for a duration.
   */
  constructor(random: () => number = () => 0.5, startMs = 0) {
    this.#random = random
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  random(): number {
    return this.#random()
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    const timer: Timer = {
      at: this.#now + delayMs,
      order: this.#order++,
      callback,
      isRef: true,
      ref: () => (timer.isRef = true),
      unref: () => (timer.isRef = false),
    }
    this.#timers.add(timer)
    return timer
  }

  clearTimeout(handle: TimerHandle): void {
    this.#timers.delete(handle as Timer)
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size
  }

  /** Timers that would keep a process alive. */
  get refTimers(): number {
    return [...this.#timers].filter(({ isRef }) => isRef).length
  }

  /** Advances time, in milliseconds. */
  async advance(durationMs: number): Promise<void> {
    const end = this.#now + durationMs
    await settle()
    for (let timer = this.#firstDue(end); timer !== undefined; timer = this.#firstDue(end)) {
      this.#timers.delete(timer)
      this.#now = Math.max(this.#now, timer.at)
      timer.callback()
      await settle()
    }
    this.#now = end
  }

  /** Moves time on without running what became due: a stalled event loop. */
  jump(durationMs: number): void {
    this.#now += durationMs
  }

  #firstDue(end: number): Timer | undefined {
    let first: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.at > end) continue
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order))
        first = timer
    }
    return first
  }
}

/**
 * Lets every promise that can settle do so, and what follows from it.
 *
 * @example
 * ```ts
 * import { settle } from 'cenote/testing'
 *
 * const done: string[] = []
 * void Promise.resolve().then(() => done.push('a')).then(() => done.push('b'))
 * await settle()
 * console.log(done) // prints [ 'a', 'b' ]
 * ```
 */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
}

import type { Clock, TimerHandle } from '../../src/index.ts'
import type { Random } from './random.ts'

interface Timer extends TimerHandle {
  readonly at: number
  readonly order: number
  readonly callback: () => void
  readonly isPools: boolean
}

/** Time that the simulation moves: what is due is run one timer at a time, and microtasks between them as the simulation has it. */
export class SimClock implements Clock {
  #now = 0
  #order = 0
  readonly #timers = new Set<Timer>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  now(): number {
    return this.#now
  }

  random(): number {
    return this.#random.next()
  }

  /** Timers of the pool that are set. */
  get timers(): number {
    return [...this.#timers].filter(({ isPools }) => isPools).length
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    return this.#add(delayMs, callback, true)
  }

  /** A timer of the simulation's own. */
  after(delayMs: number, callback: () => void): void {
    this.#add(delayMs, callback, false)
  }

  clearTimeout(handle: TimerHandle): void {
    this.#timers.delete(handle as Timer)
  }

  /** Runs the next timer that is due by then, and sets the time to its own; false: there is none, and it is `until` now. */
  runNext(until: number): boolean {
    let next: Timer | undefined
    for (const timer of this.#timers) {
      if (timer.at > until) continue
      if (next === undefined || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer
    }
    if (next === undefined) {
      this.#now = Math.max(this.#now, until)
      return false
    }
    this.#now = Math.max(this.#now, next.at)
    this.#timers.delete(next)
    next.callback()
    return true
  }

  #add(delayMs: number, callback: () => void, isPools: boolean): Timer {
    const timer: Timer = { at: this.#now + delayMs, order: this.#order++, callback, isPools }
    this.#timers.add(timer)
    return timer
  }
}

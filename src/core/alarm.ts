import { type Clock, LONGEST_DELAY_MS, type TimerHandle } from './clock.ts'

/**
 * One timer that is moved about: the only kind that the pool keeps. It is left armed when its time moves later, and armed
 * anew when it rings too early, so that a queue that fills and drains all the time costs no timers.
 */
export class Alarm {
  readonly #clock: Clock
  readonly #onDue: () => void
  readonly #keepsAlive: boolean
  #due = Infinity
  #on = false
  #handle: TimerHandle | undefined = undefined
  #ringsAt = Infinity

  constructor(clock: Clock, keepsAlive: boolean, onDue: () => void) {
    this.#clock = clock
    this.#keepsAlive = keepsAlive
    this.#onDue = onDue
  }

  /** Rings at this time; Infinity: never, though one that keeps the process alive does so. */
  set(due: number): void {
    this.#due = due
    if (this.#handle === undefined || due < this.#ringsAt) this.#arm()
    else if (this.#keepsAlive && !this.#on) this.#handle.ref?.()
    this.#on = true
  }

  /** Rings at this time or sooner. */
  setBy(due: number): void {
    if (!this.#on || due < this.#due) this.set(due)
  }

  /** Does not ring any more, and keeps nothing alive. */
  clear(): void {
    if (!this.#on) return
    this.#on = false
    this.#due = Infinity
    if (this.#keepsAlive) this.#handle?.unref?.()
  }

  /** Like clear, and leaves no timer behind. */
  stop(): void {
    this.clear()
    this.#disarm()
  }

  get isSet(): boolean {
    return this.#on
  }

  #arm(): void {
    this.#disarm()
    const now = this.#clock.now()
    if (this.#due === Infinity && !this.#keepsAlive) return
    const delayMs = Math.min(Math.max(Math.ceil(this.#due - now), 1), LONGEST_DELAY_MS)
    // Not the whole millisecond that it is rounded up to, or the same time set again would arm it anew.
    this.#ringsAt = Math.min(this.#due, now + delayMs)
    this.#handle = this.#clock.setTimeout(() => this.#ring(), delayMs)
    if (!this.#keepsAlive) this.#handle.unref?.()
  }

  #disarm(): void {
    if (this.#handle !== undefined) this.#clock.clearTimeout(this.#handle)
    this.#handle = undefined
    this.#ringsAt = Infinity
  }

  #ring(): void {
    this.#handle = undefined
    this.#ringsAt = Infinity
    if (!this.#on) return
    if (this.#clock.now() < this.#due) {
      this.#arm()
      return
    }
    this.#on = false
    this.#due = Infinity
    this.#onDue()
  }
}

import { type Clock, LONGEST_DELAY_MS, type TimerHandle } from '../contract/clock.ts'

// The object to which a timer's callback refers. While its alarm is off the cell is empty: a timer that was left armed must not keep a
// pool in memory that is not used any more.
interface Cell {
  alarm: Alarm | undefined
  hasRung: boolean
}

/**
 * One timer that can be moved: the only kind that a pool keeps. It stays armed when its time moves later, and is armed
 * again when it rings too early, so that a queue that fills and drains all the time costs no timers.
 */
export class Alarm {
  readonly #clock: Clock
  readonly #onDue: (lateMs: number) => void
  readonly #keepsAlive: boolean
  #due = Infinity
  #on = false
  #handle: TimerHandle | undefined = undefined
  #cell: Cell = { alarm: undefined, hasRung: true }
  #ringsAt = Infinity

  /** `onDue` receives how late the alarm rings, in milliseconds: the event loop may have been blocked. */
  constructor(clock: Clock, keepsAlive: boolean, onDue: (lateMs: number) => void) {
    this.#clock = clock
    this.#keepsAlive = keepsAlive
    this.#onDue = onDue
  }

  /** Rings at this time. With Infinity it never rings; one that keeps the process alive does so all the same. */
  set(due: number): void {
    this.#due = due
    const wasOn = this.#on
    this.#on = true
    if (this.#cell.hasRung || due < this.#ringsAt) return this.#arm()
    this.#cell.alarm = this
    if (this.#keepsAlive && !wasOn) this.#handle?.ref?.()
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
    this.#cell.alarm = undefined
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

  /** When it rings; Infinity: never. */
  get due(): number {
    return this.#due
  }

  #arm(): void {
    this.#disarm()
    if (this.#due === Infinity && !this.#keepsAlive) return
    const now = this.#clock.now()
    const delayMs = Math.min(Math.max(Math.ceil(this.#due - now), 1), LONGEST_DELAY_MS)
    // The time as given: rounded up to a millisecond, the same time set again would arm the timer again.
    this.#ringsAt = Math.min(this.#due, now + delayMs)
    const cell: Cell = { alarm: this, hasRung: false }
    this.#cell = cell
    this.#handle = this.#clock.setTimeout(() => ring(cell), delayMs)
    if (!this.#keepsAlive) this.#handle.unref?.()
  }

  #disarm(): void {
    if (!this.#cell.hasRung && this.#handle !== undefined) this.#clock.clearTimeout(this.#handle)
    this.#handle = undefined
    this.#cell.hasRung = true
    this.#ringsAt = Infinity
  }

  /** Called by the timer. */
  ring(): void {
    this.#ringsAt = Infinity
    const lateMs = this.#clock.now() - this.#due
    if (lateMs < 0) return this.#arm()
    this.#on = false
    this.#due = Infinity
    this.#cell.alarm = undefined
    this.#onDue(lateMs)
  }
}

function ring(cell: Cell): void {
  cell.hasRung = true
  cell.alarm?.ring()
}

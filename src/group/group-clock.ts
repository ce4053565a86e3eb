import { type Clock, LONGEST_DELAY_MS, systemClock, type TimerHandle } from '../core/contract/clock.ts'
import { Heap, type HeapItem } from '../core/runtime/heap.ts'

class Timer implements HeapItem, TimerHandle {
  heapIndex = -1
  isRef = true
  readonly at: number
  readonly callback: () => void
  readonly #clock: GroupClock

  constructor(clock: GroupClock, at: number, callback: () => void) {
    this.#clock = clock
    this.at = at
    this.callback = callback
  }

  ref(): void {
    this.#clock.setRef(this, true)
  }

  unref(): void {
    this.#clock.setRef(this, false)
  }
}

/** The clock of all keys of a group: however many timers they set, one timer of the underlying clock is armed. */
export class GroupClock implements Clock {
  /** As the underlying clock; the system's needs no detour, which each checkout would pay for. */
  readonly now: () => number
  readonly #clock: Clock
  readonly #timers: Heap<Timer> = new Heap((timer) => timer.at)
  // Timers that keep the process alive.
  #refs = 0
  #handle: TimerHandle | undefined = undefined
  #ringsAt = Infinity

  constructor(clock: Clock) {
    this.#clock = clock
    this.now = clock === systemClock ? systemClock.now : (): number => clock.now()
  }

  random(): number {
    return this.#clock.random?.() ?? Math.random()
  }

  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    const timer = new Timer(this, this.now() + delayMs, callback)
    this.#timers.add(timer)
    this.#refs++
    this.#arm()
    return timer
  }

  clearTimeout(handle: TimerHandle): void {
    const timer = handle as Timer
    if (timer.heapIndex === -1) return
    this.#remove(timer)
    if (this.#timers.first() === undefined) this.#disarm()
    else this.#keepAlive()
  }

  setRef(timer: Timer, isRef: boolean): void {
    if (timer.isRef === isRef) return
    timer.isRef = isRef
    if (timer.heapIndex === -1) return
    this.#refs += isRef ? 1 : -1
    this.#keepAlive()
  }

  #remove(timer: Timer): void {
    this.#timers.remove(timer)
    if (timer.isRef) this.#refs--
  }

  // The alarm is set for the first timer, or earlier: after an early ring it is set again.
  #arm(): void {
    const first = this.#timers.first()
    if (first === undefined) return this.#disarm()
    if (first.at < this.#ringsAt) {
      this.#disarm()
      const now = this.now()
      const delayMs = Math.min(Math.max(Math.ceil(first.at - now), 1), LONGEST_DELAY_MS)
      this.#ringsAt = Math.min(first.at, now + delayMs)
      this.#handle = this.#clock.setTimeout(() => this.#ring(), delayMs)
    }
    this.#keepAlive()
  }

  #disarm(): void {
    if (this.#handle !== undefined) this.#clock.clearTimeout(this.#handle)
    this.#handle = undefined
    this.#ringsAt = Infinity
  }

  #keepAlive(): void {
    if (this.#refs > 0) this.#handle?.ref?.()
    else this.#handle?.unref?.()
  }

  // A callback that throws must not take the others with it: the first error is thrown after the last callback.
  #ring(): void {
    this.#handle = undefined
    this.#ringsAt = Infinity
    let failure: { readonly error: unknown } | undefined
    const now = this.now()
    for (
      let timer = this.#timers.first();
      timer !== undefined && timer.at <= now;
      timer = this.#timers.first()
    ) {
      this.#remove(timer)
      try {
        timer.callback()
      } catch (error) {
        failure ??= { error }
      }
    }
    this.#arm()
    if (failure !== undefined) throw failure.error
  }
}

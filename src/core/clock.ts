/** What `Clock.setTimeout` returns. A handle without `ref` and `unref` is one that never keeps a process alive. */
export interface TimerHandle {
  ref?(): unknown
  unref?(): unknown
}

/**
 * The only source of time and timers of a pool. The default is the system's monotonic clock; tests inject a virtual
 * one with the option `clock`.
 */
export interface Clock {
  /** Monotonic milliseconds from any origin. */
  now(): number
  /**
   * A time that may be as old as the current turn of the event loop. Used where a late time only delays
   * housekeeping, never for a deadline. Default: `now()`.
   */
  recent?(): number
  /** A random number from 0 up to 1, for jitter. Default: `Math.random`. */
  random?(): number
  setTimeout(callback: () => void, delayMs: number): TimerHandle
  clearTimeout(handle: TimerHandle): void
}

// A loop that never leaves the microtask queue never runs the immediate, so the time is also read anew after
// this many reads.
const READS_PER_TIME = 64

// The global `performance` is a getter, and asking it takes as long as much of a checkout. Fake timers replace it, and
// setTimeout with it, which is a plain global that costs nothing to compare: time and timers are both real, or neither.
const loadedPerformance = performance
const loadedSetTimeout = setTimeout

function readTime(): number {
  return setTimeout === loadedSetTimeout ? loadedPerformance.now() : performance.now()
}

let recentTime = 0
let readsLeft = 0
let forgetScheduled = false

function forget(): void {
  forgetScheduled = false
  readsLeft = 0
}

/**
 * The system's monotonic clock.
 *
 * @example
 * ```ts
 * import { systemClock } from 'cenote'
 *
 * const startedAt = systemClock.now()
 * systemClock.setTimeout(() => console.log(systemClock.now() - startedAt >= 5), 10) // prints true
 * ```
 */
export const systemClock: Clock = {
  now(): number {
    return readTime()
  },
  recent(): number {
    if (readsLeft > 0) {
      readsLeft--
      return recentTime
    }
    if (!forgetScheduled) {
      forgetScheduled = true
      // Not unref'd: the loop must not block in poll with a time that is already old.
      setImmediate(forget)
    }
    readsLeft = READS_PER_TIME
    recentTime = readTime()
    return recentTime
  },
  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    return setTimeout(callback, delayMs)
  },
  clearTimeout(handle: TimerHandle): void {
    clearTimeout(handle as ReturnType<typeof setTimeout>)
  },
}

/** The longest delay that a timer of Node, Bun and Deno takes; a longer one would fire at once. */
export const LONGEST_DELAY_MS: number = 2 ** 31 - 1

/** The result of `Clock.setTimeout`. A handle without `ref` and `unref` is one that never keeps a process alive. */
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
  /** A random number from 0 up to 1, for jitter. Default: `Math.random`. */
  random?(): number
  setTimeout(callback: () => void, delayMs: number): TimerHandle
  clearTimeout(handle: TimerHandle): void
}

// The global `performance` is a getter, which costs half as much as the reading. Fake timers replace it, and setTimeout with
// it, which is a plain global that costs nothing to compare: so time and timers are both real, or neither.
const loadedPerformance = performance
const loadedSetTimeout = setTimeout

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
    return setTimeout === loadedSetTimeout ? loadedPerformance.now() : performance.now()
  },
  setTimeout(callback: () => void, delayMs: number): TimerHandle {
    return setTimeout(callback, delayMs)
  },
  clearTimeout(handle: TimerHandle): void {
    clearTimeout(handle as ReturnType<typeof setTimeout>)
  },
}

/** The longest delay that a timer of Node, Bun and Deno takes; a longer one would fire immediately. */
export const LONGEST_DELAY_MS: number = 2 ** 31 - 1

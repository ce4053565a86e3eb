import type { OverloadOptions } from '../contract/options.ts'

/**
 * CoDel on the queue, as db_connection does it. When no caller was served within the target for one whole interval, the
 * queue is standing. Until an interval has a quick wait again, callers that have waited for more than twice the target are
 * shed instead of served, so that those behind them still get a useful answer. Its clock stands still while the pool is
 * paused.
 */
export class Overload {
  readonly options: OverloadOptions
  // The shortest wait since the interval began.
  #delayMs = 0
  #slow = false
  #intervalEnds: number
  #pausedAt: number | undefined = undefined
  #pausedMs = 0

  constructor(options: OverloadOptions, now: number) {
    this.options = options
    this.#intervalEnds = now
  }

  /** Total time of the pool's pauses, in milliseconds. */
  pausedMs(now: number): number {
    return this.#pausedMs + (this.#pausedAt === undefined ? 0 : now - this.#pausedAt)
  }

  pause(now: number): void {
    this.#pausedAt ??= now
  }

  resume(now: number): void {
    const ms = this.#pausedAt === undefined ? 0 : now - this.#pausedAt
    this.#pausedAt = undefined
    this.#pausedMs += ms
    this.#intervalEnds += ms
  }

  /** Whether the caller at the head, for which there is a connection, is served rather than shed. */
  admits(waitedMs: number, now: number): boolean {
    if (now >= this.#intervalEnds) {
      this.#slow = this.#delayMs > this.options.targetMs
      this.#delayMs = waitedMs
      this.#intervalEnds = now + this.options.intervalMs
      return true
    }
    if (this.#slow && waitedMs > 2 * this.options.targetMs) return false
    if (waitedMs < this.#delayMs) this.#delayMs = waitedMs
    return true
  }

  /** The queue is empty: no caller waits at all. */
  drained(): void {
    this.#delayMs = 0
  }

  /**
   * Once per interval, when no caller was served since the last time: whether the head, which has waited for `waitedMs`,
   * and those behind it are shed.
   */
  stalled(waitedMs: number, now: number): boolean {
    if (this.#pausedAt !== undefined || now < this.#intervalEnds) return false
    if (this.#delayMs > this.options.targetMs) {
      this.#slow = true
      return waitedMs > 2 * this.options.targetMs
    }
    this.#slow = false
    this.#delayMs = waitedMs
    this.#intervalEnds += this.options.intervalMs
    return false
  }
}

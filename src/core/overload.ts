import type { OverloadOptions } from './options.ts'

/**
 * CoDel on the queue, as db_connection does it. When for one whole interval not one caller was served within the
 * target, the queue is standing: until an interval has a quick wait again, callers that have waited for more than twice the
 * target are shed instead of served, so that those behind them still get a useful answer.
 */
export class Overload {
  readonly options: OverloadOptions
  // The shortest wait since the interval began.
  #delayMs = 0
  #slow = false
  #intervalEnds: number

  constructor(options: OverloadOptions, now: number) {
    this.options = options
    this.#intervalEnds = now
  }

  /** Whether the caller at the head, for whom there is a connection, is served rather than shed. */
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

  /** The queue is empty: nobody waits at all. */
  drained(): void {
    this.#delayMs = 0
  }

  /**
   * Once an interval, when nobody was served since the last time: whether the head, which has waited for `waitedMs`, and
   * those behind it are shed.
   */
  stalled(waitedMs: number, now: number): boolean {
    if (now < this.#intervalEnds) return false
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

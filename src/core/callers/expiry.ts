import { type AcquirePhase, AcquireTimeoutError, type PoolErrorDetails } from '../contract/errors.ts'
import { nestedAdvice } from '../contract/messages.ts'
import { Alarm } from '../runtime/alarm.ts'
import type { Mark } from '../runtime/async-marks.ts'
import type { QueueSource } from './queue-source.ts'
import type { Waiter } from './waiter.ts'
import type { Waiters } from './waiters.ts'

// Timeouts per microtask: the callers of one batch handle their errors before the next batch.
const TIMEOUT_BATCH = 256
// A deadline that is noticed later than this gives the event loop one turn to read what has arrived.
const STALL_MS = 20

/** Rejects the callers whose deadline has passed, the earliest first, with what they waited for. */
export class Expiry<C> {
  readonly #source: QueueSource
  readonly #waiters: Waiters<C>
  readonly #counts: { timedOut: number }
  readonly #leave: (waiter: Waiter<C>) => void
  // Keeps the process alive while a caller waits, also without a deadline.
  readonly #alarm: Alarm
  #wasGraced = false

  /** `leave` takes a waiter out of the queue. */
  constructor(
    source: QueueSource,
    waiters: Waiters<C>,
    counts: { timedOut: number },
    leave: (waiter: Waiter<C>) => void,
  ) {
    this.#source = source
    this.#waiters = waiters
    this.#counts = counts
    this.#leave = leave
    const { clock, turns } = source
    this.#alarm = new Alarm(clock, true, (lateMs) => turns.run(() => this.#expire(lateMs)))
  }

  /** Waiters that hold a connection of this pool themselves, each holder counted once. */
  get nested(): number {
    const holders = new Set<Mark>()
    for (const { mark } of this.#waiters.inOrder()) if (mark?.holds === true) holders.add(mark)
    return holders.size
  }

  /** A caller with this deadline waits. */
  setBy(deadline: number): void {
    this.#alarm.setBy(deadline)
  }

  /** No caller waits. */
  clear(): void {
    this.#alarm.clear()
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#alarm.stop()
  }

  #expire(lateMs: number): void {
    if (this.#waiters.size === 0) return
    const now = this.#source.clock.now()
    if (lateMs > STALL_MS && !this.#wasGraced) {
      this.#wasGraced = true
      this.#alarm.set(now + 1)
      return
    }
    const expired = this.#expireBatch(now)
    const soonest = this.#waiters.soonest()
    if (soonest === undefined) return
    this.#wasGraced = false
    if (expired === TIMEOUT_BATCH && soonest.deadline <= now) {
      this.#wasGraced = true
      queueMicrotask(() => this.#source.turns.run(() => this.#expire(0)))
    } else this.#alarm.set(soonest.deadline)
  }

  #expireBatch(now: number): number {
    const { events } = this.#source
    let details: PoolErrorDetails | undefined
    let last: AcquireTimeoutError | undefined
    let expired = 0
    for (; expired < TIMEOUT_BATCH; expired++) {
      const waiter = this.#waiters.soonest()
      if (waiter === undefined || waiter.deadline > now) break
      details ??= this.#source.details(this.#source.lastError(waiter.queuedAt))
      const phase = this.#phaseOf(waiter)
      const waitMs = now - waiter.queuedAt
      this.#counts.timedOut++
      // Equal errors share one text, which would be most of the memory of each.
      const text = last?.phase === phase && last.timeoutMs === waiter.timeoutMs ? last.message : undefined
      last = this.#timeout(phase, waiter.timeoutMs, details, text)
      waiter.reject(last)
      this.#leave(waiter)
      events.timedOut(phase, waitMs)
    }
    return expired
  }

  // The stack would be the timer's, and costs more than the rest of the error. No user code runs in between.
  #timeout(
    phase: AcquirePhase,
    timeoutMs: number,
    details: PoolErrorDetails,
    text: string | undefined,
  ): AcquireTimeoutError {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      const error = new AcquireTimeoutError(phase, timeoutMs, details, text)
      if (text !== undefined) return error
      const { nested } = this
      if (nested > 0)
        error.message = `acquire timed out after ${timeoutMs} ms in the queue of pool '${details.pool}'. ${this.#nestedAdvice(nested)}`
      return error
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  }

  #nestedAdvice(nested: number): string {
    const { leased, of } = this.#source.supply()
    return nestedAdvice(nested, leased, of)
  }

  // Derives the phase from the rank: the first callers wait for a hook or a check, the next for a connect, the rest for a return.
  #phaseOf(waiter: Waiter<C>): AcquirePhase {
    const { inCheck, inHook, connecting } = this.#source.supply()
    const rank = this.#waiters.rankOf(waiter, inHook + inCheck + connecting)
    if (rank < inHook) return 'hook'
    if (rank < inHook + inCheck) return 'check'
    return rank < inHook + inCheck + connecting ? 'connect' : 'queue'
  }
}

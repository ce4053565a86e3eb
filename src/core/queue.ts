import { type SignalWatch, Signals } from './abort.ts'
import { Alarm } from './alarm.ts'
import type { Clock } from './clock.ts'
import {
  type AcquirePhase,
  AcquireTimeoutError,
  OverloadedError,
  type PoolError,
  type PoolErrorDetails,
  QueueFullError,
} from './errors.ts'
import type { Events } from './events.ts'
import { Histogram } from './histogram.ts'
import type { Lease } from './lease.ts'
import type { AcquireOptions, ResolvedPoolOptions } from './options.ts'
import { Overload } from './overload.ts'
import { Waiter, Waiters } from './waiters.ts'

// So many time-outs at once: then their callers see to their errors, as the first should not hear of it after the last.
const TIMEOUTS_AT_ONCE = 256

/** What is on its way to the head of the queue. */
export interface Supply {
  readonly inCheck: number
  readonly inHook: number
  readonly connecting: number
}

/** What the queue asks the circulation for its errors. */
export interface QueueContext {
  /** Serves who waits from what there is, and opens what is lacking. */
  serve(): void
  details(cause?: unknown): PoolErrorDetails
  lastConnectError(): unknown
  supply(): Supply
}

/** The callers that wait, their deadlines and signals, and how each acquire ended. */
export class Queue<C> {
  /** `pending` is what is left of `started`. */
  readonly counts = { started: 0, direct: 0, waited: 0, timedOut: 0, aborted: 0, refused: 0 }
  readonly waits: Histogram = new Histogram()

  readonly #options: ResolvedPoolOptions<C>
  readonly #clock: Clock
  readonly #events: Events
  readonly #context: QueueContext
  readonly #waiters: Waiters<C> = new Waiters()
  readonly #signals: Signals = new Signals()
  // Keeps the process alive while somebody waits, also without a deadline.
  readonly #deadline: Alarm
  readonly #overload: Overload | undefined
  readonly #stallCheck: Alarm
  #headAtStallCheck: Waiter<C> | undefined = undefined
  #joining: Waiter<C> | undefined = undefined

  constructor(options: ResolvedPoolOptions<C>, clock: Clock, events: Events, context: QueueContext) {
    this.#options = options
    this.#clock = clock
    this.#events = events
    this.#context = context
    this.#deadline = new Alarm(clock, true, () => this.#expire())
    const overload = options.overload && new Overload(options.overload, clock.now())
    this.#overload = overload
    this.#stallCheck = new Alarm(clock, false, () => overload && this.#checkStall(overload))
  }

  get size(): number {
    return this.#waiters.size
  }

  /** A place in the queue. A lease that comes within this call is a direct one. */
  join(options: AcquireOptions | undefined, freshSince: number, trace: Error | undefined): Promise<Lease<C>> {
    const now = this.#clock.now()
    const timeoutMs = options?.timeoutMs ?? this.#options.acquireTimeoutMs
    const { promise, resolve, reject } = Promise.withResolvers<Lease<C>>()
    const waiter = new Waiter<C>(resolve, reject, now, timeoutMs, freshSince)
    waiter.trace = trace
    this.#waiters.add(waiter, options?.priority ?? 0)
    const outer = this.#joining
    this.#joining = waiter
    this.#context.serve()
    this.#joining = outer
    if (waiter.level === undefined) return promise
    const signal = options?.signal
    if (signal?.aborted === true) {
      this.#abort(waiter, signal.reason)
      return promise
    }
    if (signal !== undefined) waiter.watch = this.#watch(waiter, signal)
    this.#arm()
    if (this.#overload !== undefined && !this.#stallCheck.isSet) this.#armStallCheck(now, this.#overload)
    return promise
  }

  /** How long the caller at the head has waited; 0: nobody waits. */
  get headWaitMs(): number {
    const head = this.#waiters.head()
    return head === undefined ? 0 : this.#clock.now() - head.queuedAt
  }

  /** The caller to be served now; sheds those that overload control gives up. */
  next(now: number): Waiter<C> | undefined {
    for (;;) {
      const head = this.#waiters.head()
      if (head === undefined || this.#overload === undefined) return head
      const waitedMs = now - head.queuedAt
      if (this.#overload.admits(waitedMs, now)) return head
      this.#shed(head, waitedMs, this.#overload)
    }
  }

  /** The caller gets its lease. */
  serve(waiter: Waiter<C>, lease: Lease<C>, waitedMs: number): void {
    this.#leave(waiter)
    if (waiter === this.#joining) {
      this.counts.direct++
    } else {
      this.counts.waited++
      this.waits.record(waitedMs)
    }
    waiter.resolve(lease)
  }

  /** Fails the caller at the head. False: nobody waits. */
  failHead(error: () => PoolError): boolean {
    const head = this.#waiters.head()
    if (head === undefined) return false
    this.counts.refused++
    const made = error()
    this.#leave(head)
    head.reject(made)
    return true
  }

  /** Fails a caller that never got a place. */
  refuse(error: PoolError): Promise<never> {
    this.counts.refused++
    return Promise.reject(error)
  }

  refuseFull(): Promise<never> {
    this.#events.refused('queueFull')
    return this.refuse(new QueueFullError(this.#options.maxWaiting, this.#context.details()))
  }

  /** Fails a caller whose signal was aborted before it came. */
  refuseAborted(reason: unknown): Promise<never> {
    this.counts.aborted++
    this.#events.aborted(0)
    return Promise.reject(reason as Error)
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#deadline.stop()
    this.#stallCheck.stop()
  }

  #watch(waiter: Waiter<C>, signal: AbortSignal): SignalWatch {
    return this.#signals.watch(signal, (reason) => this.#abort(waiter, reason))
  }

  #abort(waiter: Waiter<C>, reason: unknown): void {
    this.counts.aborted++
    this.#leave(waiter)
    this.#events.aborted(this.#clock.now() - waiter.queuedAt)
    waiter.reject(reason)
  }

  #leave(waiter: Waiter<C>): void {
    this.#waiters.remove(waiter)
    waiter.watch?.end()
    if (this.#waiters.size > 0) return
    this.#deadline.clear()
    this.#overload?.drained()
  }

  #arm(): void {
    this.#deadline.set(this.#waiters.soonest()?.deadline ?? Infinity)
  }

  #expire(): void {
    const now = this.#clock.now()
    const details = this.#context.details(this.#context.lastConnectError())
    let last: AcquireTimeoutError | undefined
    // The stack would be the timer's, and costs more than all the rest.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    for (let left = TIMEOUTS_AT_ONCE; ; left--) {
      const waiter = this.#waiters.soonest()
      if (waiter === undefined || waiter.deadline > now) break
      if (left === 0) {
        queueMicrotask(() => this.#expire())
        break
      }
      const phase = this.#phaseOf(waiter)
      this.counts.timedOut++
      this.#leave(waiter)
      this.#events.timedOut(phase, now - waiter.queuedAt)
      // One text for all that are alike: it would be most of what each error keeps in memory.
      if (last?.phase !== phase || last.timeoutMs !== waiter.timeoutMs) last = undefined
      last = new AcquireTimeoutError(phase, waiter.timeoutMs, details, last?.message)
      waiter.reject(last)
    }
    Error.stackTraceLimit = stackTraceLimit
    if (this.#waiters.size > 0) this.#arm()
  }

  // What the caller waits for, by its rank: the first have a check to come, those behind them a connect, the rest a return.
  #phaseOf(waiter: Waiter<C>): AcquirePhase {
    const { inCheck, inHook, connecting } = this.#context.supply()
    const rank = this.#waiters.rankOf(waiter, inHook + inCheck + connecting)
    if (rank < inHook) return 'hook'
    if (rank < inHook + inCheck) return 'check'
    return rank < inHook + inCheck + connecting ? 'connect' : 'queue'
  }

  #shed(waiter: Waiter<C>, waitedMs: number, { options }: Overload): void {
    this.counts.refused++
    const details = this.#context.details()
    this.#leave(waiter)
    this.#events.refused('overloaded')
    waiter.reject(new OverloadedError(waitedMs, options, details))
  }

  #armStallCheck(now: number, { options }: Overload): void {
    this.#headAtStallCheck = this.#waiters.head()
    this.#stallCheck.set(now + options.intervalMs)
  }

  #checkStall(overload: Overload): void {
    const now = this.#clock.now()
    let head = this.#waiters.head()
    if (head === this.#headAtStallCheck) {
      while (head !== undefined && overload.stalled(now - head.queuedAt, now)) {
        this.#shed(head, now - head.queuedAt, overload)
        head = this.#waiters.head()
      }
    }
    if (this.#waiters.size > 0) this.#armStallCheck(now, overload)
  }
}

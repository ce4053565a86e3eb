import { Signals } from './abort.ts'
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
import { Waiter } from './waiter.ts'
import { Waiters } from './waiters.ts'

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
  readonly #waiters: Waiters<C>
  readonly #signals: Signals<Waiter<C>> = new Signals((waiter, reason) => this.#abort(waiter, reason))
  // Keeps the process alive while somebody waits, also without a deadline.
  readonly #deadline: Alarm
  readonly #overload: Overload | undefined
  readonly #stallCheck: Alarm
  // The function of its promise, as the head of the plain callers is one object for all.
  #headAtStallCheck: Waiter<C>['resolve'] | undefined = undefined
  // Promise.withResolvers makes an object for each caller, as an executor of its own would be one: a fifth of what queueing
  // allocates. So one executor for all leaves the functions of a new promise here, for a moment.
  readonly #keep = (resolve: Waiter<C>['resolve'], reject: Waiter<C>['reject']): void => {
    this.#resolve = resolve
    this.#reject = reject
  }
  #resolve: Waiter<C>['resolve'] | undefined = undefined
  #reject: Waiter<C>['reject'] | undefined = undefined
  // Tells the caller who is just joining from all others.
  #joining: Waiter<C>['resolve'] | undefined = undefined

  constructor(options: ResolvedPoolOptions<C>, clock: Clock, events: Events, context: QueueContext) {
    this.#options = options
    this.#clock = clock
    this.#events = events
    this.#context = context
    this.#waiters = new Waiters(options.acquireTimeoutMs)
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
    const { acquireTimeoutMs } = this.#options
    const timeoutMs = options?.timeoutMs ?? acquireTimeoutMs
    const priority = options?.priority ?? 0
    const signal = options?.signal
    const promise = new Promise<Lease<C>>(this.#keep)
    const resolve = this.#resolve as Waiter<C>['resolve']
    const reject = this.#reject as Waiter<C>['reject']
    this.#resolve = undefined
    this.#reject = undefined
    const hasWishes =
      signal !== undefined ||
      priority !== 0 ||
      timeoutMs !== acquireTimeoutMs ||
      freshSince > 0 ||
      trace !== undefined
    let waiter: Waiter<C> | undefined
    if (hasWishes) {
      waiter = new Waiter<C>(resolve, reject, now, timeoutMs, freshSince)
      waiter.trace = trace
      this.#waiters.add(waiter, priority)
    } else this.#waiters.addPlain(resolve, reject, now)
    const outer = this.#joining
    this.#joining = resolve
    this.#context.serve()
    this.#joining = outer
    if (signal !== undefined && waiter?.isWaiting === true) this.#heed(signal, waiter)
    if (this.#waiters.size === 0) return promise
    this.#deadline.setBy(now + timeoutMs)
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
    if (waiter.resolve === this.#joining) {
      this.counts.direct++
    } else {
      this.counts.waited++
      this.waits.record(waitedMs)
    }
    waiter.resolve(lease)
    this.#leave(waiter)
  }

  /** Fails the caller at the head. False: nobody waits. */
  failHead(error: () => PoolError): boolean {
    const head = this.#waiters.head()
    if (head === undefined) return false
    this.counts.refused++
    head.reject(error())
    this.#leave(head)
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

  #heed(signal: AbortSignal, waiter: Waiter<C>): void {
    if (signal.aborted) this.#abort(waiter, signal.reason)
    else waiter.watch = this.#signals.watch(signal, waiter)
  }

  #abort(waiter: Waiter<C>, reason: unknown): void {
    this.counts.aborted++
    waiter.reject(reason)
    this.#leave(waiter)
    this.#events.aborted(this.#clock.now() - waiter.queuedAt)
  }

  #leave(waiter: Waiter<C>): void {
    this.#waiters.remove(waiter)
    if (waiter.watch !== undefined) this.#signals.end(waiter.watch)
    if (this.#waiters.size > 0) return
    this.#deadline.clear()
    this.#overload?.drained()
  }

  #expire(): void {
    const now = this.#clock.now()
    let details: PoolErrorDetails | undefined
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
      details ??= this.#context.details(this.#context.lastConnectError())
      const phase = this.#phaseOf(waiter)
      const waitMs = now - waiter.queuedAt
      this.counts.timedOut++
      // One text for all that are alike: it would be most of what each error keeps in memory.
      if (last?.phase !== phase || last.timeoutMs !== waiter.timeoutMs) last = undefined
      last = new AcquireTimeoutError(phase, waiter.timeoutMs, details, last?.message)
      waiter.reject(last)
      this.#leave(waiter)
      this.#events.timedOut(phase, waitMs)
    }
    Error.stackTraceLimit = stackTraceLimit
    if (this.#waiters.size > 0) this.#deadline.set(this.#waiters.soonest()?.deadline ?? Infinity)
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
    waiter.reject(new OverloadedError(waitedMs, options, this.#context.details()))
    this.#leave(waiter)
    this.#events.refused('overloaded')
  }

  #armStallCheck(now: number, { options }: Overload): void {
    this.#headAtStallCheck = this.#waiters.head()?.resolve
    this.#stallCheck.set(now + options.intervalMs)
  }

  #checkStall(overload: Overload): void {
    const now = this.#clock.now()
    let head = this.#waiters.head()
    const isStalled = head?.resolve === this.#headAtStallCheck
    this.#headAtStallCheck = undefined
    if (isStalled) {
      while (head !== undefined && overload.stalled(now - head.queuedAt, now)) {
        this.#shed(head, now - head.queuedAt, overload)
        head = this.#waiters.head()
      }
    }
    if (this.#waiters.size > 0) this.#armStallCheck(now, overload)
  }
}

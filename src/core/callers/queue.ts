import type { Clock } from '../contract/clock.ts'
import { OverloadedError, type PoolError, QueueFullError } from '../contract/errors.ts'
import type { AcquireOptions } from '../contract/options.ts'
import { AbortWatchers } from '../runtime/abort-watchers.ts'
import { Alarm } from '../runtime/alarm.ts'
import type { Mark } from '../runtime/async-marks.ts'
import { Histogram } from '../runtime/histogram.ts'
import { Expiry } from './expiry.ts'
import type { Lease } from './lease.ts'
import { Overload } from './overload.ts'
import type { PlainLine } from './plain-line.ts'
import type { QueueSource } from './queue-source.ts'
import { Waiter } from './waiter.ts'
import { Waiters } from './waiters.ts'

/** The callers that wait, their deadlines and signals, and how each acquire ended. Only transitions call it. */
export class Queue<C> {
  /** `pending` is what is left of `started`. */
  readonly counts = { started: 0, direct: 0, waited: 0, timedOut: 0, aborted: 0, refused: 0 }
  readonly waits: Histogram
  /** Wait of the caller that left last by `shiftPlain`, in milliseconds. */
  waitedMs = 0.5

  readonly #source: QueueSource
  readonly #clock: Clock
  readonly #waiters: Waiters<C>
  readonly #line: PlainLine<C>
  readonly #watchers: AbortWatchers<Waiter<C>>
  readonly #expiry: Expiry<C>
  readonly #overload: Overload | undefined
  readonly #stallCheck: Alarm
  // Identified by its resolve function: one object stands for the head of all plain callers.
  #headAtStallCheck: Waiter<C>['resolve'] | undefined = undefined
  // Shared executor: avoids one allocation per waiting caller.
  readonly #keep = (resolve: Waiter<C>['resolve'], reject: Waiter<C>['reject']): void => {
    this.#resolve = resolve
    this.#reject = reject
  }
  readonly #keepPlain = (resolve: Waiter<C>['resolve'], reject: Waiter<C>['reject']): void => {
    this.#waiters.plain.add(resolve, reject, this.#joinedAt)
  }
  #resolve: Waiter<C>['resolve'] | undefined = undefined
  #reject: Waiter<C>['reject'] | undefined = undefined
  #joinedAt = 0.5
  // Identifies the caller that is just joining: its waiter, or its rank among the plain ones.
  #joining: Waiter<C> | undefined = undefined
  #joiningPlain = -1

  constructor(source: QueueSource) {
    const { options, turns, clock } = source
    this.#source = source
    this.waits = new Histogram(source.allWaits)
    this.#clock = clock
    this.#waiters = new Waiters(options.acquireTimeoutMs)
    this.#line = this.#waiters.plain
    this.#watchers = new AbortWatchers((waiter, reason) => turns.run(() => this.#abort(waiter, reason)))
    this.#expiry = new Expiry(source, this.#waiters, this.counts, (waiter) => this.#leave(waiter))
    const overload = options.overload && new Overload(options.overload, clock.now())
    this.#overload = overload
    this.#stallCheck = new Alarm(clock, false, () => overload && turns.run(() => this.#checkStall(overload)))
  }

  get size(): number {
    return this.#waiters.size
  }

  /** A caller without options of its own takes a place in the queue. Call `joined` when the transition is settled. */
  joinPlain(): Promise<Lease<C>> {
    this.counts.started++
    this.#joinedAt = this.#clock.now()
    const promise = new Promise<Lease<C>>(this.#keepPlain)
    this.#joiningPlain = this.#line.came - 1
    return promise
  }

  /** A caller takes a place in the queue. Call `joined` when the transition is settled. */
  join(
    options: AcquireOptions | undefined,
    freshSince: number,
    isRetry: boolean,
    trace: Error | undefined,
    mark: Mark | undefined,
  ): Promise<Lease<C>> {
    const now = this.#clock.now()
    this.counts.started++
    const promise = new Promise<Lease<C>>(this.#keep)
    const waiter = new Waiter<C>(
      this.#resolve as Waiter<C>['resolve'],
      this.#reject as Waiter<C>['reject'],
      now,
      options?.timeoutMs ?? this.#source.options.acquireTimeoutMs,
      freshSince,
    )
    this.#resolve = undefined
    this.#reject = undefined
    waiter.isRetry = isRetry
    waiter.trace = trace
    waiter.mark = mark
    waiter.pausedBefore = this.#overload?.pausedMs(now) ?? 0
    this.#waiters.add(waiter, options?.priority ?? 0)
    this.#joining = waiter
    return promise
  }

  /** Whether a caller needs more than a place at the end: options, a stack trace, a mark, or overload control. */
  isPlain(options: AcquireOptions | undefined, trace: Error | undefined, mark: Mark | undefined): boolean {
    return (
      this.#overload === undefined &&
      trace === undefined &&
      mark === undefined &&
      (options === undefined ||
        (options.signal === undefined && options.priority === undefined && options.timeoutMs === undefined))
    )
  }

  /** The caller that joined last waits, unless the same transition served it: its signal and deadline count from now on. */
  joined(signal: AbortSignal | undefined): void {
    const waiter = this.#joining
    if (waiter !== undefined && signal !== undefined && waiter.isWaiting) {
      if (signal.aborted) this.#abort(waiter, signal.reason)
      else waiter.watch = this.#watchers.watch(signal, waiter)
    }
    if (this.#waiters.size === 0) return
    this.#expiry.setBy(waiter?.deadline ?? this.#joinedAt + this.#source.options.acquireTimeoutMs)
    const overload = this.#overload
    if (overload !== undefined && !this.#stallCheck.isSet) this.#armStallCheck(this.#clock.now(), overload)
  }

  /** The call of acquire returns: a caller that is served from now on has waited. */
  callEnded(): void {
    this.#joining = undefined
    this.#joiningPlain = -1
  }

  /** Wait of the caller at the head, in milliseconds; 0 when no caller waits. */
  get headWaitMs(): number {
    const head = this.#waiters.head()
    return head === undefined ? 0 : this.#clock.now() - head.queuedAt
  }

  /** Time that the caller at the head has left, in milliseconds; Infinity when no caller waits. */
  get headLeftMs(): number {
    const head = this.#waiters.head()
    return head === undefined ? Infinity : head.deadline - this.#clock.now()
  }

  /** Waiting callers that hold a connection of this pool themselves, each holder counted once. */
  get nested(): number {
    return this.#expiry.nested
  }

  /** The caller to serve now; sheds those that overload control gives up. */
  next(now: number): Waiter<C> | undefined {
    for (;;) {
      const head = this.#waiters.head()
      const overload = this.#overload
      if (head === undefined || overload === undefined) return head
      const waitedMs = this.#ranMs(head, now, overload)
      if (overload.admits(waitedMs, now)) return head
      this.#shed(head, waitedMs, overload)
    }
  }

  /** The caller gets its lease. */
  serve(waiter: Waiter<C>, lease: Lease<C>, waitedMs: number): void {
    if (
      waiter === this.#joining ||
      (waiter === this.#line.first() && this.#line.left === this.#joiningPlain)
    ) {
      this.counts.direct++
    } else {
      this.counts.waited++
      this.waits.record(waitedMs)
    }
    waiter.resolve(lease)
    this.#leave(waiter)
  }

  /**
   * The plain caller at the head leaves, to be served: returns the resolve function of its promise, and leaves its wait in
   * `waitedMs`. Undefined when another caller waits too, or overload control is on.
   */
  shiftPlain(now: number): Waiter<C>['resolve'] | undefined {
    const line = this.#waiters.onlyPlain
    if (line === undefined || this.#overload !== undefined) return undefined
    const isDirect = line.left === this.#joiningPlain
    const resolve = line.takeFirst()
    const waitedMs = Math.max(0, now - line.shiftedAt)
    this.waitedMs = waitedMs
    if (isDirect) {
      this.counts.direct++
    } else {
      this.counts.waited++
      this.waits.record(waitedMs)
    }
    if (line.size === 0) this.#expiry.clear()
    return resolve
  }

  /** Rejects every caller whose rank is `rank` or more. Returns how many they were. */
  rejectBeyond(rank: number, error: () => PoolError): number {
    const before = this.size
    this.#waiters.removeBeyond(rank, (reject, waiter) => {
      this.counts.refused++
      if (waiter?.watch !== undefined) this.#watchers.end(waiter.watch)
      reject(error())
    })
    if (this.size === 0 && before > 0) this.#emptied()
    return before - this.size
  }

  /** Rejects a caller that never got a place. */
  refuse(error: PoolError): Promise<never> {
    this.counts.started++
    this.counts.refused++
    return Promise.reject(error)
  }

  refuseFull(): Promise<never> {
    const { events, options } = this.#source
    const rejected = this.refuse(new QueueFullError(options.maxWaiting, this.#source.details()))
    events.refused('queueFull')
    return rejected
  }

  /** Rejects a caller whose signal was aborted before it came. */
  refuseAborted(reason: unknown): Promise<never> {
    this.counts.started++
    this.counts.aborted++
    this.#source.events.aborted(0)
    return Promise.reject(reason as Error)
  }

  pause(): void {
    this.#overload?.pause(this.#clock.now())
  }

  resume(): void {
    this.#overload?.resume(this.#clock.now())
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#expiry.stop()
    this.#stallCheck.stop()
  }

  #abort(waiter: Waiter<C>, reason: unknown): void {
    // An earlier transition served it.
    if (!waiter.isWaiting) return
    this.counts.aborted++
    waiter.reject(reason)
    this.#leave(waiter)
    this.#source.events.aborted(this.#clock.now() - waiter.queuedAt)
  }

  #leave(waiter: Waiter<C>): void {
    this.#waiters.remove(waiter)
    if (waiter.watch !== undefined) this.#watchers.end(waiter.watch)
    if (this.#waiters.size === 0) this.#emptied()
  }

  #emptied(): void {
    this.#expiry.clear()
    this.#overload?.drained()
  }

  #ranMs(waiter: Waiter<C>, now: number, overload: Overload): number {
    return now - waiter.queuedAt - (overload.pausedMs(now) - waiter.pausedBefore)
  }

  #shed(waiter: Waiter<C>, waitedMs: number, { options }: Overload): void {
    this.counts.refused++
    const details = this.#source.details(this.#source.lastError(waiter.queuedAt))
    waiter.reject(new OverloadedError(waitedMs, options, details))
    this.#leave(waiter)
    this.#source.events.refused('overloaded')
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
      while (head !== undefined) {
        const waitedMs = this.#ranMs(head, now, overload)
        if (!overload.stalled(waitedMs, now)) break
        this.#shed(head, waitedMs, overload)
        head = this.#waiters.head()
      }
    }
    if (this.#waiters.size > 0) this.#armStallCheck(now, overload)
  }
}

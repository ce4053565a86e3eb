import { acquiredHere, Leaks } from './callers/leaks.ts'
import { Lease, type LeaseHome } from './callers/lease.ts'
import { Queue, type Supply } from './callers/queue.ts'
import { Checks } from './connections/checks.ts'
import { Closer } from './connections/closer.ts'
import { Connector } from './connections/connector.ts'
import { Fitness } from './connections/fitness.ts'
import { Housekeeping } from './connections/housekeeping.ts'
import type { PoolContext } from './connections/pool-context.ts'
import { type Slot, SlotState } from './connections/slot.ts'
import { Slots } from './connections/slots.ts'
import type { CloseReason } from './contract/close-reason.ts'
import type { LeaseReleasedError, PoolError } from './contract/errors.ts'
import type { ConnectionManager } from './contract/manager.ts'
import type { AcquireOptions, Need, ResolvedPoolOptions } from './contract/options.ts'
import type { PoolState } from './contract/state.ts'
import { nextPoolId } from './inspection/live-pools.ts'
import { snapshot } from './inspection/snapshot.ts'
import { AbortWatchers } from './runtime/abort-watchers.ts'
import { Alarm } from './runtime/alarm.ts'
import { AsyncMarks, type Mark } from './runtime/async-marks.ts'
import type { Histogram } from './runtime/histogram.ts'
import { UserCalls } from './runtime/user-calls.ts'
import type { ChangeEvent } from './telemetry/channels.ts'
import { Events } from './telemetry/events.ts'
import { Reports } from './telemetry/reports.ts'
import { isTraced, traceAcquire, tracing } from './telemetry/tracing.ts'
import { Turns } from './turns.ts'

// A check that is silent for this long, or for a quarter of the caller's time, is raced by a new connection.
const SILENT_MS = 250
// A check never takes more than half of the time that its caller has left, but at least this long.
const LEAST_CHECK_MS = 1_000

const { leased, checking, doubted, preparing, resetting, opening } = SlotState

/**
 * The only place where callers and connections meet. Each public method is one transition; a transition moves slots, and
 * `#settle` at its end makes reality converge: it serves waiters from idle connections, and opens what is lacking.
 */
export class PoolEngine<C> implements PoolContext<C>, LeaseHome<C> {
  readonly manager: ConnectionManager<C>
  readonly options: ResolvedPoolOptions<C>
  readonly turns: Turns
  readonly slots: Slots<C>
  readonly queue: Queue<C>
  readonly calls: UserCalls
  readonly marks: AsyncMarks
  /** What cancels the running functions whose signal aborts. */
  readonly runs: AbortWatchers<() => void> = new AbortWatchers((cancel) => this.turns.later(cancel))
  readonly events: Events
  readonly reports: Reports
  readonly connector: Connector<C>
  readonly leaks: Leaks<C> | undefined
  paused = false
  closed = false
  /** What the connections are; a share pools seats. */
  unit: 'connection' | 'seat' = 'connection'

  readonly #closer: Closer<C>
  readonly #fitness: Fitness<C>
  readonly #checks: Checks<C>
  readonly #housekeeping: Housekeeping<C>
  readonly #race: Alarm
  readonly #conditions = new Set<() => void>()
  #resizes = 0
  // Nothing of the user's runs at a return, except hasBroken.
  #isBare = false

  /** `group`: what the pools of a group share. */
  constructor(
    manager: ConnectionManager<C>,
    options: ResolvedPoolOptions<C>,
    group?: {
      readonly name: string
      readonly id: number
      readonly marks: AsyncMarks
      readonly allWaits: Histogram
    },
  ) {
    this.manager = manager
    this.options = options
    this.marks = new AsyncMarks(group?.marks)
    this.turns = new Turns(() => this.#settle())
    this.slots = new Slots(options)
    this.calls = new UserCalls(options.clock)
    this.events = new Events(options.name, nextPoolId(), this.turns, group)
    this.reports = new Reports(options, this.calls, this.events, this.turns, () => this.state())
    this.#fitness = new Fitness(this)
    this.#closer = new Closer(this)
    this.connector = new Connector(this, this.#fitness, this.#closer)
    this.#checks = new Checks(this, this.#closer, this.connector)
    this.#housekeeping = new Housekeeping(this, this.#closer, this.#checks, this.connector)
    this.#race = new Alarm(this.calls.clock, false, () => this.turns.run(() => this.#doubtSilent()))
    this.queue = new Queue({
      options,
      turns: this.turns,
      events: this.events,
      clock: this.calls.clock,
      allWaits: group?.allWaits,
      lastError: (since) => this.connector.schedule.lastError ?? this.#checks.failureSince(since),
      details: (cause) => this.reports.details(cause),
      supply: () => this.#supply(),
    })
    if (options.leakThresholdMs < Infinity || options.reclaimAbandoned) this.leaks = this.#watchLeaks()
    this.managerChanged()
  }

  /** The manager has got other methods. */
  managerChanged(): void {
    this.#isBare = this.manager.reset === undefined && this.options.afterRelease === undefined
  }

  /** A place may be free: opens what is lacking. */
  refill(): void {
    this.turns.run(() => {})
  }

  /** Closes the longest idle connection for another pool, unless a caller waits. */
  evictIdle(): void {
    this.turns.run(() => {
      const slot = this.queue.size === 0 ? this.slots.peekIdle('fifo') : undefined
      if (slot !== undefined) this.#closer.close(slot, 'surplus')
    })
  }

  /** Gives up attempts, the youngest first, until at most `count` are left. */
  abandonAttempts(count: number): void {
    this.turns.run(() => this.connector.abandon(count))
  }

  /** Rejects every caller. */
  rejectAll(error: () => PoolError): void {
    this.turns.run(() => void this.queue.rejectBeyond(0, error))
  }

  /** Like clear, for a server with another configuration: what is known of connecting is forgotten too. */
  renew(): void {
    this.turns.run(() => {
      this.#changed('cleared')
      this.#housekeeping.clear(0)
      this.connector.abandon(0)
      this.connector.schedule.reset()
    })
  }

  /** What the connections are opened with could not be loaded: rejects every caller, and waits before the next load. */
  loadFailed(error: unknown): void {
    this.turns.run(() => {
      this.connector.schedule.loadFailed(error)
      const details = this.reports.details(error)
      this.queue.rejectBeyond(0, () => this.reports.connect(error, details))
    })
  }

  state(): PoolState {
    return snapshot(this)
  }

  /** Acquires a connection, traced. */
  acquire(options: AcquireOptions | undefined, need: Need): Promise<Lease<C>> {
    return this.#acquire(options, need, this.marks.current)
  }

  /** Acquires a connection: a lease, or a promise of one. Within this call if a connection is idle and needs no check. */
  take(options: AcquireOptions | undefined, need: Need): Lease<C> | Promise<Lease<C>> {
    const mark = this.marks.current
    return isTraced(tracing.acquire) || this.#mustWait(mark)
      ? this.#acquire(options, need, mark)
      : this.#takeNow(options, need, mark)
  }

  /** A lease of an idle connection that needs nothing that waits. */
  tryAcquire(): Lease<C> | undefined {
    const { turns } = this
    if (turns.isBusy) return undefined
    const trace = this.leaks && acquiredHere()
    turns.begin()
    try {
      return this.options.beforeAcquire === undefined
        ? this.#takeReady(false, trace)
        : this.#takePrepared(trace)
    } finally {
      turns.end()
    }
  }

  release(slot: Slot<C>, error: unknown, lease: Lease<C>): void {
    const { turns } = this
    if (turns.isBusy) turns.later(() => this.#releaseNow(slot, error, lease))
    else this.#releaseNow(slot, error, lease)
  }

  destroy(slot: Slot<C>, lease: Lease<C> | undefined): void {
    this.turns.run(() => {
      // A forced close came first.
      if (slot.state !== leased) return
      this.#ended(slot, this.calls.clock.now(), lease)
      this.#closer.close(slot, this.closed ? 'poolClosed' : 'destroyed')
    })
  }

  detach(slot: Slot<C>, lease: Lease<C>): void {
    this.turns.run(() => {
      // A forced close came first.
      if (slot.state !== leased) return
      this.#ended(slot, this.calls.clock.now(), lease)
      this.slots.detach(slot)
    })
  }

  served(slot: Slot<C>): void {
    this.turns.run(() => {
      if (slot.state === leased && !slot.hasServed) this.connector.schedule.served(slot)
    })
  }

  reasonToClose(slot: Slot<C>, error: unknown): CloseReason | undefined {
    return this.#fitness.closeReasonFor(slot, this.calls.clock.now(), error)
  }

  usedAfterRelease(): LeaseReleasedError {
    return this.reports.released()
  }

  /** Adopts a connection that was opened elsewhere. */
  add(connection: C): 'added' | 'broken' | 'full' {
    const isFull = (): boolean => this.closed || this.slots.taken >= this.slots.limits.maxSize
    if (isFull()) return 'full'
    if (this.#fitness.isBroken(connection, undefined)) return 'broken'
    // hasBroken may have called the pool.
    if (isFull() || this.slots.places?.take(1) === false) return 'full'
    this.connector.adopt(connection)
    return 'added'
  }

  connectFailed(error: unknown, isFinal: boolean): void {
    const details = this.reports.details(error)
    const rejected = isFinal
      ? this.queue.rejectBeyond(this.slots.open, () => this.reports.connect(error, details))
      : 0
    if (rejected === 0) this.reports.failure('CONNECT_FAILED', 'connect', error)
  }

  setPaused(paused: boolean): void {
    this.turns.run(() => {
      this.paused = paused
      if (paused) this.queue.pause()
      else this.queue.resume()
      this.#changed(paused ? 'paused' : 'resumed')
    })
  }

  clear(overMs: number): void {
    this.turns.run(() => {
      this.#changed('cleared')
      this.#housekeeping.clear(overMs)
    })
  }

  /** Changes the limits; resolves once any surplus is closed, or another resize or close overtakes this one. */
  async resize(maxSize: number, minIdle: number): Promise<void> {
    const resize = ++this.#resizes
    let isBegun = false
    const isOver = (): boolean =>
      resize !== this.#resizes || this.closed || (isBegun && !this.slots.hasSurplus)
    this.turns.run(() => {
      const { slots } = this
      isBegun = true
      slots.limits.maxSize = maxSize
      slots.limits.minIdle = minIdle
      this.#changed('resized')
      const surplus = slots.taken - slots.count(SlotState.closing) - maxSize
      if (surplus > 0) this.connector.abandon(Math.max(0, slots.count(opening) - surplus))
      this.#closer.closeSurplus()
    })
    await this.until(isOver, Infinity)
  }

  /** Rejects every caller, gives up every attempt, and closes every connection that no caller holds. */
  shut(): void {
    this.turns.run(() => {
      this.#changed('closing')
      this.closed = true
      const details = this.reports.details()
      this.queue.rejectBeyond(0, () => this.reports.closed(details))
      this.connector.abandon(0)
      this.#closer.closeAll(SlotState.idle, checking, doubted, preparing)
    })
  }

  /** Closes what is still leased or being reset. Returns how many they were. */
  closeByForce(): number {
    let closed = 0
    this.turns.run(() => {
      for (const slot of this.slots.in(leased)) this.leaks?.unwatch(undefined, slot)
      closed = this.#closer.closeAll(leased, resetting)
    })
    return closed
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.turns.run(() => {
      this.queue.stop()
      this.connector.schedule.stop()
      this.#housekeeping.stop()
      this.#race.stop()
      this.leaks?.stop()
      this.#changed('closed')
    })
  }

  /** Opens the first connections. */
  start(): void {
    this.turns.run(() => this.#changed('made'))
  }

  /** Waits until a condition holds, and returns whether it did in time. Keeps the process alive in the meantime. */
  until(isMet: () => boolean, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const { clock } = this.calls
      const finish = (met: boolean): void => {
        this.#conditions.delete(test)
        alarm.stop()
        resolve(met)
      }
      const test = (): void => {
        if (isMet()) finish(true)
      }
      const alarm = new Alarm(clock, true, () => finish(isMet()))
      this.#conditions.add(test)
      alarm.set(clock.now() + timeoutMs)
      this.turns.later(test)
    })
  }

  #releaseNow(slot: Slot<C>, error: unknown, lease: Lease<C>): void {
    const { turns } = this
    turns.begin()
    try {
      if (this.#release(slot, error, lease)) this.#settle()
    } finally {
      turns.end()
    }
  }

  /** Calls `test` at the end of each transition, until the returned function is called. It must not call the pool. */
  watch(test: () => void): () => void {
    this.#conditions.add(test)
    return () => this.#conditions.delete(test)
  }

  #acquire(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return this.#mustWait(mark)
      ? this.#acquireLater(options, need, mark)
      : this.#acquireNow(options, need, mark)
  }

  #acquireNow(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return isTraced(tracing.acquire) ? this.#traced(options, need, mark) : this.#promised(options, need, mark)
  }

  // A hook's own acquire is refused immediately.
  #mustWait(mark: Mark | undefined): boolean {
    return this.turns.isBusy && mark?.hook === undefined
  }

  // Apart, because it creates a closure.
  #traced(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return traceAcquire(this.events, this.calls.clock, this.queue.size, Lease.connectionOf, () =>
      this.#promised(options, need, mark),
    )
  }

  #promised(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    const taken = this.#takeNow(options, need, mark)
    return taken instanceof Lease ? Promise.resolve(taken) : taken
  }

  #takeNow(
    options: AcquireOptions | undefined,
    need: Need,
    mark: Mark | undefined,
  ): Lease<C> | Promise<Lease<C>> {
    const { queue, turns } = this
    if (mark?.hook !== undefined) return queue.refuse(this.reports.nestedIn(mark.hook))
    if (this.closed) return queue.refuse(this.reports.closed())
    const signal = options?.signal
    if (signal?.aborted === true) return queue.refuseAborted(signal.reason)
    const trace = this.leaks && acquiredHere()
    turns.begin()
    try {
      if (need === 'any' && this.slots.idle > 0 && this.options.beforeAcquire === undefined) {
        const lease = this.#takeReady(this.options.testOnCheckOut, trace)
        if (lease !== undefined) {
          queue.counts.started++
          queue.counts.direct++
          return lease
        }
      }
      return this.#join(options, need, trace, mark?.holds === true ? mark : undefined)
    } finally {
      turns.end()
      queue.callEnded()
    }
  }

  // The running transition ends first. The caller's mark is its own, not that of the code that ends the transition.
  #acquireLater(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return new Promise((resolve, reject) => {
      this.turns.later(() => void this.#acquireNow(options, need, mark).then(resolve, reject))
    })
  }

  #join(
    options: AcquireOptions | undefined,
    need: Need,
    trace: Error | undefined,
    mark: Mark | undefined,
  ): Promise<Lease<C>> {
    const { queue, slots, connector } = this
    const isServed = slots.idle > 0 && !this.paused
    if (!isServed && queue.size - slots.arriving >= this.options.maxWaiting) return queue.refuseFull()
    const { schedule } = connector
    if (schedule.lastError !== undefined && queue.size >= slots.open && !this.paused) {
      const fresh = schedule.freshError
      if (fresh !== undefined) return queue.refuse(this.reports.connect(fresh.error))
      schedule.probeNow()
    }
    if (mark !== undefined) this.marks.nested()
    const promise =
      need === 'any' && queue.isPlain(options, trace, mark)
        ? queue.joinPlain()
        : queue.join(options, need === 'any' ? 0 : slots.nextSequence(), need === 'retry', trace, mark)
    this.#settle()
    queue.joined(options?.signal)
    return promise
  }

  // Whether more is to be done than to keep or to hand over the connection.
  #release(slot: Slot<C>, error: unknown, lease: Lease<C>): boolean {
    // A forced close came first.
    if (slot.state !== leased) return false
    const now = this.calls.clock.now()
    this.#ended(slot, now, lease)
    const reason = this.#fitness.closeReasonFor(slot, now, error)
    if (reason !== undefined) {
      this.connector.closeUnfit(slot, reason, error)
      return true
    }
    const isFirst = !slot.hasServed
    if (isFirst) this.connector.schedule.served(slot)
    if (this.#isBare) {
      slot.inspectedIn = this.turns.number
      return this.#passOn(slot, now) || isFirst
    }
    const cleaned = this.#checks.clean(slot, error)
    if (cleaned === true) return this.#passOn(slot, now) || isFirst
    if (cleaned === false) this.#closer.close(slot, 'hook')
    else {
      this.slots.reset(slot)
      void this.#whenCleaned(slot, cleaned)
    }
    return true
  }

  async #whenCleaned(slot: Slot<C>, cleaned: Promise<boolean>): Promise<void> {
    const passed = await cleaned
    this.turns.run(() => {
      // Closed in the meantime.
      if (slot.state !== resetting) return
      slot.pending = undefined
      slot.lastUsedAt = this.calls.clock.now()
      const reason = passed ? this.#fitness.closeReasonFor(slot, slot.lastUsedAt) : 'hook'
      if (reason !== undefined) return this.connector.closeUnfit(slot, reason)
      slot.inspectedIn = this.turns.number
      if (!this.#yields(slot, slot.lastUsedAt)) this.#park(slot)
    })
  }

  // A returned connection goes to the head waiter, or rests. Whether more is to be done.
  #passOn(slot: Slot<C>, now: number): boolean {
    const { queue } = this
    if (this.slots.places !== undefined && this.#yields(slot, now)) return true
    if (queue.size === 0 || this.paused) return this.#park(slot)
    const isReady =
      slot.inspectedIn === this.turns.number &&
      this.options.beforeAcquire === undefined &&
      !this.#fitness.needsCheck(slot, now)
    const resolve = isReady ? queue.shiftPlain(now) : undefined
    if (resolve === undefined) {
      this.slots.park(slot)
      return true
    }
    this.slots.handOver(slot, now)
    this.events.acquired(slot.id, queue.waitedMs)
    resolve(new Lease(this, slot))
    return false
  }

  // Whether the connection was closed for another pool, which has a better claim to its place.
  #yields(slot: Slot<C>, now: number): boolean {
    if (this.slots.places?.claims(slot, now) !== true) return false
    this.#closer.close(slot, 'surplus')
    return true
  }

  // It rests. Whether more is to be done.
  #park(slot: Slot<C>): boolean {
    if (this.slots.idle >= this.slots.limits.maxIdle && this.queue.size === 0) {
      this.#closer.close(slot, 'surplus')
      return true
    }
    this.slots.park(slot)
    this.#housekeeping.wake()
    return this.#conditions.size > 0 || this.options.allowExitOnIdle
  }

  // The end of each transition: from here on the state is settled.
  #settle(): void {
    const { queue, slots } = this
    if (queue.size > 0 && slots.idle > 0) this.#serve()
    slots.arrived = undefined
    if (this.#housekeeping.isBehind) this.#housekeeping.checkIdle()
    const lacking = this.connector.openWanted(queue.size)
    if (slots.places !== undefined) slots.places.settled(lacking)
    if (slots.idle > 0) this.#housekeeping.wake()
    if (this.options.allowExitOnIdle) this.#unrefIdle()
    for (const test of this.#conditions) test()
  }

  #serve(): void {
    const { queue } = this
    while (queue.size > 0 && this.#mayHandOut) {
      const slot = this.#nextIdle()
      if (slot === undefined) return
      this.#dispatch(slot)
    }
  }

  // While connections are checked or prepared for every waiter, only a connection that needs neither goes to the head.
  #nextIdle(): Slot<C> | undefined {
    const { queue, slots, options } = this
    const slot = slots.arrived ?? slots.peekIdle(options.queueStrategy)
    if (slot === undefined || queue.size > slots.arriving || this.#isReady(slot)) return slot
    const other = slots.peekIdle(options.queueStrategy === 'fifo' ? 'lifo' : 'fifo')
    return other !== undefined && this.#isReady(other) ? other : undefined
  }

  #isReady(slot: Slot<C>): boolean {
    const { number } = this.turns
    return (
      (slot.validIn === number || !this.#fitness.needsCheck(slot, this.calls.clock.now())) &&
      (this.options.beforeAcquire === undefined || slot.preparedIn === number)
    )
  }

  // The next step of an idle connection towards the head waiter, in the promised order.
  #dispatch(slot: Slot<C>): void {
    const { number } = this.turns
    const now = this.calls.clock.now()
    if (slot.inspectedIn !== number) {
      const reason = this.#fitness.closeReasonFor(slot, now)
      if (reason !== undefined) return this.connector.closeUnfit(slot, reason)
      slot.inspectedIn = number
    }
    if (slot.validIn !== number && this.#fitness.needsCheck(slot, now)) return this.#validate(slot, now)
    if (this.options.beforeAcquire !== undefined && slot.preparedIn !== number)
      return this.#checks.prepare(slot)
    const waiter = this.queue.next(now)
    if (waiter === undefined) return
    if (slot.checkSequence < waiter.freshSince) return this.#validate(slot, now)
    const waitMs = Math.max(0, now - waiter.queuedAt)
    this.queue.serve(waiter, this.#lease(slot, now, waiter.trace, waitMs), waitMs)
  }

  #validate(slot: Slot<C>, now: number): void {
    const leftMs = this.queue.headLeftMs
    this.#checks.validate(
      slot,
      Math.min(this.options.validationTimeoutMs, Math.max(LEAST_CHECK_MS, leftMs / 2)),
    )
    this.#race.setBy(now + Math.min(SILENT_MS, Math.max(1, leftMs / 4)))
  }

  // No caller counts any longer on a check that has been silent: a new connection races it.
  #doubtSilent(): void {
    const silent = this.slots.in(checking)
    for (const slot of silent) this.slots.doubt(slot)
    if (silent.length === 0) return
    // The others may be as silent: all are checked now, and not one after another at the callers' expense.
    const now = this.calls.clock.now()
    for (const slot of this.slots.idleSlots())
      if (this.#fitness.needsCheck(slot, now)) this.#checks.validateIdle(slot)
  }

  get #mayHandOut(): boolean {
    return !this.paused && !this.closed && !this.slots.hasSurplus
  }

  #takeReady(testOnCheckOut: boolean, trace: Error | undefined): Lease<C> | undefined {
    const { slots, options } = this
    let lease: Lease<C> | undefined
    let hasClosed = false
    while (this.queue.size === 0 && this.#mayHandOut) {
      const slot = slots.peekIdle(options.queueStrategy)
      if (slot === undefined) break
      const now = this.calls.clock.now()
      const reason = this.#fitness.closeReasonFor(slot, now)
      if (reason === undefined) {
        if (!testOnCheckOut || !this.#fitness.needsCheck(slot, now)) lease = this.#lease(slot, now, trace, 0)
        break
      }
      hasClosed = true
      this.connector.closeUnfit(slot, reason)
    }
    if (hasClosed || slots.idle < slots.limits.minIdle) this.#settle()
    return lease
  }

  #takePrepared(trace: Error | undefined): Lease<C> | undefined {
    const { slots, options } = this
    try {
      while (this.queue.size === 0 && this.#mayHandOut) {
        const slot = slots.peekIdle(options.queueStrategy)
        if (slot === undefined) return undefined
        const now = this.calls.clock.now()
        const reason = this.#fitness.closeReasonFor(slot, now)
        if (reason !== undefined) {
          this.connector.closeUnfit(slot, reason)
          continue
        }
        const prepared = this.#checks.prepareNow(slot)
        if (prepared === undefined) return undefined
        if (prepared) return this.#lease(slot, now, trace, 0)
      }
      return undefined
    } finally {
      this.#settle()
    }
  }

  #lease(slot: Slot<C>, now: number, trace: Error | undefined, waitMs: number): Lease<C> {
    this.slots.lease(slot, now)
    if (this.options.allowExitOnIdle) this.#setRef(slot, true)
    const lease = new Lease(this, slot)
    this.leaks?.watch(lease, slot, trace)
    this.events.acquired(slot.id, waitMs)
    return lease
  }

  #ended(slot: Slot<C>, now: number, lease: Lease<C> | undefined): void {
    slot.lastUsedAt = now
    this.leaks?.unwatch(lease, slot)
    this.events.released(slot.id, now - slot.leasedAt)
  }

  #unrefIdle(): void {
    for (const slot of this.slots.idleSlots()) if (slot.isRef) this.#setRef(slot, false)
  }

  #setRef(slot: Slot<C>, isRef: boolean): void {
    if (slot.isRef === isRef) return
    slot.isRef = isRef
    const { manager } = this
    const outcome = this.calls.begin(
      () => (isRef ? manager.ref?.(slot.connection) : manager.unref?.(slot.connection)),
      undefined,
    )
    if ('ok' in outcome && !outcome.ok) this.reports.report(outcome.error)
  }

  #changed(what: ChangeEvent['what']): void {
    this.events.changed(what, this.slots.limits)
  }

  #supply(): Supply {
    const { slots } = this
    return {
      inHook: slots.count(preparing),
      inCheck: slots.count(checking) + slots.count(doubted),
      connecting: slots.count(opening) + (this.connector.schedule.isProbing ? 1 : 0),
      leased: slots.places?.open ?? slots.leased,
      of: slots.places === undefined ? 'pool' : 'group',
    }
  }

  #watchLeaks(): Leaks<C> {
    return new Leaks(
      this.options,
      this.calls.clock,
      this.turns,
      (slot, heldMs, trace) => this.reports.leak('LEASE_LEAKED', slot.id, heldMs, trace),
      (slot, heldMs, trace) => {
        this.reports.leak('LEASE_ABANDONED', slot.id, heldMs, trace)
        this.destroy(slot, undefined)
      },
    )
  }
}

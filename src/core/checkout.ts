import { acquiredHere } from './callers/leaks.ts'
import { Lease, type LeaseHome } from './callers/lease.ts'
import type { Queue } from './callers/queue.ts'
import type { Checks } from './connections/checks.ts'
import type { Fitness } from './connections/fitness.ts'
import type { References } from './connections/references.ts'
import { type Slot, SlotState } from './connections/slot.ts'
import type { Slots } from './connections/slots.ts'
import type { Clock } from './contract/clock.ts'
import type { AcquireOptions, Need, ResolvedPoolOptions } from './contract/options.ts'
import type { EngineContext } from './engine-context.ts'
import { Alarm } from './runtime/alarm.ts'
import type { Mark } from './runtime/async-marks.ts'
import { isTraced, traceAcquire, tracing } from './telemetry/tracing.ts'
import type { Turns } from './turns.ts'

// A check that is silent for this long, or for a quarter of the caller's time, is raced by a new connection.
const SILENT_MS = 250
// A check never takes more than half of the time that its caller has left, but at least this long.
const LEAST_CHECK_MS = 1_000

/** Hands connections to callers: an acquire takes an idle connection or joins the queue; `serve` serves the queue. */
export class Checkout<C> {
  readonly #engine: EngineContext<C>
  readonly #home: LeaseHome<C>
  readonly #options: ResolvedPoolOptions<C>
  readonly #turns: Turns
  readonly #slots: Slots<C>
  readonly #queue: Queue<C>
  readonly #clock: Clock
  readonly #fitness: Fitness<C>
  readonly #checks: Checks<C>
  readonly #references: References<C>
  readonly #race: Alarm

  constructor(
    engine: EngineContext<C>,
    home: LeaseHome<C>,
    fitness: Fitness<C>,
    checks: Checks<C>,
    references: References<C>,
  ) {
    this.#engine = engine
    this.#home = home
    this.#options = engine.options
    this.#turns = engine.turns
    this.#slots = engine.slots
    this.#queue = engine.queue
    this.#clock = engine.calls.clock
    this.#fitness = fitness
    this.#checks = checks
    this.#references = references
    this.#race = new Alarm(this.#clock, false, () => this.#turns.run(() => this.#doubtSilent()))
  }

  /** Acquires a connection, traced. */
  acquire(options: AcquireOptions | undefined, need: Need): Promise<Lease<C>> {
    return this.#acquire(options, need, this.#engine.marks.current)
  }

  /** Acquires a connection: a lease, or a promise of one. Within this call if a connection is idle and needs no check. */
  take(options: AcquireOptions | undefined, need: Need): Lease<C> | Promise<Lease<C>> {
    const mark = this.#engine.marks.current
    return isTraced(tracing.acquire) || this.#mustWait(mark)
      ? this.#acquire(options, need, mark)
      : this.#takeNow(options, need, mark)
  }

  /** A lease of an idle connection that needs nothing that waits. */
  tryAcquire(): Lease<C> | undefined {
    const turns = this.#turns
    if (turns.isBusy) return undefined
    const trace = this.#engine.leaks && acquiredHere()
    turns.begin()
    try {
      return this.#options.beforeAcquire === undefined
        ? this.#takeReady(false, trace)
        : this.#takePrepared(trace)
    } finally {
      turns.end()
    }
  }

  /** Hands idle connections to waiting callers, each after the checks and hooks that it needs. */
  serve(): void {
    const queue = this.#queue
    while (queue.size > 0 && this.#mayHandOut) {
      const slot = this.#nextIdle()
      if (slot === undefined) return
      this.#dispatch(slot)
    }
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#race.stop()
  }

  #acquire(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return this.#mustWait(mark)
      ? this.#acquireLater(options, need, mark)
      : this.#acquireNow(options, need, mark)
  }

  #acquireNow(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return isTraced(tracing.acquire) ? this.#traced(options, need, mark) : this.#promised(options, need, mark)
  }

  // A hook's own acquire is rejected immediately.
  #mustWait(mark: Mark | undefined): boolean {
    return this.#turns.isBusy && mark?.hook === undefined
  }

  // A method of its own: only traced acquires pay for the closure.
  #traced(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return traceAcquire(this.#engine.events, this.#clock, this.#queue.size, Lease.connectionOf, () =>
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
    const queue = this.#queue
    const turns = this.#turns
    const engine = this.#engine
    if (mark?.hook !== undefined) return queue.refuse(engine.reports.nestedIn(mark.hook))
    if (engine.closed) return queue.refuse(engine.reports.closed())
    const signal = options?.signal
    if (signal?.aborted === true) return queue.refuseAborted(signal.reason)
    const trace = engine.leaks && acquiredHere()
    turns.begin()
    try {
      if (need === 'any' && this.#slots.idle > 0 && this.#options.beforeAcquire === undefined) {
        const lease = this.#takeReady(this.#options.testOnCheckOut, trace)
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

  // The running transition ends first. The caller keeps its own mark, not that of the code that ends the transition.
  #acquireLater(options: AcquireOptions | undefined, need: Need, mark: Mark | undefined): Promise<Lease<C>> {
    return new Promise((resolve, reject) => {
      this.#turns.later(() => void this.#acquireNow(options, need, mark).then(resolve, reject))
    })
  }

  #join(
    options: AcquireOptions | undefined,
    need: Need,
    trace: Error | undefined,
    mark: Mark | undefined,
  ): Promise<Lease<C>> {
    const engine = this.#engine
    const queue = this.#queue
    const slots = this.#slots
    const isServed = slots.idle > 0 && !engine.paused
    if (!isServed && queue.size - slots.arriving >= this.#options.maxWaiting) return queue.refuseFull()
    const { schedule } = engine.connector
    if (schedule.lastError !== undefined && queue.size >= slots.open && !engine.paused) {
      const fresh = schedule.freshError
      if (fresh !== undefined) return queue.refuse(engine.reports.connect(fresh.error))
      schedule.probeNow()
    }
    if (mark !== undefined) engine.marks.nested()
    const promise =
      need === 'any' && queue.isPlain(options, trace, mark)
        ? queue.joinPlain()
        : queue.join(options, need === 'any' ? 0 : slots.nextSequence(), need === 'retry', trace, mark)
    engine.settle()
    queue.joined(options?.signal)
    return promise
  }

  // While connections are checked or prepared for every waiter, only a connection that needs neither goes to the head.
  #nextIdle(): Slot<C> | undefined {
    const queue = this.#queue
    const slots = this.#slots
    const { queueStrategy } = this.#options
    const slot = slots.arrived ?? slots.peekIdle(queueStrategy)
    if (slot === undefined || queue.size > slots.arriving || this.#isReady(slot)) return slot
    const other = slots.peekIdle(queueStrategy === 'fifo' ? 'lifo' : 'fifo')
    return other !== undefined && this.#isReady(other) ? other : undefined
  }

  #isReady(slot: Slot<C>): boolean {
    const { number } = this.#turns
    return (
      (slot.validIn === number || !this.#fitness.needsCheck(slot, this.#clock.now())) &&
      (this.#options.beforeAcquire === undefined || slot.preparedIn === number)
    )
  }

  // Runs the next step of an idle connection towards the head waiter, in the promised order.
  #dispatch(slot: Slot<C>): void {
    const { number } = this.#turns
    const now = this.#clock.now()
    if (slot.inspectedIn !== number) {
      const reason = this.#fitness.closeReasonFor(slot, now)
      if (reason !== undefined) return this.#engine.connector.closeUnfit(slot, reason)
      slot.inspectedIn = number
    }
    if (slot.validIn !== number && this.#fitness.needsCheck(slot, now)) return this.#validate(slot, now)
    if (this.#options.beforeAcquire !== undefined && slot.preparedIn !== number)
      return this.#checks.prepare(slot)
    const waiter = this.#queue.next(now)
    if (waiter === undefined) return
    if (slot.checkSequence < waiter.freshSince) return this.#validate(slot, now)
    const waitMs = Math.max(0, now - waiter.queuedAt)
    this.#queue.serve(waiter, this.#lease(slot, now, waiter.trace, waitMs), waitMs)
  }

  #validate(slot: Slot<C>, now: number): void {
    const leftMs = this.#queue.headLeftMs
    this.#checks.validate(
      slot,
      Math.min(this.#options.validationTimeoutMs, Math.max(LEAST_CHECK_MS, leftMs / 2)),
    )
    this.#race.setBy(now + Math.min(SILENT_MS, Math.max(1, leftMs / 4)))
  }

  // Callers no longer rely on a check that has been silent: a new connection races it.
  #doubtSilent(): void {
    const silent = this.#slots.in(SlotState.checking)
    for (const slot of silent) this.#slots.doubt(slot)
    if (silent.length === 0) return
    // The others may be as silent: all are checked now, and not one after another at the callers' expense.
    const now = this.#clock.now()
    for (const slot of this.#slots.idleSlots())
      if (this.#fitness.needsCheck(slot, now)) this.#checks.validateIdle(slot)
  }

  get #mayHandOut(): boolean {
    return !this.#engine.paused && !this.#engine.closed && !this.#slots.hasSurplus
  }

  #takeReady(testOnCheckOut: boolean, trace: Error | undefined): Lease<C> | undefined {
    const slots = this.#slots
    let lease: Lease<C> | undefined
    let hasClosed = false
    while (this.#queue.size === 0 && this.#mayHandOut) {
      const slot = slots.peekIdle(this.#options.queueStrategy)
      if (slot === undefined) break
      const now = this.#clock.now()
      const reason = this.#fitness.closeReasonFor(slot, now)
      if (reason === undefined) {
        if (!testOnCheckOut || !this.#fitness.needsCheck(slot, now)) lease = this.#lease(slot, now, trace, 0)
        break
      }
      hasClosed = true
      this.#engine.connector.closeUnfit(slot, reason)
    }
    if (hasClosed || slots.idle < slots.limits.minIdle) this.#engine.settle()
    return lease
  }

  #takePrepared(trace: Error | undefined): Lease<C> | undefined {
    try {
      while (this.#queue.size === 0 && this.#mayHandOut) {
        const slot = this.#slots.peekIdle(this.#options.queueStrategy)
        if (slot === undefined) return undefined
        const now = this.#clock.now()
        const reason = this.#fitness.closeReasonFor(slot, now)
        if (reason !== undefined) {
          this.#engine.connector.closeUnfit(slot, reason)
          continue
        }
        const prepared = this.#checks.prepareNow(slot)
        if (prepared === undefined) return undefined
        if (prepared) return this.#lease(slot, now, trace, 0)
      }
      return undefined
    } finally {
      this.#engine.settle()
    }
  }

  #lease(slot: Slot<C>, now: number, trace: Error | undefined, waitMs: number): Lease<C> {
    const engine = this.#engine
    this.#slots.lease(slot, now)
    if (this.#options.allowExitOnIdle) this.#references.set(slot, true)
    const lease = new Lease(this.#home, slot)
    engine.leaks?.watch(lease, slot, trace)
    engine.events.acquired(slot.id, waitMs)
    return lease
  }
}

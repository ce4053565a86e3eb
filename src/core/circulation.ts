import { Calls } from './calls.ts'
import { Checks } from './checks.ts'
import type { CloseReason } from './close-reason.ts'
import { Closer } from './closer.ts'
import { Connector } from './connector.ts'
import { Events } from './events.ts'
import { Fitness } from './fitness.ts'
import { Housekeeping } from './housekeeping.ts'
import { acquiredHere, Leaks } from './leaks.ts'
import { Lease } from './lease.ts'
import type { ConnectionManager } from './manager.ts'
import type { AcquireOptions, ResolvedPoolOptions } from './options.ts'
import type { Parts } from './parts.ts'
import { Queue } from './queue.ts'
import { Reports } from './reports.ts'
import { type Slot, SlotState } from './slot.ts'
import { Slots } from './slots.ts'
import { nextPoolId } from './live-pools.ts'
import { snapshot } from './snapshot.ts'
import type { PoolState } from './state.ts'
import { isTraced, traceAcquire, tracing } from './tracing.ts'

/**
 * Moves connections between the manager, the idle ones and the callers. It waits; Slots counts. Every connection that
 * becomes free, from wherever, goes through `#offer`, and every close through the closer.
 */
export class Circulation<C> implements Parts<C> {
  readonly manager: ConnectionManager<C>
  readonly options: ResolvedPoolOptions<C>
  readonly slots: Slots<C>
  readonly queue: Queue<C>
  readonly calls: Calls
  readonly events: Events
  readonly reports: Reports<C>
  readonly connector: Connector<C>
  readonly closer: Closer<C>
  paused = false
  closed = false
  /** Called after a connection was opened, closed or detached, or an attempt failed. */
  onChange: () => void = () => {}
  /** Called after each failed attempt; `isFinal`: no retry is wanted or would help. */
  onConnectFailed: (error: unknown, isFinal: boolean) => void = () => {}

  readonly #fitness: Fitness<C>
  readonly #checks: Checks<C>
  readonly #housekeeping: Housekeeping<C>
  readonly #leaks: Leaks<C> | undefined

  constructor(manager: ConnectionManager<C>, options: ResolvedPoolOptions<C>) {
    this.manager = manager
    this.options = options
    this.slots = new Slots(options)
    this.events = new Events(options.name, nextPoolId())
    this.calls = new Calls(options.clock, this.events, options.onError)
    this.reports = new Reports(options, this.calls, this.events, () => this.state())
    this.#fitness = new Fitness(this)
    this.closer = new Closer(this, {
      closing: (slot) => this.#leaks?.unwatch(undefined, slot),
      freed: () => {
        this.onChange()
        this.refill()
      },
    })
    this.#checks = new Checks(this, {
      offer: (slot) => this.#offer(slot, true, true),
      prepared: (slot) => {
        const now = this.options.clock.now()
        const reason = this.#unfit(slot, now)
        if (reason !== undefined) this.#discard(slot, reason)
        else this.#deliver(slot, now)
      },
      cleaned: (slot) => {
        slot.lastUsedAt = this.options.clock.now()
        this.#offer(slot, false, true, slot.lastUsedAt)
      },
      refused: (slot, reason) => this.closer.close(slot, reason),
      done: () => this.refill(),
    })
    this.queue = new Queue(options, this.calls.clock, this.events, {
      serve: () => this.refill(),
      details: (cause) => this.reports.details(cause),
      lastConnectError: () => this.connector.lastError,
      supply: () => {
        const inHook = this.slots.inHook
        const connecting = this.slots.opening + (this.connector.isFailing ? 1 : 0)
        return { inHook, inCheck: this.slots.checking + this.slots.suspects - inHook, connecting }
      },
    })
    this.connector = new Connector(this, {
      queued: () => this.queue.size,
      halted: () => this.paused || this.closed,
      opened: (slot) => {
        this.#offer(slot, true, this.options.afterConnect !== undefined)
        this.refill()
        this.onChange()
      },
      failed: (error) => this.#connectFailed(error),
      lost: (slot) => this.#lost(slot),
    })
    this.#housekeeping = new Housekeeping(this, {
      close: (slot, reason) => this.closer.close(slot, reason),
      check: (slot) => this.#checks.validate(slot),
      done: () => this.refill(),
    })
    const { leakThresholdMs, reclaimAbandoned } = options
    if (leakThresholdMs < Infinity || reclaimAbandoned) {
      this.#leaks = new Leaks(
        { leakThresholdMs, reclaimAbandoned, clock: this.calls.clock },
        (...leak) => this.reports.leak('LEASE_LEAKED', ...leak),
        (slot, ...leak) => {
          this.reports.leak('LEASE_ABANDONED', slot, ...leak)
          this.destroy(slot, undefined)
        },
      )
    }
  }

  /** Where the lease of a slot was acquired, if that is remembered. */
  traceOf(slot: Slot<C>): Error | undefined {
    return this.#leaks?.traceOf(slot)
  }

  state(): PoolState {
    return snapshot(this)
  }

  /** A lease within this call, or a place in the queue. `fresh`: only of a connection that is opened or checked from now on. */
  acquire(options: AcquireOptions | undefined, fresh: boolean): Promise<Lease<C>> {
    if (!isTraced(tracing.acquire)) return this.#acquire(options, fresh)
    const begin = () => this.#acquire(options, fresh)
    return traceAcquire(this.events, this.calls.clock, this.queue.size, begin)
  }

  #acquire(options: AcquireOptions | undefined, fresh: boolean): Promise<Lease<C>> {
    const { queue, slots } = this
    queue.counts.started++
    if (this.closed) return queue.refuse(this.reports.closed())
    const signal = options?.signal
    if (signal?.aborted === true) return queue.refuseAborted(signal.reason)
    const trace = this.#leaks && acquiredHere()
    if (!fresh && this.options.beforeAcquire === undefined) {
      const lease = this.#takeReady(this.options.testOnCheckOut, trace)
      if (lease !== undefined) {
        queue.counts.direct++
        return Promise.resolve(lease)
      }
    }
    const isServed = slots.idle > 0 && !this.paused
    if (!isServed && queue.size - slots.checking >= this.options.maxWaiting) return queue.refuseFull()
    return queue.join(options, fresh ? slots.tick() : 0, trace)
  }

  /** A lease of an idle connection that needs no check that waits. */
  tryAcquire(): Lease<C> | undefined {
    const { beforeAcquire, queueStrategy } = this.options
    const trace = this.#leaks && acquiredHere()
    if (beforeAcquire === undefined) return this.#takeReady(false, trace)
    for (;;) {
      const slot = this.#isHalted() ? undefined : this.slots.peekIdle(queueStrategy)
      if (slot === undefined) return undefined
      const now = this.options.clock.now()
      const reason = this.#unfit(slot, now)
      if (reason !== undefined) {
        this.#discard(slot, reason)
        continue
      }
      let lease: Lease<C> | undefined
      let isWithinCall = true
      this.slots.check(slot)
      const run = () => beforeAcquire(slot.connection)
      this.#checks.call(slot, 'beforeAcquire', run, (outcome) => {
        if (!this.#checks.accepts(outcome)) this.#discard(slot, 'hook')
        else if (isWithinCall) lease = this.#leaseIdle(slot, now, trace)
        else {
          // Not checked: whoever waits gets it as any idle one.
          this.#rest(slot)
          this.refill()
        }
      })
      isWithinCall = false
      if (lease !== undefined || slot.state === SlotState.checking) return lease
    }
  }

  /** A connection comes back. */
  giveBack(slot: Slot<C>, error: unknown, lease: Lease<C>): void {
    if (slot.state !== SlotState.leased) return
    const isFinal = this.manager.reset === undefined && this.options.afterRelease === undefined
    const now = this.options.clock.now()
    this.#released(slot, now, lease)
    const reason = this.#unfit(slot, now, error)
    if (reason !== undefined) this.#discard(slot, reason)
    else if (isFinal) this.#place(slot, now, false)
    else if (this.#checks.clean(slot, error)) this.#offer(slot, false, true, now)
  }

  /** A connection comes back to be closed. */
  destroy(slot: Slot<C>, lease: Lease<C> | undefined): void {
    if (slot.state !== SlotState.leased) return
    this.#released(slot, this.options.clock.now(), lease)
    this.#discard(slot, this.closed ? 'poolClosed' : 'destroyed')
  }

  /** A connection leaves the pool open. */
  detach(slot: Slot<C>, lease: Lease<C>): void {
    if (slot.state !== SlotState.leased) return
    this.#released(slot, this.options.clock.now(), lease)
    this.slots.detach(slot)
    this.onChange()
    this.refill()
  }

  /** A connection from elsewhere becomes the pool's. */
  add(connection: C): 'added' | 'broken' | 'full' {
    if (this.closed || this.slots.taken >= this.slots.limits.maxSize) return 'full'
    if (this.#fitness.isBroken(connection, undefined)) return 'broken'
    const now = this.calls.clock.now()
    const slot = this.slots.adopt(connection, now, this.connector.expiresAt(now))
    this.events.opened(slot.id, 0)
    const { afterConnect } = this.options
    if (afterConnect === undefined) {
      this.#offer(slot, true, false)
    } else {
      const run = () => afterConnect(connection)
      this.#checks.call(slot, 'afterConnect', run, (outcome) => {
        if (outcome.ok) return this.#offer(slot, true, true)
        this.calls.report(outcome.error)
        this.#discard(slot, 'hook')
      })
    }
    return 'added'
  }

  /** Makes reality converge to what is wanted: serves waiters from idle connections, and opens what is lacking. */
  refill(): void {
    while (this.queue.size > this.slots.checking && !this.#isHalted(true)) {
      const slot = this.slots.peekIdle(this.options.queueStrategy)
      if (slot === undefined) break
      const now = this.options.clock.now()
      const reason = this.#unfit(slot, now)
      if (reason !== undefined) this.closer.close(slot, reason)
      else if (this.#fitness.needsCheck(slot, now)) this.#checks.validate(slot)
      else this.#prepare(slot, now)
    }
    this.connector.openWanted()
  }

  /** Closes every connection that nobody holds, and gives up every attempt. */
  shut(): void {
    this.closed = true
    const details = this.reports.details()
    while (this.queue.failHead(() => this.reports.closed(details))) continue
    this.connector.abandonAll()
    this.closer.closeIdle('poolClosed')
    this.closer.closeAll(SlotState.checking, SlotState.suspect)
  }

  /** Closes what is still leased or being reset. Returns how many. */
  closeByForce(): number {
    return this.closer.closeAll(SlotState.leased, SlotState.returning)
  }

  /** Whether the connection of a lease broke under its borrower. */
  hasBroken(slot: Slot<C>, error: unknown): boolean {
    return slot.lost || this.#fitness.isBroken(slot.connection, error)
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.queue.stop()
    this.#housekeeping.stop()
    this.#leaks?.stop()
  }

  #isHalted(withQueue = false): boolean {
    return this.paused || this.closed || this.slots.hasSurplus || (!withQueue && this.queue.size > 0)
  }

  #takeReady(testOnCheckOut: boolean, trace: Error | undefined): Lease<C> | undefined {
    while (!this.#isHalted()) {
      const slot = this.slots.peekIdle(this.options.queueStrategy)
      if (slot === undefined) return undefined
      const now = this.options.clock.now()
      const reason = this.#unfit(slot, now)
      if (reason !== undefined) this.#discard(slot, reason)
      else if (testOnCheckOut && this.#fitness.needsCheck(slot, now)) return undefined
      else return this.#leaseIdle(slot, now, trace)
    }
    return undefined
  }

  // An idle one fewer: minIdle may want another.
  #leaseIdle(slot: Slot<C>, now: number, trace: Error | undefined): Lease<C> {
    const lease = this.#lease(slot, now, trace, 0)
    if (this.slots.idle < this.slots.limits.minIdle) this.connector.openWanted()
    return lease
  }

  #lease(slot: Slot<C>, now: number, trace: Error | undefined, waitMs: number): Lease<C> {
    this.slots.lease(slot, now)
    const lease = new Lease(this, slot)
    this.#leaks?.watch(lease, slot, trace)
    this.events.acquired(slot.id, waitMs)
    return lease
  }

  #released(slot: Slot<C>, now: number, lease: Lease<C> | undefined): void {
    slot.lastUsedAt = now
    this.#leaks?.unwatch(lease, slot)
    this.events.released(slot.id, now - slot.leasedAt)
  }

  #unfit(slot: Slot<C>, now: number, error?: unknown, isAsked = true): CloseReason | undefined {
    return this.closed ? 'poolClosed' : this.#fitness.flawOf(slot, now, error, isAsked)
  }

  // A connection that nobody holds goes to the caller at the head, or rests. `isProven`: just opened or checked.
  // `isAged`: it was reset or waited for, and may have broken meanwhile. Where it rests, or beforeAcquire comes, hasBroken is asked later.
  #offer(slot: Slot<C>, isProven: boolean, isAged: boolean, now: number = this.options.clock.now()): void {
    const isAsked = isAged && this.queue.size > 0 && this.options.beforeAcquire === undefined
    const reason = this.#unfit(slot, now, undefined, isAsked)
    if (reason === undefined) this.#place(slot, now, isProven)
    else this.#discard(slot, reason)
  }

  // One that is fit goes to the caller at the head, or rests.
  #place(slot: Slot<C>, now: number, isProven: boolean): void {
    if (this.paused || this.queue.size === 0) return this.#rest(slot)
    if (isProven || !this.options.testOnCheckOut || this.options.validationBypassMs > 0)
      return this.#prepare(slot, now)
    this.#checks.validate(slot)
  }

  #rest(slot: Slot<C>): void {
    // An idle one that was about to be delivered, when overload control shed all who waited.
    if (slot.state !== SlotState.idle) this.slots.rest(slot)
    this.#housekeeping.wake()
  }

  #discard(slot: Slot<C>, reason: CloseReason): void {
    this.closer.close(slot, reason)
    this.refill()
  }

  // The last step of a checkout: beforeAcquire, then the lease.
  #prepare(slot: Slot<C>, now: number): void {
    if (this.options.beforeAcquire === undefined) this.#deliver(slot, now)
    else this.#checks.beforeAcquire(slot)
  }

  #deliver(slot: Slot<C>, now: number): void {
    const waiter = this.paused ? undefined : this.queue.next(now)
    if (waiter === undefined) return this.#rest(slot)
    if (slot.checkedTick < waiter.freshSince) return this.#checks.validate(slot)
    const waitMs = Math.max(0, now - waiter.queuedAt)
    this.queue.serve(waiter, this.#lease(slot, now, waiter.trace, waitMs), waitMs)
  }

  #lost(slot: Slot<C>): void {
    slot.lost = true
    const { state } = slot
    if (state === SlotState.leased || state === SlotState.closing || state === SlotState.gone) return
    this.#discard(slot, 'lost')
  }

  #connectFailed(error: unknown): void {
    const { retryConnect } = this.options
    const isFatal = this.calls.predicate(() => this.manager.isFatal?.(error) === true, false)
    const isFinal = !retryConnect || isFatal
    this.events.openFailed(error, isFatal)
    const refused = isFinal && this.queue.failHead(() => this.reports.connect(error))
    if (!refused) this.reports.failure('CONNECT_FAILED', 'connect', error)
    this.onConnectFailed(error, isFinal)
    this.onChange()
    this.refill()
  }
}

import { Lease, type LeaseHome } from './callers/lease.ts'
import type { Queue } from './callers/queue.ts'
import type { Checks } from './connections/checks.ts'
import type { Closer } from './connections/closer.ts'
import type { Fitness } from './connections/fitness.ts'
import type { Housekeeping } from './connections/housekeeping.ts'
import { type Slot, SlotState } from './connections/slot.ts'
import type { Slots } from './connections/slots.ts'
import type { Clock } from './contract/clock.ts'
import type { CloseReason } from './contract/close-reason.ts'
import type { LeaseReleasedError } from './contract/errors.ts'
import type { EngineContext } from './engine-context.ts'
import type { Turns } from './turns.ts'

const { leased, resetting } = SlotState

/** Receives released connections: each is closed, reset, handed to the head waiter, or parked. */
export class Returns<C> implements LeaseHome<C> {
  readonly #engine: EngineContext<C>
  readonly #turns: Turns
  readonly #slots: Slots<C>
  readonly #queue: Queue<C>
  readonly #clock: Clock
  readonly #fitness: Fitness<C>
  readonly #checks: Checks<C>
  readonly #closer: Closer<C>
  readonly #housekeeping: Housekeeping<C>
  // No user code runs at a return, except hasBroken.
  #isBare = false

  constructor(
    engine: EngineContext<C>,
    fitness: Fitness<C>,
    checks: Checks<C>,
    closer: Closer<C>,
    housekeeping: Housekeeping<C>,
  ) {
    this.#engine = engine
    this.#turns = engine.turns
    this.#slots = engine.slots
    this.#queue = engine.queue
    this.#clock = engine.calls.clock
    this.#fitness = fitness
    this.#checks = checks
    this.#closer = closer
    this.#housekeeping = housekeeping
    this.managerChanged()
  }

  /** The manager of a key was loaded: it may have other methods. */
  managerChanged(): void {
    this.#isBare = this.#engine.manager.reset === undefined && this.#engine.options.afterRelease === undefined
  }

  release(slot: Slot<C>, error: unknown, lease: Lease<C>): void {
    const turns = this.#turns
    if (turns.isBusy) turns.later(() => this.#releaseNow(slot, error, lease))
    else this.#releaseNow(slot, error, lease)
  }

  destroy(slot: Slot<C>, lease: Lease<C> | undefined): void {
    this.#turns.run(() => {
      // A forced close came first.
      if (slot.state !== leased) return
      this.#ended(slot, this.#clock.now(), lease)
      this.#closer.close(slot, this.#engine.closed ? 'poolClosed' : 'destroyed')
    })
  }

  detach(slot: Slot<C>, lease: Lease<C>): void {
    this.#turns.run(() => {
      // A forced close came first.
      if (slot.state !== leased) return
      this.#ended(slot, this.#clock.now(), lease)
      this.#slots.detach(slot)
    })
  }

  served(slot: Slot<C>): void {
    this.#turns.run(() => {
      if (slot.state === leased && !slot.hasServed) this.#engine.connector.schedule.served(slot)
    })
  }

  reasonToClose(slot: Slot<C>, error: unknown): CloseReason | undefined {
    return this.#fitness.closeReasonFor(slot, this.#clock.now(), error)
  }

  usedAfterRelease(): LeaseReleasedError {
    return this.#engine.reports.released()
  }

  #releaseNow(slot: Slot<C>, error: unknown, lease: Lease<C>): void {
    const turns = this.#turns
    turns.begin()
    try {
      if (this.#release(slot, error, lease)) this.#engine.settle()
    } finally {
      turns.end()
    }
  }

  // Returns whether the transition must be settled: false if the connection was only parked or handed over.
  #release(slot: Slot<C>, error: unknown, lease: Lease<C>): boolean {
    // A forced close came first.
    if (slot.state !== leased) return false
    const now = this.#clock.now()
    this.#ended(slot, now, lease)
    const { connector } = this.#engine
    const reason = this.#fitness.closeReasonFor(slot, now, error)
    if (reason !== undefined) {
      connector.closeUnfit(slot, reason, error)
      return true
    }
    const isFirst = !slot.hasServed
    if (isFirst) connector.schedule.served(slot)
    if (this.#isBare) {
      slot.inspectedIn = this.#turns.number
      return this.#passOn(slot, now) || isFirst
    }
    const cleaned = this.#checks.clean(slot, error)
    if (cleaned === true) return this.#passOn(slot, now) || isFirst
    if (cleaned === false) this.#closer.close(slot, 'hook')
    else {
      this.#slots.reset(slot)
      void this.#whenCleaned(slot, cleaned)
    }
    return true
  }

  async #whenCleaned(slot: Slot<C>, cleaned: Promise<boolean>): Promise<void> {
    const passed = await cleaned
    this.#turns.run(() => {
      // A forced close came first.
      if (slot.state !== resetting) return
      slot.pending = undefined
      slot.lastUsedAt = this.#clock.now()
      const reason = passed ? this.#fitness.closeReasonFor(slot, slot.lastUsedAt) : 'hook'
      if (reason !== undefined) return this.#engine.connector.closeUnfit(slot, reason)
      slot.inspectedIn = this.#turns.number
      if (!this.#yields(slot, slot.lastUsedAt)) this.#park(slot)
    })
  }

  // Hands a returned connection to the head waiter, or parks it. Returns whether the transition must be settled.
  #passOn(slot: Slot<C>, now: number): boolean {
    const queue = this.#queue
    const slots = this.#slots
    const engine = this.#engine
    if (slots.places !== undefined && this.#yields(slot, now)) return true
    if (queue.size === 0 || engine.paused) return this.#park(slot)
    const isReady =
      slot.inspectedIn === this.#turns.number &&
      engine.options.beforeAcquire === undefined &&
      !this.#fitness.needsCheck(slot, now)
    const resolve = isReady ? queue.shiftPlain(now) : undefined
    if (resolve === undefined) {
      slots.park(slot)
      return true
    }
    slots.handOver(slot, now)
    engine.events.acquired(slot.id, queue.waitedMs)
    resolve(new Lease(this, slot))
    return false
  }

  // Closes the connection if another pool of the group has a better claim to its slot. Returns whether it did.
  #yields(slot: Slot<C>, now: number): boolean {
    if (this.#slots.places?.claims(slot, now) !== true) return false
    this.#closer.close(slot, 'surplus')
    return true
  }

  // Makes the connection idle, or closes it beyond maxIdle. Returns whether the transition must be settled.
  #park(slot: Slot<C>): boolean {
    const slots = this.#slots
    if (slots.idle >= slots.limits.maxIdle && this.#queue.size === 0) {
      this.#closer.close(slot, 'surplus')
      return true
    }
    slots.park(slot)
    this.#housekeeping.wake()
    return this.#engine.isObserved
  }

  #ended(slot: Slot<C>, now: number, lease: Lease<C> | undefined): void {
    slot.lastUsedAt = now
    this.#engine.leaks?.unwatch(lease, slot)
    this.#engine.events.released(slot.id, now - slot.leasedAt)
  }
}

import { Leaks } from './callers/leaks.ts'
import { Queue } from './callers/queue.ts'
import type { Supply } from './callers/queue-source.ts'
import { Checkout } from './checkout.ts'
import { Checks } from './connections/checks.ts'
import { Closer } from './connections/closer.ts'
import { Connector } from './connections/connector.ts'
import { Fitness } from './connections/fitness.ts'
import { Housekeeping } from './connections/housekeeping.ts'
import { References } from './connections/references.ts'
import { SlotState } from './connections/slot.ts'
import { Slots } from './connections/slots.ts'
import type { PoolError } from './contract/errors.ts'
import type { ConnectionManager } from './contract/manager.ts'
import type { ResolvedPoolOptions } from './contract/options.ts'
import type { PoolState } from './contract/state.ts'
import type { EngineContext } from './engine-context.ts'
import { nextPoolId } from './inspection/live-pools.ts'
import { snapshot } from './inspection/snapshot.ts'
import { Returns } from './returns.ts'
import { AbortWatchers } from './runtime/abort-watchers.ts'
import { Alarm } from './runtime/alarm.ts'
import { AsyncMarks } from './runtime/async-marks.ts'
import type { Histogram } from './runtime/histogram.ts'
import { UserCalls } from './runtime/user-calls.ts'
import type { ChangeEvent } from './telemetry/channels.ts'
import { Events } from './telemetry/events.ts'
import { Reports } from './telemetry/reports.ts'
import { Turns } from './turns.ts'

const { leased, checking, doubted, preparing, resetting, opening } = SlotState

/**
 * The parts of one pool, and the commands that concern all of it. Callers and connections meet in checkout.ts and returns.ts
 * only. Each public method is one transition; a transition moves slots, and `settle` at its end makes reality converge: it
 * serves waiters from idle connections, and opens what is lacking.
 */
export class PoolEngine<C> implements EngineContext<C> {
  readonly manager: ConnectionManager<C>
  readonly options: ResolvedPoolOptions<C>
  readonly turns: Turns
  readonly slots: Slots<C>
  readonly queue: Queue<C>
  readonly calls: UserCalls
  readonly marks: AsyncMarks
  /** Cancels the running functions whose signal aborts. */
  readonly runs: AbortWatchers<() => void> = new AbortWatchers((cancel) => this.turns.later(cancel))
  readonly events: Events
  readonly reports: Reports
  readonly connector: Connector<C>
  readonly leaks: Leaks<C> | undefined
  readonly checkout: Checkout<C>
  readonly returns: Returns<C>
  paused = false
  closed = false
  /** The unit of the connections; a share pools seats. */
  unit: 'connection' | 'seat' = 'connection'

  readonly #closer: Closer<C>
  readonly #fitness: Fitness<C>
  readonly #checks: Checks<C>
  readonly #housekeeping: Housekeeping<C>
  readonly #references: References<C>
  readonly #conditions = new Set<() => void>()
  #resizes = 0

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
    this.turns = new Turns(() => this.settle())
    this.slots = new Slots(options)
    this.calls = new UserCalls(options.clock)
    this.events = new Events(options.name, nextPoolId(), this.turns, group)
    this.reports = new Reports(options, this.calls, this.events, this.turns, () => this.state())
    this.#fitness = new Fitness(this)
    this.#closer = new Closer(this)
    this.connector = new Connector(this, this.#fitness, this.#closer)
    this.#checks = new Checks(this, this.#closer, this.connector)
    this.#housekeeping = new Housekeeping(this, this.#closer, this.#checks, this.connector)
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
    this.#references = new References(this)
    this.returns = new Returns(this, this.#fitness, this.#checks, this.#closer, this.#housekeeping)
    this.checkout = new Checkout(this, this.returns, this.#fitness, this.#checks, this.#references)
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

  /** The manager could not be loaded: rejects every caller, and waits before the next load. */
  loadFailed(error: unknown): void {
    this.turns.run(() => {
      this.connector.schedule.loadFailed(error)
      const details = this.reports.details(error)
      this.queue.rejectBeyond(0, () => this.reports.connect(error, details))
    })
  }

  get isObserved(): boolean {
    return this.#conditions.size > 0 || this.options.allowExitOnIdle
  }

  state(): PoolState {
    return snapshot(this)
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
      this.checkout.stop()
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

  /** Calls `test` at the end of each transition, until the returned function is called. It must not call the pool. */
  watch(test: () => void): () => void {
    this.#conditions.add(test)
    return () => this.#conditions.delete(test)
  }

  settle(): void {
    const { queue, slots } = this
    if (queue.size > 0 && slots.idle > 0) this.checkout.serve()
    slots.arrived = undefined
    if (this.#housekeeping.isBehind) this.#housekeeping.checkIdle()
    const lacking = this.connector.openWanted(queue.size)
    if (slots.places !== undefined) slots.places.settled(lacking)
    if (slots.idle > 0) this.#housekeeping.wake()
    if (this.options.allowExitOnIdle) this.#references.unrefIdle()
    for (const test of this.#conditions) test()
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
        this.returns.destroy(slot, undefined)
      },
    )
  }
}

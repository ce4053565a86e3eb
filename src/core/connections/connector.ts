import type { Clock } from '../contract/clock.ts'
import type { CloseReason } from '../contract/close-reason.ts'
import { withoutSecrets } from '../contract/redact.ts'
import { AbandonedError, isThenable, type Outcome, PendingCall } from '../runtime/user-calls.ts'
import { nameAndCode } from '../telemetry/events.ts'
import { isTraced, type OpenTrace, traceEnd, traceStart, tracing } from '../telemetry/tracing.ts'
import type { Closer } from './closer.ts'
import type { Fitness } from './fitness.ts'
import type { PoolContext } from './pool-context.ts'
import { ADDED, RetrySchedule } from './retry-schedule.ts'
import { type Slot, SlotState } from './slot.ts'
import { wanted } from './wanted.ts'

// This many attempts may run concurrently whatever is open: a pool of the default size fills immediately.
const LEAST_BURST = 10

/** The owner of an attempt, which can give it up: a slot, or one caller of `dedicated`. */
interface Attempt {
  controller: AbortController | undefined
  pending: PendingCall<unknown> | undefined
}

/**
 * The one path that opens connections: reserve, connect, afterConnect, then fill or forfeit. After a failure one schedule
 * of waits holds for all attempts, until a connection has served a caller.
 */
export class Connector<C> {
  readonly schedule: RetrySchedule<C>

  readonly #context: PoolContext<C>
  readonly #fitness: Fitness<C>
  readonly #closer: Closer<C>
  readonly #clock: Clock

  constructor(context: PoolContext<C>, fitness: Fitness<C>, closer: Closer<C>) {
    this.#context = context
    this.#fitness = fitness
    this.#closer = closer
    this.#clock = context.calls.clock
    this.schedule = new RetrySchedule(
      context.options.connectBackoff,
      this.#clock,
      () => this.#random(),
      () => context.turns.run(() => this.schedule.waited()),
    )
  }

  /**
   * Begins as many attempts as there is demand for. `retiring`: idle connections about to reach their lifetime. Returns how
   * many attempts lack a place that is shared with other pools.
   */
  openWanted(queued: number, retiring = 0): number {
    const { slots, paused, closed } = this.#context
    const { maxSize, minIdle } = slots.limits
    // This runs in every transition of a busy pool.
    if (slots.taken >= maxSize || paused || closed || (queued === 0 && slots.idle >= minIdle + retiring))
      return 0
    let count = wanted({
      queued,
      minIdle,
      idle: slots.idle,
      retiring,
      checking: slots.arriving,
      opening: slots.openingCurrent,
      attempts: slots.count(SlotState.opening),
      slots: slots.taken,
      maxSize,
      attemptLimit: this.schedule.isWaiting ? 0 : this.schedule.isProbing ? 1 : this.#burst,
    })
    for (; count > 0; count--) {
      if (slots.places !== undefined && !slots.places.take(count)) break
      const slot = slots.reserve(this.schedule.round, this.#clock.now())
      // Attempts begin after the transition, in the pool's own async context.
      this.#context.turns.later(() => this.#context.calls.inPoolContext(() => void this.#attempt(slot)))
    }
    return count
  }

  /** Adopts a connection that was opened elsewhere: it takes the slot now, and is prepared in a transition of its own. */
  adopt(connection: C): void {
    const { slots, options, turns } = this.#context
    const slot = slots.reserve(ADDED, this.#clock.now())
    slots.hold(slot, connection)
    turns.run(() => {
      this.#fill(slot, connection, true)
      if (hasEnded(slot)) return
      if (this.#context.closed) return this.#closer.close(slot, 'poolClosed')
      if (options.afterConnect === undefined) return
      slots.prepare(slot)
      turns.later(() => void this.#prepareAdopted(slot))
    })
  }

  /** Gives up attempts, the youngest first, until at most `count` are left. A connection that arrives later is closed. */
  abandon(count: number): void {
    const { slots } = this.#context
    // An adopted connection is not given up: its slot stays taken until it is closed.
    const attempts = slots.in(SlotState.opening).filter(({ round }) => round !== ADDED)
    const given = attempts.slice(Math.min(count, attempts.length))
    // All aborts run before another pool of the group uses the slots.
    for (const slot of given)
      this.#context.turns.later(() => {
        slot.controller?.abort(new Error('the pool no longer needs this connection'))
        slot.pending?.abandon()
      })
    for (const slot of given) slots.forfeit(slot)
  }

  /** When a connection that opens now reaches its lifetime. */
  expiresAt(now: number): number {
    const { maxLifetimeMs, lifetimeJitter } = this.#context.options
    return now + maxLifetimeMs * (1 - lifetimeJitter * this.#random())
  }

  /** One connect with afterConnect, outside the pool's count. */
  async dedicated(signal: AbortSignal | undefined): Promise<C> {
    const attempt: Attempt = { controller: new AbortController(), pending: undefined }
    const onAbort = (): void => {
      attempt.controller?.abort(signal?.reason)
      attempt.pending?.abandon()
    }
    signal?.addEventListener('abort', onAbort)
    const outcome = await this.#connect(attempt, () => {})
    signal?.removeEventListener('abort', onAbort)
    if (signal?.aborted === true) {
      if (outcome.ok) this.closeStray(outcome.value)
      throw signal.reason
    }
    if (!outcome.ok) throw outcome.error
    return outcome.value
  }

  /** Closes a connection that never became the pool's. */
  closeStray(connection: C): void {
    this.#context.turns.later(() => void this.#closer.closeStray(connection))
  }

  /** Whether the end of a connection is a failed attempt. */
  isUnserved(slot: Slot<C>): boolean {
    return slot.round !== ADDED && !slot.hasServed
  }

  /** Closes a connection that may not be kept; the end of one that broke before it served a caller is a failed attempt. */
  closeUnfit(slot: Slot<C>, reason: CloseReason, error?: unknown): void {
    this.#closer.close(slot, reason)
    if (reason !== 'broken' && reason !== 'lost') return
    this.endedUnserved(
      slot,
      slot.endedBy ?? error ?? new Error('the connection broke before it served a caller'),
    )
  }

  /** A connection ended or was refused before it served a caller: that is a failed attempt, though its connect succeeded. */
  endedUnserved(slot: Slot<C>, error: unknown): void {
    if (!this.isUnserved(slot)) return
    this.#failed(slot, error, !this.#context.options.retryConnect)
  }

  async #attempt(slot: Slot<C>): Promise<void> {
    const { turns } = this.#context
    if (!this.#mayBegin(slot)) return
    slot.controller = new AbortController()
    const trace = isTraced(tracing.open) ? this.#traceOf(slot) : undefined
    const connect = async (): Promise<Outcome<C>> =>
      this.#mayBegin(slot)
        ? await this.#connect(slot, (error) => this.#lost(slot, error))
        : { ok: false, error: new AbandonedError('connect') }
    const outcome = await (trace === undefined ? connect() : traceStart(tracing.open, trace, connect))
    turns.run(() => {
      if (trace !== undefined) turns.notify(() => this.#endTrace(trace, slot, outcome))
      slot.pending = undefined
      slot.controller = undefined
      if (slot.state === SlotState.opening) this.#settleAttempt(slot, outcome)
      else if (outcome.ok) this.closeStray(outcome.value)
    })
  }

  // Fills the reserved slot with the connection, or forfeits it.
  #settleAttempt(slot: Slot<C>, outcome: Outcome<C>): void {
    const { slots, events, options } = this.#context
    if (outcome.ok && !slots.has(outcome.value)) return this.#fill(slot, outcome.value, false)
    slots.forfeit(slot)
    const error = outcome.ok
      ? new TypeError('manager.connect returned a connection that the pool already has')
      : outcome.error
    const isFatal = this.#isFatal(error)
    events.openFailed(error, isFatal)
    this.#failed(slot, error, isFatal || !options.retryConnect)
  }

  // Returns whether a reserved attempt still begins: user code may have closed the pool, or another connection may have failed.
  #mayBegin(slot: Slot<C>): boolean {
    if (slot.state !== SlotState.opening || slot.round === this.schedule.round)
      return slot.state === SlotState.opening
    const { turns, slots } = this.#context
    turns.run(() => {
      if (slot.state === SlotState.opening) slots.withdraw(slot)
    })
    return false
  }

  // Connects once, then runs afterConnect.
  async #connect(attempt: Attempt, lost: (error?: unknown) => void): Promise<Outcome<C>> {
    const { calls, manager, options } = this.#context
    const controller = attempt.controller as AbortController
    const { signal } = controller
    const connecting = calls.call<C>(
      {
        what: 'connect',
        limitMs: options.connectTimeoutMs,
        controller,
        late: (connection) => isConnection(connection) && this.closeStray(connection),
      },
      () => manager.connect({ signal, lost }),
    )
    const connected = await this.#settled(attempt, connecting)
    if (!connected.ok) return { ok: false, error: withoutSecrets(connected.error) }
    const connection = connected.value
    if (!isConnection(connection))
      return {
        ok: false,
        error: new TypeError(`manager.connect returned ${String(connection)} instead of a connection`),
      }
    if (options.afterConnect === undefined) return connected
    const prepared = await this.#afterConnect(attempt, connection)
    if (prepared.ok) return connected
    // The attempt keeps its slot until the connection that it did open is closed.
    await this.#closer.closeStray(connection)
    return { ok: false, error: withoutSecrets(prepared.error) }
  }

  async #afterConnect(attempt: Attempt, connection: C): Promise<Outcome<void>> {
    const { calls, options, marks } = this.#context
    const bounds = { what: 'afterConnect', limitMs: options.validationTimeoutMs }
    return await this.#settled(
      attempt,
      calls.call<void>(bounds, () => marks.runHook('afterConnect', () => options.afterConnect?.(connection))),
    )
  }

  async #settled<T>(attempt: Attempt, call: Outcome<T> | PendingCall<T>): Promise<Outcome<T>> {
    if (!(call instanceof PendingCall)) return call
    attempt.pending = call as PendingCall<unknown>
    return await call.outcome
  }

  async #prepareAdopted(slot: Slot<C>): Promise<void> {
    if (slot.state !== SlotState.preparing) return
    const outcome = await this.#afterConnect(slot, slot.connection)
    this.#context.turns.run(() => {
      // The slot was closed in the meantime.
      if (slot.state !== SlotState.preparing) return
      slot.pending = undefined
      this.#context.slots.arrive(slot)
      slot.validIn = this.#context.turns.number
      if (outcome.ok) return
      this.#context.reports.failure('HOOK_FAILED', 'hook afterConnect', outcome.error)
      this.#closer.close(slot, 'hook')
    })
  }

  #fill(slot: Slot<C>, connection: C, isAdded: boolean): void {
    const { slots, events, turns } = this.#context
    const now = this.#clock.now()
    slots.fill(slot, connection, now, this.expiresAt(now), isAdded)
    slot.validIn = turns.number
    events.opened(slot.id, isAdded ? 0 : now - slot.startedAt)
    const reason = this.#fitness.closeReasonFor(slot, now)
    if (reason === undefined) this.schedule.opened(slot)
    else this.closeUnfit(slot, reason)
  }

  #failed(slot: Slot<C>, error: unknown, isFinal: boolean): void {
    this.schedule.failed(slot, error, isFinal)
    this.#context.connectFailed(error, isFinal)
  }

  // The driver reported that a connection died.
  #lost(slot: Slot<C>, error: unknown): void {
    this.#context.turns.run(() => {
      if (hasEnded(slot) || slot.lost) return
      slot.lost = true
      slot.endedBy = withoutSecrets(error)
      const { onLost } = slot
      if (onLost !== undefined) this.#context.turns.notify(() => onLost(slot.endedBy))
      // A leased connection is closed at its return, one that is being opened when its slot is filled.
      if (slot.state !== SlotState.leased && slot.state !== SlotState.opening) this.closeUnfit(slot, 'lost')
    })
  }

  #isFatal(error: unknown): boolean {
    const { calls, manager, reports } = this.#context
    const outcome = calls.begin(() => manager.isFatal?.(error) ?? false, undefined)
    if (isThenable(outcome)) {
      reports.promised('isFatal', outcome, 'the error counts as not fatal')
      return false
    }
    if (!outcome.ok) reports.report(outcome.error)
    return outcome.ok && outcome.value === true
  }

  #traceOf({ id }: Slot<C>): OpenTrace {
    return { ...this.#context.events.subject, connection: id }
  }

  #endTrace(trace: OpenTrace, { startedAt }: Slot<C>, outcome: Outcome<C>): void {
    trace.connectMs = this.#clock.now() - startedAt
    if (!outcome.ok) trace.error = nameAndCode(outcome.error)
    traceEnd(tracing.open, trace)
  }

  // Without a limit set by the user, a burst of short requests must not open a connection per caller. The open
  // connections serve it while others are still opening.
  get #burst(): number {
    const { maxConnecting } = this.#context.options
    return maxConnecting < Infinity ? maxConnecting : Math.max(LEAST_BURST, this.#context.slots.open)
  }

  #random(): number {
    return this.#context.options.clock.random?.() ?? Math.random()
  }
}

function hasEnded({ state }: { readonly state: SlotState }): boolean {
  return state === SlotState.closing || state === SlotState.gone
}

function isConnection(value: unknown): boolean {
  return value !== undefined && value !== null
}

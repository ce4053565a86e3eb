import type { Outcome } from '../runtime/user-calls.ts'
import { type Bounds, isThenable, PendingCall, TimeLimitError } from '../runtime/user-calls.ts'
import type { ConnectionManager } from '../contract/manager.ts'
import type { Closer } from './closer.ts'
import type { Connector } from './connector.ts'
import type { PoolContext } from './pool-context.ts'
import { type Slot, SlotState } from './slot.ts'

/** Runs isValid, beforeAcquire, reset and afterRelease for one connection, which no caller holds in the meantime. */
export class Checks<C> {
  readonly #context: PoolContext<C>
  readonly #closer: Closer<C>
  readonly #connector: Connector<C>
  // The last failed check.
  #failure: { readonly error: unknown; readonly at: number } | undefined = undefined
  // Cached per function: reading a function's length is a call into the JavaScript engine.
  #knownReset: ConnectionManager<C>['reset'] = undefined
  #knownTakesSignal = true
  // Created once, because it runs at each return. This one is for a reset that declares no signal.
  readonly #reset = ({ connection }: Slot<C>) => this.#context.manager.reset?.(connection, undefined as never)

  constructor(context: PoolContext<C>, closer: Closer<C>, connector: Connector<C>) {
    this.#context = context
    this.#closer = closer
    this.#connector = connector
  }

  /** The error of the last check that failed at this time or later. */
  failureSince(time: number): unknown {
    return this.#failure !== undefined && this.#failure.at >= time ? this.#failure.error : undefined
  }

  /** Checks an idle connection for a caller; it fails after `limitMs`. It is idle again when it passed. */
  validate(slot: Slot<C>, limitMs: number): void {
    this.#context.slots.check(slot)
    this.#validate(slot, limitMs, false)
  }

  /** Checks an idle connection in the background: no caller counts on it. */
  validateIdle(slot: Slot<C>): void {
    this.#context.slots.doubt(slot)
    this.#validate(slot, this.#context.options.validationTimeoutMs, false)
  }

  /** Runs beforeAcquire on an idle connection. It is idle again when it passed. */
  prepare(slot: Slot<C>): void {
    const { slots, turns } = this.#context
    slots.prepare(slot)
    turns.later(() => void this.#runBeforeAcquire(slot))
  }

  /** Runs beforeAcquire on an idle connection, within tryAcquire. Undefined: it returned a promise. */
  prepareNow(slot: Slot<C>): boolean | undefined {
    const { slots } = this.#context
    slots.prepare(slot)
    const call = this.#callBeforeAcquire(slot)
    if (!(call instanceof PendingCall)) return this.#prepared(slot, call, false)
    void this.#whenPrepared(slot, call, false)
    return undefined
  }

  /** At return: the manager's reset, then the hook afterRelease. Whether both passed; a promise if either returned one. */
  clean(slot: Slot<C>, error: unknown): boolean | Promise<boolean> {
    const { manager, options } = this.#context
    if (manager.reset === undefined) return this.#afterRelease(slot, error)
    const reset = this.#callReset(slot)
    if (reset instanceof PendingCall) return this.#whenReset(slot, reset, error)
    if (!this.#accepts(reset, 'reset')) return false
    return options.afterRelease === undefined || this.#afterRelease(slot, error)
  }

  // Checks one connection. `isDoubt`: only because another connection failed its check.
  #validate(slot: Slot<C>, limitMs: number, isDoubt: boolean): void {
    const { slots, turns, calls } = this.#context
    slot.checkSequence = slots.nextSequence()
    slot.checkStartedAt = calls.clock.now()
    turns.later(() => void this.#runIsValid(slot, limitMs, isDoubt))
  }

  async #runIsValid(slot: Slot<C>, limitMs: number, isDoubt: boolean): Promise<void> {
    const { calls, manager, turns } = this.#context
    if (!isBeingChecked(slot)) return
    const controller = new AbortController()
    const call = calls.call<boolean>({ what: 'isValid', limitMs, controller }, () =>
      manager.isValid(slot.connection, controller.signal),
    )
    if (!(call instanceof PendingCall)) return turns.run(() => this.#validated(slot, call, isDoubt))
    slot.pending = call as PendingCall<unknown>
    const outcome = await call.outcome
    turns.run(() => this.#validated(slot, outcome, isDoubt))
  }

  #validated(slot: Slot<C>, outcome: Outcome<boolean>, isDoubt: boolean): void {
    // The slot was closed in the meantime.
    if (!isBeingChecked(slot)) return
    const { slots, events, reports, calls, turns, options } = this.#context
    const now = calls.clock.now()
    const passed = outcome.ok && outcome.value === true
    slot.pending = undefined
    events.checked(slot.id, passed, now - slot.checkStartedAt)
    if (passed) {
      slot.checkedAt = now
      slot.validIn = turns.number
      slots.arrive(slot)
      return
    }
    if (outcome.ok && typeof outcome.value !== 'boolean')
      reports.misuse(
        'isValid',
        String(outcome.value),
        'It must return true or false; the connection counts as invalid',
      )
    if (!outcome.ok) reports.failure('CHECK_FAILED', `isValid of connection ${slot.id}`, outcome.error)
    this.#failure = { error: outcome.ok ? new Error('isValid returned false') : outcome.error, at: now }
    this.#closer.close(slot, 'invalid')
    // An old connection that went stale unused says nothing about connecting.
    if (now - slot.openedAt < options.connectBackoff.maxMs)
      this.#connector.endedUnserved(slot, this.#failure.error)
    const isSilent = !outcome.ok && outcome.error instanceof TimeLimitError
    if (!isDoubt) this.#doubtOthers(slot.checkSequence, isSilent)
  }

  // One connection failed its check, so the others may be dead too: all are checked immediately. If the server did not
  // even answer, no caller counts on them, and new connections serve the callers in the meantime.
  #doubtOthers(since: number, isSilent: boolean): void {
    const { slots, options } = this.#context
    for (const slot of slots.idleSlots()) {
      if (slot.checkSequence > since) continue
      if (isSilent) slots.doubt(slot)
      else slots.check(slot)
      this.#validate(slot, options.validationTimeoutMs, true)
    }
  }

  async #runBeforeAcquire(slot: Slot<C>): Promise<void> {
    if (slot.state !== SlotState.preparing) return
    const call = this.#callBeforeAcquire(slot)
    if (call instanceof PendingCall) await this.#whenPrepared(slot, call, true)
    else this.#context.turns.run(() => this.#prepared(slot, call, true))
  }

  #callBeforeAcquire(slot: Slot<C>): Outcome<boolean | void> | PendingCall<boolean | void> {
    const { calls, marks, options } = this.#context
    const bounds = { what: 'beforeAcquire', limitMs: options.validationTimeoutMs }
    return calls.call<boolean | void>(bounds, () =>
      marks.runHook('beforeAcquire', () => options.beforeAcquire?.(slot.connection)),
    )
  }

  async #whenPrepared(slot: Slot<C>, call: PendingCall<boolean | void>, isValid: boolean): Promise<void> {
    slot.pending = call as PendingCall<unknown>
    const outcome = await call.outcome
    this.#context.turns.run(() => this.#prepared(slot, outcome, isValid))
  }

  // `isValid`: whether the connection has passed a due check; tryAcquire runs none.
  #prepared(slot: Slot<C>, outcome: Outcome<boolean | void>, isValid: boolean): boolean {
    // The slot was closed in the meantime.
    if (slot.state !== SlotState.preparing) return false
    const { slots, turns, reports } = this.#context
    slot.pending = undefined
    slots.arrive(slot)
    if (outcome.ok && outcome.value !== false) {
      slot.preparedIn = turns.number
      if (isValid) slot.validIn = turns.number
      return true
    }
    this.#closer.close(slot, 'hook')
    const error = outcome.ok ? 'it returned false' : outcome.error
    // Reported once: as a failed attempt, or as a failure of the hook.
    if (this.#connector.isUnserved(slot))
      this.#connector.endedUnserved(slot, reports.failed('HOOK_FAILED', 'hook beforeAcquire', error))
    else if (!outcome.ok) reports.failure('HOOK_FAILED', 'hook beforeAcquire', error)
    return false
  }

  // A signal would be a fifth of the cost of a return: only a reset that may take it gets one.
  #callReset(slot: Slot<C>): Outcome<boolean | void> | PendingCall<boolean | void> {
    const { calls, manager, options } = this.#context
    const { reset } = manager
    if (reset !== this.#knownReset) {
      this.#knownReset = reset
      this.#knownTakesSignal = reset?.length !== 1
    }
    const bounds = { what: 'reset', limitMs: options.validationTimeoutMs }
    if (this.#knownTakesSignal) return this.#callResetWithSignal(slot, bounds)
    const begun = calls.begin<boolean | void, Slot<C>>(this.#reset, slot)
    return isThenable(begun) ? new PendingCall(bounds, begun, calls.clock) : begun
  }

  // A method of its own: only an asynchronous reset pays for the closure.
  #callResetWithSignal(
    slot: Slot<C>,
    bounds: Bounds<boolean | void>,
  ): Outcome<boolean | void> | PendingCall<boolean | void> {
    const { calls, manager } = this.#context
    const controller = new AbortController()
    return calls.call({ ...bounds, controller }, () => manager.reset?.(slot.connection, controller.signal))
  }

  async #whenReset(slot: Slot<C>, call: PendingCall<boolean | void>, error: unknown): Promise<boolean> {
    slot.pending = call as PendingCall<unknown>
    const outcome = await call.outcome
    if (slot.state !== SlotState.resetting || !this.#accepts(outcome, 'reset')) return false
    return await this.#afterRelease(slot, error)
  }

  #afterRelease(slot: Slot<C>, error: unknown): boolean | Promise<boolean> {
    const { calls, marks, options } = this.#context
    const { afterRelease } = options
    if (afterRelease === undefined) return true
    const bounds = { what: 'afterRelease', limitMs: options.validationTimeoutMs }
    const call = calls.call<boolean | void>(bounds, () =>
      marks.runHook('afterRelease', () => afterRelease(slot.connection, error)),
    )
    return call instanceof PendingCall ? this.#whenReleased(slot, call) : this.#accepts(call, 'afterRelease')
  }

  async #whenReleased(slot: Slot<C>, call: PendingCall<boolean | void>): Promise<boolean> {
    slot.pending = call as PendingCall<unknown>
    const outcome = await call.outcome
    // Otherwise the slot was closed in the meantime.
    return slot.state === SlotState.resetting && this.#accepts(outcome, 'afterRelease')
  }

  // Returns whether a hook or reset accepts the connection; reports its failure.
  #accepts(outcome: Outcome<boolean | void>, what: string): boolean {
    if (outcome.ok) return outcome.value !== false
    this.#context.reports.failure('HOOK_FAILED', what === 'reset' ? what : `hook ${what}`, outcome.error)
    return false
  }
}

function isBeingChecked(slot: { readonly state: SlotState }): boolean {
  return slot.state === SlotState.checking || slot.state === SlotState.doubted
}

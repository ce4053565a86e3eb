import { type Bounds, type Outcome, type Pending, TimeLimitError } from './calls.ts'
import type { CloseReason } from './close-reason.ts'
import type { ConnectionManager } from './manager.ts'
import type { Parts } from './parts.ts'
import { type Slot, SlotState } from './slot.ts'

/** What becomes of a connection after a check. */
export interface CheckEvents<C> {
  /** It passed isValid: it goes to the caller at the head, or rests. */
  offer(slot: Slot<C>): void
  /** It passed beforeAcquire. */
  prepared(slot: Slot<C>): void
  /** It was reset after a return, which took a while. */
  cleaned(slot: Slot<C>): void
  /** It is to be closed. */
  refused(slot: Slot<C>, reason: CloseReason): void
  /** All that follows from a refusal has been begun. */
  done(): void
}

type Run<T, C> = (slot: Slot<C>) => T | PromiseLike<T>
type Done<T, C> = (outcome: Outcome<T>, slot: Slot<C>) => void

/** Asks the manager and the hooks about one connection, which nobody has meanwhile. */
export class Checks<C> {
  readonly #parts: Parts<C>
  readonly #on: CheckEvents<C>
  // Asked once of each: a function's length is a call into the engine.
  #knownReset: ConnectionManager<C>['reset'] = undefined
  #knownTakesSignal = true
  // Made once, as they are used at each return. This one is for a reset that declares no signal.
  readonly #reset = ({ connection }: Slot<C>) => this.#parts.manager.reset?.(connection, undefined as never)
  readonly #cleaned = (outcome: Outcome<boolean | void>, slot: Slot<C>): void => {
    if (this.#passes(outcome, slot)) this.#on.cleaned(slot)
  }

  constructor(parts: Parts<C>, on: CheckEvents<C>) {
    this.#parts = parts
    this.#on = on
  }

  /** Asks isValid. `isDoubted`: only since another connection failed its check. */
  validate(slot: Slot<C>, isDoubted = false): void {
    if (slot.state !== SlotState.checking && slot.state !== SlotState.suspect) this.#parts.slots.check(slot)
    const startedTick = this.#parts.slots.tick()
    const startedAt = this.#parts.calls.clock.now()
    const controller = new AbortController()
    const run = () => this.#parts.manager.isValid(slot.connection, controller.signal)
    const done = (outcome: Outcome<boolean>): void => {
      const passed = outcome.ok && outcome.value === true
      const now = this.#parts.calls.clock.now()
      this.#parts.events.checked(slot.id, passed, now - startedAt)
      if (passed) {
        slot.checkedAt = now
        slot.checkedTick = startedTick
        return this.#on.offer(slot)
      }
      if (!outcome.ok)
        this.#parts.reports.failure('CHECK_FAILED', `isValid of connection ${slot.id}`, outcome.error)
      this.#on.refused(slot, 'invalid')
      const isSilent = !outcome.ok && outcome.error instanceof TimeLimitError
      if (!isDoubted) this.#suspectOthers(startedTick, isSilent)
      this.#on.done()
    }
    this.call(slot, 'isValid', run, done, controller)
  }

  /** Asks the hook beforeAcquire. */
  beforeAcquire(slot: Slot<C>): void {
    const { beforeAcquire } = this.#parts.options
    if (slot.state !== SlotState.checking) this.#parts.slots.check(slot)
    this.#parts.slots.enterHook(slot)
    const run = () => beforeAcquire?.(slot.connection)
    this.call(slot, 'beforeAcquire', run, (outcome) => {
      if (this.#passes(outcome, slot)) this.#on.prepared(slot)
    })
  }

  /** At return: the manager's reset, then the hook afterRelease. Whether all passed at once; else it is told what became of it. */
  clean(slot: Slot<C>, error: unknown): boolean {
    const { manager, options } = this.#parts
    if (manager.reset === undefined) return this.#afterRelease(slot, error)
    if (options.afterRelease !== undefined) return this.#cleanTwice(slot, error)
    const outcome = this.#callReset(slot, this.#cleaned)
    return outcome !== undefined && this.#passes(outcome, slot)
  }

  /** Whether a hook lets its connection pass; its failure is reported. */
  accepts(outcome: Outcome<boolean | void>): boolean {
    if (outcome.ok) return outcome.value !== false
    this.#parts.reports.failure('HOOK_FAILED', 'a hook', outcome.error)
    return false
  }

  /** A call for one connection. What comes of it after the connection was closed meanwhile is nobody's business. */
  call<T>(slot: Slot<C>, what: string, run: Run<T, C>, done: Done<T, C>, controller?: AbortController): void {
    const outcome = this.#begin(slot, what, run, done, controller)
    if (outcome !== undefined) done(outcome, slot)
  }

  // How the call ended, if at once; else `later` is told.
  #begin<T>(
    slot: Slot<C>,
    what: string,
    run: Run<T, C>,
    later: Done<T, C>,
    controller: AbortController | undefined,
  ): Outcome<T> | undefined {
    const { calls, options, slots } = this.#parts
    const { state } = slot
    const begun = calls.begin(run, slot)
    if (begun.ok !== undefined) return this.#end(slot, state) ? begun : undefined
    const isReturn = state === SlotState.leased
    // What answers at once needs no state of its own, as nobody else can touch a connection that comes back.
    if (isReturn) slots.return(slot)
    this.#wait(
      slot,
      isReturn ? SlotState.returning : state,
      { what, limitMs: options.validationTimeoutMs, controller },
      begun,
      later,
    )
    return undefined
  }

  #wait<T>(slot: Slot<C>, state: SlotState, bounds: Bounds, pending: Pending<T>, later: Done<T, C>): void {
    slot.abandon = this.#parts.calls.wait(bounds, pending, (outcome) => {
      if (this.#end(slot, state)) later(outcome, slot)
    })
  }

  // The call is over: whether the slot is where it was found.
  #end(slot: Slot<C>, state: SlotState): boolean {
    slot.abandon = undefined
    this.#parts.slots.leaveHook(slot)
    return slot.state === state
  }

  // A signal would be a fifth of the cost of a return: only a reset that may take it gets one.
  #callReset(slot: Slot<C>, later: Done<boolean | void, C>): Outcome<boolean | void> | undefined {
    const { reset } = this.#parts.manager
    if (reset !== this.#knownReset) {
      this.#knownReset = reset
      this.#knownTakesSignal = reset?.length !== 1
    }
    return this.#knownTakesSignal
      ? this.#callWithSignal(slot, later)
      : this.#begin(slot, 'reset', this.#reset, later, undefined)
  }

  #callWithSignal(slot: Slot<C>, later: Done<boolean | void, C>): Outcome<boolean | void> | undefined {
    const controller = new AbortController()
    const run = () => this.#parts.manager.reset?.(slot.connection, controller.signal)
    return this.#begin(slot, 'reset', run, later, controller)
  }

  // Apart, as it makes a closure for each return.
  #cleanTwice(slot: Slot<C>, error: unknown): boolean {
    const outcome = this.#callReset(slot, (later) => {
      if (this.#passes(later, slot) && this.#afterRelease(slot, error)) this.#on.cleaned(slot)
    })
    return outcome !== undefined && this.#passes(outcome, slot) && this.#afterRelease(slot, error)
  }

  #afterRelease(slot: Slot<C>, error: unknown): boolean {
    const { afterRelease } = this.#parts.options
    const run = () => afterRelease?.(slot.connection, error)
    const outcome = this.#begin(slot, 'afterRelease', run, this.#cleaned, undefined)
    return outcome !== undefined && this.#passes(outcome, slot)
  }

  // One that a hook does not let pass is closed.
  #passes(outcome: Outcome<boolean | void>, slot: Slot<C>): boolean {
    if (this.accepts(outcome)) return true
    this.#on.refused(slot, 'hook')
    this.#on.done()
    return false
  }

  // One connection failed its check, so the others may be dead too: they are all checked at once. Where the server did
  // not even answer, nobody counts on them, and callers are served by new connections meanwhile.
  #suspectOthers(since: number, isSilent: boolean): void {
    for (const slot of this.#parts.slots.idleSlots()) {
      if (slot.checkedTick > since) continue
      if (isSilent) this.#parts.slots.suspect(slot)
      this.validate(slot, true)
    }
  }
}

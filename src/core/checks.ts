import { type Bounds, type Outcome, type Pending, TimeLimitError } from './calls.ts'
import type { CloseReason } from './close-reason.ts'
import type { Parts } from './parts.ts'
import { type Slot, SlotState } from './slot.ts'

/** What becomes of a connection after a check. */
export interface CheckEvents<C> {
  /** It passed isValid: it goes to the caller at the head, or rests. */
  offer(slot: Slot<C>): void
  /** It passed beforeAcquire. */
  prepared(slot: Slot<C>): void
  /** It was reset after a return. */
  cleaned(slot: Slot<C>): void
  /** It is to be closed. */
  refused(slot: Slot<C>, reason: CloseReason): void
  /** All that follows from a refusal has been begun. */
  done(): void
}

type Done<T, C> = (outcome: Outcome<T>, slot: Slot<C>) => void

/** Asks the manager and the hooks about one connection, which nobody has meanwhile. */
export class Checks<C> {
  readonly #parts: Parts<C>
  readonly #on: CheckEvents<C>
  // Asked once: a function's length is a call into the engine.
  readonly #resetTakesSignal: boolean
  // Made once, as they are used at each return. This one is for a reset that declares no signal.
  readonly #reset = ({ connection }: Slot<C>) => this.#parts.manager.reset?.(connection, undefined as never)
  readonly #cleaned = (outcome: Outcome<boolean | void>, slot: Slot<C>): void => {
    if (this.#passes(outcome, slot)) this.#on.cleaned(slot)
  }

  constructor(parts: Parts<C>, on: CheckEvents<C>) {
    this.#parts = parts
    this.#on = on
    this.#resetTakesSignal = parts.manager.reset?.length !== 1
  }

  /** Asks isValid. `suspicion`: since another connection failed its check. */
  validate(slot: Slot<C>, purpose: 'checkout' | 'background' | 'suspicion'): void {
    if (purpose !== 'suspicion' && slot.state !== SlotState.checking) this.#parts.slots.check(slot)
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
      if (purpose !== 'suspicion') this.#suspectOthers(startedTick, isSilent)
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

  /** At return: the manager's reset, then the hook afterRelease. */
  clean(slot: Slot<C>, error: unknown): void {
    const { manager, options, slots } = this.#parts
    slots.return(slot)
    if (manager.reset === undefined) this.#afterRelease(slot, error)
    else if (options.afterRelease === undefined) this.#callReset(slot, this.#cleaned)
    else
      this.#callReset(slot, (outcome) => {
        if (this.#passes(outcome, slot)) this.#afterRelease(slot, error)
      })
  }

  /** Whether a hook lets its connection pass; its failure is reported. */
  accepts(outcome: Outcome<boolean | void>): boolean {
    if (outcome.ok) return outcome.value !== false
    this.#parts.reports.failure('HOOK_FAILED', 'a hook', outcome.error)
    return false
  }

  /** A call for one connection. What comes of it after the connection was closed meanwhile is nobody's business. */
  call<T>(
    slot: Slot<C>,
    what: string,
    run: (slot: Slot<C>) => T | PromiseLike<T>,
    done: Done<T, C>,
    controller?: AbortController,
  ): void {
    const { calls, options } = this.#parts
    const { state } = slot
    const begun = calls.begin(run, slot)
    if (begun.ok !== undefined) return this.#settle(slot, state, begun, done)
    this.#wait(slot, state, { what, limitMs: options.validationTimeoutMs, controller }, begun, done)
  }

  // A signal would be a fifth of the cost of a return: only a reset that may take it gets one.
  #callReset(slot: Slot<C>, done: Done<boolean | void, C>): void {
    const { manager } = this.#parts
    if (!this.#resetTakesSignal) return this.call(slot, 'reset', this.#reset, done)
    const controller = new AbortController()
    const run = () => manager.reset?.(slot.connection, controller.signal)
    this.call(slot, 'reset', run, done, controller)
  }

  #wait<T>(slot: Slot<C>, state: SlotState, bounds: Bounds, pending: Pending<T>, done: Done<T, C>): void {
    slot.abandon = this.#parts.calls.wait(bounds, pending, (outcome) =>
      this.#settle(slot, state, outcome, done),
    )
  }

  #settle<T>(slot: Slot<C>, state: SlotState, outcome: Outcome<T>, done: Done<T, C>): void {
    slot.abandon = undefined
    this.#parts.slots.leaveHook(slot)
    if (slot.state === state) done(outcome, slot)
  }

  #afterRelease(slot: Slot<C>, error: unknown): void {
    const { afterRelease } = this.#parts.options
    this.call(slot, 'afterRelease', () => afterRelease?.(slot.connection, error), this.#cleaned)
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
      else this.#parts.slots.check(slot)
      this.validate(slot, 'suspicion')
    }
  }
}

import { type Calls, type Outcome, TimeLimitError } from './calls.ts'
import type { CloseReason } from './close-reason.ts'
import type { Events } from './events.ts'
import type { ConnectionManager } from './manager.ts'
import type { ResolvedPoolOptions } from './options.ts'
import type { Reports } from './reports.ts'
import { type Slot, SlotState } from './slot.ts'
import type { Slots } from './slots.ts'

/** What becomes of a connection after a check. */
export interface CheckEvents<C> {
  /** It passed isValid: it goes to the caller at the head, or rests. */
  offer(slot: Slot<C>, isProven: boolean): void
  /** It passed beforeAcquire. */
  prepared(slot: Slot<C>): void
  /** It was reset after a return. */
  cleaned(slot: Slot<C>): void
  /** It is to be closed. */
  refused(slot: Slot<C>, reason: CloseReason): void
  /** All that follows from a refusal has been begun. */
  done(): void
}

/** Asks the manager and the hooks about one connection, which nobody has meanwhile. */
export class Checks<C> {
  readonly #manager: ConnectionManager<C>
  readonly #options: ResolvedPoolOptions<C>
  readonly #slots: Slots<C>
  readonly #calls: Calls
  readonly #reports: Reports<C>
  readonly #events: Events
  readonly #on: CheckEvents<C>

  constructor(
    manager: ConnectionManager<C>,
    options: ResolvedPoolOptions<C>,
    slots: Slots<C>,
    calls: Calls,
    reports: Reports<C>,
    events: Events,
    on: CheckEvents<C>,
  ) {
    this.#manager = manager
    this.#options = options
    this.#slots = slots
    this.#calls = calls
    this.#reports = reports
    this.#events = events
    this.#on = on
  }

  /** Asks isValid. `suspicion`: since another connection failed its check. */
  validate(slot: Slot<C>, purpose: 'checkout' | 'background' | 'suspicion'): void {
    if (purpose !== 'suspicion' && slot.state !== SlotState.checking) this.#slots.check(slot)
    const startedTick = this.#slots.tick()
    const startedAt = this.#calls.clock.now()
    const run = (signal: AbortSignal): boolean | Promise<boolean> =>
      this.#manager.isValid(slot.connection, signal)
    this.call(slot, { what: 'isValid', limitMs: this.#options.validationTimeoutMs, run }, (outcome) => {
      const passed = outcome.ok && outcome.value === true
      const now = this.#calls.clock.now()
      this.#events.checked(slot.id, passed, now - startedAt)
      if (passed) {
        slot.checkedAt = now
        slot.checkedTick = startedTick
        return this.#on.offer(slot, true)
      }
      if (!outcome.ok)
        this.#reports.failure('CHECK_FAILED', `isValid of connection ${slot.id}`, outcome.error)
      this.#on.refused(slot, 'invalid')
      const isSilent = !outcome.ok && outcome.error instanceof TimeLimitError
      if (purpose !== 'suspicion') this.#suspectOthers(startedTick, isSilent)
      this.#on.done()
    })
  }

  /** Asks the hook beforeAcquire. */
  beforeAcquire(slot: Slot<C>): void {
    const { beforeAcquire, validationTimeoutMs: limitMs } = this.#options
    if (slot.state !== SlotState.checking) this.#slots.check(slot)
    this.#slots.enterHook(slot)
    this.call(
      slot,
      { what: 'beforeAcquire', limitMs, run: () => beforeAcquire?.(slot.connection) },
      (outcome) => {
        if (this.accepts(outcome)) this.#on.prepared(slot)
        else this.#refuse(slot)
      },
    )
  }

  /** At return: the manager's reset, then the hook afterRelease. */
  clean(slot: Slot<C>, error: unknown): void {
    const { afterRelease, validationTimeoutMs: limitMs } = this.#options
    const { connection } = slot
    const steps = [
      { what: 'afterRelease', limitMs, run: () => afterRelease?.(connection, error) },
      { what: 'reset', limitMs, run: (signal: AbortSignal) => this.#manager.reset?.(connection, signal) },
    ]
    this.#slots.return(slot)
    const next = (): void => {
      const step = steps.pop()
      if (step === undefined) return this.#on.cleaned(slot)
      this.call(slot, step, (outcome) => (this.accepts(outcome) ? next() : this.#refuse(slot)))
    }
    next()
  }

  /** Whether a hook lets its connection pass; its failure is reported. */
  accepts(outcome: Outcome<boolean | void>): boolean {
    if (outcome.ok) return outcome.value !== false
    this.#reports.failure('HOOK_FAILED', 'a hook', outcome.error)
    return false
  }

  /** A call for one connection. What comes of it after the connection was closed meanwhile is nobody's business. */
  call<T>(
    slot: Slot<C>,
    call: { what: string; limitMs: number; run: (signal: AbortSignal) => T | PromiseLike<T> },
    done: (outcome: Outcome<T>) => void,
  ): void {
    const { state } = slot
    let isSettled = false
    const abandon = this.#calls.bounded(call, (outcome) => {
      isSettled = true
      slot.abandon = undefined
      this.#slots.leaveHook(slot)
      if (slot.state === state) done(outcome)
    })
    if (!isSettled) slot.abandon = abandon
  }

  #refuse(slot: Slot<C>): void {
    this.#on.refused(slot, 'hook')
    this.#on.done()
  }

  // One connection failed its check, so the others may be dead too: they are all checked at once. Where the server did
  // not even answer, nobody counts on them, and callers are served by new connections meanwhile.
  #suspectOthers(since: number, isSilent: boolean): void {
    for (const slot of this.#slots.idleSlots()) {
      if (slot.checkedTick > since) continue
      if (isSilent) this.#slots.suspect(slot)
      else this.#slots.check(slot)
      this.validate(slot, 'suspicion')
    }
  }
}

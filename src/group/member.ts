import type { Places, Returned } from '../core/connections/places.ts'
import type { Slot } from '../core/connections/slot.ts'
import { closeEngine, type CloseResult } from '../core/close.ts'
import type { ConnectionManager } from '../core/contract/manager.ts'
import type { ResolvedPoolOptions } from '../core/contract/options.ts'
import { wrongValue } from '../core/contract/rules.ts'
import { PoolEngine } from '../core/engine.ts'
import type { AsyncMarks } from '../core/runtime/async-marks.ts'
import type { Histogram } from '../core/runtime/histogram.ts'
import { type Outcome, PendingCall } from '../core/runtime/user-calls.ts'
import { type Allotment, Resting, type Tenant } from './allotment.ts'
import { KeyManager } from './key-manager.ts'

/** The parts that the keys of a group share. */
export interface Household<C> {
  readonly name: string
  readonly id: number
  readonly allotment: Allotment<C>
  readonly marks: AsyncMarks
  readonly allWaits: Histogram
  /** Calls the factory, in the async context of the group. */
  load(
    key: string,
    controller: AbortController,
  ): Outcome<ConnectionManager<C>> | PendingCall<ConnectionManager<C>>
  /** Something of the key has changed; called only when the group counts its active keys. */
  readonly touched: ((member: Member<C>) => void) | undefined
}

interface Load<C> {
  readonly controller: AbortController
  pending: PendingCall<ConnectionManager<C>> | undefined
  readonly waiters: ((outcome: Outcome<unknown>) => void)[]
}

/** One key of a group: its pool, and the pool's part of the places. */
export class Member<C> implements Places, Tenant<C> {
  readonly key: string
  readonly engine: PoolEngine<C>
  readonly resting: Resting<C> = new Resting<C>(this)
  // Its rank among the keys that need a place.
  heapIndex = -1
  since = 0
  lacking = 0
  held = 0
  class = 0
  // Attempts of the key as the allotment counts them.
  countedOpening = 0
  countedClass = 0
  /** Whether it is in the list of those that may have to be forgotten. */
  isQuiet = false
  isKnown = false
  isTouched = false
  /** Callers on their way into the queue, and those of `dedicated`. */
  entering = 0
  /** Set by remove. */
  removing: Promise<CloseResult> | undefined = undefined
  /** The error of a wrong perKey. */
  limitError: Error | undefined = undefined

  readonly #household: Household<C>
  readonly #manager: KeyManager<C> = new KeyManager()
  #load: Load<C> | undefined = undefined

  constructor(household: Household<C>, key: string, options: ResolvedPoolOptions<C>) {
    this.#household = household
    this.key = key
    this.engine = new PoolEngine<C>(this.#manager as ConnectionManager<C>, options, household)
    this.engine.slots.places = this
    this.engine.start()
  }

  /** Whether the factory has returned the key's manager. */
  get isLoaded(): boolean {
    return this.#manager.current !== undefined
  }

  /** Whether a caller of this key waits or holds a lease. */
  get isActive(): boolean {
    const { queue, slots } = this.engine
    return queue.size > 0 || slots.leased > 0 || this.entering > 0
  }

  /** Whether it has neither connections nor callers. */
  get isAtRest(): boolean {
    const { queue, slots } = this.engine
    return slots.taken === 0 && queue.size === 0 && this.entering === 0
  }

  get areWanted(): boolean {
    return this.#household.allotment.wanting.size > 0
  }

  get open(): number {
    return this.#household.allotment.open
  }

  take(lacking: number): boolean {
    return this.#household.allotment.take(this, lacking)
  }

  give(hasClosed: boolean): void {
    this.#household.allotment.give(this, hasClosed)
  }

  closing(): void {
    this.#household.allotment.coming++
  }

  claims(slot: Returned, now: number): boolean {
    return this.#household.allotment.claims(this, slot, now)
  }

  settled(lacking: number): void {
    this.#household.allotment.settled(this, lacking)
  }

  touch(): void {
    const { touched } = this.#household
    if (touched === undefined || this.isTouched) return
    this.isTouched = true
    touched(this)
  }

  /** Calls the factory, after the running transition. All callers of the key share the call. */
  load(waiter?: (outcome: Outcome<unknown>) => void): void {
    if (this.isLoaded || this.engine.closed) return waiter?.({ ok: true, value: undefined })
    const running = this.#load
    const load: Load<C> = (this.#load ??= {
      controller: new AbortController(),
      pending: undefined,
      waiters: [],
    })
    if (waiter !== undefined) load.waiters.push(waiter)
    if (running === undefined) this.engine.turns.later(() => void this.#run(load))
  }

  /** Waits until the manager is loaded. Rejects with the error of the load, or with the signal's reason. */
  async loaded(signal: AbortSignal | undefined): Promise<void> {
    while (!this.isLoaded && !this.engine.closed) {
      const outcome = await this.#outcomeOfLoad(signal)
      if (!outcome.ok) throw outcome.error
    }
  }

  /** Closes what the old configuration opened; callers keep their places, and are served by the new one. */
  clear(): void {
    this.#abandonLoad({ ok: true, value: undefined })
    this.#manager.retire(Array.from(this.engine.slots.all(), connectionOf).filter(isOpen))
    this.engine.renew()
  }

  /** Closes the pool; leased connections are awaited. */
  async close(timeoutMs: number): Promise<CloseResult> {
    const closing = closeEngine(this.engine, timeoutMs)
    this.#abandonLoad({ ok: true, value: undefined })
    return await closing
  }

  /** Leaves nothing behind: it has neither connections nor callers. */
  forget(): void {
    this.#abandonLoad({ ok: true, value: undefined })
    this.engine.stop()
  }

  async #run(load: Load<C>): Promise<void> {
    if (this.#load !== load) return
    const call = this.#household.load(this.key, load.controller)
    if (call instanceof PendingCall) load.pending = call
    // The callers of this turn share a failure, also if the factory threw.
    if ('ok' in call && call.ok) this.#settle(load, call)
    else this.#settle(load, call instanceof PendingCall ? await call.outcome : await Promise.resolve(call))
  }

  #settle(load: Load<C>, outcome: Outcome<ConnectionManager<C>>): void {
    // The result of an old load is not used.
    if (this.#load !== load) return
    this.#load = undefined
    const settled = outcome.ok ? this.#checked(outcome.value) : outcome
    if (settled.ok) {
      this.#manager.use(settled.value)
      this.engine.returns.managerChanged()
      this.engine.refill()
    } else this.engine.loadFailed(settled.error)
    for (const resolve of load.waiters) resolve(settled)
  }

  #checked(manager: ConnectionManager<C>): Outcome<ConnectionManager<C>> {
    const { name, allowExitOnIdle } = this.engine.options
    const has = (method: string): boolean =>
      typeof manager === 'object' && manager !== null && typeof Reflect.get(manager, method) === 'function'
    if (!['connect', 'isValid', 'hasBroken', 'close'].every(has)) {
      const allowed = 'an object with the methods connect, isValid, hasBroken, close'
      return { ok: false, error: wrongValue(name, 'manager', manager, allowed) }
    }
    if (allowExitOnIdle && !(has('ref') && has('unref'))) {
      const allowed = 'false for a manager without ref and unref'
      return { ok: false, error: wrongValue(name, 'allowExitOnIdle', true, allowed) }
    }
    return { ok: true, value: manager }
  }

  #abandonLoad(outcome: Outcome<unknown>): void {
    const load = this.#load
    if (load === undefined) return
    this.#load = undefined
    this.engine.turns.later(() => {
      load.pending?.abandon()
      load.controller.abort(new Error('the key was cleared, removed or forgotten'))
      for (const resolve of load.waiters) resolve(outcome)
    })
  }

  #outcomeOfLoad(signal: AbortSignal | undefined): Promise<Outcome<unknown>> {
    return new Promise((resolve) => {
      const onAbort = (): void => resolve({ ok: false, error: signal?.reason as unknown })
      signal?.addEventListener('abort', onAbort, { once: true })
      this.load((outcome) => {
        signal?.removeEventListener('abort', onAbort)
        resolve(outcome)
      })
    })
  }
}

function connectionOf<C>({ connection }: Slot<C>): C {
  return connection
}

function isOpen(connection: unknown): boolean {
  return connection !== undefined
}

import type { PoolEngine } from '../core/engine.ts'
import { Alarm } from '../core/runtime/alarm.ts'
import type { Carrier } from './carrier.ts'

// Time that another caller waits, while shares hold every connection, before one of them takes no new seat.
const PATIENCE_MS = 20

/** The connections of one share. */
export interface Drainable<C> {
  readonly all: readonly Carrier<C>[]
  /** Leases that the share waits for in the pool below. */
  readonly waiting: number
  /** Whether callers of the share wait for a seat. */
  readonly isAwaited: boolean
  drain(carrier: Carrier<C>): void
}

interface Held {
  readonly carrier: { readonly isDraining: boolean; readonly isSilent: boolean }
  drain(): void
}

// The connections that all shares of a pool hold, the one held longest first.
const holdings = /* @__PURE__ */ new WeakMap<object, Set<Held>>()

/** Gives connections to callers that wait in the pool below. */
export class Yielding<C> {
  readonly #pool: PoolEngine<C>
  readonly #carriers: Drainable<C>
  readonly #held: Set<Held>
  readonly #unwatch: () => void
  readonly #patience: Alarm
  #isNotified = false

  constructor(pool: PoolEngine<C>, carriers: Drainable<C>) {
    this.#pool = pool
    this.#carriers = carriers
    this.#held = holdings.get(pool) ?? new Set()
    holdings.set(pool, this.#held)
    this.#patience = new Alarm(pool.calls.clock, false, () => this.#drainOne())
    this.#unwatch = pool.watch(() => this.look())
  }

  /** Whether a caller waits in the pool below that is not this share itself. */
  get isAsked(): boolean {
    return this.#asking > 0
  }

  holds(carrier: Carrier<C>): void {
    this.#held.add({ carrier, drain: () => this.#carriers.drain(carrier) })
    this.look()
  }

  gaveBack(carrier: Carrier<C>): void {
    for (const each of this.#held) if (each.carrier === carrier) this.#held.delete(each)
  }

  stop(): void {
    this.#unwatch()
    this.#patience.stop()
  }

  get #asking(): number {
    return this.#pool.queue.size - this.#carriers.waiting
  }

  /** Looks whether another caller waits, at the end of a transition of the pool below: what follows happens after it. */
  look(): void {
    if (this.#isNotified || this.#carriers.all.length === 0) return
    if (!this.isAsked && !this.#pool.closed) return
    this.#isNotified = true
    this.#pool.turns.notify(() => {
      this.#isNotified = false
      this.#give()
    })
  }

  #give(): void {
    const carriers = [...this.#carriers.all]
    if (this.#pool.closed) {
      for (const carrier of carriers) if (!carrier.isDraining) this.#carriers.drain(carrier)
      return
    }
    // A connection that has just arrived is for the callers that wait for a seat.
    for (const carrier of carriers)
      if (carrier.hasServed || !this.#carriers.isAwaited) this.#giveIfEmpty(carrier)
    if (this.isAsked && this.#mayDrain && !this.#patience.isSet)
      this.#patience.set(this.#pool.calls.clock.now() + PATIENCE_MS)
  }

  #giveIfEmpty(carrier: Carrier<C>): void {
    if (this.isAsked && carrier.taken === 0) this.#carriers.drain(carrier)
  }

  #drainOne(): void {
    for (const carrier of [...this.#carriers.all]) this.#giveIfEmpty(carrier)
    if (!this.isAsked || !this.#holdEverything) return
    const held = [...this.#held]
    // A silent connection may never become empty.
    const draining = held.filter(({ carrier }) => carrier.isDraining && !carrier.isSilent).length
    if (draining < this.#asking) held.find(({ carrier }) => !carrier.isDraining)?.drain()
    if (this.isAsked) this.#patience.set(this.#pool.calls.clock.now() + PATIENCE_MS)
  }

  get #mayDrain(): boolean {
    return this.#holdEverything || this.#carriers.all.some(({ taken }) => taken === 0)
  }

  get #holdEverything(): boolean {
    return this.#held.size >= this.#pool.slots.limits.maxSize
  }
}

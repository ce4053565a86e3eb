import type { Returned } from '../core/connections/places.ts'
import type { PoolEngine } from '../core/engine.ts'
import { Heap } from '../core/runtime/heap.ts'
import { type Allowances, FAILING, NEVER_CONNECTED, type Wanter, Wanting } from './wanting.ts'

/** The parts of a group that the allotment uses. */
export interface AllotmentLimits {
  total: number
  readonly turnMs: number
  readonly failingShare: number
}

/** A key, as the allotment sees it. */
export interface Tenant<C> extends Wanter {
  readonly engine: PoolEngine<C>
  readonly resting: Resting<C>
  /** Whether the factory has returned the key's manager. */
  readonly isLoaded: boolean
  /** Its attempts as they are counted, with the class under which they are. */
  countedOpening: number
  countedClass: number
  /** Whether it is in the list of those that may have to be forgotten. */
  isQuiet: boolean
  /** Whether it connected before it was forgotten, and has not failed since. */
  isKnown: boolean
  load(): void
  /** Something of the key has changed. */
  touch(): void
}

/**
 * The places of a group: who gets a free one, and whose connection is closed for it. Called from inside the transitions of
 * the keys' pools; what it does to other pools waits until that transition is over.
 */
export class Allotment<C> {
  readonly limits: AllotmentLimits
  /** Places of connections that are open, opening or closing. */
  taken = 0
  /** Places whose close is under way. */
  coming = 0
  readonly wanting: Wanting<Tenant<C>> = new Wanting()
  /** Each is called when places have been returned and shared out. */
  readonly conditions: Set<() => void> = new Set()

  // Keys with an idle connection and no caller, ordered by a lower bound of the last use of their longest idle connection.
  readonly #resting: Heap<Resting<C>> = new Heap(({ at }) => at)
  // Attempts by class of the key.
  readonly #opening = [0, 0, 0, 0]
  // Keys that may have to be forgotten.
  readonly #quiet: Tenant<C>[] = []
  readonly #onQuiet: (member: Tenant<C>) => void
  readonly #settleLater = (): void => this.#settle()
  #isDue = false
  #sequence = 0

  /** `onQuiet` receives a key that may have neither connections nor callers. */
  constructor(limits: AllotmentLimits, onQuiet: (member: Tenant<C>) => void) {
    this.limits = limits
    this.#onQuiet = onQuiet
  }

  get free(): number {
    return Math.max(0, this.limits.total - this.taken)
  }

  /** Connections that are neither opening nor closing. */
  get open(): number {
    return this.taken - this.coming - this.#opening.reduce((sum, count) => sum + count, 0)
  }

  nextSequence(): number {
    return ++this.#sequence
  }

  take(member: Tenant<C>, lacking: number): boolean {
    this.sync(member, lacking)
    if (this.taken >= this.limits.total || !member.isLoaded) return false
    if (this.wanting.first(this.#allowances) !== member) return false
    this.wanting.remove(member)
    this.taken++
    return true
  }

  give(member: Tenant<C>, hasClosed: boolean): void {
    this.taken--
    // The key has had its turn: it queues for its next place from now on, behind keys that wait for their first.
    this.wanting.remove(member)
    if (hasClosed) this.coming--
    this.#wake(member)
  }

  claims(member: Tenant<C>, slot: Returned, now: number): boolean {
    member.touch()
    if (this.taken - this.coming > this.limits.total) return true
    const { wanting } = this
    if (wanting.size > 0) {
      const provided = this.coming + this.free
      if (member.engine.queue.size === 0) {
        if (wanting.exceeds(provided, Infinity, this.#allowances)) return true
      } else {
        const { taken } = member.engine.slots
        const isTurnOver = taken > 1 || now - slot.openedAt >= this.limits.turnMs
        // The key keeps at least as many places as the first wanting key would have then.
        if (isTurnOver && wanting.exceeds(provided, Math.max(1, taken - 1), this.#allowances)) return true
      }
    }
    this.#rest(member, now)
    return false
  }

  /** A transition of the key is settled. */
  settled(member: Tenant<C>, lacking: number): void {
    const { slots, queue } = member.engine
    member.touch()
    this.sync(member, lacking)
    if (queue.size === 0) {
      if (slots.idle > 0) this.#rest(member, Infinity)
      else if (slots.taken === 0 && !member.isQuiet) {
        member.isQuiet = true
        this.#quiet.push(member)
      }
    }
    if (this.#quiet.length > 0 || this.#hasWork) this.#wake(member)
  }

  /** Counts the key by its class, and gives it its rank. */
  sync(member: Tenant<C>, lacking: number): void {
    const { slots, connector } = member.engine
    const { isFailing } = connector.schedule
    if (isFailing) member.isKnown = false
    const hasConnected = slots.opened > 0 || member.isKnown
    const ofClass = (hasConnected ? 0 : NEVER_CONNECTED) | (isFailing ? FAILING : 0)
    const opening = slots.attempts
    if (member.countedOpening > 0) this.#addOpening(member.countedClass, -member.countedOpening)
    if (opening > 0) this.#addOpening(ofClass, opening)
    member.countedOpening = opening
    member.countedClass = ofClass
    if (lacking === 0) return this.wanting.remove(member)
    if (!member.isLoaded) {
      this.wanting.remove(member)
      member.load()
      return
    }
    const { taken } = slots
    // A key has wanted a place since it last got one, or lost one.
    if (member.lacking === 0) member.since = this.nextSequence()
    this.wanting.put(member, lacking, taken, ofClass)
  }

  /** The key is gone. */
  leave(member: Tenant<C>): void {
    this.wanting.remove(member)
    this.#resting.remove(member.resting)
  }

  /** Shares out what is free, and closes what is to be given up. */
  settleNow(): void {
    this.#settle()
  }

  get #allowances(): Allowances {
    const { total, failingShare } = this.limits
    const at = (ofClass: number): number => this.#opening[ofClass] as number
    const both = at(NEVER_CONNECTED | FAILING)
    return {
      neverConnected: Math.max(1, Math.floor(total / 2)) - at(NEVER_CONNECTED) - both,
      failing: Math.max(1, Math.floor(total * failingShare)) - at(FAILING) - both,
    }
  }

  get #hasWork(): boolean {
    if (this.taken - this.coming > this.limits.total) return this.#resting.first() !== undefined
    if (this.wanting.size === 0) return false
    const usable = this.wanting.usable(this.#allowances)
    if (usable === 0) return false
    return this.free > 0 || (usable > this.coming && this.#resting.first() !== undefined)
  }

  #wake(member: Tenant<C>): void {
    if (this.#isDue) return
    this.#isDue = true
    member.engine.turns.later(this.#settleLater)
  }

  #settle(): void {
    this.#isDue = false
    this.#grant()
    this.#evict()
    for (let member = this.#quiet.pop(); member !== undefined; member = this.#quiet.pop()) {
      member.isQuiet = false
      this.#onQuiet(member)
    }
    for (const test of this.conditions) test()
  }

  // The pool of the first key takes the place itself when it opens.
  #grant(): void {
    while (this.taken < this.limits.total) {
      const first = this.wanting.first(this.#allowances)
      if (first === undefined) return
      const { taken } = this
      first.engine.refill()
      // A pool in a transition takes its place at the end of the transition.
      if (this.taken === taken && this.wanting.first(this.#allowances) === first) return
    }
  }

  #evict(): void {
    for (;;) {
      const isSurplus = this.taken - this.coming > this.limits.total
      if (!isSurplus && this.wanting.usable(this.#allowances) <= this.coming + this.free) return
      const victim = this.#longestIdle()
      if (victim === undefined) return
      const { coming } = this
      victim.engine.evictIdle()
      // A pool in a transition is examined again at the end of the transition.
      if (this.coming === coming) return
    }
  }

  #longestIdle(): Tenant<C> | undefined {
    for (;;) {
      const first = this.#resting.first()
      if (first === undefined) return undefined
      const { slots, queue } = first.member.engine
      const slot = queue.size === 0 ? slots.peekIdle('fifo') : undefined
      if (slot !== undefined && slot.lastUsedAt <= first.at) return first.member
      this.#resting.remove(first)
      if (slot === undefined) continue
      first.at = slot.lastUsedAt
      this.#resting.add(first)
    }
  }

  // `now` is the rank of a connection that is about to become idle.
  #rest(member: Tenant<C>, now: number): void {
    const { resting, engine } = member
    const at = engine.slots.peekIdle('fifo')?.lastUsedAt ?? now
    if (resting.heapIndex !== -1) {
      // A connection may return from a background check, and be older.
      if (at >= resting.at) return
      this.#resting.remove(resting)
    }
    resting.at = at
    this.#resting.add(resting)
  }

  #addOpening(ofClass: number, count: number): void {
    this.#opening[ofClass] = (this.#opening[ofClass] as number) + count
  }
}

/** A key's rank among those with an idle connection. */
export class Resting<C> {
  heapIndex = -1
  at = 0
  readonly member: Tenant<C>

  constructor(member: Tenant<C>) {
    this.member = member
  }
}

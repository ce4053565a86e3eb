import { type CloseReason, CLOSE_REASONS } from './close-reason.ts'
import { Heap } from './heap.ts'
import { invariant } from './invariant.ts'
import { Permit } from './permit.ts'
import { isLegal, Slot, SlotState } from './slot.ts'

/** What counts the sizes of a pool. */
export interface SlotLimits {
  maxSize: number
  minIdle: number
}

/**
 * All that a pool counts: its connections by state, the attempts to open more, its limits and its generation.
 * Synchronous and total: nothing here waits, sets a timer or calls a user's code.
 */
export class Slots<C> {
  /** May be below the number of slots taken, while a pool shrinks. */
  readonly limits: SlotLimits
  /** Raised by clear(); a connection of an older one is closed when it is next touched. */
  generation = 0
  /** Idle connections that are so old that they need a replacement. */
  retiring = 0
  opened = 0
  failed = 0
  added = 0
  detached = 0
  /** Closes that have settled or taken too long. */
  freed = 0
  readonly closed: Record<CloseReason, number>

  // Changed in #move alone, but for the attempts.
  readonly #counts: number[] = [0, 0, 0, 0, 0, 0, 0]
  readonly #all = new Set<Slot<C>>()
  readonly #permits = new Set<Permit>()
  #stalePermits = 0
  #taken = 0
  #inHook = 0
  #lastId = 0
  #ticks = 0
  // Idle connections, linked from the longest idle to the last used.
  #oldest: Slot<C> | undefined = undefined
  #newest: Slot<C> | undefined = undefined
  readonly #byExpiry: Heap<Slot<C>> = new Heap((slot) => slot.expiresAt)

  constructor(limits: SlotLimits) {
    this.limits = { ...limits }
    this.closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<
      CloseReason,
      number
    >
  }

  get idle(): number {
    return this.#count(SlotState.idle)
  }

  get checking(): number {
    return this.#count(SlotState.checking)
  }

  get inUse(): number {
    const { checking, suspect, leased, returning } = SlotState
    return this.#count(checking) + this.#count(suspect) + this.#count(leased) + this.#count(returning)
  }

  /** Open, and not being closed. */
  get open(): number {
    return this.idle + this.inUse
  }

  get suspects(): number {
    return this.#count(SlotState.suspect)
  }

  /** Those of `checking` that are in a hook. */
  get inHook(): number {
    return this.#inHook
  }

  get closing(): number {
    return this.#count(SlotState.closing)
  }

  get opening(): number {
    return this.#permits.size
  }

  /** Attempts that began after the last clear. */
  get openingCurrent(): number {
    return this.#permits.size - this.#stalePermits
  }

  /** Places that count against maxSize. */
  get taken(): number {
    return this.#taken
  }

  get hasSurplus(): boolean {
    return this.taken > this.limits.maxSize
  }

  /** Orders what happens at one and the same time: each is greater than the last. */
  tick(): number {
    return ++this.#ticks
  }

  /** The right to open one more connection. */
  reserve(round: number, now: number): Permit {
    invariant(this.taken < this.limits.maxSize, 'a permit beyond maxSize')
    const permit = new Permit(++this.#lastId, this.generation, round, now)
    this.#permits.add(permit)
    this.#taken++
    return permit
  }

  /** Spends a permit on the connection that it opened. */
  fill(permit: Permit, connection: C, now: number, expiresAt: number): Slot<C> {
    this.#spend(permit)
    this.opened++
    return this.#enter(new Slot(permit.id, connection, permit.generation, now, expiresAt))
  }

  /** Gives up a permit whose attempt failed or was abandoned. */
  forfeit(permit: Permit): void {
    this.#spend(permit)
    this.failed++
  }

  /** Takes in a connection that was opened elsewhere. */
  adopt(connection: C, now: number, expiresAt: number): Slot<C> {
    invariant(this.taken < this.limits.maxSize, 'a connection added beyond maxSize')
    this.added++
    return this.#enter(new Slot(++this.#lastId, connection, this.generation, now, expiresAt))
  }

  /** The idle connection to hand out next; it stays idle. */
  peekIdle(strategy: 'fifo' | 'lifo'): Slot<C> | undefined {
    return strategy === 'fifo' ? this.#oldest : this.#newest
  }

  lease(slot: Slot<C>, now: number): void {
    slot.uses++
    slot.leasedAt = now
    // From one borrower to the next it stays where it is.
    if (slot.state !== SlotState.leased) this.#move(slot, SlotState.leased)
  }

  check(slot: Slot<C>): void {
    this.#move(slot, SlotState.checking)
  }

  enterHook(slot: Slot<C>): void {
    slot.inHook = true
    this.#inHook++
  }

  leaveHook(slot: Slot<C>): void {
    if (!slot.inHook) return
    slot.inHook = false
    this.#inHook--
  }

  suspect(slot: Slot<C>): void {
    this.#move(slot, SlotState.suspect)
  }

  return(slot: Slot<C>): void {
    this.#move(slot, SlotState.returning)
  }

  rest(slot: Slot<C>): void {
    this.#move(slot, SlotState.idle)
  }

  /** Begins a close: from here on the connection counts as closed, its place as taken. */
  close(slot: Slot<C>, reason: CloseReason): void {
    this.#move(slot, SlotState.closing)
    this.leaveHook(slot)
    this.closed[reason]++
    this.#byExpiry.remove(slot)
  }

  /** The close has settled, or took too long: the place is free. */
  free(slot: Slot<C>): void {
    this.#move(slot, SlotState.gone)
    this.#all.delete(slot)
    this.#taken--
    this.freed++
  }

  /** A leased connection becomes its borrower's own. */
  detach(slot: Slot<C>): void {
    this.#move(slot, SlotState.gone)
    this.#all.delete(slot)
    this.#taken--
    this.#byExpiry.remove(slot)
    this.detached++
  }

  /** Makes every connection and attempt of now an old one. */
  nextGeneration(): void {
    this.generation++
    this.#stalePermits = this.#permits.size
  }

  /** Counts an idle connection among those that need a replacement. */
  retire(slot: Slot<C>): void {
    if (slot.retiring || slot.state !== SlotState.idle) return
    slot.retiring = true
    this.retiring++
  }

  /** The connection whose lifetime ends first, of those not yet forgotten. */
  firstToExpire(): Slot<C> | undefined {
    return this.#byExpiry.first()
  }

  /** Its expiry has been seen to: a return or a checkout closes it if nothing else does. */
  forgetExpiry(slot: Slot<C>): void {
    this.#byExpiry.remove(slot)
  }

  /** The idle connections from the longest idle on. Each may be moved while it is visited; if the next one is too, it ends. */
  *idleSlots(): Generator<Slot<C>, void, undefined> {
    let slot = this.#oldest
    while (slot !== undefined && slot.state === SlotState.idle) {
      const next: Slot<C> | undefined = slot.next
      yield slot
      slot = next
    }
  }

  /** Every open or closing connection. */
  all(): Iterable<Slot<C>> {
    return this.#all
  }

  /** Looks at every connection: only for `add`. */
  has(connection: C): boolean {
    for (const slot of this.#all) if (slot.connection === connection) return true
    return false
  }

  permits(): Iterable<Permit> {
    return this.#permits
  }

  #count(state: SlotState): number {
    return this.#counts[state] as number
  }

  #spend(permit: Permit): void {
    invariant(!permit.spent, 'a permit spent twice')
    permit.spent = true
    this.#permits.delete(permit)
    this.#taken--
    if (permit.generation !== this.generation) this.#stalePermits--
  }

  #enter(slot: Slot<C>): Slot<C> {
    slot.checkedTick = this.tick()
    this.#all.add(slot)
    this.#taken++
    this.#counts[slot.state] = this.#count(slot.state) + 1
    if (slot.expiresAt < Infinity) this.#byExpiry.add(slot)
    return slot
  }

  #move(slot: Slot<C>, to: SlotState): void {
    const from = slot.state
    // Asked first: the text of each move would cost more than the move.
    if (!isLegal(from, to)) invariant(false, `a slot went from ${from} to ${to}`)
    this.#counts[from] = this.#count(from) - 1
    this.#counts[to] = this.#count(to) + 1
    slot.state = to
    if (from === SlotState.idle) this.#unlink(slot)
    else if (to === SlotState.idle) this.#link(slot)
  }

  // Behind those that are idle for as long or longer: a returned connection is the newest, so this is one step; one
  // that comes back from a background check goes to the place that it had.
  #link(slot: Slot<C>): void {
    let before = this.#newest
    while (before !== undefined && before.lastUsedAt > slot.lastUsedAt) before = before.previous
    const after = before === undefined ? this.#oldest : before.next
    slot.previous = before
    slot.next = after
    if (before === undefined) this.#oldest = slot
    else before.next = slot
    if (after === undefined) this.#newest = slot
    else after.previous = slot
  }

  #unlink(slot: Slot<C>): void {
    const { previous, next } = slot
    if (previous === undefined) this.#oldest = next
    else previous.next = next
    if (next === undefined) this.#newest = previous
    else next.previous = previous
    slot.previous = undefined
    slot.next = undefined
    if (slot.retiring) {
      slot.retiring = false
      this.retiring--
    }
  }
}

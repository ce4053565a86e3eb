import { type CloseReason, CLOSE_REASONS } from '../contract/close-reason.ts'
import { invariant } from '../runtime/invariant.ts'
import type { Places } from './places.ts'
import { isLegal, Slot, SlotState } from './slot.ts'

const { opening, idle, checking, doubted, preparing, leased, resetting, closing, gone } = SlotState

/** The sizes that a pool is held to. */
export interface SlotLimits {
  maxSize: number
  minIdle: number
  maxIdle: number
}

/**
 * All that a pool counts: its slots by state, its limits and its generation. Synchronous and total: nothing here waits,
 * sets a timer or calls user code.
 */
export class Slots<C> {
  /** May be below the number of slots taken, while a pool shrinks. */
  readonly limits: SlotLimits
  /** Raised by clear(). */
  generation = 0
  opened = 0
  failed = 0
  added = 0
  detached = 0
  /** Closes that have settled or taken too long. */
  freed = 0
  /** The idle connection that passed a step towards a caller in the running transition: it goes before the others. */
  arrived: Slot<C> | undefined = undefined
  /** Slots that this pool shares with other pools. Default: undefined, it has its maxSize for itself. */
  places: Places | undefined = undefined
  readonly closed: Record<CloseReason, number>

  // Changed only in reserve and #move.
  readonly #counts: number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0]
  // Attempts of an old generation.
  #openingOld = 0
  readonly #all = new Set<Slot<C>>()
  // Open connections that are objects: a manager may return one twice.
  readonly #connections = new Set<C>()
  // Idle connections, linked from the longest idle to the last used.
  #oldest: Slot<C> | undefined = undefined
  #newest: Slot<C> | undefined = undefined
  #lastId = 0
  #sequence = 0

  constructor({ maxSize, minIdle, maxIdle }: SlotLimits) {
    // The default of maxIdle follows maxSize.
    this.limits = { maxSize, minIdle, maxIdle: maxIdle === maxSize ? Infinity : maxIdle }
    this.closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<
      CloseReason,
      number
    >
  }

  count(state: SlotState): number {
    return this.#counts[state] as number
  }

  get idle(): number {
    return this.#counts[idle] as number
  }

  /** Attempts to open a connection. */
  get attempts(): number {
    return this.count(opening)
  }

  /** Connections that holders have. */
  get leased(): number {
    return this.count(leased)
  }

  /** Connections on their way to a caller: checked or prepared for one. */
  get arriving(): number {
    return this.count(checking) + this.count(preparing)
  }

  get inUse(): number {
    return this.arriving + this.count(doubted) + this.count(leased) + this.count(resetting)
  }

  /** Open, and not closing. */
  get open(): number {
    return this.idle + this.inUse
  }

  /** Slots that count against maxSize. */
  get taken(): number {
    return this.#all.size
  }

  get hasSurplus(): boolean {
    return this.#all.size > this.limits.maxSize
  }

  /** Attempts that began after the last clear. */
  get openingCurrent(): number {
    return this.count(opening) - this.#openingOld
  }

  /** Makes every connection and attempt one of an old generation. */
  nextGeneration(): void {
    this.generation++
    this.#openingOld = this.count(opening)
  }

  /** Orders checks and retries that happen at the same time: each number is greater than the last. */
  nextSequence(): number {
    return ++this.#sequence
  }

  /** Takes a slot for one connect attempt. */
  reserve(round: number, now: number): Slot<C> {
    invariant(this.taken < this.limits.maxSize, 'a slot beyond maxSize')
    const slot = new Slot<C>(++this.#lastId, this.generation, round, now)
    this.#all.add(slot)
    this.#counts[opening] = this.count(opening) + 1
    return slot
  }

  /** The attempt succeeded: its connection is idle. */
  fill(slot: Slot<C>, connection: C, now: number, expiresAt: number, isAdded: boolean): void {
    if (isAdded) this.added++
    else this.opened++
    this.hold(slot, connection)
    slot.openedAt = now
    slot.lastUsedAt = now
    slot.checkedAt = now
    slot.checkStartedAt = now
    slot.checkSequence = this.nextSequence()
    slot.expiresAt = expiresAt
    this.arrive(slot)
  }

  /** The attempt failed or was abandoned. */
  forfeit(slot: Slot<C>): void {
    this.failed++
    this.#leave(slot)
  }

  /** The attempt did not begin. */
  withdraw(slot: Slot<C>): void {
    this.#leave(slot)
  }

  /** The idle connection to hand out next; it stays idle. */
  peekIdle(strategy: 'fifo' | 'lifo'): Slot<C> | undefined {
    return strategy === 'fifo' ? this.#oldest : this.#newest
  }

  lease(slot: Slot<C>, now: number): void {
    slot.uses++
    slot.leasedAt = now
    this.#move(slot, leased)
  }

  /** From one holder to the next: the counts stay as they are. */
  handOver(slot: Slot<C>, now: number): void {
    invariant(slot.state === leased, 'a hand-over of a connection that is not leased')
    slot.uses++
    slot.leasedAt = now
  }

  /** Begins isValid for a caller. */
  check(slot: Slot<C>): void {
    this.#move(slot, checking)
  }

  /** Begins isValid in the background, or lets no caller count on one any longer. */
  doubt(slot: Slot<C>): void {
    this.#move(slot, doubted)
  }

  prepare(slot: Slot<C>): void {
    this.#move(slot, preparing)
  }

  reset(slot: Slot<C>): void {
    this.#move(slot, resetting)
  }

  park(slot: Slot<C>): void {
    this.#move(slot, idle)
  }

  /** Parks a connection that passed a step towards a caller. */
  arrive(slot: Slot<C>): void {
    this.#move(slot, idle)
    this.arrived = slot
  }

  /** Begins a close: the connection counts as closed, its slot as taken. */
  close(slot: Slot<C>, reason: CloseReason): void {
    this.#move(slot, closing)
    this.closed[reason]++
    this.places?.closing()
  }

  /** The close has settled, or took too long. */
  free(slot: Slot<C>): void {
    this.freed++
    this.#leave(slot)
  }

  /** The connection becomes its holder's own. */
  detach(slot: Slot<C>): void {
    this.detached++
    this.#leave(slot)
  }

  /** The idle connections, the longest idle first. The visited one may be moved; if its successor moves too, the walk ends. */
  *idleSlots(): Generator<Slot<C>, void, undefined> {
    let slot = this.#oldest
    while (slot !== undefined && slot.state === idle) {
      const next: Slot<C> | undefined = slot.next
      yield slot
      slot = next
    }
  }

  /** Every slot, closing ones included. */
  all(): Iterable<Slot<C>> {
    return this.#all
  }

  /** The slots in one of these states, as a list that may be worked through while they move. */
  in(...states: readonly SlotState[]): Slot<C>[] {
    return [...this.#all].filter(({ state }) => states.includes(state))
  }

  /** Whether an object is a connection of this pool. Values that are not objects may be equal. */
  has(connection: C): boolean {
    return this.#connections.has(connection)
  }

  /** The slot is of this connection from now on. */
  hold(slot: Slot<C>, connection: C): void {
    slot.connection = connection
    if (typeof connection === 'object' || typeof connection === 'function') this.#connections.add(connection)
  }

  #leave(slot: Slot<C>): void {
    const hasClosed = slot.state === closing
    this.#move(slot, gone)
    this.#all.delete(slot)
    this.#connections.delete(slot.connection)
    this.places?.give(hasClosed)
  }

  #move(slot: Slot<C>, next: SlotState): void {
    const from = slot.state
    // The test comes first: composing the text of each move would cost more than the move.
    if (!isLegal(from, next)) invariant(false, `a slot moved from ${from} to ${next}`)
    this.#counts[from] = this.count(from) - 1
    this.#counts[next] = this.count(next) + 1
    slot.state = next
    if (from === opening && slot.generation !== this.generation) this.#openingOld--
    if (from === idle) this.#unlink(slot)
    else if (next === idle) this.#link(slot)
  }

  // A returned connection is the newest, which is one step; a connection that passed a background check keeps its rank.
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
    if (this.arrived === slot) this.arrived = undefined
  }
}

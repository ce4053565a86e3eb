import { Heap, type HeapItem } from './heap.ts'
import { Line } from './line.ts'
import { PlainLine } from './plain-line.ts'
import type { Waiter } from './waiter.ts'

// The waiters with wishes of one priority, first come first. Who retries was served once, so he came before all who still wait.
class Level<C> implements HeapItem {
  readonly priority: number
  readonly retries: Line<Waiter<C>> = new Line()
  readonly rest: Line<Waiter<C>> = new Line()
  heapIndex = -1

  constructor(priority: number) {
    this.priority = priority
  }

  get size(): number {
    return this.retries.size + this.rest.size
  }

  lineOf(waiter: Waiter<C>): Line<Waiter<C>> {
    return waiter.freshSince > 0 ? this.retries : this.rest
  }

  first(): Waiter<C> | undefined {
    return this.retries.first() ?? this.rest.first()
  }

  after(waiter: Waiter<C>): Waiter<C> | undefined {
    const line = this.lineOf(waiter)
    return line.after(waiter) ?? (line === this.retries ? this.rest.first() : undefined)
  }
}

/**
 * The queue: first come, first served within a priority, a lower number first. Any waiter leaves in O(1), or in
 * O(log n) where priorities or deadlines differ.
 */
export class Waiters<C> {
  readonly #plain: PlainLine<C>
  // All others.
  #wishing = 0
  // The level of callers that ask for no priority is kept, whoever waits.
  readonly #usual: Level<C> = new Level(0)
  readonly #levels = new Map([[0, this.#usual]])
  readonly #byPriority: Heap<Level<C>> = new Heap((level) => level.priority)
  // Deadlines: on the usual level those that come in order (callers with the same time-out) are found in the line
  // itself, from `soonest` on; all others are in a heap.
  #soonest: Waiter<C> | undefined = undefined
  #latest = -Infinity
  readonly #unordered: Heap<Waiter<C>> = new Heap((waiter) => waiter.deadline)

  /** `timeoutMs`: of plain callers. */
  constructor(timeoutMs: number) {
    this.#plain = new PlainLine(timeoutMs)
  }

  get size(): number {
    return this.#plain.size + this.#wishing
  }

  /** The waiter to be served next. */
  head(): Waiter<C> | undefined {
    const plain = this.#plain.first()
    const other = this.#byPriority.first()?.first()
    if (plain === undefined || other === undefined) return plain ?? other
    return isBefore(plain, other) ? plain : other
  }

  /** How many of the head's priority are to be served before this waiter, at most `limit`. */
  rankOf(waiter: Waiter<C>, limit: number): number {
    const priority = this.head()?.priority ?? 0
    const plain = this.#plain.first()
    const level = this.#levels.get(priority)
    let rank = 0
    if (priority === 0 && waiter.priority !== 0) rank = this.#plain.size
    else if (priority === 0 && waiter.freshSince === 0)
      rank = Math.max(0, waiter.plainBefore - this.#plain.left)
    for (let other = level?.first(); other !== undefined && rank < limit; other = level?.after(other)) {
      if (other === waiter || (plain === waiter && isBefore(plain, other))) break
      rank++
    }
    return Math.min(rank, limit)
  }

  add(waiter: Waiter<C>, priority: number): void {
    const level = this.#levelOf(priority)
    if (level.size === 0) this.#byPriority.add(level)
    const line = level.lineOf(waiter)
    line.add(waiter)
    waiter.priority = priority
    waiter.plainBefore = this.#plain.came
    this.#wishing++
    const { deadline } = waiter
    if (deadline === Infinity) return
    if (line !== this.#usual.rest || deadline < this.#latest) return this.#unordered.add(waiter)
    this.#soonest ??= waiter
    this.#latest = deadline
  }

  /** A caller of no priority, with the usual time-out, that wants nothing else: it can only be served or time out. */
  addPlain(resolve: Waiter<C>['resolve'], reject: Waiter<C>['reject'], queuedAt: number): void {
    this.#plain.add(resolve, reject, queuedAt)
  }

  remove(waiter: Waiter<C>): void {
    if (!waiter.isWaiting || this.#plain.remove(waiter)) return
    const level = this.#levelOf(waiter.priority)
    if (waiter.heapIndex !== -1) this.#unordered.remove(waiter)
    else if (waiter === this.#soonest) this.#forgetSoonest(waiter)
    level.lineOf(waiter).remove(waiter)
    this.#wishing--
    if (level.size > 0) return
    this.#byPriority.remove(level)
    if (level !== this.#usual) this.#levels.delete(level.priority)
  }

  /** The waiter whose deadline comes first. */
  soonest(): Waiter<C> | undefined {
    const other = sooner(this.#soonest, this.#unordered.first())
    return sooner(this.#plain.first(), other)
  }

  #levelOf(priority: number): Level<C> {
    let level = this.#levels.get(priority)
    if (level === undefined) {
      level = new Level(priority)
      this.#levels.set(priority, level)
    }
    return level
  }

  // The next whose deadline is in order; those in the heap and those without one are passed over once and for all.
  #forgetSoonest(waiter: Waiter<C>): void {
    const line = this.#usual.rest
    let next = line.after(waiter)
    while (next !== undefined && (next.heapIndex !== -1 || next.timeoutMs === Infinity))
      next = line.after(next)
    this.#soonest = next
    if (next === undefined) this.#latest = -Infinity
  }
}

// Whether a plain waiter is served before one that is not.
function isBefore<C>(plain: Waiter<C>, other: Waiter<C>): boolean {
  if (other.priority !== 0) return other.priority > 0
  return other.freshSince === 0 && plain.plainBefore < other.plainBefore
}

function sooner<C>(a: Waiter<C> | undefined, b: Waiter<C> | undefined): Waiter<C> | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return b.deadline < a.deadline ? b : a
}

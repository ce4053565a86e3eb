import { Heap, type HeapItem } from '../runtime/heap.ts'
import { Line } from '../runtime/line.ts'
import { PlainLine } from './plain-line.ts'
import type { Waiter } from './waiter.ts'

// The waiters with options of one priority, first come first. A retrying caller has been served before, so it goes ahead.
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
    return waiter.isRetry ? this.retries : this.rest
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
  // The waiters with options of their own.
  #others = 0
  // The level of the default priority is kept, even when it is empty.
  readonly #usual: Level<C> = new Level(0)
  readonly #levels = new Map([[0, this.#usual]])
  readonly #byPriority: Heap<Level<C>> = new Heap((level) => level.priority)
  // Deadlines: on the usual level, those that come in order (callers with the same timeout) are found in the line itself,
  // from `soonest` on; all others are in a heap.
  #soonest: Waiter<C> | undefined = undefined
  #latest = -Infinity
  readonly #unordered: Heap<Waiter<C>> = new Heap((waiter) => waiter.deadline)

  /** `timeoutMs` is the timeout of plain callers. */
  constructor(timeoutMs: number) {
    this.#plain = new PlainLine(timeoutMs)
  }

  get size(): number {
    return this.#plain.size + this.#others
  }

  /** The plain callers, while no other caller waits: their first is the head then. */
  get onlyPlain(): PlainLine<C> | undefined {
    return this.#others === 0 && this.#plain.size > 0 ? this.#plain : undefined
  }

  get plain(): PlainLine<C> {
    return this.#plain
  }

  /** The waiter to serve next. */
  head(): Waiter<C> | undefined {
    const plain = this.#plain.first()
    const other = this.#byPriority.first()?.first()
    if (plain === undefined || other === undefined) return plain ?? other
    return isBefore(plain, other) ? plain : other
  }

  /** Returns how many waiters of the head's priority are served before this one, at most `limit`. */
  rankOf(waiter: Waiter<C>, limit: number): number {
    const priority = this.head()?.priority ?? 0
    const plain = this.#plain.first()
    const level = this.#levels.get(priority)
    let rank = 0
    if (priority === 0 && waiter.priority !== 0) rank = this.#plain.size
    else if (priority === 0 && !waiter.isRetry) rank = Math.max(0, waiter.plainBefore - this.#plain.left)
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
    this.#others++
    const { deadline } = waiter
    if (deadline === Infinity) return
    if (line !== this.#usual.rest || deadline < this.#latest) return this.#unordered.add(waiter)
    this.#soonest ??= waiter
    this.#latest = deadline
  }

  /**
   * Takes out every waiter whose rank is `rank` or more, and calls `each` with its reject function and, if it is not a
   * plain caller, itself.
   */
  removeBeyond(rank: number, each: (reject: Waiter<C>['reject'], waiter?: Waiter<C>) => void): void {
    if (rank >= this.size) return
    const others = this.inOrder()
    let plain = 0
    let other = 0
    while (plain + other < rank) {
      const next = others[other]
      const isPlainNext =
        plain < this.#plain.size && (next === undefined || comesBefore(this.#plain.left + plain, next))
      if (isPlainNext) plain++
      else other++
    }
    this.#plain.removeBeyond(plain, each)
    for (const waiter of others.slice(other)) {
      this.remove(waiter)
      each(waiter.reject, waiter)
    }
  }

  /** The waiters with options of their own, in the order in which they are served. */
  inOrder(): Waiter<C>[] {
    const levels = [...this.#levels.values()].sort((a, b) => a.priority - b.priority)
    const found: Waiter<C>[] = []
    for (const level of levels)
      for (let waiter = level.first(); waiter !== undefined; waiter = level.after(waiter)) found.push(waiter)
    return found
  }

  remove(waiter: Waiter<C>): void {
    if (!waiter.isWaiting || this.#plain.remove(waiter)) return
    const level = this.#levelOf(waiter.priority)
    if (waiter.heapIndex !== -1) this.#unordered.remove(waiter)
    else if (waiter === this.#soonest) this.#forgetSoonest(waiter)
    level.lineOf(waiter).remove(waiter)
    this.#others--
    if (level.size > 0) return
    this.#byPriority.remove(level)
    if (level !== this.#usual) this.#levels.delete(level.priority)
  }

  /** The waiter with the earliest deadline. */
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

  // The next waiter whose deadline is in order; waiters in the heap and those without a deadline are skipped for good.
  #forgetSoonest(waiter: Waiter<C>): void {
    const line = this.#usual.rest
    let next = line.after(waiter)
    while (next !== undefined && (next.heapIndex !== -1 || next.timeoutMs === Infinity))
      next = line.after(next)
    this.#soonest = next
    if (next === undefined) this.#latest = -Infinity
  }
}

function isBefore<C>(plain: Waiter<C>, other: Waiter<C>): boolean {
  return comesBefore(plain.plainBefore, other)
}

// Returns whether a plain caller, given the number of arrivals before it, is served before a caller with options.
function comesBefore<C>(plainBefore: number, other: Waiter<C>): boolean {
  if (other.priority !== 0) return other.priority > 0
  return !other.isRetry && plainBefore < other.plainBefore
}

function sooner<C>(a: Waiter<C> | undefined, b: Waiter<C> | undefined): Waiter<C> | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return b.deadline < a.deadline ? b : a
}

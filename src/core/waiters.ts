import type { SignalWatch } from './abort.ts'
import { Heap, type HeapItem } from './heap.ts'
import type { Lease } from './lease.ts'
import { Line, type LineItem } from './line.ts'

/** One caller in the queue. Every field costs memory for each caller that waits. */
export class Waiter<C> implements HeapItem, LineItem {
  readonly resolve: (lease: Lease<C>) => void
  readonly reject: (reason: unknown) => void
  readonly queuedAt: number
  readonly timeoutMs: number
  /** Wants a connection that was opened or checked since this tick, as its last one broke; 0: any will do. */
  readonly freshSince: number
  watch: SignalWatch | undefined = undefined
  /** Holds the stack of its acquire, where leaks are looked for. */
  trace: Error | undefined = undefined
  /** Where it waits; undefined: it does not. */
  level: Level<C> | undefined = undefined
  place = -1
  heapIndex = -1

  constructor(
    resolve: (lease: Lease<C>) => void,
    reject: (reason: unknown) => void,
    queuedAt: number,
    timeoutMs: number,
    freshSince: number,
  ) {
    this.resolve = resolve
    this.reject = reject
    this.queuedAt = queuedAt
    this.timeoutMs = timeoutMs
    this.freshSince = freshSince
  }

  get deadline(): number {
    return this.queuedAt + this.timeoutMs
  }
}

// The waiters of one priority, first come first. Who retries was served once, so he came before all who still wait.
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
  #size = 0
  // The level of callers that ask for no priority is kept, whoever waits.
  readonly #usual: Level<C> = new Level(0)
  readonly #levels = new Map([[0, this.#usual]])
  readonly #byPriority: Heap<Level<C>> = new Heap((level) => level.priority)
  // Deadlines: on the usual level those that come in order (callers with the same time-out) are found in the line
  // itself, from `soonest` on; all others are in a heap.
  #soonest: Waiter<C> | undefined = undefined
  #latest = -Infinity
  readonly #unordered: Heap<Waiter<C>> = new Heap((waiter) => waiter.deadline)

  get size(): number {
    return this.#size
  }

  /** The waiter to be served next. */
  head(): Waiter<C> | undefined {
    return this.#byPriority.first()?.first()
  }

  /** How many of the head's priority are to be served before this waiter, at most `limit`. */
  rankOf(waiter: Waiter<C>, limit: number): number {
    const level = this.#byPriority.first()
    let other = level?.first()
    let rank = 0
    while (other !== undefined && other !== waiter && rank < limit) {
      rank++
      other = level?.after(other)
    }
    return rank
  }

  add(waiter: Waiter<C>, priority: number): void {
    const level = priority === 0 ? this.#usual : this.#levelOf(priority)
    if (level.size === 0) this.#byPriority.add(level)
    const line = level.lineOf(waiter)
    line.add(waiter)
    waiter.level = level
    this.#size++
    const { deadline } = waiter
    if (deadline === Infinity) return
    if (line !== this.#usual.rest || deadline < this.#latest) return this.#unordered.add(waiter)
    this.#soonest ??= waiter
    this.#latest = deadline
  }

  remove(waiter: Waiter<C>): void {
    const { level } = waiter
    if (level === undefined) return
    if (waiter.heapIndex !== -1) this.#unordered.remove(waiter)
    else if (waiter === this.#soonest) this.#forgetSoonest(waiter)
    level.lineOf(waiter).remove(waiter)
    waiter.level = undefined
    this.#size--
    if (level.size > 0) return
    this.#byPriority.remove(level)
    if (level !== this.#usual) this.#levels.delete(level.priority)
  }

  /** The waiter whose deadline comes first. */
  soonest(): Waiter<C> | undefined {
    const unordered = this.#unordered.first()
    const ordered = this.#soonest
    if (unordered === undefined) return ordered
    return ordered === undefined || unordered.deadline < ordered.deadline ? unordered : ordered
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

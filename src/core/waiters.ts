import { Heap, type HeapItem } from './heap.ts'
import type { Lease } from './lease.ts'
import type { SignalWatch } from './abort.ts'

/** One caller in the queue. */
export class Waiter<C> implements HeapItem {
  readonly resolve: (lease: Lease<C>) => void
  readonly reject: (reason: unknown) => void
  readonly queuedAt: number
  readonly deadline: number
  readonly priority: number
  /** Wants a connection that was opened or checked since this tick, as its last one broke; 0: any will do. */
  readonly freshSince: number
  watch: SignalWatch | undefined = undefined
  /** Holds the stack of its acquire, where leaks are looked for. */
  trace: Error | undefined = undefined
  queue: Level<C> | undefined = undefined
  previous: Waiter<C> | undefined = undefined
  next: Waiter<C> | undefined = undefined
  sooner: Waiter<C> | undefined = undefined
  later: Waiter<C> | undefined = undefined
  heapIndex = -1

  constructor(
    resolve: (lease: Lease<C>) => void,
    reject: (reason: unknown) => void,
    queuedAt: number,
    deadline: number,
    priority: number,
    freshSince: number,
  ) {
    this.resolve = resolve
    this.reject = reject
    this.queuedAt = queuedAt
    this.deadline = deadline
    this.priority = priority
    this.freshSince = freshSince
  }
}

// The waiters of one priority, first come first. Who retries was served once, so he came before all who still wait.
class Level<C> implements HeapItem {
  readonly priority: number
  first: Waiter<C> | undefined = undefined
  /** The last of those at the front that were served once and retry. */
  lastRetry: Waiter<C> | undefined = undefined
  last: Waiter<C> | undefined = undefined
  heapIndex = -1

  constructor(priority: number) {
    this.priority = priority
  }
}

/**
 * The queue: first come, first served within a priority, a lower number first. Any waiter leaves in O(1), or in
 * O(log n) where priorities or deadlines differ.
 */
export class Waiters<C> {
  #size = 0
  readonly #levels = new Map<number, Level<C>>()
  readonly #byPriority: Heap<Level<C>> = new Heap((level) => level.priority)
  // Deadlines: those that come in order (callers with the same time-out) in a list, the others in a heap.
  #soonest: Waiter<C> | undefined = undefined
  #latest: Waiter<C> | undefined = undefined
  readonly #unordered: Heap<Waiter<C>> = new Heap((waiter) => waiter.deadline)

  get size(): number {
    return this.#size
  }

  /** The waiter to be served next. */
  head(): Waiter<C> | undefined {
    return this.#byPriority.first()?.first
  }

  add(waiter: Waiter<C>): void {
    let level = this.#levels.get(waiter.priority)
    if (level === undefined) {
      level = new Level(waiter.priority)
      this.#levels.set(waiter.priority, level)
    }
    if (level.first === undefined) this.#byPriority.add(level)
    const isRetry = waiter.freshSince > 0
    const previous = isRetry ? level.lastRetry : level.last
    const next = previous === undefined ? level.first : previous.next
    waiter.previous = previous
    waiter.next = next
    if (previous === undefined) level.first = waiter
    else previous.next = waiter
    if (next === undefined) level.last = waiter
    else next.previous = waiter
    if (isRetry) level.lastRetry = waiter
    waiter.queue = level
    this.#size++
    this.#addDeadline(waiter)
  }

  remove(waiter: Waiter<C>): void {
    const level = waiter.queue
    if (level === undefined) return
    const { previous, next } = waiter
    if (previous === undefined) level.first = next
    else previous.next = next
    if (next === undefined) level.last = previous
    else next.previous = previous
    if (level.lastRetry === waiter) level.lastRetry = previous
    waiter.queue = undefined
    waiter.previous = undefined
    waiter.next = undefined
    if (level.first === undefined) {
      this.#byPriority.remove(level)
      if (level.priority !== 0) this.#levels.delete(level.priority)
    }
    this.#size--
    this.#removeDeadline(waiter)
  }

  /** The waiter whose deadline comes first. */
  soonest(): Waiter<C> | undefined {
    const unordered = this.#unordered.first()
    const ordered = this.#soonest
    if (unordered === undefined) return ordered
    return ordered === undefined || unordered.deadline < ordered.deadline ? unordered : ordered
  }

  #addDeadline(waiter: Waiter<C>): void {
    if (waiter.deadline === Infinity) return
    const latest = this.#latest
    if (latest === undefined) {
      this.#soonest = waiter
    } else if (latest.deadline <= waiter.deadline) {
      latest.later = waiter
      waiter.sooner = latest
    } else {
      this.#unordered.add(waiter)
      return
    }
    this.#latest = waiter
  }

  #removeDeadline(waiter: Waiter<C>): void {
    if (waiter.heapIndex !== -1) {
      this.#unordered.remove(waiter)
      return
    }
    if (waiter.deadline === Infinity) return
    const { sooner, later } = waiter
    if (sooner === undefined) this.#soonest = later
    else sooner.later = later
    if (later === undefined) this.#latest = sooner
    else later.sooner = sooner
    waiter.sooner = undefined
    waiter.later = undefined
  }
}

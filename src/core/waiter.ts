import type { Watch } from './abort.ts'
import type { HeapItem } from './heap.ts'
import type { Lease } from './lease.ts'
import type { LineItem } from './line.ts'

/** One caller in the queue: with a wish of its own, or the first of the plain ones. */
export class Waiter<C> implements HeapItem, LineItem {
  resolve: (lease: Lease<C>) => void
  reject: (reason: unknown) => void
  queuedAt: number
  readonly timeoutMs: number
  /** Wants a connection that was opened or checked since this tick, as its last one broke; 0: any will do. */
  readonly freshSince: number
  priority = 0
  /** How many plain callers had ever come when it did: its place among them. */
  plainBefore = 0
  watch: Watch<Waiter<C>> | undefined = undefined
  /** Holds the stack of its acquire, where leaks are looked for. */
  trace: Error | undefined = undefined
  /** -1: it does not wait. */
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

  get isWaiting(): boolean {
    return this.place !== -1
  }

  get deadline(): number {
    return this.queuedAt + this.timeoutMs
  }
}

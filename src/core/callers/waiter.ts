import type { AbortWatch } from '../runtime/abort-watchers.ts'
import type { Mark } from '../runtime/async-marks.ts'
import type { HeapItem } from '../runtime/heap.ts'
import type { LineItem } from '../runtime/line.ts'
import type { Lease } from './lease.ts'

/** One caller in the queue: one with options of its own, or the first of the plain callers. */
export class Waiter<C> implements HeapItem, LineItem {
  resolve: (lease: Lease<C>) => void
  reject: (reason: unknown) => void
  queuedAt: number
  readonly timeoutMs: number
  /** It needs a connection that was opened or checked since this sequence number; 0: any will do. */
  readonly freshSince: number
  /** It has been served before, so it goes ahead of the waiters of its priority. */
  isRetry = false
  priority = 0
  /** Number of plain callers that had ever arrived before it: its rank among them. */
  plainBefore = 0
  /** Total time of the pool's pauses before it arrived, in milliseconds. */
  pausedBefore = 0
  watch: AbortWatch<Waiter<C>> | undefined = undefined
  /** Holds the stack of its acquire, if leaks are reported. */
  trace: Error | undefined = undefined
  /** The mark of its async context, which records what the context holds. */
  mark: Mark | undefined = undefined
  /** -1 when it does not wait. */
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

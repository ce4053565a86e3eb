import { callerOf } from '../core/inspection/caller.ts'

// A stack costs some microseconds: at most this number per second is taken, and the other leases have no name.
const MOST_STACKS_PER_SECOND = 2_000
// The first ten or so are the pool's and the tracer's own.
const DEEPEST_STACK = 30

/** Remembers where the leases of one process were acquired, as far as that can be afforded. */
export class Holders {
  readonly #stacks = new WeakMap<object, { readonly stack?: string }>()
  readonly #of = new Map<number, Map<number, { readonly stack?: string }>>()
  #secondBegan = 0
  #taken = 0

  /** An acquire begins: its caller is on the stack. */
  began(trace: object, now: number): void {
    if (now - this.#secondBegan >= 1_000) {
      this.#secondBegan = now
      this.#taken = 0
    }
    if (++this.#taken > MOST_STACKS_PER_SECOND) return
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = DEEPEST_STACK
    // The text is created when it is first read: for most leases never.
    const place = {}
    Error.captureStackTrace(place)
    Error.stackTraceLimit = stackTraceLimit
    this.#stacks.set(trace, place)
  }

  /** The acquire got this connection. */
  got(trace: object, poolId: number, connection: number): void {
    const place = this.#stacks.get(trace)
    if (place === undefined) return
    let holders = this.#of.get(poolId)
    if (holders === undefined) this.#of.set(poolId, (holders = new Map()))
    holders.set(connection, place)
  }

  released(poolId: number, connection: number): void {
    this.#of.get(poolId)?.delete(connection)
  }

  forget(poolId: number): void {
    this.#of.delete(poolId)
  }

  clear(): void {
    this.#of.clear()
  }

  /** The place that acquired a connection, if that acquire was sampled. */
  holderOf(poolId: number, connection: number): string | undefined {
    return callerOf(this.#of.get(poolId)?.get(connection)?.stack)
  }
}

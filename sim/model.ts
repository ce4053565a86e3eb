import type { SimConnection } from './server.ts'

/** One caller in the model's queue. */
export interface ModelWaiter {
  readonly caller: number
  readonly priority: number
  readonly deadline: number
}

/**
 * A pool as a child would draw it: who is next, and which idle connection goes first. It knows neither time nor checks nor hooks, so it
 * only speaks where those play no part; there the pool must do as it says.
 */
export class Model {
  readonly #strategy: 'fifo' | 'lifo'
  #waiters: ModelWaiter[] = []
  /** Idle connections that came back, the longest idle first. */
  idle: SimConnection[] = []

  constructor(strategy: 'fifo' | 'lifo') {
    this.#strategy = strategy
  }

  /** Callers that wait. */
  get waiting(): number {
    return this.#waiters.length
  }

  /** A caller asks: it has a place, until it is served or gives up. */
  asks(caller: number, priority: number, deadline: number): void {
    const waiter = { caller, priority, deadline }
    const place = this.#waiters.findIndex((each) => each.priority > priority)
    if (place === -1) this.#waiters.push(waiter)
    else this.#waiters.splice(place, 0, waiter)
  }

  /** The caller that must be served before all others. */
  next(): number | undefined {
    return this.#waiters[0]?.caller
  }

  leaves(caller: number): void {
    this.#waiters = this.#waiters.filter((each) => each.caller !== caller)
  }

  /** The caller whose deadline came first gives up. */
  expires(): void {
    const [first] = this.#waiters.toSorted((a, b) => a.deadline - b.deadline)
    if (first !== undefined) this.leaves(first.caller)
  }

  /** The pool is closed: nobody waits any more. */
  clear(): void {
    this.#waiters = []
  }

  /** A connection has come back, or was opened, while nobody waited. */
  rests(connection: SimConnection): void {
    this.takes(connection)
    this.idle.push(connection)
  }

  /** A connection is handed out, or is closed. */
  takes(connection: SimConnection): void {
    this.idle = this.idle.filter((each) => each !== connection)
  }

  /** The connection that is handed out next, of those that are fit. */
  nextIdle(): SimConnection | undefined {
    const fit = this.idle.filter(
      ({ brokenAt, closeBeganAt }) => brokenAt === undefined && closeBeganAt === undefined,
    )
    return this.#strategy === 'fifo' ? fit[0] : fit.at(-1)
  }
}

import type { SimConnection } from './server.ts'

/**
 * The idle connections as a child would draw them: which one goes first. It knows neither time nor checks nor hooks, so it only speaks where
 * those play no part; there the pool must do as it says.
 */
export class Model {
  readonly #strategy: 'fifo' | 'lifo'
  /** Idle connections that came back, the longest idle first. */
  idle: SimConnection[] = []

  constructor(strategy: 'fifo' | 'lifo') {
    this.#strategy = strategy
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

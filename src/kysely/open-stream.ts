import { SingleConnectionProvider } from 'kysely'

/** A connection of a driver, as far as it reports its end. */
export interface Losable {
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown
  off(event: 'error' | 'end', listener: (error?: Error) => void): unknown
}

/** Settles what waits for a connection when the connection is lost: a driver may leave it pending. */
export class OpenStream {
  /** The connection was lost while the stream was open. */
  lost: Error | undefined
  readonly #connection: Losable
  #reject: ((error: Error) => void) | undefined

  constructor(connection: Losable) {
    this.#connection = connection
    connection.on('error', this.#onLoss)
    connection.on('end', this.#onLoss)
  }

  /** The outcome of `work`, or a rejection when the connection is lost first. One call at a time. */
  wait<T>(work: Promise<T>): Promise<T> {
    // Promise.race would add a reaction per call to a promise that lives as long as the stream.
    return new Promise((resolve, reject) => {
      this.#reject = reject
      work.then(resolve, reject)
      if (this.lost !== undefined) reject(this.lost)
    })
  }

  end(): void {
    this.#connection.off('error', this.#onLoss)
    this.#connection.off('end', this.#onLoss)
  }

  readonly #onLoss = (error?: Error): void => {
    this.lost ??= error ?? new Error('the connection ended while a stream was open')
    this.#reject?.(this.lost)
  }
}

/** A connection of Kysely that may have a stream open. */
interface Streaming {
  readonly isStreaming?: boolean
}

// The connection that Kysely's queue has lent, if it has.
const lent = new WeakMap<SingleConnectionProvider, Streaming>()
let isInstalled = false

/**
 * Rejects a statement that would wait in Kysely's queue of one connection for a stream of the same connection: its reader
 * usually waits for that statement. The queue has no hook, so its only method is wrapped; other connections are not changed.
 */
export function rejectBehindStreams(): void {
  if (isInstalled) return
  isInstalled = true
  const { prototype } = SingleConnectionProvider
  const { provideConnection } = prototype
  prototype.provideConnection = async function (consumer) {
    mustNotStream(lent.get(this)?.isStreaming === true)
    return (await provideConnection.call(this, async (connection) => {
      lent.set(this, connection as Streaming)
      return await consumer(connection)
    })) as never
  }
}

/** Throws if a stream is open on a connection: the statement would wait for its end, and its reader for the statement. */
export function mustNotStream(isStreaming: boolean): void {
  if (isStreaming)
    throw new Error(
      'a stream is open on this connection. Read it to its end, or leave its loop, before the next statement',
    )
}

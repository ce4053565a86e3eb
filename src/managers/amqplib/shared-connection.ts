import type { AmqpConnectionManager } from './connection.ts'
import { keepAlive, type Model } from './driver.ts'

/** A connection, and the number of callers that use it. */
export interface Shared {
  readonly connection: Model
  users: number
  /** Users that keep the process alive. */
  refs: number
  /** The error that ended the connection. */
  reason?: unknown
  closed?: Promise<void>
}

/** An attempt to open a connection, and the number of callers that wait for it. */
interface Attempt {
  readonly controller: AbortController
  readonly opened: Promise<Shared>
  waiting: number
}

/**
 * The connection whose channels are pooled: opened by all callers that need it together, closed with its last user. While
 * the server blocks it, new users get another connection.
 */
export class SharedConnection {
  readonly #manager: AmqpConnectionManager<Model>
  /** Connections that may get more users, the oldest first. */
  readonly #open = new Set<Shared>()
  #attempt: Attempt | undefined

  constructor(manager: AmqpConnectionManager<Model>) {
    this.#manager = manager
  }

  /** Returns a connection with one more user, which has to leave. Rejects when `signal` aborts first. */
  async enter(signal: AbortSignal): Promise<Shared> {
    signal.throwIfAborted()
    for (const shared of this.#open) {
      if (shared.connection.connection.blocked) continue
      shared.users++
      return shared
    }
    const attempt = (this.#attempt ??= this.#connect())
    attempt.waiting++
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      const shared = await Promise.race([attempt.opened, aborted])
      shared.users++
      if (signal.aborted) {
        void this.leave(shared)
        throw signal.reason
      }
      return shared
    } finally {
      signal.removeEventListener('abort', onAbort)
      attempt.waiting--
      // No caller needs the attempt any longer: a connection that opened nevertheless is closed.
      if (attempt.waiting === 0) this.#giveUp(attempt)
    }
  }

  /** Removes one user. Settles when the connection is closed, if that was its last user. */
  async leave(shared: Shared): Promise<void> {
    shared.users--
    if (shared.users > 0) return
    await this.#close(shared)
  }

  /** Counts a user that begins or ceases to keep the process alive; the connection does while any user does. */
  keepAlive(shared: Shared, keeps: boolean): void {
    shared.refs += keeps ? 1 : -1
    keepAlive(shared.connection.connection, shared.refs > 0)
  }

  /** Gives the connection no more users. */
  retire(shared: Shared): void {
    this.#open.delete(shared)
  }

  #close(shared: Shared): Promise<void> {
    this.retire(shared)
    return (shared.closed ??= this.#manager.close(shared.connection))
  }

  #connect(): Attempt {
    const controller = new AbortController()
    let shared: Shared | undefined
    const lost = (): void => {
      if (shared !== undefined) this.retire(shared)
    }
    const opened = this.#manager.connect({ signal: controller.signal, lost }).then(
      (connection) => {
        const opening: Shared = { connection, users: 0, refs: 0 }
        shared = opening
        // The driver closes the channels before it reports why the connection ended.
        const wire = connection.connection
        const { toClosed } = wire
        wire.toClosed = (stack, reason): void => {
          opening.reason = reason
          toClosed.call(wire, stack, reason)
        }
        if (this.#attempt === attempt) {
          this.#attempt = undefined
          if (!this.#manager.hasBroken(connection)) this.#open.add(opening)
        }
        return opening
      },
      (error: unknown) => {
        if (this.#attempt === attempt) this.#attempt = undefined
        throw error
      },
    )
    const attempt: Attempt = { controller, opened, waiting: 0 }
    return attempt
  }

  #giveUp(attempt: Attempt): void {
    if (this.#attempt === attempt) this.#attempt = undefined
    attempt.controller.abort(new Error('no caller waits for the connection any more'))
    attempt.opened.then(
      (shared) => {
        if (shared.users === 0) void this.#close(shared)
      },
      () => {},
    )
  }
}

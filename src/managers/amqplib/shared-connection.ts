import type { AmqpConnectionManager } from './connection.ts'
import type { AmqpConnection } from './driver.ts'

/** One connection, and how many use it. */
export interface Shared {
  readonly connection: AmqpConnection
  users: number
  closed?: Promise<void>
}

/** An attempt to open a connection, and how many wait for it. */
interface Attempt {
  readonly controller: AbortController
  readonly opened: Promise<Shared>
  waiting: number
}

/** The one connection whose channels are pooled: opened by all who need it together, closed by the last who leaves. */
export class SharedConnection {
  readonly #manager: AmqpConnectionManager
  #attempt: Attempt | undefined
  #current: Shared | undefined

  constructor(manager: AmqpConnectionManager) {
    this.#manager = manager
  }

  /** The connection, with one user more; whoever enters has to leave. Rejects when `signal` is aborted before. */
  async enter(signal: AbortSignal): Promise<Shared> {
    signal.throwIfAborted()
    if (this.#current !== undefined) {
      this.#current.users++
      return this.#current
    }
    const attempt = (this.#attempt ??= this.#open())
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
      // Nobody wants it any more. One that has opened all the same has no user, and is closed.
      if (attempt.waiting === 0) this.#giveUp(attempt)
    }
  }

  /** One user less. Settles when the connection is closed, where this was its last. */
  async leave(shared: Shared): Promise<void> {
    shared.users--
    if (shared.users > 0) return
    await this.#close(shared)
  }

  /** It gets no more users: the next who enters opens another one. */
  retire(shared: Shared): void {
    if (this.#current === shared) this.#current = undefined
  }

  #close(shared: Shared): Promise<void> {
    this.retire(shared)
    return (shared.closed ??= this.#manager.close(shared.connection))
  }

  #open(): Attempt {
    const controller = new AbortController()
    let shared: Shared | undefined
    const lost = (): void => {
      if (shared !== undefined) this.retire(shared)
    }
    const opened = this.#manager.connect({ signal: controller.signal, lost }).then(
      (connection) => {
        shared = { connection, users: 0 }
        if (this.#attempt === attempt) {
          this.#attempt = undefined
          if (!this.#manager.hasBroken(connection)) this.#current = shared
        }
        return shared
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
    attempt.controller.abort(new Error('nobody waits for the connection any more'))
    attempt.opened.then(
      (shared) => {
        if (shared.users === 0) void this.#close(shared)
      },
      () => {},
    )
  }
}

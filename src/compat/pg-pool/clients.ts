import type { EventEmitter } from 'node:events'

import type { ConnectContext, ConnectionManager } from '../../index.ts'

/** Gives a client back; with an error, or true, for good. */
export type Release = (error?: Error | boolean) => void
/** A client that was taken from the pool: the driver's own, the same object for each physical connection. */
export interface PgPoolClient extends EventEmitter {
  // The driver's signatures are many: text, config, submittable, each with or without a callback.
  query(...args: any[]): any
  connect(callback: (error?: Error | null) => void): unknown
  end(callback: (error?: Error | null) => void): unknown
  /** Gives the client back; with an error, or true, for good. Throws when it was given back before. */
  release: Release
  readonly processID?: number
  ref?(): void
  unref?(): void
  readonly connection?: EventEmitter & { readonly stream?: { destroy(): unknown } }
  readonly _queryable?: boolean
  readonly _ending?: boolean
  readonly _txStatus?: string | null
  _poolUseCount?: number
}

export type ClientClass = new (options: never) => unknown

/** What the manager asks of, and tells to, the pool that it works for. */
export interface ClientOwner {
  readonly options: object
  Client: ClientClass | undefined
  readonly log: (...messages: unknown[]) => void
  /** An idle client is gone, with what it said. */
  idleError(error: Error, client: PgPoolClient): void
  /** A client in use is dead: whoever has it can only give it back, or forgets to. */
  died(client: PgPoolClient): void
  /** A client was ended. */
  removed(client: PgPoolClient): void
}

/** What is known of a client beyond what the driver tells. */
interface Health {
  readonly lost: (error?: unknown) => void
  isIdle: boolean
  isBroken: boolean
  isGone: boolean
  isClosing: boolean
}

/** Opens and ends the clients of one pool, by the callbacks that every client of pg has. */
export class ClientManager implements ConnectionManager<PgPoolClient> {
  readonly #pool: ClientOwner
  readonly #health = new WeakMap<PgPoolClient, Health>()

  constructor(pool: ClientOwner) {
    this.#pool = pool
  }

  async connect({ signal, lost }: ConnectContext): Promise<PgPoolClient> {
    const Client = (this.#pool.Client ??= await loadClient())
    signal.throwIfAborted()
    this.#pool.log('connecting new client')
    const client = new (Client as new (options: unknown) => PgPoolClient)(this.#pool.options)
    const health: Health = { lost, isIdle: true, isBroken: false, isGone: false, isClosing: false }
    const onAbort = (): void => void client.connection?.stream?.destroy()
    signal.addEventListener('abort', onAbort)
    // An 'error' event that nobody hears would end the process, and one may come with the very packet that ends the connect.
    client.on?.('error', () => {})
    try {
      await called((done) => client.connect(done))
      signal.throwIfAborted()
    } catch (error) {
      this.#pool.log('client failed to connect', error)
      // The driver has a limit of its own by the same option.
      if (!(error instanceof Error) || error.message !== 'timeout expired') throw error
      throw new Error('Connection terminated due to connection timeout', { cause: error })
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    this.#health.set(client, health)
    this.#watch(client, health)
    this.#pool.log('new client connected')
    return client
  }

  isValid(client: PgPoolClient, signal: AbortSignal): Promise<boolean> {
    const onAbort = (): void => void client.connection?.stream?.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    return called((done) => client.query('', done)).then(
      () => true,
      () => false,
    )
  }

  hasBroken(client: PgPoolClient): boolean {
    return (
      this.#health.get(client)?.isBroken === true || client._queryable === false || client._ending === true
    )
  }

  reset(client: PgPoolClient): void | Promise<void> {
    if ((client._txStatus ?? 'I') === 'I') return
    return called((done) => client.query('ROLLBACK', done))
  }

  async close(client: PgPoolClient): Promise<void> {
    const health = this.#health.get(client)
    if (health !== undefined) health.isClosing = true
    try {
      if (this.hasBroken(client)) client.connection?.stream?.destroy()
      await called((done) => client.end(done))
    } finally {
      this.#pool.removed(client)
    }
  }

  lent(client: PgPoolClient): void {
    const health = this.#health.get(client)
    if (health !== undefined) health.isIdle = false
  }

  returned(client: PgPoolClient): void {
    const health = this.#health.get(client)
    if (health !== undefined) health.isIdle = true
  }

  #watch(client: PgPoolClient, health: Health): void {
    const gone = (error?: unknown): void => {
      health.isBroken = true
      health.isGone = true
      if (!health.isClosing) health.lost(error)
    }
    client.on('error', (error: Error) => {
      // In use, the error is the holder's; whether the client is still good the driver tells by `_queryable`.
      if (!health.isIdle || health.isGone || health.isClosing) return
      gone(error)
      this.#pool.idleError(error, client)
    })
    client.on('end', () => {
      gone()
      if (!health.isIdle) this.#pool.died(client)
    })
    // The server says FATAL before its socket ends, and to a client with a query running the driver tells only the query.
    client.connection?.on('errorMessage', (message: { severity?: string }) => {
      if (message?.severity === 'FATAL' || message?.severity === 'PANIC') health.isBroken = true
    })
  }
}

async function loadClient(): Promise<ClientClass> {
  const name = 'pg'
  const loaded = (await import(name)) as { default?: { Client: ClientClass }; Client: ClientClass }
  return loaded.default?.Client ?? loaded.Client
}

/** A call that ends by its callback, as a promise. */
export function called(call: (done: (error?: Error | null) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === null || error === undefined ? resolve() : reject(error)))
  })
}

import type { EventEmitter } from 'node:events'

import type { ConnectContext, ConnectionManager, ShareableConnection } from '../../index.ts'
import { loadDriver } from '../../managers/driver.ts'
import { type PgSharedClient, pgShare, prepareShared } from '../../managers/pg/share.ts'
import type { GivenOptions } from './options.ts'

/** Gives a client back; with an error, or true, for good. */
export type Release = (error?: Error | boolean) => void
/** A client that was taken from the pool: the driver's own, the same object for each physical connection. */
export interface DriverClient extends EventEmitter {
  // The driver's signatures are many: text, config, submittable, each with or without a callback.
  query(...args: any[]): any
  connect(callback: (error?: Error | null) => void): unknown
  end(callback: (error?: Error | null) => void): unknown
  /** Releases the client; with an error, or true, closes it. Throws if it was released before. */
  release: Release
  readonly processID?: number
  ref?(): void
  unref?(): void
  readonly connection?: EventEmitter & { readonly stream?: { destroy(): unknown }; parsedStatements?: object }
  readonly _queryable?: boolean
  readonly _ending?: boolean
  readonly _txStatus?: string | null
  readonly readyForQuery?: boolean
  readonly _activeQuery?: unknown
  readonly _queryQueue?: { readonly length: number }
  _poolUseCount?: number
}

export type ClientClass = new (options: never) => unknown

/** The parts of the pool that the manager uses. */
export interface ClientOwner {
  readonly options: GivenOptions
  readonly Client: ClientClass | undefined
  /** The class of the installed package was loaded. */
  loaded(Client: ClientClass): void
  readonly log: (...messages: unknown[]) => void
  /** Reports a client that failed, if no query and no listener of its holder received the error. */
  clientError(error: Error, client: DriverClient): void
  /** Reports that a client in use is dead, whether its holder releases it or not. */
  died(client: DriverClient): void
  /** A client was ended. */
  removed(client: DriverClient): void
}

/** State that is recorded about a client in addition to the driver. */
interface Health {
  readonly lost: (error?: unknown) => void
  /** The listeners of 'error' that are not the holder's. */
  readonly listeners: number
  isIdle: boolean
  isBroken: boolean
  /** The error of the server that ended the session. */
  fatal: Error | undefined
  /** Whether the error of the client was reported. */
  isReported: boolean
  isGone: boolean
  isClosing: boolean
}

/** Opens and ends the clients of one pool, by the callbacks that every client of pg has. */
export class ClientManager implements ConnectionManager<DriverClient> {
  readonly #pool: ClientOwner
  readonly #health = new WeakMap<DriverClient, Health>()
  readonly #failedAttempts = new WeakMap<object, number>()
  /** The sharing of clients, with the option maxPipeline. */
  readonly share: ShareableConnection<DriverClient> | undefined
  #loaded: ClientClass | undefined
  /** Number of attempts to connect that were begun. */
  attempts = 0

  constructor(pool: ClientOwner) {
    this.#pool = pool
    this.share =
      pool.options.maxPipeline === undefined
        ? undefined
        : (pgShare() as unknown as ShareableConnection<DriverClient>)
  }

  /** Whether a connect error is that of an attempt that was begun before `attempts` had this value. */
  isOlder(error: unknown, attempts: number): boolean {
    const attempt = typeof error === 'object' && error !== null ? this.#failedAttempts.get(error) : undefined
    return attempt !== undefined && attempt <= attempts
  }

  async connect(context: ConnectContext): Promise<DriverClient> {
    const attempt = ++this.attempts
    try {
      return await this.#open(context)
    } catch (error) {
      if (typeof error === 'object' && error !== null) this.#failedAttempts.set(error, attempt)
      throw error
    }
  }

  isValid(client: DriverClient, signal: AbortSignal): Promise<boolean> {
    const onAbort = (): void => void client.connection?.stream?.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    return called((done) => client.query('', done)).then(
      () => true,
      () => false,
    )
  }

  hasBroken(client: DriverClient): boolean {
    return (
      this.#health.get(client)?.isBroken === true || client._queryable === false || client._ending === true
    )
  }

  reset(client: DriverClient): boolean | void | Promise<void> {
    const isBusy = (client._activeQuery ?? null) !== null || (client._queryQueue?.length ?? 0) > 0
    if (isBusy) return false
    const { resetOnRelease = 'rollback' } = this.#pool.options
    const isClean = client.readyForQuery !== false && (client._txStatus ?? 'I') === 'I'
    if (resetOnRelease === 'discard all') return this.#discard(client, isClean)
    if (isClean) return
    return resetOnRelease === 'none' ? false : called((done) => client.query('ROLLBACK', done))
  }

  async close(client: DriverClient): Promise<void> {
    const health = this.#health.get(client)
    if (health !== undefined) health.isClosing = true
    try {
      if (this.hasBroken(client)) client.connection?.stream?.destroy()
      await called((done) => client.end(done))
    } finally {
      this.#pool.removed(client)
    }
  }

  lent(client: DriverClient): void {
    const health = this.#health.get(client)
    if (health !== undefined) health.isIdle = false
  }

  returned(client: DriverClient, isFailed: boolean): void {
    const health = this.#health.get(client)
    if (health === undefined) return
    health.isIdle = true
    // The driver reported it only to the query, whose error the holder caught.
    if (!isFailed && health.fatal !== undefined && !health.isReported)
      this.#report(health.fatal, client, health)
  }

  async #open({ signal, lost }: ConnectContext): Promise<DriverClient> {
    const Client = this.#pool.Client ?? (this.#loaded ??= await this.#load())
    signal.throwIfAborted()
    this.#pool.log('connecting new client')
    const { options } = this.#pool
    const client = new (Client as new (options: unknown) => DriverClient)(
      this.share === undefined ? options : pipelined(options),
    )
    if (this.share !== undefined) prepareShared(client as unknown as PgSharedClient)
    const onAbort = (): void => void client.connection?.stream?.destroy()
    signal.addEventListener('abort', onAbort)
    // An unhandled 'error' event would crash the process, and one may arrive with the packet that ends the connect.
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
    this.#watch(client, lost)
    this.#pool.log('new client connected')
    return client
  }

  async #load(): Promise<ClientClass> {
    const Client = await loadClient()
    this.#pool.loaded(Client)
    return Client
  }

  #watch(client: DriverClient, lost: Health['lost']): void {
    const health: Health = {
      lost,
      listeners: (client.listenerCount?.('error') ?? 0) + 1,
      isIdle: true,
      isBroken: false,
      fatal: undefined,
      isReported: false,
      isGone: false,
      isClosing: false,
    }
    this.#health.set(client, health)
    const gone = (error?: unknown): void => {
      health.isBroken = true
      health.isGone = true
      if (!health.isClosing) health.lost(error)
    }
    client.on('error', (error: Error) => {
      if (health.isGone || health.isClosing) return
      if (!health.isIdle) {
        // In use, the error is the holder's; `_queryable` is false if the client is unusable.
        if (health.isReported || client.listenerCount('error') > health.listeners) health.isReported = true
        else this.#report(error, client, health)
        return
      }
      gone(error)
      this.#pool.clientError(error, client)
    })
    client.on('end', () => {
      gone()
      if (!health.isIdle) this.#pool.died(client)
    })
    // The server sends FATAL before its socket ends. While a query runs, the driver reports it only to the query.
    client.connection?.on('errorMessage', (message: { severity?: string }) => {
      if (message?.severity !== 'FATAL' && message?.severity !== 'PANIC') return
      health.isBroken = true
      if (message instanceof Error) health.fatal = message
    })
  }

  async #discard(client: DriverClient, isClean: boolean): Promise<void> {
    if (!isClean) await called((done) => client.query('ROLLBACK', done))
    await called((done) => client.query('DISCARD ALL', done))
    // The server has forgotten the named statements; the driver would take them for prepared.
    if (client.connection !== undefined) client.connection.parsedStatements = {}
    await this.#pool.options.onConnect?.(client)
  }

  #report(error: Error, client: DriverClient, health: Health): void {
    health.isReported = true
    this.#pool.clientError(error, client)
  }
}

// The password of the options is not enumerable.
function pipelined(options: GivenOptions): object {
  return Object.create(options, { pipeline: { value: true, enumerable: true } }) as object
}

async function loadClient(): Promise<ClientClass> {
  const subPath = 'cenote/compat/pg-pool'
  return (await loadDriver<{ Client: ClientClass }>(subPath, 'pg', () => import('pg'))).Client
}

/** A call that ends by its callback, as a promise. */
export function called(call: (done: (error?: Error | null) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === null || error === undefined ? resolve() : reject(error)))
  })
}

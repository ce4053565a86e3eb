import type { ConnectContext, ConnectionManager } from '../core/manager.ts'
import { loadDriver } from './driver.ts'
import {
  answers,
  checkConfig,
  explained,
  isFatalConnectError,
  isUnusableServer,
  RedisSession,
} from './redis-protocol.ts'

/** What a connection is brought back to when it is returned. */
export type RedisReset = 'none' | 'undo'

/** Options of {@link RedisManager}. */
export interface RedisManagerOptions<C extends object = RedisConnection> {
  /**
   * The driver: what `import * as redis from 'redis'` gives. Default: the installed package `redis`, loaded at the first
   * connect.
   */
  readonly driver?: RedisDriver<C> | undefined
  /**
   * What happens to a connection that is returned: `undo`: an open MULTI is discarded, a WATCH ended, the database of before
   * selected again, at no cost where there is nothing to undo; `none`: a connection in such a state is closed. One that is
   * subscribed, waits for an answer (a blocking command), or was changed in a way that only a new connection undoes (MONITOR,
   * AUTH, CLIENT REPLY, CLIENT TRACKING, …) is always closed. Default: 'undo'.
   */
  readonly resetOnRelease?: RedisReset | undefined
  /**
   * Once per new connection, before its first use: settings of the session (CLIENT NO-EVICT, CLIENT TRACKING). A throw or a
   * rejection, or a MULTI left open, fails the connect. Default: none.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
}

const OPTIONS = ['driver', 'resetOnRelease', 'onConnect']
const RESETS: readonly RedisReset[] = ['none', 'undo']

/** What the manager knows of a connection beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  readonly session: RedisSession
  readonly destroyed: AbortController
}

/**
 * Connections to Redis or Valkey with the driver `redis` (node-redis): `new Pool(new RedisManager('redis://…'))`. For what
 * needs a connection of its own: blocking commands, WATCH and MULTI, subscriptions; all else one client of the driver does.
 *
 * A connection whose socket ends is known to be broken at once: the driver neither reconnects nor queues while offline, which
 * is the pool's to do. One whose server was demoted (READONLY) or is loading its data (LOADING) is broken too. A connection
 * that comes back inside MULTI, watching, in another database, subscribed or waiting is never handed on as it is.
 * The time to connect is limited by the pool's `connectTimeoutMs`, unless the config has `socket.connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { RedisManager } from 'cenote/redis'
 *
 * await using pool = new Pool(new RedisManager(process.env.REDIS_URL), { maxSize: 5 })
 * // A command that blocks has a connection of its own.
 * const popped = await pool.run((client) => client.blPop('cenote:nothing', 0.05))
 * console.log(popped) // prints null
 * ```
 */
export class RedisManager<C extends object = RedisConnection> implements ConnectionManager<C> {
  readonly #config: Config
  readonly #reset: RedisReset
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  #driver: RedisDriver<C> | undefined

  /** `config`: what the driver's `createClient` takes, or a connection string. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: RedisManagerOptions<C> = {}) {
    checkConfig(config, 'createClient')
    for (const key of Object.keys(options)) {
      if (!OPTIONS.includes(key))
        throw new TypeError(
          `${key} is not one of the options of RedisManager: known are ${OPTIONS.join(', ')}`,
        )
    }
    const { driver, resetOnRelease = 'undo', onConnect } = options
    if (!RESETS.includes(resetOnRelease))
      throw new TypeError(
        `resetOnRelease is '${String(resetOnRelease)}': allowed is ${RESETS.map((reset) => `'${reset}'`).join(', ')}`,
      )
    if (driver !== undefined && typeof driver.createClient !== 'function')
      throw new TypeError(
        "driver has no function createClient: allowed is what `import * as redis from 'redis'` gives",
      )
    if (onConnect !== undefined && typeof onConnect !== 'function')
      throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
    this.#config = typeof config === 'string' ? { url: config } : { ...config }
    this.#reset = resetOnRelease
    this.#onConnect = onConnect
    this.#driver = driver
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const driver = (this.#driver ??= await loadDriver<RedisDriver<C>>('cenote/redis', 'redis'))
    signal.throwIfAborted()
    const destroyed = new AbortController()
    const connection = this.#create(driver, destroyed)
    const client = asClient(connection)
    const health: Health = {
      broken: false,
      closing: false,
      session: new RedisSession(client.options?.database ?? 0),
      destroyed,
    }
    const { promise: failed, reject } = Promise.withResolvers<never>()
    failed.catch(() => {})
    let isOpen = false
    const broke = (error?: unknown): void => {
      reject(error ?? new Error('Socket closed unexpectedly'))
      if (health.broken) return
      health.broken = true
      if (isOpen && !health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    client.on('error', broke)
    client.on('end', () => broke())
    this.#health.set(connection, health)
    const onAbort = (): void => {
      reject(signal.reason)
      this.#destroy(connection)
    }
    signal.addEventListener('abort', onAbort)
    try {
      await Promise.race([this.#prepare(connection, health), failed])
      signal.throwIfAborted()
      if (health.broken) throw new Error('the server closed the connection while it was prepared')
      isOpen = true
      return connection
    } catch (error) {
      this.#destroy(connection)
      throw signal.aborted ? signal.reason : explained(error, addressOf(client))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(connection: C, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a command behind: the socket goes with it.
    const onAbort = (): void => this.#destroy(connection)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await answers(asClient(connection).sendCommand(['PING']))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    if (this.#health.get(connection)?.broken !== false || !asClient(connection).isReady) return true
    return error !== undefined && isUnusableServer(error)
  }

  reset(connection: C): boolean | void | Promise<boolean> {
    const session = this.#health.get(connection)?.session
    if (session === undefined || session.isAltered || isBusy(asClient(connection))) return false
    const undo = session.undo()
    if (undo.length === 0) return
    return this.#reset === 'none' ? false : this.#undo(connection, session)
  }

  close(connection: C): void {
    const health = this.#health.get(connection)
    if (health !== undefined) health.closing = true
    this.#destroy(connection)
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  #create(driver: RedisDriver<C>, { signal }: AbortController): C {
    const { socket, ...config } = this.#config
    return (driver.createClient as (config: object) => C)({
      ...config,
      // An attempt that hangs before its socket is connected can be ended by the signal alone.
      socket: { connectTimeout: 0, ...socket, reconnectStrategy: false, signal },
      disableOfflineQueue: true,
    })
  }

  async #prepare(connection: C, health: Health): Promise<void> {
    const client = asClient(connection)
    await client.connect()
    // What a server that is loading its data refuses: it cannot be used yet.
    await answers(client.sendCommand(['PING']))
    const queue = client._getQueue()
    const { session } = health
    const { addCommand, monitor } = queue
    queue.addCommand = (args, options): Promise<unknown> => {
      session.saw(args[0], args[1])
      return addCommand.call(queue, args, options)
    }
    queue.monitor = (...args): Promise<unknown> => {
      session.saw('MONITOR')
      return monitor.apply(queue, args)
    }
    await this.#onConnect?.(connection)
    if (session.inTransaction || isBusy(client))
      throw new Error('onConnect left a transaction open, or a command that it did not wait for')
    session.settle()
  }

  async #undo(connection: C, session: RedisSession): Promise<boolean> {
    const client = asClient(connection)
    // The driver remembers a WATCH and the database too: its own methods tell it.
    const steps = {
      discard: () => client.sendCommand(['DISCARD']),
      unwatch: () => client.unwatch(),
      select: () => client.select(session.database),
    }
    await Promise.all(session.undo().map((step) => steps[step]()))
    session.undone()
    return true
  }

  #destroy(connection: C): void {
    this.#health.get(connection)?.destroyed.abort(new Error('the connection was closed'))
    asClient(connection).destroy()
  }
}

function asClient(connection: object): Client {
  return connection as Client
}

// A borrower's answer that is still to come would be taken for the next one's.
function isBusy(client: Client): boolean {
  return client.isPubSubActive || !client._getQueue().isEmpty()
}

function addressOf({ options }: Client): string {
  const { host = 'localhost', port = 6379, path } = options?.socket ?? {}
  return path ?? `${host}:${port}`
}

interface Config {
  readonly socket?: object
  readonly [option: string]: unknown
}

/** What a client of the driver is beyond {@link RedisConnection}. */
interface Client {
  readonly options?:
    | {
        readonly database?: number
        readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string }
      }
    | undefined
  readonly isReady: boolean
  readonly isPubSubActive: boolean
  connect(): Promise<unknown>
  destroy(): void
  sendCommand(args: readonly string[]): Promise<unknown>
  unwatch(): Promise<unknown>
  select(database: number): Promise<unknown>
  on(event: string, listener: (error?: unknown) => void): unknown
  _getQueue(): Queue
}

// Every command passes through it, but MONITOR and subscriptions.
interface Queue {
  addCommand(args: readonly unknown[], options?: unknown): Promise<unknown>
  monitor(...args: unknown[]): Promise<unknown>
  isEmpty(): boolean
}

/** The part of the driver that is used. */
export interface RedisDriver<C extends object> {
  // The driver's own options have more type parameters than could be written here.
  createClient(options: never): C
}

/** A connection of the driver, as far as it is known without the driver's types. */
export interface RedisConnection {
  sendCommand<R = unknown>(args: readonly string[]): Promise<R>
  get(key: string): Promise<string | null>
  set(key: string, value: string | number): Promise<unknown>
  watch(key: string | readonly string[]): Promise<unknown>
  multi(): RedisTransaction
  readonly isReady: boolean
}

/** A transaction: commands are queued on it and sent together by `exec`. */
export interface RedisTransaction {
  get(key: string): RedisTransaction
  set(key: string, value: string | number): RedisTransaction
  addCommand(args: readonly string[]): RedisTransaction
  exec(): Promise<unknown[]>
}

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
export type IoredisReset = 'none' | 'undo'

/** Options of {@link IoredisManager}. */
export interface IoredisManagerOptions<C extends object = IoredisConnection> {
  /**
   * The driver: the class that `import { Redis } from 'ioredis'` gives. Default: that of the installed package `ioredis`, loaded
   * at the first connect.
   */
  readonly driver?: IoredisDriver<C> | undefined
  /**
   * What happens to a connection that is returned: `undo`: an open MULTI is discarded, a WATCH ended, the database of before
   * selected again, at no cost where there is nothing to undo; `none`: a connection in such a state is closed. One that is
   * subscribed, waits for an answer (a blocking command), or was changed in a way that only a new connection undoes (MONITOR,
   * AUTH, CLIENT REPLY, CLIENT TRACKING, …) is always closed. Default: 'undo'.
   */
  readonly resetOnRelease?: IoredisReset | undefined
  /**
   * Once per new connection, before its first use: settings of the session (CLIENT NO-EVICT, CLIENT TRACKING). A throw or a
   * rejection, or a MULTI left open, fails the connect. Default: none.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
}

const OPTIONS = ['driver', 'resetOnRelease', 'onConnect']
const RESETS: readonly IoredisReset[] = ['none', 'undo']
// What the driver would do by itself and the pool does.
const POOLED = {
  lazyConnect: true,
  retryStrategy: null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  // It asks again and again by a timer that outlives its connection; a PING tells the same.
  enableReadyCheck: false,
  // Any retry would be one of a connection that is gone.
  maxRetriesPerRequest: null,
}
const MESSAGES = ['message', 'messageBuffer', 'pmessage', 'pmessageBuffer', 'smessage', 'smessageBuffer']

/** What the manager knows of a connection beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  readonly session: RedisSession
}

/**
 * Connections to Redis or Valkey with the driver `ioredis`: `new Pool(new IoredisManager('redis://…'))`. For what needs a
 * connection of its own: blocking commands, WATCH and MULTI, subscriptions; all else one client of the driver does.
 *
 * A connection whose socket ends is known to be broken at once: the driver neither reconnects nor queues while offline, which
 * is the pool's to do. One whose server was demoted (READONLY) or is loading its data (LOADING) is broken too. A connection
 * that comes back inside MULTI, watching, in another database, subscribed or waiting is never handed on as it is.
 * The time to connect is limited by the pool's `connectTimeoutMs`, unless the config has a `connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { IoredisManager } from 'cenote/ioredis'
 *
 * await using pool = new Pool(new IoredisManager(process.env.REDIS_URL), { maxSize: 5 })
 * const popped = await pool.run((client) => client.blpop('cenote:nothing', 0.05))
 * console.log(popped) // prints null
 * ```
 */
export class IoredisManager<C extends object = IoredisConnection> implements ConnectionManager<C> {
  readonly #config: object | string
  readonly #reset: IoredisReset
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  #driver: IoredisDriver<C> | undefined

  /** `config`: what `new Redis(config)` takes, or a connection string. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: IoredisManagerOptions<C> = {}) {
    checkConfig(config, 'new Redis')
    for (const key of Object.keys(options)) {
      if (!OPTIONS.includes(key))
        throw new TypeError(
          `${key} is not one of the options of IoredisManager: known are ${OPTIONS.join(', ')}`,
        )
    }
    const { driver, resetOnRelease = 'undo', onConnect } = options
    if (!RESETS.includes(resetOnRelease))
      throw new TypeError(
        `resetOnRelease is '${String(resetOnRelease)}': allowed is ${RESETS.map((reset) => `'${reset}'`).join(', ')}`,
      )
    if (driver !== undefined && typeof driver !== 'function')
      throw new TypeError("driver is no class: allowed is Redis of `import { Redis } from 'ioredis'`")
    if (onConnect !== undefined && typeof onConnect !== 'function')
      throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
    this.#config = typeof config === 'string' ? config : { ...config }
    this.#reset = resetOnRelease
    this.#onConnect = onConnect
    this.#driver = driver
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const driver = (this.#driver ??= await loadDriver<IoredisDriver<C>>('cenote/ioredis', 'ioredis'))
    signal.throwIfAborted()
    const connection = this.#create(driver)
    const client = asClient(connection)
    const health: Health = {
      broken: false,
      closing: false,
      session: new RedisSession(client.options.db ?? 0),
    }
    const { promise: failed, reject } = Promise.withResolvers<never>()
    failed.catch(() => {})
    let isOpen = false
    const broke = (error?: unknown): void => {
      if (error !== undefined) reject(error)
      if (health.broken) return
      health.broken = true
      if (isOpen && !health.closing) lost(error)
    }
    // This listener stays for ever: the driver prints errors that nobody hears. The driver tells of a SELECT that failed while
    // it connects by this event alone.
    client.on('error', broke)
    client.on('close', () => broke())
    client.on('end', () => broke())
    this.#health.set(connection, health)
    const onAbort = (): void => {
      reject(signal.reason)
      destroy(client)
    }
    signal.addEventListener('abort', onAbort)
    try {
      const prepared = this.#prepare(connection, health.session)
      // Of a failure the driver says what it was by an event, and that it was one by the rejection, which is heard later.
      prepared.catch((error: unknown) => setImmediate(reject, error))
      await Promise.race([prepared.catch(() => failed), failed])
      signal.throwIfAborted()
      if (health.broken) throw new Error('the server closed the connection while it was prepared')
      isOpen = true
      return connection
    } catch (error) {
      destroy(client)
      throw signal.aborted ? signal.reason : explained(error, addressOf(client))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(connection: C, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a command behind: the socket goes with it.
    const onAbort = (): void => destroy(asClient(connection))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await answers(asClient(connection).ping())
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    const { status, stream } = asClient(connection)
    // Between a disconnect of the borrower's own and the end of the socket the driver still says 'ready'.
    if (this.#health.get(connection)?.broken !== false || status !== 'ready' || stream?.writable !== true)
      return true
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
    destroy(asClient(connection))
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  #create(driver: IoredisDriver<C>): C {
    // Of several values of one option the driver takes the first.
    const Client = driver as new (...options: unknown[]) => C
    return new Client(POOLED, this.#config, { connectTimeout: 0 })
  }

  async #prepare(connection: C, session: RedisSession): Promise<void> {
    const client = asClient(connection)
    await client.connect()
    // What a server that is loading its data refuses: it cannot be used yet.
    await answers(client.ping())
    const { sendCommand } = client
    client.sendCommand = (command, stream): unknown => {
      session.saw(command.name, command.args[0])
      return sendCommand.call(client, command, stream)
    }
    await this.#onConnect?.(connection)
    if (session.inTransaction || isBusy(client))
      throw new Error('onConnect left a transaction open, or a command that it did not wait for')
    session.settle()
  }

  async #undo(connection: C, session: RedisSession): Promise<boolean> {
    const client = asClient(connection)
    const steps = {
      discard: () => client.discard(),
      unwatch: () => client.unwatch(),
      select: () => client.select(session.database),
    }
    await Promise.all(session.undo().map((step) => steps[step]()))
    session.undone()
    return true
  }
}

function asClient(connection: object): Client {
  return connection as Client
}

// A borrower's answer that is still to come would be taken for the next one's, and its listeners would hear the next one's
// messages.
function isBusy(client: Client): boolean {
  return (
    Boolean(client.condition?.subscriber) ||
    client.commandQueue.length + client.offlineQueue.length + client.autoPipelineQueueSize > 0 ||
    MESSAGES.some((event) => client.listenerCount(event) > 0)
  )
}

function destroy(client: Client): void {
  client.disconnect()
  // The driver has its socket only a turn after the connector has opened it.
  ;(client.stream ?? client.connector?.stream)?.destroy()
}

function addressOf({ options: { host = 'localhost', port = 6379, path } }: Client): string {
  return path ?? `${host}:${port}`
}

/** What a client of the driver is beyond {@link IoredisConnection}. */
interface Client {
  readonly options: {
    readonly db?: number
    readonly host?: string
    readonly port?: number
    readonly path?: string
  }
  readonly status: string
  readonly stream?: Stream | undefined
  readonly connector?: { readonly stream?: Stream | undefined } | undefined
  readonly condition?: { readonly subscriber: unknown } | null | undefined
  readonly commandQueue: { readonly length: number }
  readonly offlineQueue: { readonly length: number }
  readonly autoPipelineQueueSize: number
  sendCommand(
    command: { readonly name: string; readonly args: readonly unknown[] },
    stream?: unknown,
  ): unknown
  connect(): Promise<unknown>
  disconnect(): void
  ping(): Promise<unknown>
  discard(): Promise<unknown>
  unwatch(): Promise<unknown>
  select(database: number): Promise<unknown>
  on(event: string, listener: (error?: unknown) => void): unknown
  listenerCount(event: string): number
}

interface Stream {
  readonly writable: boolean
  destroy(): unknown
}

/** The class of the driver, as far as it is used. */
// The driver's own options are wider than any that could be written here.
export type IoredisDriver<C extends object> = new (options: never) => C

/** A connection of the driver, as far as it is known without the driver's types. */
export interface IoredisConnection {
  call(command: string, ...args: (string | number)[]): Promise<unknown>
  get(key: string): Promise<string | null>
  set(key: string, value: string | number): Promise<unknown>
  watch(...keys: string[]): Promise<unknown>
  multi(): IoredisTransaction
  readonly status: string
}

/** A transaction: commands are queued on it and sent together by `exec`. */
export interface IoredisTransaction {
  get(key: string): IoredisTransaction
  set(key: string, value: string | number): IoredisTransaction
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}

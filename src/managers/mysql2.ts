import type { ConnectContext, ConnectionManager, ServerInfo } from '../core/manager.ts'
import { loadDriver } from './driver.ts'
import {
  IN_TRANSACTION,
  isFatalConnectError,
  isLastError,
  openSocket,
  type ServerAddress,
  type Stream,
  watchGreeting,
  serverOf,
} from './mysql-protocol.ts'
import { watchStatus, type WatchedCore } from './mysql2-status.ts'
import type { Mysql2Connection, Mysql2Driver } from './mysql2/driver.ts'

export type { Mysql2Connection, Mysql2Driver } from './mysql2/driver.ts'

/** What a connection is brought back to when it is returned. */
export type Mysql2Reset = 'none' | 'rollback' | 'reset'

/** Options of {@link Mysql2Manager}. */
export interface Mysql2ManagerOptions<C extends object = Mysql2Connection> {
  /**
   * The driver: what `import mysql from 'mysql2/promise'` gives, or 'mysql2' for connections with callbacks.
   * Default: 'mysql2/promise' of the installed package `mysql2`, loaded at the first connect.
   */
  readonly driver?: Mysql2Driver<C> | undefined
  /**
   * What happens to a connection that is returned: `rollback`: an open transaction is rolled back, at no cost where there
   * is none; `reset`: session state too (variables, temporary tables, locks, prepared statements), one round trip each;
   * `none`: a connection in a transaction is closed. One with a command still running is always closed. A failed
   * statement counts as an open transaction until the next one succeeds. Default: 'rollback'.
   */
  readonly resetOnRelease?: Mysql2Reset | undefined
  /**
   * Session settings: called with each new connection, and again after each `reset`, which forgets them. A throw or a
   * rejection fails the connect. Default: none.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
}

const OPTIONS = ['driver', 'resetOnRelease', 'onConnect']
const RESETS: readonly Mysql2Reset[] = ['none', 'rollback', 'reset']
// How long an orderly end of a connection may take before its socket is destroyed.
const GRACE_MS = 1_000

/** What the manager knows of a connection beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  /** The last status that the server sent; undefined: not known, as after an error. */
  status: number | undefined
  /** How the session was when it began, where the server forgets it in a reset. */
  names: string | undefined
}

/**
 * Connections to MySQL and MariaDB with the driver `mysql2`: `new Pool(new Mysql2Manager('mysql://…'))`.
 *
 * What is leased is what the driver's `createConnection` makes. A connection that the server ends (KILL, wait_timeout,
 * shutdown) is known to be broken at once. One that comes back in a transaction, or with a command still running, is
 * never handed on as it is. The time to connect is limited by the pool's `connectTimeoutMs`, not by the driver's 10 s,
 * unless the config has a `connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { Mysql2Manager } from 'cenote/mysql2'
 *
 * await using pool = new Pool(new Mysql2Manager(process.env.MYSQL_URL ?? ''))
 * const [rows] = await pool.run((connection) => connection.query('select 40 + 2 as answer'))
 * console.log(rows) // prints [ { answer: 42 } ]
 * ```
 */
export class Mysql2Manager<C extends object = Mysql2Connection> implements ConnectionManager<C> {
  readonly #config: Readonly<Record<string, unknown>>
  readonly #reset: Mysql2Reset
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  #driver: Mysql2Driver<C> | undefined

  /** `config`: what the driver's `createConnection` takes, or a connection string. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: Mysql2ManagerOptions<C> = {}) {
    if (typeof config !== 'string' && (typeof config !== 'object' || config === null)) {
      throw new TypeError(
        `config is ${String(config)}: allowed is a connection string or an object for createConnection`,
      )
    }
    if (typeof config === 'string' && !/^(mysql|mariadb)2?:\/\//.test(config)) {
      throw new TypeError('config is a string that does not begin with mysql:// or mariadb://')
    }
    if (
      typeof config === 'object' &&
      !['undefined', 'function'].includes(typeof Reflect.get(config, 'stream'))
    ) {
      throw new TypeError(
        'config.stream is one stream: allowed is a function that opens one for each connection',
      )
    }
    for (const key of Object.keys(options)) {
      if (!OPTIONS.includes(key)) {
        throw new TypeError(
          `${key} is not one of the options of Mysql2Manager: known are ${OPTIONS.join(', ')}`,
        )
      }
    }
    const { driver, resetOnRelease = 'rollback', onConnect } = options
    if (!RESETS.includes(resetOnRelease)) {
      throw new TypeError(
        `resetOnRelease is '${String(resetOnRelease)}': allowed is ${RESETS.map((reset) => `'${reset}'`).join(', ')}`,
      )
    }
    if (driver !== undefined && typeof driver.createConnection !== 'function') {
      throw new TypeError(
        "driver has no function createConnection: allowed is what `import mysql from 'mysql2/promise'` or 'mysql2' gives",
      )
    }
    if (onConnect !== undefined && typeof onConnect !== 'function') {
      throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
    }
    this.#config = typeof config === 'string' ? { uri: config } : { ...config }
    this.#reset = resetOnRelease
    this.#onConnect = onConnect
    this.#driver = driver
  }

  get server(): ServerInfo {
    return serverOf('mysql', this.#config)
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const driver = (this.#driver ??= await loadDriver<Mysql2Driver<C>>(
      'cenote/mysql2',
      'mysql2',
      'mysql2/promise',
    ))
    signal.throwIfAborted()
    let socket: Stream | undefined
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => {
      // With an error, for the driver to hear of it: of a bare end of a half-opened connection it tells nobody.
      socket?.destroy(new Error('the connect was aborted'))
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort)
    try {
      const opened = this.#open(driver, (own) => (socket = own), reject)
      // One that arrives after the abort is of no use to anybody.
      opened.catch(() => {})
      const connection = await Promise.race([opened, aborted])
      const health = this.#watch(connection, lost)
      const core = coreOf(connection)
      // COM_RESET_CONNECTION keeps the negotiated character set on MariaDB, and sets the server's default on MySQL.
      if (this.#reset === 'reset' && core._isMariaDB !== true) {
        const [row] = (await Promise.race([
          command(
            core,
            'query',
            'SELECT @@character_set_client AS charset, @@collation_connection AS collation',
          ),
          aborted,
        ])) as { charset: string; collation: string }[]
        health.names = `SET NAMES ${row?.charset} COLLATE ${row?.collation}`
      }
      if (this.#onConnect !== undefined) await Promise.race([this.#onConnect(connection), aborted])
      signal.throwIfAborted()
      return connection
    } catch (error) {
      socket?.destroy()
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(connection: C, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a command behind: the socket goes with it.
    const onAbort = (): void => void coreOf(connection).stream.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await command(coreOf(connection), 'ping')
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    const health = this.#health.get(connection)
    const { stream, _closing, _fatalError, _protocolError } = coreOf(connection)
    if (health?.broken === true || stream.destroyed === true || _closing === true) return true
    if ((_fatalError ?? _protocolError ?? undefined) !== undefined) return true
    return error !== undefined && isLastError(error)
  }

  reset(connection: C): boolean | void | Promise<boolean> {
    const core = coreOf(connection)
    const health = this.#health.get(connection)
    // The driver calls back with an error before it takes the command off: look again when it has.
    if (isBusy(core))
      return Promise.resolve().then(() => !isBusy(core) && this.#clean(connection, core, health))
    const isClean = health?.status !== undefined && (health.status & IN_TRANSACTION) === 0
    return isClean && this.#reset !== 'reset' ? undefined : this.#clean(connection, core, health)
  }

  async close(connection: C): Promise<void> {
    const health = this.#health.get(connection)
    const core = coreOf(connection)
    const isDead = this.hasBroken(connection) || isBusy(core)
    if (health !== undefined) health.closing = true
    const socket = core.stream
    if (isDead) {
      socket.destroy()
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), GRACE_MS)
      timer.unref()
      socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      core.end()
    })
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  async #open(
    driver: Mysql2Driver<C>,
    own: (socket: Stream) => void,
    refused: (error: Error) => void,
  ): Promise<C> {
    const given = this.#config['stream']
    const stream = (options: { config: ServerAddress & KeepAlive }): Stream => {
      const { config } = options
      const socket: Stream = typeof given === 'function' ? given(options) : openSocket(config)
      if (config.enableKeepAlive === true) {
        socket.once('connect', () => void socket.setKeepAlive?.(true, config.keepAliveInitialDelay))
      }
      own(socket)
      watchGreeting(socket, refused)
      return socket
    }
    const config = { connectTimeout: 0, ...this.#config, stream }
    const made = (driver.createConnection as (config: object) => C | Promise<C>)(config)
    if (typeof (made as { then?: unknown }).then === 'function') return made
    const connection = made as C
    await command(connection as Core, 'connect')
    return connection
  }

  #watch(connection: C, lost: ConnectContext['lost']): Health {
    const core = coreOf(connection)
    const health: Health = {
      broken: false,
      closing: false,
      status: undefined,
      names: undefined,
    }
    this.#health.set(connection, health)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    core.on('error', broke)
    core.on('end', broke)
    core.stream.once('close', () => broke())
    watchStatus(core, (status, error) => {
      health.status = status
      if (error !== undefined && isLastError({ errno: error })) broke()
    })
    return health
  }

  async #clean(connection: C, core: Core, health: Health | undefined): Promise<boolean> {
    const isInTransaction = health?.status === undefined || (health.status & IN_TRANSACTION) !== 0
    if (this.#reset === 'none') return !isInTransaction
    if (this.#reset === 'rollback') {
      if (isInTransaction) await command(core, 'query', 'ROLLBACK')
      return true
    }
    await (core.reset === undefined ? command(core, 'changeUser', {}) : command(core, 'reset'))
    if (health?.names !== undefined) await command(core, 'query', health.names)
    await this.#onConnect?.(connection)
    return true
  }
}

// A connection of 'mysql2/promise' wraps one of 'mysql2'.
function coreOf(connection: object): Core {
  return ((connection as { connection?: Core }).connection ?? connection) as Core
}

// A paused connection with nothing to do would leave its next user without an answer.
function isBusy(core: Core): boolean {
  return (
    (core._command ?? undefined) !== undefined || (core._commands?.length ?? 0) > 0 || core._paused === true
  )
}

type Done = (error: unknown, result?: unknown) => void

function command(
  core: Core,
  name: 'connect' | 'ping' | 'query' | 'reset' | 'changeUser',
  argument?: unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done: Done = (error, result) =>
      (error ?? undefined) === undefined ? resolve(result) : reject(error as Error)
    const method = core[name] as (...args: unknown[]) => unknown
    method.apply(core, argument === undefined ? [done] : [argument, done])
  })
}

interface KeepAlive {
  readonly enableKeepAlive?: boolean
  readonly keepAliveInitialDelay?: number
}

/** What lies under every connection of the driver. */
interface Core extends WatchedCore {
  connect(done: Done): void
  ping(done: Done): void
  query(sql: string, done: Done): unknown
  changeUser(options: object, done: Done): unknown
  end(): unknown
  on(event: string, listener: (payload?: unknown) => void): unknown
  readonly reset?: (done: Done) => void
  readonly stream: Stream
  readonly _commands?: { readonly length: number }
  readonly _closing?: boolean
  readonly _isMariaDB?: boolean
  readonly _fatalError?: unknown
  readonly _protocolError?: unknown
}

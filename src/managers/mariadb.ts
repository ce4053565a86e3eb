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
import type { MariadbConnection, MariadbDriver } from './mariadb/driver.ts'

export type { MariadbConnection, MariadbDriver } from './mariadb/driver.ts'

/** What a connection is brought back to when it is returned. */
export type MariadbReset = 'none' | 'rollback' | 'reset'

/** Options of {@link MariadbManager}. */
export interface MariadbManagerOptions<C extends object = MariadbConnection> {
  /**
   * The driver: what `import mariadb from 'mariadb'` gives. Default: the installed package `mariadb`, loaded at the first
   * connect.
   */
  readonly driver?: MariadbDriver<C> | undefined
  /**
   * What happens to a connection that is returned: `rollback`: an open transaction is rolled back, at no cost where there
   * is none; `reset`: session state too (variables, temporary tables, locks, prepared statements), one round trip each;
   * `none`: a connection in a transaction is closed. One with a command still running is always closed. A failed
   * statement counts as an open transaction until the next one succeeds. Default: 'rollback'.
   */
  readonly resetOnRelease?: MariadbReset | undefined
  /**
   * Session settings: called with each new connection, and again after each `reset`, which forgets them. A throw or a
   * rejection fails the connect. Default: none.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
}

const OPTIONS = ['driver', 'resetOnRelease', 'onConnect']
const RESETS: readonly MariadbReset[] = ['none', 'rollback', 'reset']
// How long an orderly end of a connection may take before its socket is destroyed.
const GRACE_MS = 1_000
// A Unix socket is opened by the driver: only its own limit ends an attempt that nobody answers.
const UNIX_CONNECT_MS = 10_000

/** What the manager knows of a connection beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  readonly core: Core | undefined
  readonly socket: Stream | undefined
}

/**
 * Connections to MariaDB and MySQL with the driver `mariadb`: `new Pool(new MariadbManager('mariadb://…'))`.
 *
 * A connection that the server ends (KILL, wait_timeout, shutdown) is known to be broken at once. One that comes back in
 * a transaction, or with a command still running, is never handed on as it is. The time to connect is limited by the
 * pool's `connectTimeoutMs`, not by the driver's 1 s, unless the config has a `connectTimeout`.
 * Redirects by the server are not followed.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { MariadbManager } from 'cenote/mariadb'
 *
 * await using pool = new Pool(new MariadbManager((process.env.MYSQL_URL ?? '').replace('mysql:', 'mariadb:')))
 * const rows = await pool.run((connection) => connection.query('select 40 + 2 as answer'))
 * console.log(Number(rows[0].answer)) // prints 42
 * ```
 */
export class MariadbManager<C extends object = MariadbConnection> implements ConnectionManager<C> {
  readonly #config: Readonly<Record<string, unknown>>
  readonly #reset: MariadbReset
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  #driver: MariadbDriver<C> | undefined

  /** `config`: what the driver's `createConnection` takes, or a connection string. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: MariadbManagerOptions<C> = {}) {
    if (typeof config !== 'string' && (typeof config !== 'object' || config === null)) {
      throw new TypeError(
        `config is ${String(config)}: allowed is a connection string or an object for createConnection`,
      )
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
          `${key} is not one of the options of MariadbManager: known are ${OPTIONS.join(', ')}`,
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
        "driver has no function createConnection: allowed is what `import mariadb from 'mariadb'` gives",
      )
    }
    if (onConnect !== undefined && typeof onConnect !== 'function') {
      throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
    }
    this.#config = typeof config === 'string' ? configOf(config) : { ...config }
    this.#reset = resetOnRelease
    this.#onConnect = onConnect
    this.#driver = driver
  }

  get server(): ServerInfo {
    return serverOf('mariadb', this.#config)
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const driver = (this.#driver ??= await loadDriver<MariadbDriver<C>>('cenote/mariadb', 'mariadb'))
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
      // Where the socket is the driver's, one that arrives after the abort has to be closed.
      opened.then(
        (late) => signal.aborted && (late as unknown as Connection).destroy(),
        () => {},
      )
      const connection = await Promise.race([opened, aborted])
      this.#watch(connection, socket, lost)
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
    const onAbort = (): void => this.#destroySocket(connection)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await asDriver(connection).ping()
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    if (this.#health.get(connection)?.broken === true || !asDriver(connection).isValid()) return true
    return error !== undefined && isLastError(error)
  }

  reset(connection: C): boolean | void | Promise<boolean> {
    if (isBusy(this.#health.get(connection)?.core)) return false
    const { info } = asDriver(connection)
    const isClean = info !== null && ((info.status ?? IN_TRANSACTION) & IN_TRANSACTION) === 0
    if (this.#reset === 'reset') return this.#forget(connection)
    if (isClean) return
    return this.#reset === 'none' ? false : rollback(connection)
  }

  async close(connection: C): Promise<void> {
    const health = this.#health.get(connection)
    const isDead = this.hasBroken(connection) || isBusy(health?.core)
    if (health !== undefined) health.closing = true
    if (isDead) {
      this.#destroySocket(connection)
      return
    }
    const timer = setTimeout(() => this.#destroySocket(connection), GRACE_MS)
    timer.unref()
    try {
      await asDriver(connection).end()
    } catch {
      this.#destroySocket(connection)
    } finally {
      clearTimeout(timer)
    }
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  async #open(
    driver: MariadbDriver<C>,
    own: (socket: Stream) => void,
    refused: (error: Error) => void,
  ): Promise<C> {
    const createConnection = (config: object): Promise<C> => {
      const made = (driver.createConnection as (config: object) => Promise<C>)(config)
      if (typeof made.then === 'function') return made
      ;(made as unknown as Connection).destroy()
      throw Object.assign(
        new TypeError(
          "driver makes connections with callbacks: allowed is what `import mariadb from 'mariadb'` gives",
        ),
        { code: 'ERR_INVALID_ARG_VALUE' },
      )
    }
    const { stream: given } = this.#config
    if (this.#config['socketPath'] !== undefined)
      return createConnection({ connectTimeout: UNIX_CONNECT_MS, ...this.#config })
    const watched = (socket: Stream): Stream => {
      own(socket)
      watchGreeting(socket, refused)
      return socket
    }
    const stream = (done: (error: unknown, socket?: Stream) => void): Stream | undefined => {
      if (typeof given !== 'function') return watched(openSocket(this.#config as ServerAddress))
      const made = given((error: unknown, socket?: Stream) =>
        done(error, socket === undefined ? undefined : watched(socket)),
      ) as Stream | undefined
      return made === undefined ? undefined : watched(made)
    }
    // A redirect would come back to the host of our own socket.
    return createConnection({ connectTimeout: 0, ...this.#config, permitRedirect: false, stream })
  }

  #watch(connection: C, socket: Stream | undefined, lost: ConnectContext['lost']): void {
    const driven = asDriver(connection)
    const core = coreUnder(driven)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    driven.on('error', broke)
    driven.on('end', broke)
    const health: Health = { broken: false, closing: false, core, socket }
    this.#health.set(connection, health)
    const stream = core?.socket ?? socket
    // The driver tells nobody of a connection that its user ended.
    stream?.once('close', () => broke())
  }

  async #forget(connection: C): Promise<boolean> {
    await asDriver(connection).reset()
    await this.#onConnect?.(connection)
    return true
  }

  // The driver's own destroy opens another connection to kill what runs on this one, as long as that takes.
  #destroySocket(connection: C): void {
    const { core, socket } = this.#health.get(connection) ?? {}
    const stream = core?.socket ?? socket
    stream?.destroy(new Error('the connection was closed while a command was running on it'))
  }
}

async function rollback(connection: object): Promise<boolean> {
  await asDriver(connection).rollback()
  return true
}

function asDriver(connection: object): Connection {
  return connection as Connection
}

// The driver keeps what lies beneath to itself, but an emitter's listeners are called on it.
function coreUnder(connection: Connection): Core | undefined {
  let core: Core | undefined
  const keep = (emitter: Core): void => void (core = emitter)
  connection.once('newListener', function (this: Core) {
    keep(this)
  })
  connection.once('end', () => {})
  return core
}

function isBusy(core: Core | undefined): boolean {
  if (core === undefined) return false
  // The queue keeps a command that has ended until the next packet comes.
  const isReceiving =
    core.activeReceiveCmd === undefined
      ? (core.receiveQueue?.length ?? 0) > 0
      : (core.activeReceiveCmd() ?? undefined) !== undefined
  return isReceiving || (core.sendQueue?.length ?? 0) > 0
}

// The driver's own reading of a string leaves no room for a socket of ours, and puts the password into its error.
function configOf(text: string): Record<string, unknown> {
  if (!/^(mariadb|mysql):\/\//.test(text) || !URL.canParse(text)) {
    throw new TypeError(
      'config is a string that is not of the form mariadb://user:password@host:port/database?option=value',
    )
  }
  const url = new URL(text)
  const config: Record<string, unknown> = { host: url.hostname.replace(/^\[(.*)\]$/, '$1') }
  if (url.port !== '') config['port'] = Number(url.port)
  if (url.username !== '') config['user'] = decodeURIComponent(url.username)
  if (url.password !== '') config['password'] = decodeURIComponent(url.password)
  if (url.pathname.length > 1) config['database'] = decodeURIComponent(url.pathname.slice(1))
  for (const [option, value] of url.searchParams) {
    config[option] = /^(true|false|\d+|\{.*\})$/s.test(value) ? JSON.parse(value) : value
  }
  return config
}

/** The driver's connection, beyond what its users are told here. */
interface Connection {
  ping(): Promise<void>
  reset(): Promise<void>
  rollback(): Promise<void>
  end(): Promise<void>
  destroy(): void
  isValid(): boolean
  on(event: string, listener: (payload?: unknown) => void): unknown
  once(event: string, listener: (this: Core) => void): unknown
  readonly info: { readonly status?: number | null } | null
}

/** What lies under every connection of the driver. */
interface Core {
  activeReceiveCmd?(): unknown
  readonly receiveQueue?: { readonly length: number }
  readonly sendQueue?: { readonly length: number }
  readonly socket?: Stream
}

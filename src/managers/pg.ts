import type { ConnectContext, ConnectionManager, ServerInfo } from '../core/manager.ts'
import { loadDriver } from './driver.ts'
import { destroySocket, type PgClient, type PgConfig, type PgDriver } from './pg/client.ts'
import { codeOf, isFatalError, isFatalMessage, isReadTimeout } from './pg/errors.ts'
import { candidates, connectToOne, type HostOrder, misconfigured, type PgHost } from './pg/hosts.ts'
import { serverOf } from './pg/server.ts'
import { isStrict, misfit, roleOf, type TargetSessionAttrs, TARGETS } from './pg/target.ts'

export { cancellable } from './pg/cancel.ts'
export type { PgClient, PgConfig, PgDriver } from './pg/client.ts'
export { type HostOrder, type PgHost, PgHostsError } from './pg/hosts.ts'
export type { TargetSessionAttrs } from './pg/target.ts'

/** What a manager connects with: what `new pg.Client(config)` takes, or a connection string. */
export type PgConfigOrUrl = PgConfig | string

/** What a connection is brought back to when it is returned. */
export type PgReset = 'none' | 'rollback' | 'discard all'

/** Options of {@link PgManager}. */
export interface PgManagerOptions {
  /** The driver: what `import pg from 'pg'` gives. Default: the installed package `pg`, loaded at the first connect. */
  readonly driver?: PgDriver | undefined
  /**
   * Once per new connection, before its first use: session settings. Also after each `DISCARD ALL`, which forgets them. A
   * throw or rejection, or a transaction left open, is a connect failure.
   */
  readonly onConnect?: ((client: PgClient) => void | Promise<void>) | undefined
  /**
   * What happens to a connection that is returned: `rollback`: an open transaction is rolled back, at no cost where there is
   * none; `discard all`: session state too, one round trip each; `none`: a connection in a transaction is closed.
   * One with a query still running is always closed. Default: 'rollback'.
   */
  readonly resetOnRelease?: PgReset | undefined
  /** Several hosts, of which each connection is to one. They replace those of the config. Default: those of the config. */
  readonly hosts?: readonly PgHost[] | undefined
  /**
   * Which of the hosts will do. A connection whose server has changed its role is not valid any more. `prefer-standby`: a
   * primary when there is no standby. Default: `target_session_attrs` of the connection string, or 'any'.
   */
  readonly targetSessionAttrs?: TargetSessionAttrs | undefined
  /** Whether hosts are tried as they are listed, or in a random order anew each time. Default: 'ordered'. */
  readonly hostOrder?: HostOrder | undefined
  /** How long one of several hosts may take to answer before the next is tried. Default: 3,000. */
  readonly hostTimeoutMs?: number | undefined
}

const RESETS: readonly PgReset[] = ['none', 'rollback', 'discard all']
const ORDERS: readonly HostOrder[] = ['ordered', 'shuffled']
const OPTIONS = [
  'driver',
  'onConnect',
  'resetOnRelease',
  'hosts',
  'targetSessionAttrs',
  'hostOrder',
  'hostTimeoutMs',
] as const
// A server that was demoted says so to whoever writes.
const READ_ONLY_TRANSACTION = '25006'
// How long an orderly end of a connection may take before its socket is destroyed.
const GRACE_MS = 1_000
const HOST_TIMEOUT_MS = 3_000
/** What the manager knows of a client beyond what the driver tells. */
interface Health {
  broken: boolean
  /** Whether the pool has it: what is tried and given up, or closed, is nobody's loss. */
  held: boolean
  target: TargetSessionAttrs
}

/**
 * Connections to PostgreSQL with the driver `pg`: `new Pool(new PgManager('postgres://…'))`.
 *
 * A client whose socket ends, or that hears a FATAL error, is known to be broken at once. A connection that comes back in
 * a transaction, or with a query still running, is never handed on as it is.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager } from 'cenote/pg'
 *
 * const manager = new PgManager(process.env.DATABASE_URL, {
 *   onConnect: async (client) => void (await client.query("set statement_timeout = '30s'")),
 * })
 * await using pool = new Pool(manager)
 * const { rows } = await pool.run((client) => client.query('show statement_timeout'))
 * console.log(rows[0].statement_timeout) // prints 30s
 * ```
 */
export class PgManager implements ConnectionManager<PgClient> {
  readonly #config: PgConfigOrUrl | (() => PgConfigOrUrl | Promise<PgConfigOrUrl>)
  readonly #options: PgManagerOptions
  readonly #reset: PgReset
  readonly #health = new WeakMap<PgClient, Health>()
  #driver: PgDriver | undefined

  /**
   * `config`: what `new pg.Client(config)` takes, or a connection string, or a function that gives either and is called for
   * every connect (credentials that rotate); its failure is a connect failure. Throws TypeError for a wrong argument.
   */
  constructor(
    config: PgConfigOrUrl | (() => PgConfigOrUrl | Promise<PgConfigOrUrl>),
    options: PgManagerOptions = {},
  ) {
    if (typeof config !== 'function') asConfig(config)
    checkOptions(options)
    this.#config = typeof config === 'object' ? { ...config } : config
    this.#options = { ...options }
    this.#reset = options.resetOnRelease ?? 'rollback'
    this.#driver = options.driver
  }

  /** The first host of the config; of a config that comes from a function only that it is PostgreSQL. */
  get server(): ServerInfo {
    return serverOf(this.#config, this.#options.hosts?.[0])
  }

  async connect({ signal, lost }: ConnectContext): Promise<PgClient> {
    const driver = (this.#driver ??= await loadDriver<PgDriver>('cenote/pg', 'pg'))
    const given = typeof this.#config === 'function' ? await this.#config() : this.#config
    signal.throwIfAborted()
    const found = candidates(asConfig(given), this.#options)
    const { hosts, target } = found
    const [only] = hosts
    const client =
      hosts.length === 1 && only !== undefined && target === 'any'
        ? await this.#open(driver, only.config, signal, lost)
        : await connectToOne(found, {
            signal,
            timeoutMs: this.#options.hostTimeoutMs ?? HOST_TIMEOUT_MS,
            connect: (config, limited) => this.#open(driver, config, limited, lost),
            close: (opened) => this.close(opened),
            hasBroken: (opened) => this.hasBroken(opened),
          })
    await this.#prepare(client, signal)
    const health = this.#health.get(client)
    if (health !== undefined) Object.assign(health, { held: true, target })
    return client
  }

  async isValid(client: PgClient, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a query behind: the socket goes with it.
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort, { once: true })
    const { target = 'any' } = this.#health.get(client) ?? {}
    try {
      if (isStrict(target)) return misfit(await roleOf(client), target) === undefined
      await client.query('')
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(client: PgClient, error?: unknown): boolean {
    const health = this.#health.get(client)
    if (health?.broken === true || client._ended === true || client._queryable === false) return true
    if (error === undefined) return false
    if (isReadTimeout(error)) return true
    const isDemoted = health?.target === 'primary' || health?.target === 'read-write'
    return isFatalMessage(error) || (isDemoted && codeOf(error) === READ_ONLY_TRANSACTION)
  }

  reset(client: PgClient): boolean | void | Promise<boolean> {
    if (isBusy(client)) return false
    const isClean = client.readyForQuery !== false && (client._txStatus ?? 'I') === 'I'
    if (this.#reset === 'discard all')
      return this.#discard(client, isClean ? ['DISCARD ALL'] : ['ROLLBACK', 'DISCARD ALL'])
    if (isClean) return
    return this.#reset === 'none' ? false : run(client, ['ROLLBACK'])
  }

  async close(client: PgClient): Promise<void> {
    const health = this.#health.get(client)
    const isDead = this.hasBroken(client) || isBusy(client)
    if (health !== undefined) health.held = false
    if (isDead) {
      destroySocket(client)
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        destroySocket(client)
        resolve()
      }, GRACE_MS)
      timer.unref()
      client.end().then(
        () => {
          clearTimeout(timer)
          resolve()
        },
        () => {
          clearTimeout(timer)
          destroySocket(client)
          resolve()
        },
      )
    })
  }

  isFatal(error: unknown): boolean {
    return isFatalError(error)
  }

  async #open(
    driver: PgDriver,
    config: PgConfig,
    signal: AbortSignal,
    lost: (error?: unknown) => void,
  ): Promise<PgClient> {
    signal.throwIfAborted()
    const client = new (driver.Client as new (config: PgConfig) => PgClient)(config)
    const health: Health = { broken: false, held: false, target: 'any' }
    this.#health.set(client, health)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (health.held) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    client.on('error', broke)
    client.on('end', broke)
    // The server says FATAL before its socket ends, and to a client with a query running the driver tells only the query.
    client.connection?.on('errorMessage', (message) => {
      if (isFatalMessage(message)) broke(message)
    })
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort)
    try {
      await client.connect()
      signal.throwIfAborted()
      return client
    } catch (error) {
      destroySocket(client)
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #prepare(client: PgClient, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort)
    try {
      await this.#options.onConnect?.(client)
      signal.throwIfAborted()
      if (this.hasBroken(client)) throw new Error('the server closed the connection while it was prepared')
      if (isBusy(client) || (client._txStatus ?? 'I') !== 'I')
        throw new Error('onConnect left a transaction open, or a query that it did not wait for')
    } catch (error) {
      destroySocket(client)
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #discard(client: PgClient, statements: readonly string[]): Promise<boolean> {
    await run(client, statements)
    await this.#options.onConnect?.(client)
    return (client._txStatus ?? 'I') === 'I'
  }
}

function asConfig(given: unknown): PgConfig {
  if (typeof given === 'string') return { connectionString: given }
  if (typeof given === 'object' && given !== null) return given as PgConfig
  throw misconfigured(
    `config is ${String(given)}: allowed is a connection string or an object for pg.Client, or a function that gives one`,
  )
}

function checkOptions(options: PgManagerOptions): void {
  for (const key of Object.keys(options)) {
    if (!(OPTIONS as readonly string[]).includes(key))
      throw new TypeError(`${key} is not one of the options of PgManager: known are ${OPTIONS.join(', ')}`)
  }
  const { driver, onConnect, hosts, hostTimeoutMs } = options
  const { resetOnRelease, targetSessionAttrs, hostOrder } = options
  for (const [name, value, allowed] of [
    ['resetOnRelease', resetOnRelease, RESETS],
    ['targetSessionAttrs', targetSessionAttrs, TARGETS],
    ['hostOrder', hostOrder, ORDERS],
  ] as const) {
    if (value !== undefined && !(allowed as readonly string[]).includes(value)) {
      const quoted = allowed.map((each) => `'${each}'`).join(', ')
      throw new TypeError(`${name} is '${String(value)}': allowed is ${quoted}`)
    }
  }
  if (driver !== undefined && typeof driver.Client !== 'function')
    throw new TypeError("driver has no class Client: allowed is what `import pg from 'pg'` gives")
  if (onConnect !== undefined && typeof onConnect !== 'function')
    throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
  if (hostTimeoutMs !== undefined && !(typeof hostTimeoutMs === 'number' && hostTimeoutMs > 0))
    throw new TypeError(`hostTimeoutMs is ${String(hostTimeoutMs)}: allowed is milliseconds > 0, or Infinity`)
  if (hosts !== undefined && !(Array.isArray(hosts) && hosts.length > 0 && hosts.every(isHost)))
    throw new TypeError(`hosts is ${JSON.stringify(hosts)}: allowed is a list of { host, port? }, not empty`)
}

function isHost(value: Partial<PgHost> | null): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { host, port = 1 } = value
  return typeof host === 'string' && host !== '' && Number.isInteger(port) && port > 0 && port < 65_536
}

async function run(client: PgClient, statements: readonly string[]): Promise<boolean> {
  for (const statement of statements) await client.query(statement)
  return true
}

function isBusy(client: PgClient): boolean {
  return (client._activeQuery ?? null) !== null || (client._queryQueue?.length ?? 0) > 0
}

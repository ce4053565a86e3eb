import type { ConnectContext, ConnectionManager, ServerInfo } from '../../core/contract/manager.ts'
import { withoutSecrets } from '../../core/contract/redact.ts'
import type { ShareableConnection } from '../../core/contract/share.ts'
import { firstOfMany } from '../aggregate-error.ts'
import { DnsRefresh } from '../dns-refresh.ts'
import { loadDriver } from '../driver.ts'
import { LostSocket } from '../lost-socket.ts'
import { cancelRunning } from './cancel.ts'
import { asConfig, checkOptions } from './check-options.ts'
import {
  destroySocket,
  forgetStatements,
  isBusy,
  type PgClient,
  type PgConfig,
  type PgDriver,
} from './client.ts'
import { beginCheck, end, freeServer, watchLeftBehind } from './close.ts'
import {
  isDropped,
  isFatalError,
  isFatalMessage,
  isReadOnly,
  isReadTimeout,
  isStalePlan,
  isWithoutServer,
} from './errors.ts'
import { candidates, connectToOne } from './hosts.ts'
import type { PgClient as InstalledClient, PgConfig as InstalledConfig } from './installed.ts'
import type { PgManagerOptions, PgReset } from './options.ts'
import { serverOf } from './server.ts'
import { pgShare, type PgSharedView, pipelining, prepareShared, refuseTimeout } from './share.ts'
import { isDemoted, isStrict, misfit, roleOf, type TargetSessionAttrs, watchRole } from './target.ts'

export { cancellable } from './cancel.ts'
export type { PgDriver } from './client.ts'
export type { PgClient, PgConfig } from './installed.ts'
export type { PgSharedView } from './share.ts'
export { type HostOrder, type PgHost, PgHostsError } from './hosts.ts'
export {
  listen,
  type ListenGap,
  type Listening,
  type ListenNotification,
  type ListenOptions,
} from './listen.ts'
export type { PgManagerOptions, PgReset } from './options.ts'
export type { TargetSessionAttrs } from './target.ts'
export { type PgIsolation, type PgTransactionOptions, transaction } from './transaction.ts'
export {
  type Transaction,
  TransactionError,
  type TransactionErrorCode,
  type TransactionOptions,
} from '../transaction.ts'

/**
 * The configuration of a manager: the parameter of `new pg.Client(config)`, or a connection string. `undefined` is accepted by the
 * types only, so that `process.env.DATABASE_URL` can be given as it is: when it is not set, the constructor throws.
 */
export type PgConfigOrUrl = InstalledConfig | string | undefined

const HOST_TIMEOUT_MS = 3_000

/** State that the manager records about a client in addition to the driver. */
interface Health {
  readonly socket: LostSocket
  unwatch?: () => void
  target: TargetSessionAttrs
}

/**
 * Connections to PostgreSQL with the driver `pg`: `new Pool(new PgManager('postgres://…'))`.
 *
 * A client whose socket ends, or that receives a FATAL error, is broken from that moment. A connection that is returned in a
 * transaction, or with a query still running, never reaches the next caller in that state.
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
export class PgManager<C extends PgClient = InstalledClient> implements ConnectionManager<C> {
  readonly #config: PgConfig | (() => PgConfigOrUrl | Promise<PgConfigOrUrl>)
  readonly #options: PgManagerOptions<C>
  readonly #reset: PgReset
  readonly #health = new WeakMap<PgClient, Health>()
  readonly #dns: DnsRefresh
  readonly #share: ShareableConnection<C, PgSharedView<C>> | undefined
  // A pooler ended a session because it had no server. A new session must reach the server first, so that callers spend no retries.
  #isServerUnsure = false
  #driver: PgDriver<C> | undefined

  /**
   * `config`: what `new pg.Client(config)` takes, or a connection string, or a function that gives either and is called for
   * every connect (credentials that rotate); its failure is a connect failure. Throws TypeError for a wrong config,
   * also for `undefined` and for a string that is not a PostgreSQL URL, and PoolOptionsError for a wrong option.
   */
  constructor(
    config: PgConfigOrUrl | (() => PgConfigOrUrl | Promise<PgConfigOrUrl>),
    options: PgManagerOptions<C> = {},
  ) {
    checkOptions(options)
    this.#config = typeof config === 'function' ? config : { ...asConfig(config) }
    this.#options = { ...options }
    this.#reset = options.resetOnRelease ?? 'rollback'
    this.#dns = new DnsRefresh(options.dnsRefreshMs ?? Infinity)
    this.#driver = options.driver
    this.#share = options.share === true ? pgShare<C>() : undefined
  }

  /** The sharing of connections, with the option `share`. Throws PoolOptionsError if the config has a `query_timeout`. */
  get share(): ShareableConnection<C, PgSharedView<C>> | undefined {
    if (this.#share !== undefined && typeof this.#config !== 'function')
      refuseTimeout(timeoutOf(this.#config))
    return this.#share
  }

  /** The first host of the config; of a config that comes from a function only that it is PostgreSQL. */
  get server(): ServerInfo {
    return serverOf(this.#config, this.#options.hosts?.[0])
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const driver = (this.#driver ??= await loadDriver<PgDriver<C>>('cenote/pg', 'pg', () => import('pg')))
    const given = typeof this.#config === 'function' ? await this.#config() : this.#config
    signal.throwIfAborted()
    try {
      return await this.#connect(driver, asConfig(given), signal, lost)
    } catch (error) {
      throw withoutSecrets(error, given)
    }
  }

  async isValid(client: C, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a query behind: the socket goes with it.
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort, { once: true })
    const endCheck = beginCheck(client)
    const { target = 'any' } = this.#health.get(client) ?? {}
    try {
      if (isStrict(target)) return misfit(await roleOf(client), target) === undefined
      await client.query('')
      return true
    } finally {
      endCheck()
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(client: C, error?: unknown): boolean {
    const health = this.#health.get(client)
    if (health?.socket.isBroken === true || client._ended === true || client._queryable === false) return true
    if (error === undefined) return false
    if (isReadTimeout(error) || isFatalMessage(error)) return true
    return isReadOnly(error) && isDemoted(client, health?.target ?? 'any')
  }

  /**
   * Cancels the statements that the client has issued and the server has not answered. Does nothing for an idle client. If
   * the requests have no effect within 4,000 ms, or before the signal aborts, the client's connection is destroyed.
   */
  async cancel(client: C, signal: AbortSignal): Promise<void> {
    const tooLate = Promise.withResolvers<void>()
    const onAbort = (): void => {
      destroySocket(client)
      tooLate.resolve()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([cancelRunning(client), tooLate.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  ref(client: C): void {
    client.ref?.()
  }

  unref(client: C): void {
    client.unref?.()
  }

  reset(client: C): boolean | void | Promise<boolean> {
    if (isBusy(client)) return false
    const isClean = client.readyForQuery !== false && (client._txStatus ?? 'I') === 'I'
    if (this.#reset === 'discard all')
      return this.#discard(client, isClean ? ['DISCARD ALL'] : ['ROLLBACK', 'DISCARD ALL'])
    if (isClean) return
    return this.#reset === 'none' ? false : run(client, ['ROLLBACK'])
  }

  /**
   * Ends the session. A statement that is running, or sent and unanswered, is cancelled first: the server is free of it when
   * the promise settles. Bounded by 3,000 ms; the socket is destroyed in any case.
   */
  async close(client: C): Promise<void> {
    const health = this.#health.get(client)
    health?.socket.letGo()
    health?.unwatch?.()
    client.ref?.()
    await freeServer(client)
    await end(client)
  }

  isFatal(error: unknown): boolean {
    return isFatalError(error)
  }

  async #connect(
    driver: PgDriver<C>,
    given: PgConfig,
    signal: AbortSignal,
    lost: (error?: unknown) => void,
  ): Promise<C> {
    const found = candidates(given, this.#options)
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
    if (health === undefined) return client
    const { socket } = health
    socket.hold()
    const { remoteAddress } = client.connection?.stream ?? {}
    const addresses = remoteAddress === undefined ? [] : [remoteAddress]
    const unwatch = this.#dns.watch(client.host, addresses, (reason) => socket.report(reason))
    Object.assign(health, { target, unwatch })
    return client
  }

  async #open(
    driver: PgDriver<C>,
    config: PgConfig,
    signal: AbortSignal,
    lost: (error?: unknown) => void,
  ): Promise<C> {
    signal.throwIfAborted()
    const isShared = this.#share !== undefined
    const client = new (driver.Client as new (config: PgConfig) => C)(isShared ? pipelining(config) : config)
    if (isShared) prepareShared(client)
    const socket = new LostSocket(lost).watch(client, 'error', 'end')
    this.#health.set(client, { socket, target: 'any' })
    watchLeftBehind(client)
    watchRole(client)
    // The server sends FATAL before its socket ends, and the driver reports it to the running query only.
    const onMessage = (message: unknown): void => {
      if (isFatalMessage(message)) socket.report(message)
      if (isWithoutServer(message)) this.#isServerUnsure = true
      if (isDropped(message)) forgetStatements(client)
      if (isStalePlan(message)) socket.report(message)
    }
    client.connection?.on('errorMessage', onMessage)
    client.connection?.on('notice', onMessage)
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort)
    try {
      await client.connect()
      signal.throwIfAborted()
      return client
    } catch (error) {
      destroySocket(client)
      throw signal.aborted
        ? signal.reason
        : firstOfMany(error, `${client.host ?? 'localhost'}:${client.port ?? 5_432}`)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #prepare(client: C, signal: AbortSignal): Promise<void> {
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort)
    try {
      if (this.#isServerUnsure) {
        await client.query('')
        this.#isServerUnsure = false
      }
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

  async #discard(client: C, statements: readonly string[]): Promise<boolean> {
    await run(client, statements)
    forgetStatements(client)
    await this.#options.onConnect?.(client)
    return (client._txStatus ?? 'I') === 'I'
  }
}

function timeoutOf({ query_timeout, connectionString }: PgConfig): unknown {
  if (query_timeout !== undefined || connectionString === undefined) return query_timeout
  return /[?&]query_timeout=(\d+)/.exec(connectionString)?.[1]
}

async function run(client: PgClient, statements: readonly string[]): Promise<boolean> {
  for (const statement of statements) await client.query(statement)
  return true
}

import type { ConnectContext, ConnectionManager, ServerInfo } from '../../core/contract/manager.ts'
import { withoutSecrets } from '../../core/contract/redact.ts'
import { DnsRefresh } from '../dns-refresh.ts'
import { LostSocket } from '../lost-socket.ts'
import { explain, isDemotedError, isFatalConnectError, isLastError } from './errors.ts'
import { killConnection, killQuery, type Victim } from './kill.ts'
import { serverOf, type Stream } from './mysql-protocol.ts'
import {
  checkOptions,
  configOf,
  type MysqlConfigOrUrl,
  type MysqlConfigSource,
  type MysqlOptions,
  type MysqlReset,
} from './options.ts'
import {
  AUTOCOMMIT,
  type Dial,
  forgottenBy,
  IN_TRANSACTION,
  type MysqlAdapter,
  type MysqlSession,
  quoted,
} from './session.ts'
import { remember } from './transaction.ts'

// Maximum time of an orderly end of a connection, before its socket is destroyed.
const GRACE_MS = 1_000
// Maximum time for opening the connection that stops a statement, and for the end of a killed connection at the server.
const KILLER_MS = 1_000
const KILL_MS = 4_000

export type { MysqlConfigOrUrl, MysqlConfigSource, MysqlOptions, MysqlReset } from './options.ts'

/** State that the manager records about a connection. */
interface Held extends Victim {
  readonly session: MysqlSession
  readonly watch: LostSocket
  readonly address: Dial['address']
  /** The name that the config has for the server. */
  name: string | undefined
  unwatch: (() => void) | undefined
  /** As the session was when it was handed to the pool. undefined: as at the login. */
  autocommit: number | undefined
  database: string | undefined
  /** The statement that restores what a reset of the session at the server does not. */
  forgotten: string | undefined
  /** A KILL on its way, which must not hit the next holder. */
  killing: Promise<void> | undefined
}

/** The manager of both drivers: `Mysql2Manager` and `MariadbManager` choose the driver. */
export class MysqlManager<C extends object> implements ConnectionManager<C> {
  readonly #adapter: MysqlAdapter
  readonly #config: Readonly<Record<string, unknown>> | (() => MysqlConfigOrUrl | Promise<MysqlConfigOrUrl>)
  readonly #reset: MysqlReset
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #held = new WeakMap<C, Held>()
  readonly #dns: DnsRefresh
  #driver: unknown

  /** Throws TypeError for a wrong config, PoolOptionsError for a wrong option. */
  constructor(
    adapter: MysqlAdapter,
    config: MysqlConfigSource,
    options: MysqlOptions<C> & { readonly driver?: unknown },
  ) {
    this.#adapter = adapter
    this.#config =
      typeof config === 'function' ? (config as () => MysqlConfigOrUrl) : configOf(adapter, config)
    const given = checkOptions(adapter, options)
    this.#reset = given.resetOnRelease ?? 'rollback'
    this.#onConnect = given.onConnect
    this.#driver = given.driver
    this.#dns = new DnsRefresh(given.dnsRefreshMs ?? Infinity)
  }

  /** The server of the config. With a function as config, only the kind of server is known. */
  get server(): ServerInfo {
    return serverOf(this.#adapter.system, typeof this.#config === 'function' ? {} : this.#config)
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const connection = await this.#dial(signal, lost, undefined, async (opened, held) => {
      if (this.#reset === 'reset') held.forgotten = await forgottenBy(held.session)
      await this.#onConnect?.(opened)
    })
    const held = this.#of(connection)
    const { session } = held
    if (this.#onConnect !== undefined) held.autocommit = (session.status ?? session.firstStatus) & AUTOCOMMIT
    held.database = session.database
    held.watch.hold()
    const addresses = held.address === undefined ? [] : [held.address.host]
    held.unwatch = this.#dns.watch(held.name, addresses, (reason) => held.watch.report(reason))
    return connection
  }

  async isValid(connection: C, signal: AbortSignal): Promise<boolean> {
    const { session } = this.#of(connection)
    const aborted = Promise.withResolvers<boolean>()
    // A check that takes too long leaves a command behind: the socket goes with it. mariadb may leave the ping pending then.
    const onAbort = (): void => aborted.resolve((session.socket?.destroy(), false))
    signal.addEventListener('abort', onAbort, { once: true })
    const answered = session.ping().then(() => true)
    try {
      return await Promise.race([answered, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
      answered.catch(() => {})
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    const { watch, session } = this.#of(connection)
    if (watch.isBroken || session.isSpent || session.isDead()) return true
    return error !== undefined && (isLastError(error) || isDemotedError(error))
  }

  reset(connection: C): boolean | void | Promise<boolean> {
    const held = this.#of(connection)
    const { session } = held
    // A KILL that is on its way must not hit the next holder. mysql2 calls back with an error before it takes the command
    // off: look again later.
    if (held.killing !== undefined || session.isBusy()) return this.#cleanWhenIdle(connection, held)
    return this.#reset !== 'reset' && isUnchanged(held) ? undefined : this.#clean(connection, held)
  }

  /** Stops the statement that the connection is running: KILL QUERY over a second connection. */
  async cancel(connection: C, signal: AbortSignal): Promise<void> {
    const held = this.#of(connection)
    const running = held.session.running()
    if (running === undefined) return
    held.killing ??= this.#withKiller(held, signal, (killer) =>
      killQuery(killer, held, running.sql, () => held.session.running() === running),
    ).finally(() => (held.killing = undefined))
    await held.killing
  }

  ref(connection: C): void {
    this.#of(connection).session.socket?.ref?.()
  }

  unref(connection: C): void {
    this.#of(connection).session.socket?.unref?.()
  }

  /** Ends a busy connection at the server first: its statement would run on, and hold what it has locked. */
  async close(connection: C): Promise<void> {
    const held = this.#of(connection)
    const { session, watch } = held
    const { socket } = session
    watch.letGo()
    held.unwatch?.()
    // A connection that the server ended is no longer busy, even if the driver has not failed its command yet.
    if (session.isBusy() && !watch.isBroken && socket?.readableEnded !== true) {
      const sql = session.running()?.sql
      socket?.destroy(new Error('the connection was closed while a command was running on it'))
      const until = performance.now() + KILL_MS
      await this.#withKiller(held, undefined, (killer) =>
        killConnection(killer, held, sql, () => performance.now() > until),
      ).catch(() => {})
      return
    }
    if (watch.isBroken || session.isDead() || socket === undefined) {
      socket?.destroy()
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), GRACE_MS)
      timer.unref()
      socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      session.end()
    })
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  /** The option of the config, as far as it is known before a connect. For shares. */
  protected configured(option: string): unknown {
    return typeof this.#config === 'function' ? undefined : this.#config[option]
  }

  /** The session of a connection, and whether it is as it was when the pool got it. For shares. */
  protected sessionOf(connection: C): { readonly session: MysqlSession; isUnchanged(): boolean } {
    const held = this.#of(connection)
    return { session: held.session, isUnchanged: () => isUnchanged(held) }
  }

  #of(connection: C): Held {
    return this.#held.get(connection) as Held
  }

  async #cleanWhenIdle(connection: C, held: Held): Promise<boolean> {
    await held.killing?.catch(() => {})
    await Promise.resolve()
    return !held.session.isBusy() && (await this.#clean(connection, held))
  }

  async #clean(connection: C, held: Held): Promise<boolean> {
    const { session } = held
    if (this.#reset === 'none') return isUnchanged(held)
    if (this.#reset === 'reset') {
      await session.forget()
      if (held.forgotten !== undefined) await session.query(held.forgotten)
      if (session.database !== held.database || !session.reportsDatabase) await restoreDatabase(held)
      await this.#onConnect?.(connection)
    } else if (session.status === undefined || (session.status & IN_TRANSACTION) !== 0) {
      await session.query('ROLLBACK')
    }
    if (((session.status ?? 0) & AUTOCOMMIT) !== autocommitOf(held))
      await session.query(`SET autocommit = ${autocommitOf(held) === 0 ? 0 : 1}`)
    if (session.database !== held.database) await restoreDatabase(held)
    // With a version of mysql2 that cannot be watched the status stays unknown.
    return session.status === undefined || isUnchanged(held)
  }

  async #withKiller(
    held: Held,
    signal: AbortSignal | undefined,
    work: (killer: MysqlSession) => Promise<void>,
  ): Promise<void> {
    const limit = AbortSignal.timeout(KILLER_MS)
    const opening = signal === undefined ? limit : AbortSignal.any([signal, limit])
    const connection = await this.#dial(opening, () => {}, held.address)
    const killer = this.#of(connection)
    const end = (): void => void killer.session.socket?.destroy()
    const timer = setTimeout(end, KILL_MS)
    signal?.addEventListener('abort', end)
    try {
      await work(killer.session)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      await this.close(connection)
    }
  }

  async #dial(
    signal: AbortSignal,
    lost: ConnectContext['lost'],
    address: Dial['address'],
    prepare?: (connection: C, held: Held) => Promise<void>,
  ): Promise<C> {
    const adapter = this.#adapter
    const driver = (this.#driver ??= await adapter.load())
    const config = typeof this.#config === 'function' ? configOf(adapter, await this.#config()) : this.#config
    signal.throwIfAborted()
    let socket: Stream | undefined
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => {
      // With an error, so that the driver notices: it ignores a bare end of a connection that is being opened.
      socket?.destroy(new Error('the connect was aborted'))
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort)
    try {
      const opened = adapter.open(driver, config, { address, own: (own) => (socket = own), refused: reject })
      // A connection whose socket is the driver's own, and which arrives after the abort, is closed here.
      opened.then(
        (late) => signal.aborted && (late as { destroy(): void }).destroy(),
        () => {},
      )
      const connection = (await Promise.race([opened, aborted])) as C
      const held = this.#hold(connection, socket, lost)
      held.name = serverOf(adapter.system, config).address ?? 'localhost'
      await Promise.race([prepare?.(connection, held), aborted])
      signal.throwIfAborted()
      return connection
    } catch (error) {
      socket?.destroy()
      if (signal.aborted) throw signal.reason
      const { address: host = 'localhost', port = 3306 } = serverOf(adapter.system, config)
      throw withoutSecrets(explain(error, host, port), config)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #hold(connection: C, socket: Stream | undefined, lost: ConnectContext['lost']): Held {
    const watch = new LostSocket(lost)
    const session = this.#adapter.session(connection, socket, (error) => watch.report(error))
    const used = session.socket
    // Neither driver reports a connection that its holder ended.
    if (used !== undefined) watch.watch(used, 'close')
    const { remoteAddress: host, remotePort: port } = used ?? {}
    const held: Held = {
      session,
      watch,
      threadId: session.threadId,
      localPort: used?.localPort,
      address: host === undefined || port === undefined ? undefined : { host, port },
      name: undefined,
      unwatch: undefined,
      autocommit: undefined,
      database: undefined,
      forgotten: undefined,
      killing: undefined,
    }
    this.#held.set(connection, held)
    remember(connection, session)
    return held
  }
}

// Returns whether the session is as it was when the pool got it, as far as the server reports it.
function isUnchanged(held: Held): boolean {
  const { status, database } = held.session
  if (status === undefined || (status & IN_TRANSACTION) !== 0) return false
  return (status & AUTOCOMMIT) === autocommitOf(held) && database === held.database
}

// Read when it is compared: the first statement may correct what the greeting reported.
function autocommitOf({ autocommit, session }: Held): number {
  return autocommit ?? session.firstStatus & AUTOCOMMIT
}

// A session without a database cannot be brought back to having none: it is closed.
async function restoreDatabase({ session, database }: Held): Promise<void> {
  if (database !== undefined) await session.query(`USE ${quoted(database)}`)
}

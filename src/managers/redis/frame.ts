import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import { withoutSecrets } from '../../core/contract/redact.ts'
import type { ShareableConnection } from '../../core/contract/share.ts'
import { callable, checkArguments, duration, type Rule } from '../../core/contract/rules.ts'
import { DnsRefresh } from '../dns-refresh.ts'
import { LostSocket } from '../lost-socket.ts'
import {
  answers,
  checkConfig,
  explained,
  isFatalConnectError,
  isUnusableServer,
  RedisSession,
  type Undo,
} from './redis-protocol.ts'
import {
  type Corkable,
  redisShare,
  type RedisSharedView,
  type SharedClient,
  type SharedDriver,
} from './share.ts'

/** A connection string, or an object for the driver. */
export type RedisConfig = object | string

/** A config, or a function that returns one for each connect. `undefined` is rejected by the constructor. */
export type RedisConfigSource = RedisConfig | (() => RedisConfig | Promise<RedisConfig>) | undefined

/** The state to which a returned connection is restored. */
export type RedisReset = 'none' | 'undo'

/** Options that the managers of both drivers have. */
export interface RedisFrameOptions<C extends object> {
  /**
   * The treatment of a returned connection. `undo` discards an open MULTI, ends a WATCH and selects the first database again,
   * at no cost if there is nothing to undo. `none` closes a connection in such a state. A connection that is subscribed, waits
   * for an answer (a blocking command), or was changed in a way that only a new connection undoes (MONITOR, AUTH, CLIENT
   * REPLY, CLIENT TRACKING, …) is always closed. Default: 'undo'.
   */
  readonly resetOnRelease?: RedisReset | undefined
  /**
   * Called once per new connection, before its first use, for settings of the session (CLIENT NO-EVICT, CLIENT TRACKING). A
   * throw, a rejection or a MULTI left open fails the connect. Default: nothing is called.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
  /**
   * Interval, in milliseconds, at which the host name is looked up again. A connection to an address that its name no longer
   * has is drained: closed immediately if it is idle, at return if it is leased. Default: Infinity (off).
   */
  readonly dnsRefreshMs?: number | undefined
}

/** The parts of one connection that the frame uses; each driver provides them in its own way. */
export interface RedisHandle<C extends object> {
  readonly connection: C
  readonly address: string
  /** The host name of the config. undefined: a Unix socket. */
  readonly host: string | undefined
  /** The addresses of the host of which one is connected. */
  readonly addresses: readonly string[]
  readonly database: number
  /** Whether the driver can send a command now. */
  readonly isReady: boolean
  /** Whether the answer to a command is still to come. */
  readonly isWaiting: boolean
  /** Whether messages of a subscription may arrive. */
  readonly isSubscribed: boolean
  /** Commands of the driver itself, which keeps its own record of the session. */
  readonly undo: Readonly<Record<Undo, (database: number) => Promise<unknown>>>
  /** Calls `ended` for each event that means the end of the connection. The listeners stay until the client is collected. */
  onEnd(ended: (error?: unknown) => void): void
  /** Calls `sent` with each command and `failed` with each error reply from now on. */
  watch(sent: (command: unknown, argument?: unknown) => void, failed: (error: unknown) => void): void
  connect(): Promise<unknown>
  send(...command: [string, ...string[]]): Promise<unknown>
  /** Destroys the socket, also one that is not connected yet. */
  destroy(): void
  ref(): void
  unref(): void
  /** The driver's names of commands. */
  readonly shared: SharedDriver
  /** The socket, if the driver writes each command alone. */
  readonly stream?: Corkable | undefined
}

/** A connection and what the manager records about it. */
interface Held<C extends object> {
  readonly handle: RedisHandle<C>
  readonly session: RedisSession
  readonly loss: LostSocket
  readonly ended: Promise<void>
  /** The number of the connection at the server. undefined: the user may not ask for it. */
  id: string | undefined
  readonly shared: SharedClient
  /** Whether the server refused a command because it was demoted, or is loading its data. */
  isUnusable: boolean
  unwatch?: () => void
}

const OPTIONS: Readonly<Record<string, Rule>> = {
  resetOnRelease: {
    allowed: "'none' or 'undo'",
    accepts: (value) => value === 'none' || value === 'undo',
  },
  onConnect: callable,
  dnsRefreshMs: duration('above 0', 'or Infinity'),
}
// Maximum time of an orderly close, before the socket is destroyed.
const GRACE_MS = 1_000
// Between two attempts to unblock a connection whose answer has not arrived.
const UNBLOCK_INTERVAL_MS = 20

/** The manager of both drivers, except how a connection is created. */
export abstract class RedisFrame<C extends object> implements ConnectionManager<C> {
  readonly #config: RedisConfig | (() => RedisConfig | Promise<RedisConfig>)
  readonly #taker: string
  readonly #undoes: boolean
  readonly #onConnect: ((connection: C) => unknown) | undefined
  readonly #held = new WeakMap<object, Held<C>>()
  /** The sharing of connections: commands that block or change the session are rejected. */
  readonly share: ShareableConnection<C, RedisSharedView<C>> = redisShare((connection) =>
    this.#sharedOf(connection),
  )
  readonly #dns: DnsRefresh

  /** `taker` is the driver's function that takes a config. Throws TypeError for a wrong config, PoolOptionsError for an option. */
  constructor(
    name: string,
    config: RedisConfigSource,
    options: RedisFrameOptions<C>,
    driver: Rule,
    taker: string,
  ) {
    if (typeof config !== 'function') checkConfig(config, taker)
    checkArguments(`options of ${name}`, options, { driver, ...OPTIONS }, '')
    this.#config = typeof config === 'object' ? { ...config } : config
    this.#taker = taker
    this.#undoes = options.resetOnRelease !== 'none'
    this.#onConnect = options.onConnect
    this.#dns = new DnsRefresh(options.dnsRefreshMs ?? Infinity)
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const held = await this.#open(signal, lost, async ({ handle, session }) => {
      await this.#onConnect?.(handle.connection)
      if (session.inTransaction || handle.isWaiting || handle.isSubscribed)
        throw new Error('onConnect left a transaction open, or a command that it did not wait for')
      session.settle()
    })
    const { host, addresses } = held.handle
    held.unwatch = this.#dns.watch(host, addresses, (reason) => held.loss.report(reason))
    return held.handle.connection
  }

  async isValid(connection: C, signal: AbortSignal): Promise<boolean> {
    const handle = this.#held.get(connection)?.handle
    if (handle === undefined) return false
    // The answer to a check that takes too long would reach the next caller: the socket is destroyed.
    const onAbort = (): void => handle.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await answers(handle.send('PING'))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: C, error?: unknown): boolean {
    const held = this.#held.get(connection)
    if (held === undefined || held.loss.isBroken || held.isUnusable || !held.handle.isReady) return true
    return error !== undefined && isUnusableServer(error)
  }

  reset(connection: C): boolean | void | Promise<boolean> {
    const held = this.#held.get(connection)
    if (held === undefined || held.session.isAltered || held.handle.isWaiting || held.handle.isSubscribed)
      return false
    const undo = held.session.undo()
    if (undo.length === 0) return
    return this.#undoes && this.#undo(held, undo)
  }

  /**
   * Stops a blocking command (BLPOP, XREAD BLOCK, WAIT, …) with CLIENT UNBLOCK, over a connection of its own: the command
   * rejects with UNBLOCKED and its connection stays in use. Redis cannot stop any other command without harm to others: a
   * slow one is waited for. A user who may not call CLIENT ID or CLIENT UNBLOCK cannot cancel.
   */
  async cancel(connection: C, signal: AbortSignal): Promise<void> {
    const held = this.#held.get(connection)
    if (held?.id === undefined) return
    const { handle, id, loss } = held
    if (!handle.isWaiting) return
    const control = (await this.#open(signal, () => {})).handle
    const onAbort = (): void => control.destroy()
    signal.addEventListener('abort', onAbort)
    try {
      while (handle.isWaiting && !loss.isBroken && !signal.aborted) {
        await control.send('CLIENT', 'UNBLOCK', id, 'ERROR')
        // Another command may wait behind the first, or the command may not have reached the server yet.
        await new Promise((resolve) => setTimeout(resolve, handle.isWaiting ? UNBLOCK_INTERVAL_MS : 0))
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      control.destroy()
    }
  }

  /** Ends the connection; a blocking command is stopped first. The promise settles once the server has closed the socket. */
  async close(connection: C): Promise<void> {
    const held = this.#held.get(connection)
    if (held === undefined) return
    const { handle, session, loss, ended } = held
    loss.letGo()
    held.unwatch?.()
    // The answer to QUIT would not keep the process alive.
    handle.ref()
    if (!this.hasBroken(connection)) {
      const grace = new AbortController()
      const timer = setTimeout(() => grace.abort(), GRACE_MS)
      // After CLIENT REPLY or MONITOR no answer shows when a command ends.
      if (!session.isAltered) await this.cancel(connection, grace.signal).catch(() => {})
      if (!handle.isWaiting) {
        handle.send('QUIT').catch(() => {})
        await Promise.race([ended, new Promise((resolve) => grace.signal.addEventListener('abort', resolve))])
      }
      clearTimeout(timer)
    }
    handle.destroy()
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  ref(connection: C): void {
    this.#held.get(connection)?.handle.ref()
  }

  unref(connection: C): void {
    this.#held.get(connection)?.handle.unref()
  }

  /** Loads the driver and creates a client that neither reconnects nor queues while offline. It does not connect. */
  protected abstract create(config: RedisConfig): Promise<RedisHandle<C>>

  async #open(
    signal: AbortSignal,
    lost: ConnectContext['lost'],
    prepare?: (held: Held<C>) => Promise<void>,
  ): Promise<Held<C>> {
    const config = typeof this.#config === 'function' ? await this.#config() : this.#config
    checkConfig(config, this.#taker)
    const handle = await this.create(config).catch((error: unknown) => {
      throw withoutSecrets(error, config)
    })
    const { promise: failed, reject } = Promise.withResolvers<never>()
    failed.catch(() => {})
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const loss = new LostSocket(lost)
    const session = new RedisSession(handle.database)
    const shared: SharedClient = {
      driver: handle.shared,
      get isChanged() {
        return session.isChanged
      },
      get stream() {
        return handle.stream
      },
    }
    const held: Held<C> = { handle, session, loss, ended, id: undefined, shared, isUnusable: false }
    this.#held.set(handle.connection, held)
    handle.onEnd((error) => {
      // An event without an error may come before the rejection that names the reason.
      if (error === undefined) setImmediate(reject, new Error('Connection is closed.'))
      else reject(error)
      loss.report(error)
      resolve()
    })
    const onAbort = (): void => {
      reject(signal.reason)
      handle.destroy()
    }
    signal.addEventListener('abort', onAbort)
    try {
      signal.throwIfAborted()
      const prepared = this.#prepare(held, prepare)
      // ioredis reports the reason by an event, and only the failure by the rejection, which arrives first.
      prepared.catch((error: unknown) => setImmediate(reject, error))
      await Promise.race([prepared.catch(() => failed), failed])
      signal.throwIfAborted()
      loss.hold()
      return held
    } catch (error) {
      handle.destroy()
      throw signal.aborted ? signal.reason : withoutSecrets(explained(error, handle.address), config)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async #prepare(held: Held<C>, prepare: ((held: Held<C>) => Promise<void>) | undefined): Promise<void> {
    const { handle, session } = held
    await handle.connect()
    // A server that is loading its data refuses PING: it cannot be used yet.
    const [, id] = await Promise.all([
      answers(handle.send('PING')),
      handle.send('CLIENT', 'ID').then(String, () => undefined),
    ])
    held.id = id
    handle.watch(
      (command, argument) => session.saw(command, argument),
      (error) => (held.isUnusable ||= isUnusableServer(error)),
    )
    await prepare?.(held)
  }

  #sharedOf(connection: C): SharedClient {
    const held = this.#held.get(connection) as Held<C>
    return held.shared
  }

  async #undo({ handle, session }: Held<C>, undo: readonly Undo[]): Promise<boolean> {
    await Promise.all(undo.map((step) => handle.undo[step](session.database)))
    session.undone()
    return true
  }
}

import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import { withoutSecrets } from '../../core/contract/redact.ts'
import { callable, checkArguments, type Rule, show } from '../../core/contract/rules.ts'
import type { ShareableConnection } from '../../core/contract/share.ts'
import { loadDriver } from '../driver.ts'
import { explained, isFatalConnectError } from './connect-error.ts'
import {
  type AmqpConfig,
  type AmqpConfigSource,
  type AmqpDriver,
  type DefaultAmqpConnection,
  keepAlive,
  type Model,
  QUEUE_DECLARE,
} from './driver.ts'
import { LostSocket } from '../lost-socket.ts'
import { amqpShare, type AmqpSharedView } from './share.ts'

/** Options of {@link AmqpConnectionManager}. */
export interface AmqpConnectionManagerOptions<M extends object = DefaultAmqpConnection> {
  /** The driver: `import amqplib from 'amqplib'`. Default: the installed package `amqplib`, loaded at the first connect. */
  readonly driver?: AmqpDriver<M> | undefined
  /**
   * The second argument of the driver's `connect`: TLS, `noDelay`, `clientProperties`, `credentials`. Default: an empty object.
   */
  readonly socketOptions?: object | undefined
  /** Called once per new connection, before its first use. A throw or a rejection fails the connect. Default: nothing is called. */
  readonly onConnect?: ((connection: M) => unknown) | undefined
}

/** The rules of the options that are about the connection. */
export const CONNECTION_OPTIONS: Readonly<Record<string, Rule>> = {
  driver: {
    allowed: "the driver with a function connect (import amqplib from 'amqplib')",
    accepts: (value) => typeof (value as { connect?: unknown } | null)?.connect === 'function',
  },
  socketOptions: {
    allowed: 'an object for node:net or node:tls',
    accepts: (value) => typeof value === 'object' && value !== null,
  },
}
const OPTIONS: Readonly<Record<string, Rule>> = { ...CONNECTION_OPTIONS, onConnect: callable }
// Maximum time of an orderly end of a connection, before its socket is destroyed.
const GRACE_MS = 1_000
// A server of another protocol may wait for more data and never answer.
const ANSWER_MS = 5_000

/** State that the manager records about a connection. */
interface Health {
  readonly loss: LostSocket
  hasExclusiveQueue: boolean
  readonly destroyed: AbortController
}

/**
 * Manages connections to RabbitMQ with the driver `amqplib`: `new Pool(new AmqpConnectionManager('amqp://…'))`. If one
 * connection is enough, which is often the case, pool its channels instead: {@link AmqpChannelManager}.
 *
 * A connection that the server closes, or whose heartbeats stop (`?heartbeat=10` in the URL, in seconds), is broken
 * immediately. Channels that a holder leaves open are closed, which puts unacknowledged messages back into their queues. A
 * connection on which an exclusive queue was declared is closed, because the queue would outlive the channels. A connection
 * that the server has blocked (a memory or disk alarm) stays in use, but is closed if its holder left channels open. The
 * driver's own recovery is off, because the pool replaces connections.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { AmqpConnectionManager } from 'cenote/amqplib'
 *
 * await using pool = new Pool(new AmqpConnectionManager(process.env.AMQP_URL), { maxSize: 2 })
 * const name = await pool.run(async (connection) => {
 *   const channel = await connection.createChannel()
 *   const { queue } = await channel.assertQueue('', { exclusive: true })
 *   await channel.close()
 *   return queue
 * })
 * console.log(name) // prints amq.gen-
 * ```
 */
export class AmqpConnectionManager<M extends object = DefaultAmqpConnection> implements ConnectionManager<M> {
  readonly #config: AmqpConfig | (() => AmqpConfig | Promise<AmqpConfig>)
  readonly #socketOptions: object
  readonly #onConnect: ((connection: M) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  /** The sharing of connections: each caller has channels of its own. */
  readonly share: ShareableConnection<M, AmqpSharedView<M>> = amqpShare<M>()
  #driver: AmqpDriver<M> | undefined

  /**
   * `config` is a URL or an object for the driver's `connect`, or a function, sync or async, that returns one for each connect
   * (rotating credentials). Throws TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: AmqpConfigSource, options: AmqpConnectionManagerOptions<M> = {}) {
    if (typeof config !== 'function') checkConfig(config)
    checkArguments('options of AmqpConnectionManager', options, OPTIONS, '')
    const { driver, socketOptions = {}, onConnect } = options
    this.#config = typeof config === 'object' ? { ...config } : config
    this.#socketOptions = { ...socketOptions }
    this.#onConnect = onConnect
    this.#driver = driver
  }

  async connect({ signal, lost }: ConnectContext): Promise<M> {
    const driver = (this.#driver ??= await loadDriver<AmqpDriver<M>>(
      'cenote/amqplib',
      'amqplib',
      () => import('amqplib'),
    ))
    const config = typeof this.#config === 'function' ? await this.#config() : this.#config
    checkConfig(config)
    const { address, vhost } = targetOf(config)
    signal.throwIfAborted()
    const destroyed = new AbortController()
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => {
      destroyed.abort(signal.reason)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    const onSilence = (): void => {
      const text = `${address} accepted the connection but has not answered within ${ANSWER_MS} ms: it is not an AMQP 0-9-1 server, or it hangs`
      destroyed.abort(Object.assign(new Error(text), { code: 'NO_ANSWER' }))
    }
    const timer = setTimeout(onSilence, ANSWER_MS)
    timer.unref()
    try {
      const connection = await this.#open(driver, config, destroyed.signal)
      clearTimeout(timer)
      const { loss } = this.#watch(connection, destroyed, lost)
      if (this.#onConnect !== undefined) await Promise.race([this.#onConnect(connection), aborted])
      signal.throwIfAborted()
      loss.hold()
      return connection
    } catch (error) {
      destroyed.abort(error)
      if (signal.aborted) throw signal.reason
      throw withoutSecrets(explained(destroyed.signal.reason, address, vhost), [config, this.#socketOptions])
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(connection: M, signal: AbortSignal): Promise<boolean> {
    const model = asModel(connection)
    // A blocked connection answers only after the alarm; it is not dead.
    if (model.connection.blocked) return true
    // AMQP has no ping for clients: a channel is opened and closed instead.
    const health = this.#health.get(connection)
    const onAbort = (): void => health?.destroyed.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const channel = (await model.createChannel()) as Closable
      await channel.close()
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(connection: M): boolean {
    return this.#health.get(connection)?.loss.isBroken !== false
  }

  reset(connection: M): boolean | void | Promise<boolean> {
    if (this.#health.get(connection)?.hasExclusiveQueue !== false) return false
    const { channels, blocked } = asModel(connection).connection
    // The first is the connection's own.
    const open = channels.slice(1).flatMap((slot) => (slot === null ? [] : [slot.channel as Closable]))
    if (open.length === 0) return
    // The close of a channel would be answered only after the alarm.
    if (blocked) return false
    return Promise.all(open.map((channel) => channel.close())).then(() => true)
  }

  async close(connection: M): Promise<void> {
    const health = this.#health.get(connection)
    if (health === undefined) return
    health.loss.letGo()
    // The answer to the close would not keep the process alive.
    keepAlive(asModel(connection).connection, true)
    if (health.loss.isBroken) {
      health.destroyed.abort(new Error('the connection was closed'))
      return
    }
    const timer = setTimeout(() => health.destroyed.abort(new Error('the close was not answered')), GRACE_MS)
    timer.unref()
    try {
      await Promise.race([
        asModel(connection).close(),
        new Promise((resolve) => health.destroyed.signal.addEventListener('abort', resolve)),
      ])
    } catch {
      // The connection was closed already.
    } finally {
      clearTimeout(timer)
      health.destroyed.abort(new Error('the connection was closed'))
    }
  }

  ref(connection: M): void {
    keepAlive(asModel(connection).connection, true)
  }

  unref(connection: M): void {
    keepAlive(asModel(connection).connection, false)
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  async #open(driver: AmqpDriver<M>, config: AmqpConfig, signal: AbortSignal): Promise<M> {
    const connect = driver.connect as unknown as (url: object | string, options: object) => PromiseLike<M>
    // The signal ends the socket at any time, also before it is connected.
    const opened = Promise.resolve(
      connect.call(driver, config, { ...this.#socketOptions, signal, recovery: false }),
    )
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      return await Promise.race([opened, aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
      // A connection that arrives although its socket was destroyed would crash the process with an unhandled 'error' event.
      opened.then(
        (late) => signal.aborted && asModel(late).on('error', () => {}),
        () => {},
      )
    }
  }

  #watch(connection: M, destroyed: AbortController, lost: ConnectContext['lost']): Health {
    const model = asModel(connection)
    // The driver reports a close that the server requested by 'close' only.
    const loss = new LostSocket(lost).watch(model, 'error', 'close')
    const health: Health = { loss, hasExclusiveQueue: false, destroyed }
    const wire = model.connection
    const { sendMethod } = wire
    wire.sendMethod = (channel, method, fields): unknown => {
      if (method === QUEUE_DECLARE && fields.exclusive === true) health.hasExclusiveQueue = true
      return sendMethod.call(wire, channel, method, fields)
    }
    this.#health.set(connection, health)
    return health
  }
}

function targetOf(config: AmqpConfig): { address: string; vhost: string } {
  const url = typeof config === 'string' ? new URL(config) : undefined
  const { protocol, hostname, port } = (url ?? config) as Partial<URL>
  const standard = protocol?.startsWith('amqps') === true ? 5671 : 5672
  return {
    address: `${hostname || 'localhost'}:${port || standard}`,
    vhost:
      (url === undefined
        ? (config as { vhost?: string }).vhost
        : decodeURIComponent(url.pathname.slice(1))) || '/',
  }
}

interface Closable {
  close(): Promise<void>
}

function asModel(connection: object): Model {
  return connection as Model
}

function checkConfig(config: unknown): asserts config is AmqpConfig {
  if (typeof config === 'object' && config !== null) return
  const isText = typeof config === 'string'
  if (isText && /^amqps?:\/\//.test(config) && URL.canParse(config)) return
  // A string may hold a password: it is not repeated.
  throw Object.assign(
    new TypeError(
      isText
        ? 'config must be a URL of the form amqp://user:password@host:port/vhost, or amqps:// for TLS (got another string)'
        : `config must be an amqp:// URL, an object for amqplib's connect, or a function that returns one of them (got ${show(config)})`,
    ),
    { code: 'BAD_CONFIG' },
  )
}

import type { ConnectContext, ConnectionManager } from '../../core/manager.ts'
import { loadDriver } from '../driver.ts'
import { explained, isFatalConnectError } from './connect-error.ts'
import { type AmqpConnection, type AmqpDriver, type Model, QUEUE_DECLARE } from './driver.ts'

/** Options of {@link AmqpConnectionManager}. */
export interface AmqpConnectionManagerOptions<M extends object = AmqpConnection> {
  /**
   * The driver: what `import amqplib from 'amqplib'` gives. Default: the installed package `amqplib`, loaded at the first
   * connect.
   */
  readonly driver?: AmqpDriver<M> | undefined
  /**
   * What the driver's `connect` takes as its second argument: TLS, `noDelay`, `clientProperties`, `credentials`. Default: none.
   */
  readonly socketOptions?: object | undefined
  /** Once per new connection, before its first use. A throw or a rejection fails the connect. Default: none. */
  readonly onConnect?: ((connection: M) => unknown) | undefined
}

const OPTIONS = ['driver', 'socketOptions', 'onConnect']
// How long an orderly end of a connection may take before its socket is destroyed.
const GRACE_MS = 1_000
// A server that waits for more of what it takes for its own protocol says nothing at all.
const ANSWER_MS = 5_000

/** What the manager knows of a connection beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  hasExclusiveQueue: boolean
  readonly destroyed: AbortController
}

/**
 * Connections to RabbitMQ with the driver `amqplib`: `new Pool(new AmqpConnectionManager('amqp://…'))`. Where one connection
 * will do, which is often, pool its channels: {@link AmqpChannelManager}.
 *
 * A connection that the server closes, or whose heartbeats stop (`?heartbeat=10` in the URL: seconds), is known to be broken
 * at once. Channels that a borrower leaves open are closed, which gives back what was not acknowledged; with an exclusive
 * queue, which would outlive them, the connection is closed. One that the server has blocked (memory or disk alarm) stays in
 * use: another would be blocked as well. The driver's own recovery is off: the pool does that.
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
export class AmqpConnectionManager<M extends object = AmqpConnection> implements ConnectionManager<M> {
  readonly #config: object | string
  readonly #socketOptions: object
  readonly #onConnect: ((connection: M) => unknown) | undefined
  readonly #health = new WeakMap<object, Health>()
  #driver: AmqpDriver<M> | undefined

  /** `config`: what the driver's `connect` takes: a URL, or an object. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: AmqpConnectionManagerOptions<M> = {}) {
    checkConfig(config)
    for (const key of Object.keys(options)) {
      if (!OPTIONS.includes(key))
        throw new TypeError(
          `${key} is not one of the options of AmqpConnectionManager: known are ${OPTIONS.join(', ')}`,
        )
    }
    const { driver, socketOptions = {}, onConnect } = options
    checkOptions(driver, socketOptions, onConnect)
    this.#config = typeof config === 'string' ? config : { ...config }
    this.#socketOptions = { ...socketOptions }
    this.#onConnect = onConnect
    this.#driver = driver
  }

  async connect({ signal, lost }: ConnectContext): Promise<M> {
    const driver = (this.#driver ??= await loadDriver<AmqpDriver<M>>('cenote/amqplib', 'amqplib'))
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
      const text = `${this.#address} accepted the connection but has not answered within ${ANSWER_MS} ms: is it an AMQP 0-9-1 server?`
      destroyed.abort(Object.assign(new Error(text), { code: 'NO_ANSWER' }))
    }
    const timer = setTimeout(onSilence, ANSWER_MS)
    timer.unref()
    try {
      const connection = await this.#open(driver, destroyed.signal)
      clearTimeout(timer)
      this.#watch(connection, destroyed, lost)
      if (this.#onConnect !== undefined) await Promise.race([this.#onConnect(connection), aborted])
      signal.throwIfAborted()
      if (this.hasBroken(connection))
        throw new Error('the server closed the connection while it was prepared')
      return connection
    } catch (error) {
      destroyed.abort(error)
      throw signal.aborted ? signal.reason : explained(destroyed.signal.reason, this.#address, this.#vhost)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(connection: M, signal: AbortSignal): Promise<boolean> {
    const model = asModel(connection)
    // It would answer only when it is unblocked, and so would every other.
    if (model.connection.blocked) return true
    // AMQP has no ping for clients: a channel is opened and closed.
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
    return this.#health.get(connection)?.broken !== false
  }

  reset(connection: M): boolean | void | Promise<boolean> {
    if (this.#health.get(connection)?.hasExclusiveQueue !== false) return false
    const { channels } = asModel(connection).connection
    // The first is the connection's own.
    const open = channels.slice(1).flatMap((slot) => (slot === null ? [] : [slot.channel as Closable]))
    if (open.length === 0) return
    return Promise.all(open.map((channel) => channel.close())).then(() => true)
  }

  async close(connection: M): Promise<void> {
    const health = this.#health.get(connection)
    if (health === undefined) return
    health.closing = true
    if (health.broken) {
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
      // It was closed already.
    } finally {
      clearTimeout(timer)
      health.destroyed.abort(new Error('the connection was closed'))
    }
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  async #open(driver: AmqpDriver<M>, signal: AbortSignal): Promise<M> {
    const connect = driver.connect as unknown as (url: object | string, options: object) => PromiseLike<M>
    // The signal ends the socket at any time, also one that is not connected yet.
    const opened = Promise.resolve(
      connect.call(driver, this.#config, { ...this.#socketOptions, signal, recovery: false }),
    )
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort)
    try {
      return await Promise.race([opened, aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
      // One that arrives although its socket was destroyed has nobody else who would hear its errors.
      opened.then(
        (late) => signal.aborted && asModel(late).on('error', () => {}),
        () => {},
      )
    }
  }

  #watch(connection: M, destroyed: AbortController, lost: ConnectContext['lost']): void {
    const health: Health = { broken: false, closing: false, hasExclusiveQueue: false, destroyed }
    const model = asModel(connection)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    model.on('error', broke)
    // The driver reports a close on the server's request by this event alone.
    model.on('close', broke)
    const wire = model.connection
    const { sendMethod } = wire
    wire.sendMethod = (channel, method, fields): unknown => {
      if (method === QUEUE_DECLARE && fields.exclusive === true) health.hasExclusiveQueue = true
      return sendMethod.call(wire, channel, method, fields)
    }
    this.#health.set(connection, health)
  }

  get #vhost(): string {
    if (typeof this.#config !== 'string') return (this.#config as { vhost?: string }).vhost ?? '/'
    return decodeURIComponent(new URL(this.#config).pathname.slice(1)) || '/'
  }

  get #address(): string {
    const { protocol, hostname, port } = (
      typeof this.#config === 'string' ? new URL(this.#config) : this.#config
    ) as Partial<URL>
    const standard = protocol?.startsWith('amqps') === true ? 5671 : 5672
    return `${hostname || 'localhost'}:${port || standard}`
  }
}

interface Closable {
  close(): Promise<void>
}

function asModel(connection: object): Model {
  return connection as Model
}

function checkConfig(config: unknown): void {
  if (typeof config === 'object' && config !== null) return
  if (typeof config !== 'string')
    throw new TypeError(`config is ${String(config)}: allowed is a URL or an object for amqplib's connect`)
  // It may hold a password: it is not repeated.
  if (!/^amqps?:\/\//.test(config) || !URL.canParse(config))
    throw new TypeError(
      'config is a string that is not of the form amqp://user:password@host:port/vhost (amqps:// for TLS)',
    )
}

function checkOptions(driver: unknown, socketOptions: unknown, onConnect: unknown): void {
  if (driver !== undefined && typeof (driver as { connect?: unknown } | null)?.connect !== 'function')
    throw new TypeError(
      "driver has no function connect: allowed is what `import amqplib from 'amqplib'` gives",
    )
  if (typeof socketOptions !== 'object' || socketOptions === null)
    throw new TypeError(
      `socketOptions is ${String(socketOptions)}: allowed is an object for node:net or node:tls`,
    )
  if (onConnect !== undefined && typeof onConnect !== 'function')
    throw new TypeError(`onConnect is ${String(onConnect as string)}: allowed is a function`)
}

import type { ConnectContext, ConnectionManager } from '../../core/manager.ts'
import { ChannelUse } from './channel-use.ts'
import { isFatalConnectError } from './connect-error.ts'
import { AmqpConnectionManager } from './connection.ts'
import type { AmqpChannel, AmqpConnection, AmqpDriver, ChannelInside, Model } from './driver.ts'
import { type Shared, SharedConnection } from './shared-connection.ts'

/** Options of {@link AmqpChannelManager}. */
export interface AmqpChannelManagerOptions<C extends object = AmqpChannel> {
  /**
   * The driver: what `import amqplib from 'amqplib'` gives. Default: the installed package `amqplib`, loaded at the first
   * connect. The driver's types are given beside it: `new AmqpChannelManager<Channel>(…)`.
   */
  readonly driver?: AmqpDriver<object> | undefined
  /**
   * What the driver's `connect` takes as its second argument: TLS, `noDelay`, `clientProperties`, `credentials`. Default: none.
   */
  readonly socketOptions?: object | undefined
  /** Whether channels are in confirm mode (the driver's `ConfirmChannel`): the server confirms what is published. Default: false. */
  readonly confirm?: boolean | undefined
  /**
   * Once per new channel, before its first use: a prefetch, queues that must exist. A throw or a rejection fails the connect.
   * Default: none.
   */
  readonly onConnect?: ((channel: C) => unknown) | undefined
}

const OPTIONS = ['driver', 'socketOptions', 'confirm', 'onConnect']
// An exchange that every RabbitMQ has, and that anybody may ask about.
const EXISTING_EXCHANGE = 'amq.direct'
// How long an orderly end of a channel may take before it is given up.
const GRACE_MS = 1_000

/** What the manager knows of a channel beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
  listeners: ReadonlyMap<string | symbol, readonly unknown[]>
  readonly use: ChannelUse
  readonly shared: Shared
}

/**
 * Channels of RabbitMQ over one shared connection, with the driver `amqplib`:
 * `new Pool(new AmqpChannelManager('amqp://…'), { maxSize: 20 })`.
 *
 * The connection is opened with the first channel, by all who wait for one together, and closed with the last. When it dies, all
 * of its channels are lost, and the next connect opens another one. It has as many channels as server and URL allow
 * (`?channelMax=`): keep `maxSize` below. A channel that the server closes, as it does after an error such as 404, is lost.
 *
 * A channel that comes back with a consumer, an unacknowledged message, an answer that is still to come, or a prefetch, confirm or
 * transaction mode set by its borrower is closed, which gives its messages back to their queues. With `confirm` what was
 * published is confirmed before the next borrower gets the channel. Listeners that a borrower left are removed.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { AmqpChannelManager } from 'cenote/amqplib'
 *
 * // Five channels over one connection.
 * await using pool = new Pool(new AmqpChannelManager(process.env.AMQP_URL), { maxSize: 5 })
 * const { queue } = await pool.run((channel) => channel.assertQueue('', { exclusive: true }))
 * console.log(queue) // prints amq.gen-
 * ```
 */
export class AmqpChannelManager<C extends object = AmqpChannel> implements ConnectionManager<C> {
  readonly #confirm: boolean
  readonly #onConnect: ((channel: C) => unknown) | undefined
  readonly #connection: SharedConnection
  readonly #health = new WeakMap<object, Health>()

  /** `config`: what the driver's `connect` takes: a URL, or an object. Throws TypeError for a wrong argument. */
  constructor(config: object | string, options: AmqpChannelManagerOptions<C> = {}) {
    for (const key of Object.keys(options)) {
      if (!OPTIONS.includes(key))
        throw new TypeError(
          `${key} is not one of the options of AmqpChannelManager: known are ${OPTIONS.join(', ')}`,
        )
    }
    const { driver, socketOptions, confirm = false, onConnect } = options
    if (typeof confirm !== 'boolean')
      throw new TypeError(`confirm is ${String(confirm)}: allowed is true or false`)
    if (onConnect !== undefined && typeof onConnect !== 'function')
      throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
    this.#confirm = confirm
    this.#onConnect = onConnect
    this.#connection = new SharedConnection(
      new AmqpConnectionManager(config, {
        driver: driver as AmqpDriver<AmqpConnection> | undefined,
        socketOptions,
      }),
    )
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const shared = await this.#connection.enter(signal)
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => {
      // A channel is opened in one round trip: a connection that takes longer is not trusted with another.
      this.#connection.retire(shared)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort)
    try {
      return await Promise.race([this.#open(shared, signal, lost), aborted])
    } catch (error) {
      void this.#connection.leave(shared)
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(channel: C, signal: AbortSignal): Promise<boolean> {
    const { connection } = asInside(channel)
    // It would answer only when it is unblocked, and so would every other.
    if (connection.blocked) return true
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = (): void => {
      const health = this.#health.get(channel)
      if (health !== undefined) this.#connection.retire(health.shared)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([asInside(channel).checkExchange(EXISTING_EXCHANGE), aborted])
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(channel: C): boolean {
    return this.#health.get(channel)?.broken !== false
  }

  reset(channel: C): boolean | void | Promise<boolean> {
    const health = this.#health.get(channel)
    const inside = asInside(channel)
    if (health === undefined || health.use.isDirty || isBusy(inside)) return false
    for (const event of inside.eventNames()) {
      const own = health.listeners.get(event) ?? []
      for (const listener of inside.rawListeners(event)) {
        if (!own.includes(listener)) inside.removeListener(event, listener)
      }
    }
    if (!this.#confirm || inside.unconfirmed.every((confirmed) => confirmed === null)) return
    return Promise.resolve(inside.waitForConfirms?.()).then(() => !health.broken)
  }

  async close(channel: C): Promise<void> {
    const health = this.#health.get(channel)
    if (health === undefined) return
    health.closing = true
    if (!health.broken) await this.#end(channel, health)
    await this.#connection.leave(health.shared)
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  async #open(shared: Shared, signal: AbortSignal, lost: ConnectContext['lost']): Promise<C> {
    const model = shared.connection as unknown as Model
    const channel = await this.#create(model)
    const inside = asInside(channel)
    const health: Health = {
      broken: false,
      closing: false,
      listeners: new Map(),
      use: new ChannelUse(),
      shared,
    }
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    inside.on('error', broke)
    inside.on('close', broke)
    const abandon = (): void => {
      health.closing = true
      if (!health.broken) void inside.close().catch(() => {})
    }
    signal.addEventListener('abort', abandon)
    try {
      signal.throwIfAborted()
      health.use.watch(inside)
      this.#health.set(channel, health)
      await this.#onConnect?.(channel)
      signal.throwIfAborted()
      if (isBusy(inside))
        throw new Error('onConnect left a consumer, or did not wait for an answer of the server')
      if (health.broken) throw new Error('the server closed the channel while it was prepared')
    } catch (error) {
      abandon()
      throw error
    } finally {
      signal.removeEventListener('abort', abandon)
    }
    health.use.settle()
    health.listeners = new Map(inside.eventNames().map((event) => [event, inside.rawListeners(event)]))
    return channel
  }

  async #create(model: Model): Promise<C> {
    try {
      return (await (this.#confirm ? model.createConfirmChannel() : model.createChannel())) as C
    } catch (error) {
      if (!(error instanceof Error && error.message === 'No channels left to allocate')) throw error
      const { channelMax } = model.connection
      throw Object.assign(
        new Error(
          `all ${channelMax} channels that the connection may have (channelMax) are open: lower maxSize, or raise channelMax`,
          { cause: error },
        ),
        { code: 'CHANNEL_MAX' },
      )
    }
  }

  // A channel whose close is not answered ends with its connection, which gets no more of them.
  async #end(channel: C, { shared }: Health): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<'late'>()
    const timer = setTimeout(resolve, GRACE_MS, 'late')
    timer.unref()
    try {
      if ((await Promise.race([asInside(channel).close(), late])) === 'late') this.#connection.retire(shared)
    } catch {
      // It was closed already.
    } finally {
      clearTimeout(timer)
    }
  }
}

function asInside(channel: object): ChannelInside {
  return channel as ChannelInside
}

// A consumer or an answer that is still to come would reach the next borrower.
function isBusy({ consumers, reply, pending }: ChannelInside): boolean {
  return consumers.size > 0 || (reply ?? undefined) !== undefined || (pending?.length ?? 0) > 0
}

import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import { callable, checkArguments, flag, type Rule } from '../../core/contract/rules.ts'
import { ChannelUse } from './channel-use.ts'
import { nameCloseReason } from './close-reason.ts'
import { isFatalConnectError } from './connect-error.ts'
import { AmqpConnectionManager, CONNECTION_OPTIONS } from './connection.ts'
import type { AmqpConfigSource, AmqpDriver, ChannelInside, DefaultAmqpChannel, Model } from './driver.ts'
import { LostSocket } from '../lost-socket.ts'
import { type Shared, SharedConnection } from './shared-connection.ts'

/** The part of the driver that is used. Promises, not only objects with `then`, so that the type of a channel is inferred. */
export interface AmqpChannelDriver<M extends object> {
  connect(url: never, socketOptions?: never): Promise<M>
}

/** Options of {@link AmqpChannelManager}. */
export interface AmqpChannelManagerOptions<C extends object = DefaultAmqpChannel> {
  /** The driver: `import amqplib from 'amqplib'`. Default: the installed package `amqplib`, loaded at the first connect. */
  readonly driver?: AmqpChannelDriver<{ createChannel(): Promise<C> }> | undefined
  /**
   * The second argument of the driver's `connect`: TLS, `noDelay`, `clientProperties`, `credentials`. Default: an empty object.
   */
  readonly socketOptions?: object | undefined
  /** Whether the server confirms published messages (the driver's `ConfirmChannel`). Default: false. */
  readonly confirm?: boolean | undefined
  /**
   * Called once per new channel, before its first use, for a prefetch or queues that must exist. A throw or a rejection fails
   * the connect. Default: nothing is called.
   */
  readonly onConnect?: ((channel: C) => unknown) | undefined
}

/** Options of an {@link AmqpChannelManager} whose channels are in confirm mode. */
export interface AmqpConfirmChannelManagerOptions<C extends object> extends Omit<
  AmqpChannelManagerOptions<C>,
  'driver'
> {
  /** The driver: `import amqplib from 'amqplib'`. Default: the installed package `amqplib`, loaded at the first connect. */
  readonly driver?: AmqpChannelDriver<{ createConfirmChannel(): Promise<C> }> | undefined
  readonly confirm: true
}

const OPTIONS: Readonly<Record<string, Rule>> = { ...CONNECTION_OPTIONS, confirm: flag, onConnect: callable }
// An exchange that every RabbitMQ has, and that every user may query.
const EXISTING_EXCHANGE = 'amq.direct'
// Maximum time of a channel's close, after which its connection gets no more channels.
const GRACE_MS = 1_000

/** State that the manager records about a channel. */
interface Health {
  readonly loss: LostSocket
  isRef: boolean
  listeners: ReadonlyMap<string | symbol, readonly unknown[]>
  readonly use: ChannelUse
  readonly shared: Shared
}

/**
 * Manages channels of RabbitMQ over one shared connection, with the driver `amqplib`:
 * `new Pool(new AmqpChannelManager('amqp://…'), { maxSize: 20 })`.
 *
 * The connection is opened with the first channel, once for all callers that wait for one, and closed with the last. When it
 * dies, all its channels are lost, and the next connect opens another connection. It has as many channels as the server and
 * the URL allow (`?channelMax=`): keep `maxSize` below. A channel that the server closes, as it does after an error such as
 * 404, is lost; later calls on it fail with the server's reason.
 *
 * While the server blocks the connection (a memory or disk alarm, and only if the connection publishes), new channels are
 * opened on another connection. Channels that are open stay in use.
 *
 * A channel that is returned with a consumer, an unacknowledged message, an answer that is still to come, or a prefetch,
 * confirm or transaction mode set by its holder is closed, which puts its messages back into their queues. With `confirm`,
 * published messages are confirmed before the next caller gets the channel. Listeners that a holder left are removed.
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
export class AmqpChannelManager<C extends object = DefaultAmqpChannel> implements ConnectionManager<C> {
  readonly #confirm: boolean
  readonly #onConnect: ((channel: C) => unknown) | undefined
  readonly #connection: SharedConnection
  readonly #health = new WeakMap<object, Health>()

  /**
   * `config` is a URL or an object for the driver's `connect`, or a function, sync or async, that returns one for each connect
   * (rotating credentials). Throws TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: AmqpConfigSource, options: AmqpConfirmChannelManagerOptions<C>)
  constructor(config: AmqpConfigSource, options?: AmqpChannelManagerOptions<C>)
  constructor(
    config: AmqpConfigSource,
    options: AmqpChannelManagerOptions<C> | AmqpConfirmChannelManagerOptions<C> = {},
  ) {
    checkArguments('options of AmqpChannelManager', options, OPTIONS, '')
    const { driver, socketOptions, confirm = false, onConnect } = options
    this.#confirm = confirm
    this.#onConnect = onConnect
    this.#connection = new SharedConnection(
      new AmqpConnectionManager<Model>(config, {
        driver: driver as AmqpDriver<Model> | undefined,
        socketOptions,
      }),
    )
  }

  async connect({ signal, lost }: ConnectContext): Promise<C> {
    const first = await this.#tryOpen(signal, lost, true)
    return first ?? ((await this.#tryOpen(signal, lost, false)) as C)
  }

  async isValid(channel: C, signal: AbortSignal): Promise<boolean> {
    const { connection } = asInside(channel)
    // A blocked connection answers only after the alarm; it is not dead.
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
    return this.#health.get(channel)?.loss.isBroken !== false
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
    return Promise.resolve(inside.waitForConfirms?.()).then(() => !health.loss.isBroken)
  }

  async close(channel: C): Promise<void> {
    const health = this.#health.get(channel)
    if (health === undefined) return
    health.loss.letGo()
    if (!health.loss.isBroken) await this.#end(channel, health)
    this.#keepAlive(health, false)
    await this.#connection.leave(health.shared)
  }

  ref(channel: C): void {
    const health = this.#health.get(channel)
    if (health !== undefined) this.#keepAlive(health, true)
  }

  /** The shared connection lets the process end while all its channels are unref. */
  unref(channel: C): void {
    const health = this.#health.get(channel)
    if (health !== undefined) this.#keepAlive(health, false)
  }

  isFatal(error: unknown): boolean {
    return isFatalConnectError(error)
  }

  // Undefined: the server blocked the connection in the meantime, and the channel would open only after the alarm.
  async #tryOpen(
    signal: AbortSignal,
    lost: ConnectContext['lost'],
    mayMove: boolean,
  ): Promise<C | undefined> {
    const shared = await this.#connection.enter(signal)
    const stopped = new AbortController()
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    stopped.signal.addEventListener('abort', () => reject(stopped.signal.reason))
    const onAbort = (): void => {
      // A channel is opened in one round trip: a connection that takes longer gets no more channels.
      this.#connection.retire(shared)
      stopped.abort(signal.reason)
    }
    const onBlocked = (): void => stopped.abort(new Error('the server blocked the connection'))
    signal.addEventListener('abort', onAbort)
    if (mayMove) shared.connection.on('blocked', onBlocked)
    try {
      return await Promise.race([this.#open(shared, stopped.signal, lost), aborted])
    } catch (error) {
      void this.#connection.leave(shared)
      if (stopped.signal.aborted && !signal.aborted) return undefined
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
      shared.connection.removeListener('blocked', onBlocked)
    }
  }

  async #open(shared: Shared, signal: AbortSignal, lost: ConnectContext['lost']): Promise<C> {
    const channel = await this.#create(shared.connection)
    const inside = asInside(channel)
    let refusal: unknown
    inside.on('error', (error) => (refusal ??= error))
    nameCloseReason(inside, () => refusal ?? shared.reason)
    const loss = new LostSocket((error) => lost(error ?? shared.reason)).watch(inside, 'error', 'close')
    const health: Health = { loss, isRef: false, listeners: new Map(), use: new ChannelUse(), shared }
    const abandon = (): void => {
      if (!loss.isBroken) void inside.close().catch(() => {})
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
      if (loss.isBroken) throw refusal ?? new Error('the server closed the channel while it was prepared')
      loss.hold()
    } catch (error) {
      abandon()
      throw error
    } finally {
      signal.removeEventListener('abort', abandon)
    }
    this.#keepAlive(health, true)
    health.use.settle()
    health.listeners = new Map(inside.eventNames().map((event) => [event, inside.rawListeners(event)]))
    return channel
  }

  #keepAlive(health: Health, keeps: boolean): void {
    if (health.isRef === keeps) return
    health.isRef = keeps
    this.#connection.keepAlive(health.shared, keeps)
  }

  async #create(model: Model): Promise<C> {
    try {
      return (await (this.#confirm ? model.createConfirmChannel() : model.createChannel())) as C
    } catch (error) {
      if (!(error instanceof Error && error.message === 'No channels left to allocate')) throw error
      const { channelMax } = model.connection
      throw Object.assign(
        new Error(
          `all ${channelMax} channels that the connection may have (channelMax) are open. Lower maxSize, or raise channelMax`,
          { cause: error },
        ),
        { code: 'CHANNEL_MAX' },
      )
    }
  }

  // If the close of a channel is not answered, its connection gets no more channels.
  async #end(channel: C, { shared }: Health): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<'late'>()
    const timer = setTimeout(resolve, GRACE_MS, 'late')
    timer.unref()
    try {
      if ((await Promise.race([asInside(channel).close(), late])) === 'late') this.#connection.retire(shared)
    } catch {
      // The channel was closed already.
    } finally {
      clearTimeout(timer)
    }
  }
}

function asInside(channel: object): ChannelInside {
  return channel as ChannelInside
}

// The messages of a consumer, or an answer that is still to come, would reach the next holder.
function isBusy({ consumers, reply, pending }: ChannelInside): boolean {
  return consumers.size > 0 || (reply ?? undefined) !== undefined || (pending?.length ?? 0) > 0
}

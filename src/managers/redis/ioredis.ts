import { callable, type Rule } from '../../core/contract/rules.ts'
import { loadDriver } from '../driver.ts'
import {
  type RedisConfig,
  type RedisConfigSource,
  RedisFrame,
  type RedisFrameOptions,
  type RedisHandle,
} from './frame.ts'
import { created } from './redis-protocol.ts'
import type { SharedDriver } from './share.ts'

export type { RedisSharedView } from './share.ts'
export type {
  RedisConfig,
  RedisConfigSource,
  RedisFrame,
  RedisFrameOptions,
  RedisHandle,
  RedisReset,
} from './frame.ts'

// oxlint-disable-next-line ban-ts-comment -- the package may be absent where the declarations are read
/** @ts-ignore TS2307 */
type Installed = import('ioredis').Redis

/** The type of a connection if no driver is given: that of the installed package `ioredis`, else {@link IoredisConnection}. */
export type DefaultIoredisConnection = 0 extends 1 & Installed ? IoredisConnection : Installed

/** Options of {@link IoredisManager}. */
export interface IoredisManagerOptions<
  C extends object = DefaultIoredisConnection,
> extends RedisFrameOptions<C> {
  /**
   * The driver: the class `Redis` (`import { Redis } from 'ioredis'`). Default: that of the installed package `ioredis`,
   * loaded at the first connect.
   */
  readonly driver?: IoredisDriver<C> | undefined
}

const DRIVER: Rule = { ...callable, allowed: "the class Redis (import { Redis } from 'ioredis')" }
// Options of the driver that the pool replaces.
const POOLED = {
  lazyConnect: true,
  retryStrategy: null,
  reconnectOnError: null,
  enableOfflineQueue: false,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  // The driver repeats the check by a timer that outlives its connection; a PING is enough.
  enableReadyCheck: false,
  // A retry would belong to a connection that is gone.
  maxRetriesPerRequest: null,
}
const MESSAGES = ['message', 'messageBuffer', 'pmessage', 'pmessageBuffer', 'smessage', 'smessageBuffer']

/**
 * Manages connections to Redis or Valkey with the driver `ioredis`: `new Pool(new IoredisManager('redis://…'))`. Pool
 * connections for commands that need one of their own: blocking commands, WATCH with MULTI, subscriptions. A single client
 * of the driver serves all other commands.
 *
 * A connection whose socket ends is broken immediately: the driver neither reconnects nor queues while offline, whatever
 * the config says. A connection is also broken once its server refuses a command because it was demoted (READONLY) or is
 * loading its data (LOADING). A connection that is returned inside MULTI, watching, in another database, subscribed or
 * waiting is never handed out in that state. The pool's `connectTimeoutMs` limits a connect, unless the config has a
 * `connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { IoredisManager } from 'cenote/ioredis'
 *
 * await using pool = new Pool(new IoredisManager(process.env.REDIS_URL), { maxSize: 5 })
 * const popped = await pool.run((client) => client.blpop('cenote:nothing', 0.05))
 * console.log(popped) // prints null
 * ```
 */
export class IoredisManager<C extends object = DefaultIoredisConnection> extends RedisFrame<C> {
  #driver: IoredisDriver<C> | undefined

  /**
   * `config` is a connection string or an object for `new Redis`, or a function, sync or async, that returns one for each
   * connect (rotating credentials). Throws TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: RedisConfigSource, options: IoredisManagerOptions<C> = {}) {
    super('IoredisManager', config, options, DRIVER, 'new Redis')
    this.#driver = options.driver
  }

  protected async create(config: RedisConfig): Promise<RedisHandle<C>> {
    const driver = (this.#driver ??= await loadDriver<IoredisDriver<C>>(
      'cenote/ioredis',
      'ioredis',
      () => import('ioredis'),
    ))
    // If an option is given several times, the driver takes the first.
    const Client = driver as new (...options: unknown[]) => C
    return new IoredisHandle(created(() => new Client(POOLED, config, { connectTimeout: 0 })))
  }
}

const commands = /* @__PURE__ */ new Map<string, readonly string[]>()

function commandOf(client: Client, method: string): readonly string[] | undefined {
  if (commands.size === 0)
    for (const name of client.getBuiltinCommands()) {
      const words = [name.toUpperCase()]
      commands.set(name, words).set(`${name}Buffer`, words)
    }
  const own = method.replace(/Buffer$/, '')
  return commands.get(method) ?? (client.scriptsSet?.[own] === undefined ? undefined : [own])
}

class IoredisHandle<C extends object> implements RedisHandle<C> {
  readonly connection: C
  readonly #client: Client
  readonly undo: RedisHandle<C>['undo'] = {
    discard: () => this.#client.discard(),
    unwatch: () => this.#client.unwatch(),
    select: (database) => this.#client.select(database),
  }

  constructor(connection: C) {
    this.connection = connection
    this.#client = connection as unknown as Client
  }

  readonly shared: SharedDriver = {
    commandOf: (method) => commandOf(this.#client, method),
    raw: ['call', 'callBuffer', 'sendCommand', 'send_command'],
  }

  // The driver writes each command alone, unless it has `enableAutoPipelining`.
  get stream(): Stream | undefined {
    return this.#client.stream
  }

  get address(): string {
    const { host = 'localhost', port = 6379, path } = this.#client.options
    return path ?? `${host}:${port}`
  }

  get host(): string | undefined {
    const { host = 'localhost', path } = this.#client.options
    return path === undefined || path === null ? host : undefined
  }

  get addresses(): readonly string[] {
    const address = this.#client.stream?.remoteAddress
    return address === undefined ? [] : [address]
  }

  get database(): number {
    return this.#client.options.db ?? 0
  }

  get isReady(): boolean {
    // Between the holder's own disconnect and the end of the socket the status is still 'ready'.
    return this.#client.status === 'ready' && this.#client.stream?.writable === true
  }

  get isWaiting(): boolean {
    const { commandQueue, offlineQueue, autoPipelineQueueSize } = this.#client
    return commandQueue.length + offlineQueue.length + autoPipelineQueueSize > 0
  }

  // A listener that a holder left would receive the messages of the next subscription.
  get isSubscribed(): boolean {
    const client = this.#client
    return Boolean(client.condition?.subscriber) || MESSAGES.some((event) => client.listenerCount(event) > 0)
  }

  // The driver reports a SELECT that failed during the connect by 'error' only.
  onEnd(ended: (error?: unknown) => void): void {
    this.#client.on('error', ended)
    for (const event of ['close', 'end']) this.#client.on(event, () => ended())
  }

  watch(sent: (command: unknown, argument?: unknown) => void, failed: (error: unknown) => void): void {
    const client = this.#client
    const { sendCommand } = client
    client.sendCommand = (command, stream): unknown => {
      sent(command.name, command.args[0])
      const { reject } = command
      // `promise.catch` would hide a rejection that the holder does not handle.
      command.reject = (error): void => {
        failed(error)
        reject.call(command, error)
      }
      return sendCommand.call(client, command, stream)
    }
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  send(...[name, ...args]: [string, ...string[]]): Promise<unknown> {
    return this.#client.call(name, ...args)
  }

  destroy(): void {
    // On a closed socket, disconnect() would leave a timer of 2 s that holds the client.
    if ((this.#client.stream ?? this.#client.connector?.stream)?.destroyed === true) return
    this.#client.disconnect()
    // The client has its socket only a turn after the connector has opened it.
    ;(this.#client.stream ?? this.#client.connector?.stream)?.destroy()
  }

  ref(): void {
    this.#client.stream?.ref()
  }

  unref(): void {
    this.#client.stream?.unref()
  }
}

/** The members of the driver's client beyond {@link IoredisConnection}. */
interface Client {
  readonly options: {
    readonly db?: number
    readonly host?: string
    readonly port?: number
    readonly path?: string
  }
  readonly status: string
  readonly stream?: Stream | undefined
  readonly connector?: { readonly stream?: Stream | undefined } | undefined
  readonly condition?: { readonly subscriber: unknown } | null | undefined
  readonly commandQueue: { readonly length: number }
  readonly offlineQueue: { readonly length: number }
  readonly autoPipelineQueueSize: number
  sendCommand(command: Command, stream?: unknown): unknown
  connect(): Promise<unknown>
  disconnect(): void
  getBuiltinCommands(): readonly string[]
  readonly scriptsSet?: Readonly<Record<string, unknown>>
  call(name: string, ...args: readonly string[]): Promise<unknown>
  discard(): Promise<unknown>
  unwatch(): Promise<unknown>
  select(database: number): Promise<unknown>
  on(event: string, listener: (error?: unknown) => void): unknown
  listenerCount(event: string): number
}

interface Command {
  readonly name: string
  readonly args: readonly unknown[]
  reject(error: unknown): void
}

interface Stream {
  cork(): void
  uncork(): void
  readonly writableNeedDrain: boolean
  readonly remoteAddress?: string | undefined
  readonly writable: boolean
  readonly destroyed: boolean
  destroy(): unknown
  ref(): unknown
  unref(): unknown
}

/** The class of the driver, as far as it is used. */
// The driver's own options are wider than any that can be written here.
export type IoredisDriver<C extends object> = new (options: never) => C

/** A connection of the driver, as far as it is known without the driver's types. */
export interface IoredisConnection {
  call(command: string, ...args: (string | number)[]): Promise<unknown>
  get(key: string): Promise<string | null>
  set(key: string, value: string | number): Promise<unknown>
  watch(...keys: string[]): Promise<unknown>
  multi(): IoredisTransaction
  readonly status: string
}

/** A transaction: commands are queued on it and sent together by `exec`. */
export interface IoredisTransaction {
  get(key: string): IoredisTransaction
  set(key: string, value: string | number): IoredisTransaction
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}

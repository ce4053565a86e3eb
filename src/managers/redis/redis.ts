import dns from 'node:dns'
import type { LookupFunction } from 'node:net'

import type { Rule } from '../../core/contract/rules.ts'
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
type Installed = ReturnType<typeof import('redis').createClient>

/** The type of a connection if no driver is given: that of the installed package `redis`, else {@link RedisConnection}. */
export type DefaultRedisConnection = 0 extends 1 & Installed ? RedisConnection : Installed

/** Options of {@link RedisManager}. */
export interface RedisManagerOptions<C extends object = DefaultRedisConnection> extends RedisFrameOptions<C> {
  /** The driver: `import * as redis from 'redis'`. Default: the installed package `redis`, loaded at the first connect. */
  readonly driver?: RedisDriver<C> | undefined
}

const DRIVER: Rule = {
  allowed: "the driver with a function createClient (import * as redis from 'redis')",
  accepts: (value) => typeof (value as { createClient?: unknown } | null)?.createClient === 'function',
}

/**
 * Manages connections to Redis or Valkey with the driver `redis` (node-redis): `new Pool(new RedisManager('redis://…'))`.
 * Pool connections for commands that need one of their own: blocking commands, WATCH with MULTI, subscriptions. A single
 * client of the driver serves all other commands.
 *
 * A connection whose socket ends is broken immediately: the driver neither reconnects nor queues while offline, whatever
 * the config says. A connection is also broken once its server refuses a command because it was demoted (READONLY) or is
 * loading its data (LOADING). A connection that is returned inside MULTI, watching, in another database, subscribed or
 * waiting is never handed out in that state. The pool's `connectTimeoutMs` limits a connect, unless the config has
 * `socket.connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { RedisManager } from 'cenote/redis'
 *
 * await using pool = new Pool(new RedisManager(process.env.REDIS_URL), { maxSize: 5 })
 * // A command that blocks has a connection of its own.
 * const popped = await pool.run((client) => client.blPop('cenote:nothing', 0.05))
 * console.log(popped) // prints null
 * ```
 */
export class RedisManager<C extends object = DefaultRedisConnection> extends RedisFrame<C> {
  #driver: RedisDriver<C> | undefined

  /**
   * `config` is a connection string or an object for the driver's `createClient`, or a function, sync or async, that returns
   * one for each connect (rotating credentials). Throws TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: RedisConfigSource, options: RedisManagerOptions<C> = {}) {
    super('RedisManager', config, options, DRIVER, 'createClient')
    this.#driver = options.driver
  }

  protected async create(config: RedisConfig): Promise<RedisHandle<C>> {
    const driver = (this.#driver ??= await loadDriver<RedisDriver<C>>(
      'cenote/redis',
      'redis',
      () => import('redis'),
    ))
    const destroyed = new AbortController()
    const found: string[] = []
    const { socket, ...given } = (typeof config === 'string' ? { url: config } : config) as Config
    const connection = created(() =>
      (driver.createClient as (config: object) => C)({
        ...given,
        // Only the signal ends an attempt that hangs before its socket is connected.
        socket: {
          connectTimeout: 0,
          lookup: lookUpInto(found),
          ...socket,
          reconnectStrategy: false,
          signal: destroyed.signal,
        },
        disableOfflineQueue: true,
        // On a notification of Redis Enterprise the driver would move to another socket, without the session.
        maintNotifications: 'disabled',
      }),
    )
    return new NodeRedisHandle(connection, destroyed, found)
  }
}

// The driver keeps its socket to itself: the addresses are recorded when the socket looks them up.
function lookUpInto(found: string[]): LookupFunction {
  return (host, options, done) => {
    dns.lookup(host, options, (error, ...result) => {
      const [addresses = []] = result as unknown as [(string | dns.LookupAddress[])?]
      for (const each of [addresses].flat()) found.push(typeof each === 'string' ? each : each.address)
      done(error, ...result)
    })
  }
}

// The driver has each command twice: `HGET` and `hGet`, `CLIENT_NO-EVICT` and `clientNoEvict`.
const methods = /* @__PURE__ */ new WeakMap<object, ReadonlyMap<string, readonly string[]>>()

function methodsOf(client: object): ReadonlyMap<string, readonly string[]> {
  const known = methods.get(client.constructor)
  if (known !== undefined) return known
  const names = new Set<string>()
  for (let each: object | null = client; each !== null; each = Object.getPrototypeOf(each) as object | null)
    for (const name of Object.getOwnPropertyNames(each)) names.add(name)
  const capitals = [...names].filter((name) => /^[A-Z][A-Z0-9_-]*$/.test(name))
  const commands = new Map(capitals.map((name) => [name.replaceAll(/[_-]/g, ''), name.split('_')] as const))
  const found = new Map<string, readonly string[]>()
  for (const name of names) {
    const command = commands.get(name.replaceAll(/[_-]/g, '').toUpperCase())
    if (command !== undefined) found.set(name, command)
  }
  methods.set(client.constructor, found)
  return found
}

class NodeRedisHandle<C extends object> implements RedisHandle<C> {
  readonly connection: C
  readonly #client: Client
  readonly #destroyed: AbortController
  readonly #found: readonly string[]
  readonly undo: RedisHandle<C>['undo'] = {
    discard: () => this.#client.sendCommand(['DISCARD']),
    unwatch: () => this.#client.unwatch(),
    select: (database) => this.#client.select(database),
  }

  constructor(connection: C, destroyed: AbortController, found: readonly string[]) {
    this.connection = connection
    this.#client = connection as unknown as Client
    this.#destroyed = destroyed
    this.#found = found
  }

  readonly shared: SharedDriver = {
    commandOf: (method) => methodsOf(this.#client).get(method),
    raw: ['sendCommand'],
  }

  get address(): string {
    const { host = 'localhost', port = 6379, path } = this.#client.options?.socket ?? {}
    return path ?? `${host}:${port}`
  }

  get host(): string | undefined {
    const { host = 'localhost', path } = this.#client.options?.socket ?? {}
    return path === undefined ? host : undefined
  }

  get addresses(): readonly string[] {
    return this.#found
  }

  get database(): number {
    return this.#client.options?.database ?? 0
  }

  get isReady(): boolean {
    return this.#client.isReady
  }

  get isWaiting(): boolean {
    return !this.#client._getQueue().isEmpty()
  }

  get isSubscribed(): boolean {
    return this.#client.isPubSubActive
  }

  onEnd(ended: (error?: unknown) => void): void {
    this.#client.on('error', ended)
    this.#client.on('end', () => ended())
  }

  watch(sent: (command: unknown, argument?: unknown) => void, failed: (error: unknown) => void): void {
    const queue = this.#client._getQueue()
    const { addCommand, monitor } = queue
    const { onErrorReply } = queue.decoder
    queue.addCommand = (args, options): Promise<unknown> => {
      sent(args[0], args[1])
      return addCommand.call(queue, args, options)
    }
    queue.monitor = (...args): Promise<unknown> => {
      sent('MONITOR')
      return monitor.apply(queue, args)
    }
    queue.decoder.onErrorReply = (error): void => {
      failed(error)
      onErrorReply(error)
    }
  }

  connect(): Promise<unknown> {
    return this.#client.connect()
  }

  send(...command: [string, ...string[]]): Promise<unknown> {
    return this.#client.sendCommand(command)
  }

  destroy(): void {
    this.#destroyed.abort(new Error('the connection was closed'))
    this.#client.destroy()
  }

  ref(): void {
    this.#client.ref()
  }

  unref(): void {
    this.#client.unref()
  }
}

interface Config {
  readonly socket?: object
  readonly [option: string]: unknown
}

/** The members of the driver's client beyond {@link RedisConnection}. */
interface Client {
  readonly options?:
    | {
        readonly database?: number
        readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string }
      }
    | undefined
  readonly isReady: boolean
  readonly isPubSubActive: boolean
  connect(): Promise<unknown>
  destroy(): void
  ref(): void
  unref(): void
  sendCommand(args: readonly string[]): Promise<unknown>
  unwatch(): Promise<unknown>
  select(database: number): Promise<unknown>
  on(event: string, listener: (error?: unknown) => void): unknown
  _getQueue(): Queue
}

// Every command passes through it, except MONITOR and subscriptions.
interface Queue {
  readonly decoder: { onErrorReply(error: unknown): void }
  addCommand(args: readonly unknown[], options?: unknown): Promise<unknown>
  monitor(...args: unknown[]): Promise<unknown>
  isEmpty(): boolean
}

/** The part of the driver that is used. */
export interface RedisDriver<C extends object> {
  // The driver's own options have more type parameters than can be written here.
  createClient(options: never): C
}

/** A connection of the driver, as far as it is known without the driver's types. */
export interface RedisConnection {
  sendCommand<R = unknown>(args: readonly string[]): Promise<R>
  get(key: string): Promise<string | null>
  set(key: string, value: string | number): Promise<unknown>
  watch(key: string | readonly string[]): Promise<unknown>
  multi(): RedisTransaction
  readonly isReady: boolean
}

/** A transaction: commands are queued on it and sent together by `exec`. */
export interface RedisTransaction {
  get(key: string): RedisTransaction
  set(key: string, value: string | number): RedisTransaction
  addCommand(args: readonly string[]): RedisTransaction
  exec(): Promise<unknown[]>
}

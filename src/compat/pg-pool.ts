// oxlint-disable no-unsafe-declaration-merging -- the interface Pool only narrows the listeners of `on`
import { EventEmitter } from 'node:events'

import { type Lease, Pool as CorePool } from '../index.ts'
import { settle } from './callback.ts'
import {
  called,
  type ClientClass,
  ClientManager,
  type ClientOwner,
  type DriverClient,
} from './pg-pool/clients.ts'
import {
  checkOptions,
  type ClientLikeCtr,
  type ClientLikeCtr as CtrOf,
  type Defaults,
  type GivenOptions,
  coreOptions,
  withDefaults,
  type PgPoolOptions,
} from './pg-pool/options.ts'
import { Callers, ENDED } from './pg-pool/callers.ts'
import { Pipeline } from './pg-pool/pipeline.ts'
import { isStream, keepName, STREAM } from './pg-pool/compatible.ts'
import { queryOnce } from './pg-pool/query-once.ts'
import type * as types from './pg-pool/types.ts'

export type { ClientLikeCtr, PgPoolOptions, PgPoolReset } from './pg-pool/options.ts'
export type * from './pg-pool/types.ts'

type Callback<T extends unknown[] = []> = (error: Error | undefined, ...rest: Partial<T>) => unknown

/**
 * The class `Pool` of pg-pool 3, which is `pg.Pool`, over a pool of cenote. It has the same options, methods in promise and
 * callback form, counters, events and clients, without the faults of the original. Waiters are rejected when the pool is
 * ended. Callbacks run in their caller's async context. A client that is dead or in a transaction never reaches the next
 * caller. An error of an idle client without a listener does not end the process.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote/compat/pg-pool'
 *
 * const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
 * const { rows } = await pool.query('select 40 + 2 as answer')
 * console.log(rows[0].answer) // prints 42
 * await pool.end()
 * ```
 */
export class Pool<C extends types.Client = types.Client> extends EventEmitter implements AsyncDisposable {
  /** The class itself, so that `new pg.Pool()` works on the default import. */
  static readonly Pool: typeof Pool = Pool

  /** The options given, with defaults. */
  readonly options: types.PoolOptions
  /** The class of the clients; that of the package `pg` once the first client was opened. */
  Client: ClientLikeCtr<C>
  readonly Promise: PromiseConstructorLike
  readonly log: (...messages: unknown[]) => void
  /** Whether `end` was called. */
  ending = false
  /** Whether `end` has finished. */
  ended = false
  readonly #core: CorePool<DriverClient>
  readonly #options: GivenOptions & Defaults
  readonly #manager: ClientManager
  readonly #callers: Callers
  readonly #pipeline: Pipeline | undefined
  readonly #born = new Map<DriverClient, number>()
  readonly #leased = new Map<DriverClient, Lease<DriverClient>>()
  #onReturn: () => void = () => {}

  constructor(config?: PgPoolOptions<C>, Client?: ClientLikeCtr<C>) {
    super()
    const options = (config ?? {}) as GivenOptions
    checkOptions(options)
    keepName(new.target)
    this.#options = withDefaults(options)
    this.options = this.#options as types.PoolOptions
    this.Client = (options.Client ?? Client) as ClientLikeCtr<C>
    this.Promise = options.Promise ?? Promise
    this.log = options.log ?? (() => {})
    this.#manager = new ClientManager(this.#owner())
    this.#core = new CorePool<DriverClient>(this.#manager, {
      ...coreOptions(this.#options),
      onError: (error) => this.log('a failure that belongs to no caller', error),
      ...options.core,
      afterConnect: async (client) => {
        await options.onConnect?.(client)
        this.#born.set(client, performance.now())
        this.emit('connect', client)
        await options.core?.afterConnect?.(client)
        if (options.verify !== undefined) await called((done) => options.verify?.(client, done))
        // A client that `min` keeps may never be handed out.
        if (options.allowExitOnIdle === true) client.unref?.()
      },
    })
    const { maxPipeline, connectionTimeoutMillis } = options
    if (maxPipeline !== undefined)
      this.#pipeline = new Pipeline(this.#core, maxPipeline, connectionTimeoutMillis || Infinity)
    this.#callers = new Callers(this.#core, this.#manager, {
      lend: (lease) => this.#lend(lease),
      changed: () => {
        this.#keepMin()
        this.#onReturn()
      },
    })
  }

  /** The pool underneath, for its state and telemetry. */
  get core(): CorePool<types.PoolClient & C> {
    return this.#core as unknown as CorePool<types.PoolClient & C>
  }

  /** Number of waiters without a connect under way. */
  get waitingCount(): number {
    const { waiting, opening } = this.#core.state()
    return Math.max(0, waiting - opening)
  }

  get idleCount(): number {
    return this.#core.state().idle
  }

  /** Clients in use that have lived for longer than maxLifetimeSeconds. */
  get expiredCount(): number {
    const limitMs = (this.options.maxLifetimeSeconds || Infinity) * 1_000
    const now = performance.now()
    return [...this.#leased.keys()].filter((client) => now - (this.#born.get(client) ?? now) >= limitMs)
      .length
  }

  get totalCount(): number {
    const { connections, opening } = this.#core.state()
    return connections + opening
  }

  /** Acquires a client of the driver. Call its `release` when it is no longer needed; with an error or `true` it is closed. */
  connect(): Promise<C & types.PoolClient>
  connect(
    callback: (
      error: Error | undefined,
      client: (C & types.PoolClient) | undefined,
      done: (release?: any) => void,
    ) => void,
  ): void
  connect(
    callback?: (error: Error | undefined, client: any, done: (release?: any) => void) => void,
  ): Promise<C & types.PoolClient> | void {
    const connected = this.#connect()
    if (callback === undefined) return this.#promise(connected) as unknown as Promise<C & types.PoolClient>
    settle(
      connected,
      (client) => callback(undefined, client, client.release),
      (error) => callback(error, undefined, () => {}),
    )
  }

  /**
   * Runs one query on a client of the pool. A client whose query failed is closed, as with pg-pool. A cursor or a stream is
   * rejected: it needs a client that is kept until it has ended, from `connect`.
   */
  query<R extends any[] = any[], I = any[]>(
    queryConfig: types.QueryArrayConfig<I>,
    values?: types.QueryConfigValues<I>,
  ): Promise<types.QueryArrayResult<R>>
  query<R extends types.QueryResultRow = any, I = any[]>(
    queryConfig: types.QueryConfig<I>,
  ): Promise<types.QueryResult<R>>
  query<R extends types.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | types.QueryConfig<I>,
    values?: types.QueryConfigValues<I>,
  ): Promise<types.QueryResult<R>>
  query<R extends any[] = any[], I = any[]>(
    queryConfig: types.QueryArrayConfig<I>,
    callback: (error: Error, result: types.QueryArrayResult<R>) => void,
  ): void
  query<R extends types.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | types.QueryConfig<I>,
    callback: (error: Error, result: types.QueryResult<R>) => void,
  ): void
  query<R extends types.QueryResultRow = any, I = any[]>(
    queryText: string,
    values: types.QueryConfigValues<I>,
    callback: (error: Error, result: types.QueryResult<R>) => void,
  ): void
  query<T extends types.Submittable>(submittable: T): T
  query(text: any, ...rest: any[]): any {
    const callback = rest.find((argument): argument is Callback<[unknown]> => typeof argument === 'function')
    const values = rest.filter((argument) => argument !== callback)
    if (typeof text === 'function') {
      const error = new Error('Passing a function as the first parameter to pool.query is not supported')
      setImmediate(() => text(error))
      return undefined
    }
    const queried = isStream(text) ? Promise.reject(new TypeError(STREAM)) : this.#query(text, values)
    if (callback === undefined) return this.#promise(queried)
    settle(
      queried,
      (result) => callback(undefined, result),
      (error) => callback(error),
    )
    return undefined
  }

  /**
   * Rejects new callers and the waiters for a client in use, waits until the clients in use are released, and ends all.
   * Rejects if it was called before.
   */
  end(): Promise<void>
  end(callback: (error?: Error) => unknown): void
  end(callback?: (error?: Error) => unknown): Promise<void> | void {
    const ended = this.#end()
    if (callback === undefined) return this.#promise(ended)
    settle(ended, () => callback(), callback)
  }

  /** Same as `end()`; does nothing if that was called before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.ending) await this.end()
  }

  #query(text: unknown, values: unknown[]): Promise<unknown> {
    if (this.#pipeline?.takes(text) === true && !this.ending) return this.#pipeline.query(text, values)
    return this.#connect().then((client) => queryOnce(client, text, values))
  }

  #connect(): Promise<DriverClient> {
    if (this.ending) return Promise.reject(new Error(ENDED))
    return this.#callers.connect(this.#options.connectionTimeoutMillis || Infinity)
  }

  // `min` counts what is in use; the core's minIdle does not.
  #keepMin(): void {
    if (this.#options.min === 0 || this.ending) return
    const busy = this.#leased.size + this.#callers.size
    const minIdle = Math.max(0, Math.min(this.#options.min, this.#options.max) - busy)
    if (minIdle !== this.#core.state().minIdle) void this.#core.resize({ minIdle })
  }

  #lend(lease: Lease<DriverClient>): DriverClient {
    const client = lease.connection
    this.#leased.set(client, lease)
    this.#manager.lent(client)
    if (this.options.allowExitOnIdle === true) client.ref?.()
    let isReleased = false
    client.release = (error) => {
      if (isReleased) throw new Error('Release called on client which has already been released to the pool.')
      isReleased = true
      this.#release(lease, client, error)
    }
    try {
      this.emit('acquire', client)
    } catch (error) {
      client.release()
      throw error
    }
    return client
  }

  #release(lease: Lease<DriverClient>, client: DriverClient, error: Error | boolean | undefined): void {
    client._poolUseCount = (client._poolUseCount ?? 0) + 1
    if (client._poolUseCount >= this.options.maxUses) this.log('remove expended client')
    this.#leased.delete(client)
    this.emit('release', error, client)
    this.#manager.returned(client, !(error === undefined || error === false || error === null))
    if (this.options.allowExitOnIdle === true) client.unref?.()
    this.#keepMin()
    if (error === undefined || error === false || error === null) lease.release()
    else lease.destroy()
    this.#onReturn()
  }

  async #end(): Promise<void> {
    if (this.ending) throw new Error('Called end on pool more than once')
    this.ending = true
    this.log('ending')
    this.#callers.refuseWithoutRoom()
    await new Promise<void>((resolve) => {
      this.#onReturn = () => {
        if (this.#callers.size + this.#leased.size === 0) resolve()
      }
      this.#onReturn()
    })
    await this.#pipeline?.end()
    await this.#core.close()
    this.ended = true
  }

  // The parts of the pool that the manager of the clients uses.
  #owner(): ClientOwner {
    return {
      options: this.#options,
      log: this.log,
      Client: this.Client as ClientClass | undefined,
      loaded: (Client) => (this.Client = Client as ClientLikeCtr<C>),
      clientError: (error, client) => {
        if (this.listenerCount('error') > 0) this.emit('error', Object.assign(error, { client }), client)
      },
      died: (client) => {
        // Its slot is free immediately. The holder may still call `release`.
        this.#leased.get(client)?.destroy()
        this.#leased.delete(client)
        this.#onReturn()
      },
      removed: (client) => {
        if (this.#born.delete(client)) this.emit('remove', client)
      },
    }
  }

  #promise<T>(promise: Promise<T>): Promise<T> {
    return this.Promise === Promise
      ? promise
      : (new this.Promise<T>((resolve, reject) => void promise.then(resolve, reject)) as Promise<T>)
  }
}

/** The events of a pool. */
export interface Pool<C extends types.Client = types.Client> {
  on<K extends types.PoolEvent>(event: K, listener: types.PoolListener<K, C>): this
}

/** The types of `pg` and pg-pool, for `import pg from` and `import Pool from`. */
export declare namespace Pool {
  export type ClientLikeCtr<C = types.Client> = CtrOf<C>
  export type Config<C = types.Client> = PgPoolOptions<C>
  export type Client = types.Client
  export type ClientBase = types.ClientBase
  export type ClientConfig = types.ClientConfig
  export type PoolClient = types.PoolClient
  export type PoolConfig = types.PoolConfig
  export type PoolOptions = types.PoolOptions
  export type QueryConfig<I = any[]> = types.QueryConfig<I>
  export type QueryArrayConfig<I = any[]> = types.QueryArrayConfig<I>
  export type QueryResult<R extends types.QueryResultRow = any> = types.QueryResult<R>
  export type QueryArrayResult<R extends any[] = any[]> = types.QueryArrayResult<R>
  export type QueryResultRow = types.QueryResultRow
  export type Submittable = types.Submittable
  export type ConnectionConfig = types.ConnectionConfig
  export type DatabaseError = types.DatabaseError
}

export default Pool

// Hosts such as Drizzle look for "Pool" in the name of the class, which a minifier changes.
Object.defineProperty(Pool, 'name', { value: 'Pool', configurable: true })

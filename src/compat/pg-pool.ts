import { EventEmitter } from 'node:events'

import { AcquireTimeoutError, ConnectError, type Lease, Pool as CorePool, PoolClosedError } from '../index.ts'

import { settle } from './callback.ts'
import {
  called,
  type ClientClass,
  ClientManager,
  type PgPoolClient,
  type Release,
} from './pg-pool/clients.ts'
import { hide, type PgPoolOptions } from './pg-pool/options.ts'

export type { PgPoolClient, Release } from './pg-pool/clients.ts'
export type { PgPoolOptions } from './pg-pool/options.ts'

type Callback<T extends unknown[] = []> = (error: Error | undefined, ...rest: Partial<T>) => unknown
type PoolCore = CorePool<PgPoolClient>

/** Who waits for a client. */
interface Caller {
  resolve(client: PgPoolClient): void
  reject(error: unknown): void
}

const GRACE_MS = 1_000
const ENDED = 'Cannot use a pool after calling end on the pool'

/**
 * The class `Pool` of pg-pool 3, which is `pg.Pool`, over a pool of cenote: the same options, methods in promise and callback
 * form, counters, events and clients, without its faults: who waits when the pool is ended is told so, callbacks run in their
 * caller's async context, a client in a transaction never reaches the next caller, a dead one neither, and an error of an idle
 * client ends the process no more when nobody listens.
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
export class Pool extends EventEmitter implements AsyncDisposable {
  /** The options given, with defaults. */
  readonly options: any
  /** The class of the clients; that of the package `pg` once the first has been asked for. */
  Client: any
  readonly Promise: PromiseConstructorLike
  readonly log: (...messages: unknown[]) => void
  /** `end` has been called. */
  ending = false
  /** `end` is done. */
  ended = false
  readonly #core: PoolCore
  readonly #manager: ClientManager
  readonly #waiting = new Set<Caller>()
  readonly #born = new Map<PgPoolClient, number>()
  readonly #leased = new Map<PgPoolClient, Lease<PgPoolClient>>()
  #onReturn: () => void = () => {}

  constructor(options: PgPoolOptions = {}, Client?: ClientClass) {
    super()
    const idleTimeoutMillis = options.idleTimeoutMillis === undefined ? 10_000 : options.idleTimeoutMillis
    this.options = {
      ...options,
      max: options.max || options.poolSize || 10,
      min: options.min || 0,
      maxUses: options.maxUses || Infinity,
      allowExitOnIdle: options.allowExitOnIdle ?? false,
      maxLifetimeSeconds: options.maxLifetimeSeconds ?? 0,
      idleTimeoutMillis,
    }
    hide(this.options, options)
    this.Client = options.Client ?? Client
    this.Promise = options.Promise ?? Promise
    this.log = options.log ?? (() => {})
    this.#manager = new ClientManager(this)
    const lifetimeMs = (options.maxLifetimeSeconds || Infinity) * 1_000
    const idleMs = idleTimeoutMillis || Infinity
    const limitMs = options.connectionTimeoutMillis || Infinity
    this.#core = new CorePool<PgPoolClient>(this.#manager, {
      maxSize: this.options.max,
      minIdle: Math.min(this.options.min, this.options.max),
      queueStrategy: 'lifo',
      maxUses: this.options.maxUses,
      maxLifetimeMs: lifetimeMs,
      lifetimeJitter: 0,
      idleTimeoutMs: idleMs,
      reapIntervalMs: Math.min(Math.max(Math.min(idleMs, lifetimeMs) / 100, 1), 1_000),
      acquireTimeoutMs: limitMs,
      // The driver has the same limit; this is for one that has none, after the caller was told.
      connectTimeoutMs: limitMs + GRACE_MS,
      retryConnect: false,
      onError: (error) => this.log('a failure that belongs to no caller', error),
      ...options.core,
      afterConnect: async (client) => {
        await options.onConnect?.(client)
        this.#born.set(client, performance.now())
        this.emit('connect', client)
        await options.core?.afterConnect?.(client)
        if (options.verify !== undefined) await verify(client, options.verify)
        // One that `min` asked for may never be lent.
        if (options.allowExitOnIdle === true) client.unref?.()
      },
    })
  }

  /** The pool underneath, for its state and telemetry. */
  get core(): CorePool<PgPoolClient> {
    return this.#core
  }

  /** Who waits for a client and has none being opened for it. */
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

  /** A client of the driver, to be given back by its `release`: see {@link PgPoolClient}. Untyped, so that it fits the driver's types. */
  connect(): Promise<any>
  connect(callback: (error: Error | undefined, client: any, release: Release) => unknown): void
  connect(
    callback?: (error: Error | undefined, client: any, release: Release) => unknown,
  ): Promise<PgPoolClient> | void {
    const connected = this.#connect()
    if (callback === undefined) return this.#promise(connected)
    settle(
      connected,
      (client) => callback(undefined, client, client.release),
      (error) => callback(error, undefined, () => {}),
    )
  }

  /** One query on a client of the pool's choice. A client whose query failed is ended, as with pg-pool. */
  query(text: any, ...rest: any[]): any {
    const callback = rest.find((argument): argument is Callback<[unknown]> => typeof argument === 'function')
    const values = rest.filter((argument) => argument !== callback)
    if (typeof text === 'function') {
      const error = new Error('Passing a function as the first parameter to pool.query is not supported')
      setImmediate(() => text(error))
      return undefined
    }
    const queried = this.#query(text, values)
    if (callback === undefined) return this.#promise(queried)
    settle(
      queried,
      (result) => callback(undefined, result),
      (error) => callback(error),
    )
    return undefined
  }

  /**
   * Refuses new work, tells those who wait for a client in use, waits for the clients in use to be released, and ends all.
   * Rejects when it was called before.
   */
  end(): Promise<void>
  end(callback: (error?: Error) => unknown): void
  end(callback?: (error?: Error) => unknown): Promise<void> | void {
    const ended = this.#end()
    if (callback === undefined) return this.#promise(ended)
    settle(ended, () => callback(), callback)
  }

  /** Same as `end()`, and nothing when that was called before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.ending) await this.end()
  }

  #connect(): Promise<PgPoolClient> {
    if (this.ending) return Promise.reject(new Error(ENDED))
    return new Promise((resolve, reject) => void this.#serve({ resolve, reject }))
  }

  async #serve(caller: Caller): Promise<void> {
    this.#waiting.add(caller)
    this.#keepMin()
    try {
      const lease = await this.#core.acquire()
      // `end` has told the caller, who is gone.
      if (this.#waiting.delete(caller)) caller.resolve(this.#lend(lease))
      else lease.release()
    } catch (error) {
      this.#waiting.delete(caller)
      caller.reject(translate(error))
    }
    this.#keepMin()
    this.#onReturn()
  }

  // `min` counts what is in use; the core's minIdle does not.
  #keepMin(): void {
    if (this.options.min === 0 || this.ending) return
    const busy = this.#leased.size + this.#waiting.size
    const minIdle = Math.max(0, Math.min(this.options.min, this.options.max) - busy)
    if (minIdle !== this.#core.state().minIdle) void this.#core.resize({ minIdle })
  }

  #lend(lease: Lease<PgPoolClient>): PgPoolClient {
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

  #release(lease: Lease<PgPoolClient>, client: PgPoolClient, error: Error | boolean | undefined): void {
    client._poolUseCount = (client._poolUseCount ?? 0) + 1
    if (client._poolUseCount >= this.options.maxUses) this.log('remove expended client')
    this.#leased.delete(client)
    this.#manager.returned(client)
    this.emit('release', error, client)
    if (this.options.allowExitOnIdle === true) client.unref?.()
    this.#keepMin()
    if (error === undefined || error === false || error === null) lease.release()
    else lease.destroy()
    this.#onReturn()
  }

  async #query(text: unknown, values: readonly unknown[]): Promise<unknown> {
    const client = await this.#connect()
    return new Promise((resolve, reject) => {
      let isDone = false
      const done = (error: Error | null | undefined, result?: unknown): void => {
        if (isDone) return
        isDone = true
        client.off('error', done)
        const failure = error ?? undefined
        client.release(failure)
        if (failure === undefined) resolve(result)
        else reject(failure)
      }
      // Of a client that dies the driver may tell its 'error' event only, and not the query.
      client.once('error', done)
      try {
        client.query(text, ...values, done)
      } catch (error) {
        done(error as Error)
      }
    })
  }

  async #end(): Promise<void> {
    if (this.ending) throw new Error('Called end on pool more than once')
    this.ending = true
    this.log('ending')
    // Those for whom a client is being opened are served; the others would wait for one that never comes.
    const served = this.#core.state().opening
    for (const caller of [...this.#waiting].slice(served)) {
      this.#waiting.delete(caller)
      caller.reject(new Error(ENDED))
    }
    await new Promise<void>((resolve) => {
      this.#onReturn = () => {
        if (this.#waiting.size + this.#leased.size === 0) resolve()
      }
      this.#onReturn()
    })
    await this.#core.close()
    this.ended = true
  }

  /** For the manager of the clients; nothing else calls it. */
  idleError(error: Error, client: PgPoolClient): void {
    if (this.listenerCount('error') > 0) this.emit('error', Object.assign(error, { client }), client)
  }

  /** For the manager of the clients; nothing else calls it. */
  died(client: PgPoolClient): void {
    // Its place is free for another at once. The holder may still call `release`.
    this.#leased.get(client)?.destroy()
    this.#leased.delete(client)
    this.#onReturn()
  }

  /** For the manager of the clients; nothing else calls it. */
  removed(client: PgPoolClient): void {
    if (!this.#born.delete(client)) return
    this.emit('remove', client)
  }

  #promise<T>(promise: Promise<T>): Promise<T> {
    return this.Promise === Promise
      ? promise
      : (new this.Promise<T>((resolve, reject) => void promise.then(resolve, reject)) as Promise<T>)
  }
}

function verify(client: PgPoolClient, judge: NonNullable<PgPoolOptions['verify']>): Promise<void> {
  return called((done) => judge(client, done))
}

function translate(error: unknown): unknown {
  if (error instanceof AcquireTimeoutError) {
    const message =
      error.phase === 'queue'
        ? 'timeout exceeded when trying to connect'
        : 'Connection terminated due to connection timeout'
    return new Error(message, { cause: error })
  }
  if (error instanceof PoolClosedError) return new Error(ENDED, { cause: error })
  if (!(error instanceof ConnectError)) return error
  return error.cause
}

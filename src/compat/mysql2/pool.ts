import { EventEmitter } from 'node:events'

import { OWN_CONNECT } from '../connect-backoff.ts'
import {
  ConnectError,
  type Lease,
  Pool as CorePool,
  PoolClosedError,
  type PoolOptions as CoreOptions,
} from '../../index.ts'
import { inOwnContext, settle } from '../callback.ts'
import { Connections } from './connections.ts'
import { type DriverConnection, driverOf, type Failure, type Mysql2Module, type Query } from './driver.ts'
import { parse, type PoolConfig, type PoolOptions } from './options.ts'

type Done = (error: Failure | null, ...rest: unknown[]) => unknown

const CLOSED = 'Pool is closed.'
// No pool opens that many connections; the limit of the pool underneath is a whole number.
const NO_LIMIT = 1_000_000
// Time after the driver's own limit at which a connect is given up.
const GRACE_MS = 1_000
// For each driver: the methods of Mysql2Pool with the driver's own Pool behind them, for `instanceof`.
const prototypes = new WeakMap<Mysql2Module, object>()

/** The pool of mysql2 over a pool of cenote. Made by `createPool`, whose type is that of mysql2's pool. */
export class Mysql2Pool extends EventEmitter {
  /** The options with their defaults. A new `connectionLimit` resizes the pool. */
  readonly config: PoolConfig
  /** The pool underneath, for its state and telemetry. Connections closed by `maxIdle` count as `lost` there. */
  readonly core: CorePool<DriverConnection>
  readonly #driver: Mysql2Module
  readonly #connections: Connections
  #ended: Promise<void> | undefined
  #pending = 0

  /** Throws TypeError for a wrong option. */
  constructor(given: PoolOptions | string) {
    super()
    this.#driver = driverOf(typeof given === 'object' && given !== null ? given.driver : undefined)
    Object.setPrototypeOf(this, prototypeOf(this.#driver))
    const { config, options, connection } = parse(given, this.#driver)
    this.config = config
    const { connectTimeout } = config.connectionConfig
    this.#connections = new Connections(
      {
        maxIdle: config.connectionLimit === 0 && options.maxIdle === undefined ? Infinity : config.maxIdle,
        released: (returned) => this.emit('release', returned),
      },
      this,
      this.#driver,
      { ...connection, connectTimeout },
      config.resetOnRelease,
    )
    const core = options.core as CoreOptions<DriverConnection> | undefined
    this.core = new CorePool<DriverConnection>(this.#connections, {
      maxSize: config.connectionLimit || NO_LIMIT,
      queueStrategy: 'lifo',
      retryConnect: false,
      connectBackoff: OWN_CONNECT,
      acquireTimeoutMs: Number(options.acquireTimeout) || Infinity,
      connectTimeoutMs: connectTimeout > 0 ? Number(connectTimeout) + GRACE_MS : Infinity,
      idleTimeoutMs: config.idleTimeout || Infinity,
      maxLifetimeMs: Infinity,
      reapIntervalMs: 1_000,
      ...core,
      afterConnect: async (opened) => {
        this.emit('connection', opened)
        await core?.afterConnect?.(opened)
      },
    })
    this.#followLimit()
  }

  // mysql2 reads the limit at each getConnection, so that programs change it while the pool runs.
  #followLimit(): void {
    let { connectionLimit } = this.config
    Object.defineProperty(this.config, 'connectionLimit', {
      enumerable: true,
      configurable: true,
      get: () => connectionLimit,
      set: (limit: number) => {
        connectionLimit = limit
        void this.core.resize({ maxSize: limit || NO_LIMIT })
      },
    })
  }

  /** `end` has been called. */
  get _closed(): boolean {
    return this.#ended !== undefined
  }

  /** Number of connections. */
  get _allConnections(): { readonly length: number } {
    const { connections, opening } = this.core.state()
    return { length: connections + opening }
  }

  /** Number of idle connections. */
  get _freeConnections(): { readonly length: number } {
    return { length: this.core.state().idle }
  }

  /** Number of callers that wait for a connection in use. */
  get _connectionQueue(): { readonly length: number } {
    return { length: Math.max(0, this.#surplus()) }
  }

  getConnection(callback: (error: unknown, connection?: DriverConnection) => unknown): void {
    settle(this.#acquire(), (connection) => callback(null, connection), callback)
  }

  releaseConnection(connection: { release(): void }): void {
    connection.release()
  }

  /** One statement on a connection of the pool's choice; without a callback its rows come as events or a stream. */
  query(sql: unknown, values?: unknown, callback?: unknown): Query {
    const { connectionConfig } = this.config
    const query = this.#driver.createQuery(sql, values, callback, connectionConfig)
    if (query.namedPlaceholders === undefined) query.namedPlaceholders = connectionConfig.namedPlaceholders
    const { onResult } = query
    if (typeof onResult === 'function') query.onResult = inOwnContext(onResult)
    const fail = (error: Failure): unknown =>
      query.onResult === undefined ? query.emit('error', error) : query.onResult(error)
    this.#onConnection(fail, (connection) => {
      if (query.onResult === undefined) {
        let failure: Failure | null = null
        query.once('error', (error: Failure) => (failure = error))
        query.once('end', () => process.nextTick(() => this.#takeBack(connection, failure)))
      } else {
        const report = query.onResult
        const ending = this.#ending(connection, report)
        query.onResult = ending.onResult
        query.once('end', ending.onEnd)
      }
      return connection.query(query)
    })
    return query
  }

  /** The same as a prepared statement. */
  execute(sql: unknown, values?: unknown, callback?: unknown): void {
    const given = typeof values === 'function' ? values : callback
    const done = typeof given === 'function' ? inOwnContext(given as Done) : undefined
    const bindings = typeof values === 'function' ? undefined : values
    this.#onConnection(
      (error) => done?.(error),
      (connection) => {
        const { onResult, onEnd } = this.#ending(connection, done ?? (() => {}))
        connection.execute(sql, bindings, onResult).once('end', onEnd)
      },
    )
  }

  /**
   * Rejects new callers and waiters, closes the idle connections, and lets those in use end after the commands that
   * they were given. Calls back when all are closed. Again: the same result.
   */
  end(callback?: (error?: Error) => unknown): void {
    this.#ended ??= this.#end()
    settle(
      this.#ended,
      () => callback?.(),
      (error) => callback?.(error),
    )
  }

  [Symbol.dispose](): void {
    this.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended ??= this.#end()
    await this.#ended
  }

  /** The same pool with promises: the driver's own wrapper of it. */
  promise(promise?: PromiseConstructorLike): object {
    return this.#driver.Pool.prototype.promise.call(this, promise)
  }

  format(sql: string, values?: unknown): string {
    const { stringifyObjects, timezone } = this.config.connectionConfig
    return this.#driver.format(sql, values, stringifyObjects, timezone)
  }

  escape(value: unknown): string {
    const { stringifyObjects, timezone } = this.config.connectionConfig
    return this.#driver.escape(value, stringifyObjects, timezone)
  }

  escapeId(value: unknown): string {
    return this.#driver.escapeId(value, false)
  }

  async #acquire(): Promise<DriverConnection> {
    if (this._closed) throw new Error(CLOSED)
    if (this.#surplus() >= 0) {
      this.#mustBeAllowedToWait()
      this.emit('enqueue')
    }
    this.#pending++
    try {
      return this.#lend(await this.core.acquire())
    } catch (error) {
      if (error instanceof PoolClosedError) throw new Error(CLOSED, { cause: error })
      throw error instanceof ConnectError ? error.cause : error
    } finally {
      this.#pending--
    }
  }

  #lend(lease: Lease<DriverConnection>): DriverConnection {
    const connection = this.#connections.lend(lease)
    try {
      this.emit('acquire', connection)
    } catch (error) {
      connection.release()
      throw error
    }
    return connection
  }

  // Number of callers beyond the number of connections; from 0 on, one more has to wait for a connection in use.
  #surplus(connections: number = this.core.options.maxSize): number {
    return this.#connections.lent + this.#pending - connections
  }

  #mustBeAllowedToWait(): void {
    const { waitForConnections, queueLimit } = this.config
    if (waitForConnections && queueLimit === 0) return
    // The pool underneath may have been resized.
    const surplus = this.#surplus(this.core.state().maxSize)
    if (!waitForConnections && surplus >= 0) throw new Error('No connections available.')
    if (queueLimit > 0 && surplus >= queueLimit) throw new Error('Queue limit reached.')
  }

  #onConnection(fail: (error: Failure) => unknown, use: (connection: DriverConnection) => unknown): void {
    this.#acquire().then(
      (connection) => {
        try {
          use(connection)
        } catch (error) {
          connection.release()
          process.nextTick(fail, error)
        }
      },
      (error: unknown) => process.nextTick(fail, error),
    )
  }

  /**
   * The end of a statement. The driver reports two things in either order: the result, and that the connection is free. The
   * connection is released before the caller gets the result, so that the caller's next statement finds it.
   */
  #ending(connection: DriverConnection, report: Done): { onResult: Done; onEnd: () => void } {
    let failure: Failure | null = null
    let [hasEnded, isTold] = [false, false]
    const onEnd = (): void => {
      hasEnded = true
      // A statement that took longer than its `timeout` ends long after its caller got the error.
      if (isTold) process.nextTick(() => this.#takeBack(connection, failure))
    }
    const finish = (rest: readonly unknown[]): void => {
      isTold = true
      if (hasEnded || failure?.fatal === true) this.#takeBack(connection, failure)
      report(failure, ...rest)
    }
    const onResult: Done = (error, ...rest) => {
      failure = error
      if (hasEnded) finish(rest)
      else process.nextTick(finish, rest)
    }
    return { onResult, onEnd }
  }

  #takeBack(connection: DriverConnection, failure: Failure | null): void {
    if (failure?.fatal === true) connection.destroy()
    else connection.release()
  }

  async #end(): Promise<void> {
    const closed = this.core.close()
    this.#connections.endLent()
    await closed
  }
}

function prototypeOf(driver: Mysql2Module): object {
  const known = prototypes.get(driver)
  if (known !== undefined) return known
  const own = Object.getOwnPropertyDescriptors(Mysql2Pool.prototype)
  const made: object = Object.create(driver.Pool.prototype, own)
  prototypes.set(driver, made)
  return made
}

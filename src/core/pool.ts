import type { Lease } from './callers/lease.ts'
import { CLOSE_TIMEOUT_MS, closeEngine, type CloseResult } from './close.ts'
import { AcquireTimeoutError } from './contract/errors.ts'
import type { ConnectionManager } from './contract/manager.ts'
import {
  type AcquireOptions,
  checkCall,
  checkSizes,
  type ClearOptions,
  type PoolOptions,
  type ResolvedPoolOptions,
  resolveOptions,
  type RunOptions,
} from './contract/options.ts'
import { occupancy } from './contract/messages.ts'
import { wrongValue } from './contract/rules.ts'
import type { PoolState } from './contract/state.ts'
import { PoolEngine } from './engine.ts'
import { lookInto, type PoolInsight } from './inspection/insight.ts'
import { livePools as registered, register, warnOfMany } from './inspection/live-pools.ts'
import { keepEngine } from './pool-engines.ts'
import { runOn, type Work } from './run.ts'

// The text of `console.log(pool)`; formatState has more.
const INSPECT = /* @__PURE__ */ Symbol.for('nodejs.util.inspect.custom')
/**
 * A pool of connections. Callers are served first come, first served; no call waits beyond its deadline; the server never
 * sees more than `maxSize` connections, nor a storm of attempts when it recovers.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager } from 'cenote/pg'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL), { name: 'orders', maxSize: 10 })
 *
 * const { rows } = await pool.run((client) => client.query('select 40 + 2 as answer'), { timeoutMs: 1_000 })
 * console.log(rows[0].answer) // prints 42
 * {
 *   using lease = await pool.acquire({ signal: AbortSignal.timeout(1_000) })
 *   await lease.connection.query('select 1')
 *   console.log(pool.tryAcquire()) // prints undefined
 * }
 * await pool.resize({ maxSize: 20, minIdle: 1 })
 * pool.clear() // replaces every connection
 * const listener = await pool.dedicated() // the pool neither counts nor keeps it
 * await listener.end()
 * console.log(pool.state().maxSize) // prints 20
 * ```
 */
export class Pool<C> implements AsyncDisposable {
  readonly #engine: PoolEngine<C>
  #closing: Promise<CloseResult> | undefined = undefined
  readonly #forget: () => void

  /**
   * Creates a pool that is usable immediately and opens `minIdle` connections in the background.
   * Throws PoolOptionsError before anything is opened.
   */
  constructor(manager: ConnectionManager<C>, options?: PoolOptions<C>) {
    this.#engine = new PoolEngine(manager, resolveOptions(manager, options))
    const { name } = this.options
    this.#forget = register(this, name)
    warnOfMany(name)
    keepEngine(this, this.#engine)
    // Defined on the instance: a statement that touches the class would keep the class in every bundle.
    Object.defineProperty(this, INSPECT, {
      value: () => `Pool '${this.options.name}' (${occupancy(this.state())})`,
    })
    this.#engine.start()
  }

  /**
   * Creates a pool and waits until its `minIdle` connections are open. Rejects with ConnectError if no retry is wanted or
   * would help, or with AcquireTimeoutError after `acquireTimeoutMs`; the pool is closed then. With `minIdle` 0 it opens
   * nothing.
   */
  static async open<C>(manager: ConnectionManager<C>, options?: PoolOptions<C>): Promise<Pool<C>> {
    const pool = new Pool(manager, options)
    const { connector, reports, slots } = pool.#engine
    const { schedule } = connector
    const { minIdle, acquireTimeoutMs } = pool.options
    const isOpen = (): boolean => slots.idle >= minIdle
    await pool.#engine.until(() => schedule.isFinal || isOpen(), acquireTimeoutMs)
    if (isOpen()) return pool
    const failure = schedule.isFinal
      ? reports.connect(schedule.lastError)
      : new AcquireTimeoutError('connect', acquireTimeoutMs, reports.details(schedule.lastError))
    await pool.close()
    throw failure
  }

  /** The options with defaults filled in, frozen. `resize` does not change them: see `state()`. */
  get options(): ResolvedPoolOptions<C> {
    return this.#engine.options
  }

  /** The pool at this instant. */
  state(): PoolState {
    return this.#engine.state()
  }

  /** The pool at this instant, connection by connection. It costs time that grows with their number. */
  look(): PoolInsight {
    return lookInto(this.#engine)
  }

  /**
   * Acquires a connection: immediately if one is idle, otherwise the next to be released or opened, first come, first
   * served within a priority. Rejects with AcquireTimeoutError, ConnectError, QueueFullError, OverloadedError,
   * PoolClosedError, or the signal's reason. An abort never cancels a connect: its connection goes to the next caller.
   */
  acquire(options?: AcquireOptions): Promise<Lease<C>> {
    if (options !== undefined) {
      const error = this.#problem('acquire', options)
      if (error !== undefined) return Promise.reject(error)
    }
    return this.#engine.checkout.acquire(options, 'any')
  }

  /**
   * Acquires an idle, unbroken, unexpired connection synchronously, or returns undefined. It does not call isValid; with a
   * hook beforeAcquire that returns a promise it returns undefined. Not counted in `statistics.acquires`.
   */
  tryAcquire(): Lease<C> | undefined {
    return this.#engine.checkout.tryAcquire()
  }

  /**
   * Calls `fn` with a connection, and releases the connection whatever happens. `timeoutMs` bounds the wait for a
   * connection, never the work. An error of `fn` passes through untouched. When `signal` aborts while `fn` runs, the
   * manager cancels the statement, and `run` rejects with the signal's reason. With `retries`, `fn` runs again if its
   * connection broke, on a new or checked one: only for work that may run twice.
   */
  run<T>(fn: Work<C, T>, options?: RunOptions): Promise<T> {
    const engine = this.#engine
    if (typeof fn !== 'function') return Promise.reject(wrongValue(this.options.name, 'fn', fn, 'a function'))
    if (options !== undefined) {
      const error = this.#problem('run', options)
      if (error !== undefined) return Promise.reject(error)
    }
    return runOn(engine, fn, options)
  }

  /**
   * Opens a connection of the same manager, prepared by afterConnect, that the pool neither counts nor keeps: closing it is
   * the caller's duty. For LISTEN, subscriptions and the like. Rejects with ConnectError, PoolClosedError or the signal's
   * reason.
   */
  async dedicated(options?: { readonly signal?: AbortSignal | undefined }): Promise<C> {
    if (options !== undefined) checkCall('dedicated', options, this.options.name)
    const engine = this.#engine
    if (engine.closed) throw engine.reports.closed()
    const signal = options?.signal
    signal?.throwIfAborted()
    try {
      return await engine.connector.dedicated(signal)
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : engine.reports.connect(error)
    }
  }

  /**
   * Adopts an open connection. `broken`: hasBroken returned true; `full`: the pool has no free slot, or is closed. A
   * connection that was not added stays the caller's. Throws PoolOptionsError for a connection that the pool already has.
   */
  add(connection: C): 'added' | 'broken' | 'full' {
    if (connection === undefined || connection === null || this.#engine.slots.has(connection))
      throw wrongValue(
        this.options.name,
        'connection',
        connection,
        'an open connection that the pool does not have',
      )
    return this.#engine.add(connection)
  }

  /**
   * Changes the limits. Resolves once any surplus is closed (leased connections at return), or when another resize or close
   * overtakes it. Rejects with PoolOptionsError, and then nothing was changed.
   */
  async resize(sizes: {
    readonly maxSize?: number | undefined
    readonly minIdle?: number | undefined
  }): Promise<void> {
    const engine = this.#engine
    const { limits } = engine.slots
    checkCall('resize', sizes, this.options.name)
    const { maxSize = limits.maxSize, minIdle = limits.minIdle } = sizes
    checkSizes({ name: this.options.name, maxSize, minIdle, maxIdle: limits.maxIdle })
    if (engine.closed) throw engine.reports.closed()
    if (maxSize < engine.slots.taken) this.#reportHolder('resize()')
    await engine.resize(maxSize, minIdle)
  }

  /** Pauses the pool: nothing is opened or handed out. Callers queue, and their deadlines run on. */
  pause(): void {
    this.#engine.setPaused(true)
  }

  /** Ends a pause; the waiters are served in their order. */
  resume(): void {
    this.#engine.setPaused(false)
  }

  /**
   * Replaces every connection: idle ones are closed now, leased ones at return. With `overMs`, their closes are spread
   * evenly over that time.
   */
  clear(options?: ClearOptions): void {
    if (options !== undefined) checkCall('clear', options, this.options.name)
    this.#engine.clear(options?.overMs ?? 0)
  }

  /**
   * Closes the pool: waiters are rejected immediately, attempts given up, idle connections closed, leased ones awaited for
   * `timeoutMs` (default 10,000 ms); then their close is forced. A second call returns the same result. Rejects only if an
   * option is invalid.
   */
  async close(options?: { readonly timeoutMs?: number | undefined }): Promise<CloseResult> {
    if (options !== undefined) checkCall('close', options, this.options.name)
    this.#reportHolder('close()')
    this.#closing ??= this.#close(options?.timeoutMs ?? CLOSE_TIMEOUT_MS)
    return await this.#closing
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(timeoutMs: number): Promise<CloseResult> {
    const result = await closeEngine(this.#engine, timeoutMs)
    this.#forget()
    return result
  }

  // A holder that awaits the call waits for itself.
  #reportHolder(call: 'close()' | 'resize()'): void {
    const { marks, reports } = this.#engine
    if (marks.current?.holds === true) reports.report(reports.awaitedByHolder(call))
  }

  #problem(call: 'acquire' | 'run', options: unknown): unknown {
    try {
      checkCall(call, options, this.options.name)
      return undefined
    } catch (error) {
      return error
    }
  }
}

/**
 * Every pool of the process that is not closed, in the order in which they were created. It does not keep pools in memory.
 *
 * @example
 * ```ts
 * import { livePools, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * console.log(livePools().map(({ options }) => options.name)) // prints [ 'orders' ]
 * await pool.close()
 * console.log(livePools().length) // prints 0
 * ```
 */
export function livePools(): Pool<unknown>[] {
  return registered()
}

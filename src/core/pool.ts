import { Alarm } from './alarm.ts'
import { Circulation } from './circulation.ts'
import type { ChangeEvent } from './channels.ts'
import { AcquireTimeoutError, PoolOptionsError } from './errors.ts'
import { Lease } from './lease.ts'
import { lookInto, type PoolInsight } from './insight.ts'
import { register } from './live-pools.ts'
import type { ConnectionManager } from './manager.ts'
import {
  type AcquireOptions,
  checkCall,
  checkSizes,
  type PoolOptions,
  type ResolvedPoolOptions,
  resolveOptions,
  type RunOptions,
} from './options.ts'
import type { PoolState } from './state.ts'

const CLOSE_TIMEOUT_MS = 10_000
// How long close waits for the connections that it had to close by force, beyond its deadline.
const FORCED_CLOSE_MS = 1_000

/** What `close` did. */
export interface CloseResult {
  /** Connections that were closed in time. */
  readonly closed: number
  /** Connections still leased at the deadline: closed by force. */
  readonly abandoned: number
}

/**
 * A pool of connections. Callers are served in the order in which they came; no call hangs beyond its deadline; the server
 * never sees more than `maxSize` connections, nor a storm of attempts when it recovers.
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
 * pool.clear() // every connection of now is replaced
 * const listener = await pool.dedicated() // not the pool's any more
 * await listener.end()
 * console.log(pool.state().maxSize) // prints 20
 * ```
 */
export class Pool<C> implements AsyncDisposable {
  readonly #circulation: Circulation<C>
  readonly #conditions = new Set<() => void>()
  #closing: Promise<CloseResult> | undefined = undefined
  #resizes = 0
  readonly #forget: () => void

  /**
   * A pool that is usable at once and opens `minIdle` connections in the background.
   * Throws PoolOptionsError before anything is opened.
   */
  constructor(manager: ConnectionManager<C>, options?: PoolOptions<C>) {
    this.#circulation = new Circulation(manager, resolveOptions(manager, options))
    this.#circulation.onChange = () => {
      for (const look of [...this.#conditions]) look()
    }
    this.#forget = register(this)
    this.#changed('made')
    this.#circulation.refill()
  }

  /**
   * A pool whose `minIdle` connections are open. Rejects with ConnectError when no retry is wanted or would help, or with
   * AcquireTimeoutError after `acquireTimeoutMs`; then the pool is closed. With `minIdle` 0 it opens nothing.
   */
  static async open<C>(manager: ConnectionManager<C>, options?: PoolOptions<C>): Promise<Pool<C>> {
    const pool = new Pool(manager, options)
    const circulation = pool.#circulation
    const { minIdle, acquireTimeoutMs } = circulation.options
    let failure: unknown
    circulation.onConnectFailed = (error, isFinal) => {
      if (isFinal) failure ??= circulation.reports.connect(error)
    }
    const inTime = await pool.#until(
      () => failure !== undefined || pool.state().idle >= minIdle,
      acquireTimeoutMs,
    )
    circulation.onConnectFailed = () => {}
    if (inTime && failure === undefined) return pool
    const details = circulation.reports.details(circulation.connector.lastError)
    failure ??= new AcquireTimeoutError('connect', acquireTimeoutMs, details)
    await pool.close()
    throw failure
  }

  /** The options with defaults filled in, frozen. `resize` does not change them: see `state()`. */
  get options(): ResolvedPoolOptions<C> {
    return this.#circulation.options
  }

  /** The pool at this instant. */
  state(): PoolState {
    return this.#circulation.state()
  }

  /** The pool at this instant, connection by connection: costs time that grows with their number. */
  look(): PoolInsight {
    return lookInto(this.#circulation)
  }

  /**
   * A lease of one connection: of an idle one at once, else of the first that comes back or is opened, first come, first
   * served within a priority. Rejects with AcquireTimeoutError, ConnectError, QueueFullError, OverloadedError,
   * PoolClosedError, or the signal's reason. Cancelling it never cancels a connect: the connection goes to the next.
   */
  acquire(options?: AcquireOptions): Promise<Lease<C>> {
    if (options !== undefined) {
      const error = this.#refusal('acquire', options)
      if (error !== undefined) return Promise.reject(error)
    }
    return this.#circulation.acquire(options, false)
  }

  /**
   * A lease of an idle, unbroken, unexpired connection now, or undefined. Does not ask isValid; a hook beforeAcquire that
   * returns a promise means undefined. Not counted in `statistics.acquires`.
   */
  tryAcquire(): Lease<C> | undefined {
    return this.#circulation.tryAcquire()
  }

  /**
   * Calls `fn` with a connection, which is given back whatever happens. What `fn` throws passes through untouched. With
   * `retries`, `fn` is run again when its connection broke meanwhile, on one that is new or was checked since: only for
   * work that may be done twice.
   */
  async run<T>(fn: (connection: C) => T | PromiseLike<T>, options?: RunOptions): Promise<T> {
    if (typeof fn !== 'function') {
      throw new PoolOptionsError(
        this.options.name,
        'fn',
        fn,
        `the argument of run is ${typeof fn}: allowed is a function`,
      )
    }
    if (options !== undefined) {
      const error = this.#refusal('run', options)
      if (error !== undefined) throw error
    }
    for (let attempt = 0; ; attempt++) {
      const lease = await this.#circulation.acquire(options, attempt > 0)
      let result: T
      try {
        result = await fn(lease.connection)
      } catch (error) {
        const mayRetry = attempt < (options?.retries ?? 0) && Lease.hasBroken(lease, error)
        lease.release(error)
        if (mayRetry) continue
        throw error
      }
      lease.release()
      return result
    }
  }

  /**
   * A connection of the same manager, prepared by afterConnect, that the pool neither counts nor keeps: closing it is the caller's
   * duty. For LISTEN, subscriptions and the like. Rejects with ConnectError, PoolClosedError or the signal's reason.
   */
  async dedicated(options?: { readonly signal?: AbortSignal | undefined }): Promise<C> {
    if (options !== undefined) checkCall('dedicated', options, this.options.name)
    const circulation = this.#circulation
    if (circulation.closed) throw circulation.reports.closed()
    const signal = options?.signal
    signal?.throwIfAborted()
    try {
      return await circulation.connector.dedicated(signal)
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : circulation.reports.connect(error)
    }
  }

  /**
   * Adopts an open connection. `broken`: hasBroken said so; `full`: no room, or the pool is closed. A refused one stays the
   * caller's. Throws PoolOptionsError for a connection that the pool already has.
   */
  add(connection: C): 'added' | 'broken' | 'full' {
    const isPooled = this.#circulation.slots.has(connection)
    if (isPooled || connection === undefined || connection === null) {
      const problem = isPooled ? 'is in the pool already' : `is ${String(connection)}`
      throw new PoolOptionsError(
        this.options.name,
        'connection',
        connection,
        `connection ${problem}: allowed is an open connection that the pool does not have`,
      )
    }
    return this.#circulation.add(connection)
  }

  /**
   * Changes the limits. Resolves once any surplus is closed (leased connections when they come back), or when another
   * resize or close overtakes it. Rejects with PoolOptionsError, and then nothing was changed.
   */
  async resize(sizes: {
    readonly maxSize?: number | undefined
    readonly minIdle?: number | undefined
  }): Promise<void> {
    const circulation = this.#circulation
    const { limits } = circulation.slots
    checkCall('resize', sizes, this.options.name)
    const { maxSize = limits.maxSize, minIdle = limits.minIdle } = sizes
    checkSizes({ name: this.options.name, maxSize, minIdle })
    if (circulation.closed) throw circulation.reports.closed()
    limits.maxSize = maxSize
    limits.minIdle = minIdle
    const resize = ++this.#resizes
    this.#changed('resized')
    for (const look of [...this.#conditions]) look()
    circulation.closer.closeIdle('surplus')
    circulation.refill()
    await this.#until(
      () => resize !== this.#resizes || circulation.closed || !circulation.slots.hasSurplus,
      Infinity,
    )
  }

  /** From now on nothing is opened or handed out. Callers queue, and their deadlines run on. */
  pause(): void {
    this.#circulation.paused = true
    this.#changed('paused')
  }

  /** Ends a pause; those who queue are served in their order. */
  resume(): void {
    this.#circulation.paused = false
    this.#changed('resumed')
    this.#circulation.refill()
  }

  /** Makes every connection of now an old one: idle ones are closed now, leased ones when they come back. */
  clear(): void {
    this.#circulation.slots.nextGeneration()
    this.#changed('cleared')
    this.#circulation.closer.closeIdle('cleared')
    this.#circulation.refill()
  }

  /**
   * Closes the pool: callers are rejected at once, attempts given up, idle connections closed, leased ones awaited for
   * `timeoutMs` (default 10,000), then closed by force. A second call gives the same result. Never rejects but for a bad option.
   */
  async close(options?: { readonly timeoutMs?: number | undefined }): Promise<CloseResult> {
    if (options !== undefined) checkCall('close', options, this.options.name)
    this.#closing ??= this.#close(options?.timeoutMs ?? CLOSE_TIMEOUT_MS)
    return await this.#closing
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(timeoutMs: number): Promise<CloseResult> {
    const circulation = this.#circulation
    const { slots } = circulation
    const freedBefore = slots.freed
    this.#changed('closing')
    circulation.shut()
    for (const look of [...this.#conditions]) look()
    await this.#until(() => slots.taken === 0, timeoutMs)
    const closed = slots.freed - freedBefore
    const abandoned = circulation.closeByForce()
    if (abandoned > 0) {
      await this.#until(() => slots.taken === 0, Math.min(this.options.closeTimeoutMs, FORCED_CLOSE_MS))
    }
    circulation.stop()
    this.#forget()
    this.#changed('closed')
    return { closed, abandoned }
  }

  #changed(what: ChangeEvent['what']): void {
    this.#circulation.events.changed(what, this.#circulation.slots.limits)
  }

  // Whether a condition was met in time. Keeps the process alive meanwhile.
  #until(isMet: () => boolean, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const { clock } = this.#circulation.calls
      const finish = (met: boolean): void => {
        this.#conditions.delete(look)
        alarm.stop()
        resolve(met)
      }
      const look = (): void => {
        if (isMet()) finish(true)
      }
      const alarm = new Alarm(clock, true, () => finish(isMet()))
      this.#conditions.add(look)
      if (isMet()) return finish(true)
      alarm.set(clock.now() + timeoutMs)
    })
  }

  #refusal(call: 'acquire' | 'run', options: unknown): unknown {
    try {
      checkCall(call, options, this.options.name)
      return undefined
    } catch (error) {
      return error
    }
  }
}

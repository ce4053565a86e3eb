import { Lease } from '../core/callers/lease.ts'
import { AcquireTimeoutError, isPoolError } from '../core/contract/errors.ts'
import { textOf } from '../core/contract/messages.ts'
import { type AcquireOptions, checkCall, type RunContext, type RunOptions } from '../core/contract/options.ts'
import { wrongValue } from '../core/contract/rules.ts'
import type { ShareableConnection } from '../core/contract/share.ts'
import type { PoolEngine } from '../core/engine.ts'
import type { InsightSource, PoolInsight } from '../core/inspection/insight.ts'
import { AbortWatchers } from '../core/runtime/abort-watchers.ts'
import type { CloseResult } from '../core/close.ts'
import { Pool } from '../core/pool.ts'
import { engineOf } from '../core/pool-engines.ts'
import { Carriers } from './carriers.ts'
import { dirtied, isLoss, usedAfterEnd } from './errors.ts'
import { resolveShareOptions, type ShareOptions } from './options.ts'
import { type Place, Places } from './places.ts'
import { type SeatHome, SeatUse } from './seat.ts'
import type { ShareState } from './state.ts'
import type { SharedView } from './view.ts'
import { Yielding } from './yielding.ts'

// An unused seat is closed after so long: then the connection goes back to the pool below, which checks and replaces it.
const IDLE_MS = 500
// The priority of a caller that has been served before: it goes to the head of the queue.
const FIRST = -Number.MAX_VALUE
const NO_SIGNAL: RunContext = Object.freeze({ signal: undefined })

/** The function of one run. */
export type SharedWork<V, T> = (view: V, context: RunContext) => T | PromiseLike<T>

/**
 * Lends connections of a pool to many callers at a time, for single statements that need no session state. Create it with
 * {@link share}.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager } from 'cenote/pg'
 * import { type Share, share, type SharedView } from 'cenote/share'
 * import type { Client } from 'pg'
 *
 * class Users {
 *   readonly #db: Share<SharedView<Client>>
 *   constructor(db: Share<SharedView<Client>>) {
 *     this.#db = db
 *   }
 *   async count() {
 *     const { rows } = await this.#db.run(({ query }) => query<{ n: number }>('select 3 as n'), { retries: 1 })
 *     return rows[0]?.n
 *   }
 * }
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL, { share: true }))
 * await using db = share(pool)
 * console.log(await new Users(db).count(), db.state().taken) // prints 3 0
 * ```
 */
export class Share<V = unknown> implements AsyncDisposable, InsightSource {
  readonly #pool: Pool<Place>
  readonly #engine: PoolEngine<Place>
  readonly #below: PoolEngine<unknown>
  readonly #carriers: Carriers<unknown>
  readonly #home: SeatHome<unknown>
  #closing: Promise<CloseResult> | undefined = undefined

  /** Shares are created by {@link share}. */
  constructor(below: PoolEngine<unknown>, options: ShareOptions) {
    const shared = sharedOf(below)
    const limits = resolveShareOptions(options, below.options.name, below.slots.limits.maxSize)
    const places: Places = new Places(
      {
        get capacity() {
          return carriers.capacity
        },
        place: (signal) => carriers.place(signal),
        trim: () => carriers.trim(),
        isFinal: (error) => carriers.isFinal(error),
      },
      () => below.manager.server,
    )
    const carriers: Carriers<unknown> = new Carriers(below, shared, limits, {
      places: () => places.count,
      granted: () => void places.count++,
      grown: () => queueMicrotask(() => this.#grow()),
    })
    this.#carriers = carriers
    this.#below = below
    const { clock, onError, acquireTimeoutMs, connectBackoff } = below.options
    this.#pool = new Pool<Place>(places, {
      name: limits.name,
      maxSize: limits.connections * carriers.largest,
      testOnCheckOut: false,
      maxLifetimeMs: Infinity,
      idleTimeoutMs: IDLE_MS,
      reapIntervalMs: IDLE_MS,
      queueStrategy: 'lifo',
      connectTimeoutMs: Infinity,
      acquireTimeoutMs,
      connectBackoff,
      clock,
      onError,
    })
    this.#engine = engineOf<Place>(this.#pool) as PoolEngine<Place>
    this.#engine.unit = 'seat'
    const { queue } = this.#engine
    carriers.yieldTo(new Yielding(below, carriers), () => queue.size > 0)
    this.#home = {
      name: limits.name,
      get losses() {
        return carriers.losses
      },
      get hasSurplus() {
        return places.hasSurplus
      },
      left: (carrier) => carriers.leave(carrier),
      aborts: new AbortWatchers((seat, reason) => seat.aborted(reason)),
      usedAfterEnd: () => usedAfterEnd(limits.name),
      dirty: (_carrier, reason) => dirtied(limits.name, reason),
      end: (carrier, error) => carriers.soil(carrier, error),
      lossBy: (carrier, error) => carriers.lossBy(carrier, error),
    }
  }

  /** The name of the share. */
  get name(): string {
    return this.#carriers.limits.name
  }

  /**
   * Calls `fn` with a view of a connection: the part of it that callers may share. It may send statements that need no
   * session state, several at a time. `timeoutMs` bounds the wait for a seat, never the work. When `signal` aborts, `run`
   * rejects immediately with its reason; a statement that was sent runs on. With `retries`, `fn` runs again when its
   * connection was lost: only for work that may run twice.
   *
   * An error of `fn` passes through. Rejects with PoolError, code 'CONNECTION_LOST' when the connection was lost (`cause`
   * is the same for each of its callers) and 'CONNECTION_DIRTY' when a statement left something open on it; and with the
   * errors of `pool.run`. A view refuses what needs a connection of its own with ShareRefusedError, and every use after the
   * end of its run with LeaseReleasedError.
   */
  run<T>(fn: SharedWork<V, T>, options?: RunOptions): Promise<T> {
    if (typeof fn !== 'function') return Promise.reject(wrongValue(this.name, 'fn', fn, 'a function'))
    if (options === undefined) return this.#once(fn, undefined, 0)
    try {
      checkCall('run', options, this.name)
    } catch (error) {
      return Promise.reject(error as Error)
    }
    const { retries = 0 } = options
    return retries === 0 ? this.#once(fn, options, 0) : this.#repeated(fn, options, retries)
  }

  /** The share at this instant. */
  state(): ShareState {
    const { waiting, closed, statistics } = this.#pool.state()
    const carriers = this.#carriers
    return {
      name: this.name,
      connections: carriers.all.length,
      seats: carriers.seats,
      taken: carriers.taken,
      waiting,
      pipelining: carriers.isPipelining,
      closed,
      statistics: { ...statistics, lost: carriers.losses, dirty: carriers.dirtied },
    }
  }

  /** Read by `explain`, `formatState`, the inspector and OpenTelemetry. */
  get options(): InsightSource['options'] {
    return this.#pool.options
  }

  /** The share at this instant, seat by seat, as `look` of a pool. */
  look(): PoolInsight {
    return this.#pool.look()
  }

  /**
   * Closes the share: callers that wait are rejected immediately, taken seats are awaited for `timeoutMs` (default
   * 10,000 ms). Each connection goes back to the pool below when it is empty; one that is not empty at the deadline is
   * closed. The result counts seats. A second call returns the same result.
   */
  async close(options?: { readonly timeoutMs?: number | undefined }): Promise<CloseResult> {
    if (options !== undefined) checkCall('close', options, this.name)
    this.#closing ??= this.#close(options)
    return await this.#closing
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: { readonly timeoutMs?: number | undefined } | undefined): Promise<CloseResult> {
    const closing = this.#pool.close(options)
    this.#carriers.shut()
    const result = await closing
    this.#carriers.stop()
    return result
  }

  // Runs in the caller's async context, which each await restores.
  async #repeated<T>(work: SharedWork<V, T>, options: RunOptions, retries: number): Promise<T> {
    for (let attempt = 0, losses = 0; ; attempt++, losses = this.#carriers.losses) {
      try {
        return await this.#once(work, options, losses)
      } catch (error) {
        if (attempt >= retries || !isLoss(error, this.name)) throw error
      }
    }
  }

  #once<T>(work: SharedWork<V, T>, options: AcquireOptions | undefined, losses: number): Promise<T> {
    const taken = this.#engine.checkout.take(options, 'any')
    if (taken instanceof Lease) return this.#seat(taken, work, options, losses, undefined)
    const startedAt = this.#engine.calls.clock.now()
    return taken.then(
      (lease) => this.#seat(lease, work, options, losses, startedAt),
      (error: unknown) => {
        throw this.#explained(error)
      },
    )
  }

  #seat<T>(
    lease: Lease<Place>,
    work: SharedWork<V, T>,
    options: AcquireOptions | undefined,
    losses: number,
    startedAt: number | undefined,
  ): Promise<T> {
    const signal = options?.signal
    if (signal?.aborted === true) {
      lease.release()
      return Promise.reject(signal.reason as Error)
    }
    const carrier = this.#carriers.pick(losses)
    if (carrier === undefined) {
      // The connections have fewer seats than a moment ago.
      lease.destroy()
      return this.#once(work, this.#again(options, startedAt), losses)
    }
    lease.connection.isFresh = false
    this.#carriers.take(carrier)
    return new Promise<T>((resolve, reject) => {
      const seat = new SeatUse<unknown, T>(this.#home, carrier, lease, resolve, reject)
      if (signal !== undefined) seat.watch(signal)
      if (carrier.provenAfter >= losses) this.#work(seat, work, signal)
      else void this.#prove(seat, work, signal)
    })
  }

  // Work that runs again after a loss waits until the connection is known to answer.
  async #prove<T>(
    seat: SeatUse<unknown, T>,
    work: SharedWork<V, T>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    await this.#carriers.prove(seat.carrier)
    const { loss } = seat.carrier
    if (loss !== undefined) seat.refuse(loss)
    else if (seat.isOpen) this.#work(seat, work, signal)
  }

  #work<T>(seat: SeatUse<unknown, T>, work: SharedWork<V, T>, signal: AbortSignal | undefined): void {
    let result: T | PromiseLike<T>
    try {
      const view = this.#carriers.shared.view(seat.carrier.connection, seat) as V
      result = work(view, signal === undefined ? NO_SIGNAL : { signal })
    } catch (error) {
      seat.rejected(error)
      return
    }
    if (typeof result !== 'object' || result === null || !('then' in result)) seat.fulfilled(result as T)
    else
      Promise.resolve(result).then(
        (value) => seat.fulfilled(value),
        (error: unknown) => seat.rejected(error),
      )
  }

  #again(options: AcquireOptions | undefined, startedAt: number | undefined): AcquireOptions {
    const { clock } = this.#engine.calls
    const { timeoutMs = this.#pool.options.acquireTimeoutMs } = options ?? {}
    const waitedMs = startedAt === undefined ? 0 : clock.now() - startedAt
    return { signal: options?.signal, priority: FIRST, timeoutMs: Math.max(0, timeoutMs - waitedMs) }
  }

  // Adds to a timeout the reason that the pool below has recorded.
  #explained(error: unknown): unknown {
    if (!isPoolError(error) || error.code !== 'ACQUIRE_TIMEOUT' || error.cause !== undefined) return error
    const { limits } = this.#carriers
    const { name } = limits
    const { timeoutMs, state } = error
    const cause = this.#below.connector.schedule.lastError
    const details = { pool: name, state, cause }
    const carriers = this.#carriers
    if (cause !== undefined && carriers.all.length < limits.connections) {
      const text = `run timed out after ${timeoutMs} ms: share '${name}' waits for a connection, and the last attempt failed: ${textOf(cause)}. Check that the server is up and reachable`
      return new AcquireTimeoutError('connect', timeoutMs, details, text)
    }
    const seats = `${carriers.taken} of ${carriers.seats} seats taken on ${carriers.all.length} connections`
    const text = `run timed out after ${timeoutMs} ms waiting for a seat of share '${name}' (${seats}). Raise connections or perConnection, or send shorter statements`
    const phase = carriers.all.length >= limits.connections ? 'queue' : error.phase
    return new AcquireTimeoutError(phase, timeoutMs, { pool: name, state }, text)
  }

  #grow(): void {
    if (this.#closing !== undefined) return
    const { limits, largest, stuck } = this.#carriers
    const maxSize = limits.connections * largest + stuck
    if (maxSize !== this.#pool.state().maxSize) void this.#pool.resize({ maxSize }).catch(() => {})
  }
}

/**
 * Shares connections of a pool: many callers use one connection at a time, each for single statements that need no session
 * state. The connections are leases of the pool, and go back to it when they are not used or another caller waits for one.
 * Throws PoolOptionsError for a wrong option, and for a pool whose connections cannot be shared.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager } from 'cenote/pg'
 * import { share } from 'cenote/share'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL, { share: true }), { maxSize: 4 })
 * await using db = share(pool, { connections: 2 })
 *
 * const answers = await Promise.all([1, 2, 3].map((n) => db.run(({ query }) => query('select $1::int * 14 as answer', [n]))))
 * console.log(answers[2].rows[0].answer, pool.state().connections) // prints 42 1
 * ```
 */
export function share<C, V = SharedView<C>>(pool: Pool<C>, options: ShareOptions = {}): Share<V> {
  const below = typeof pool === 'object' && pool !== null ? engineOf<unknown>(pool) : undefined
  if (below === undefined) throw wrongValue('', 'pool', pool, 'a Pool of this installed copy of cenote')
  return new Share<V>(below, options)
}

function sharedOf({ manager, options }: PoolEngine<unknown>): ShareableConnection<unknown> {
  const shared = manager.share as ShareableConnection<unknown> | undefined
  if (shared !== undefined && typeof shared.view === 'function') return shared
  throw wrongValue(
    options.name,
    'pool',
    manager.constructor.name || 'an object',
    'a pool whose manager has `share`: of cenote/pg with the option share, cenote/mariadb, cenote/redis, cenote/ioredis, cenote/amqplib or cenote/http2',
  )
}

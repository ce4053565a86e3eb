import { EventEmitter } from 'node:events'

import { OWN_CONNECT } from './connect-backoff.ts'
import {
  AcquireTimeoutError,
  type ConnectContext,
  ConnectError,
  type ConnectionManager,
  type Lease,
  Pool as CorePool,
  PoolClosedError,
} from '../index.ts'

import { callbackOrPromise, timely, withinTime } from './tarn/create.ts'
import type { TarnEvents } from './tarn/events.ts'
import { check, type TarnPoolOptions } from './tarn/options.ts'
import { Pending, type PendingAcquire } from './tarn/pending.ts'

export type { TarnPoolOptions } from './tarn/options.ts'
export type { PendingAcquire } from './tarn/pending.ts'
export type { TarnEvents } from './tarn/events.ts'

/** An acquire, a create or a destroy took too long. */
export class TimeoutError extends Error {}

/** The outcome of a promise. */
export interface PromiseInspection<T> {
  value(): T | undefined
  reason(): unknown
  isFulfilled(): boolean
  isRejected(): boolean
}

/** One resource, in a box: the same value may be made twice. */
interface Box<R> {
  readonly resource: R
  readonly lost: () => void
  freeSince: number
}

const GRACE_MS = 1_000

type Emit = (event: string, ...args: unknown[]) => void

/**
 * The class `Pool` of tarn 3 over a pool of cenote: for Kysely's `tarn.Pool`, Knex's `connectionPool`, and programs that
 * use tarn itself. It has the same options, methods, counters and events, without the faults of the original. Waiters and
 * later callers are rejected immediately when the pool is destroyed. A failed create is the `cause` of a timeout. An idle
 * pool does not keep a process alive.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote/compat/tarn'
 *
 * const pool = new Pool({ create: async () => ({}), destroy: () => {}, min: 0, max: 5 })
 * const resource = await pool.acquire().promise
 * console.log(pool.numUsed()) // prints 1
 * pool.release(resource)
 * await pool.destroy()
 * ```
 */
export class Pool<R> {
  /** The pool underneath, for its state and telemetry. Resources closed by idle reaping count as `lost` there. */
  readonly core: CorePool<Box<R>>
  readonly min: number
  readonly max: number
  readonly #options: TarnPoolOptions<R>
  readonly #emitter = new EventEmitter()
  readonly #free = new Set<Box<R>>()
  readonly #used = new Map<R, Lease<Box<R>>[]>()
  readonly #pending = new Set<Pending<R>>()
  readonly #timeoutError: new (message: string, options?: ErrorOptions) => Error
  #events = 0
  #validations = 0
  #reaper: NodeJS.Timeout | undefined
  #destroying: Promise<PromiseInspection<void>> | undefined

  /** `classes.TimeoutError`: thrown instead of this module's, for a host that tests `instanceof` tarn's own. */
  constructor(
    options: TarnPoolOptions<R>,
    classes: { readonly TimeoutError?: new (message: string) => Error } = {},
  ) {
    check(options)
    this.#options = options
    this.#timeoutError = classes.TimeoutError ?? TimeoutError
    this.min = options.min
    this.max = options.max
    const retryMs = options.createRetryIntervalMillis ?? 200
    this.core = new CorePool<Box<R>>(this.#manager(), {
      maxSize: options.max,
      queueStrategy: 'lifo',
      testOnCheckOut: options.validate !== undefined,
      validationBypassMs: 0,
      validationTimeoutMs: options.acquireTimeoutMillis ?? 30_000,
      acquireTimeoutMs: options.acquireTimeoutMillis ?? 30_000,
      connectTimeoutMs: options.createTimeoutMillis ?? 30_000,
      // The close below ends by itself, after the event that reports it.
      closeTimeoutMs: (options.destroyTimeoutMillis ?? 5_000) + GRACE_MS,
      connectBackoff:
        options.propagateCreateError === true ? OWN_CONNECT : { minMs: retryMs, maxMs: retryMs },
      retryConnect: options.propagateCreateError !== true,
      maxLifetimeMs: Infinity,
      idleTimeoutMs: Infinity,
      onError: (error) => this.#log(`a failure that belongs to no caller: ${String(error)}`),
    })
  }

  /** A resource, as soon as there is one. */
  acquire(): PendingAcquire<R> {
    const id = ++this.#events
    this.#emit('acquireRequest', id)
    const pending = new Pending<R>()
    this.#pending.add(pending)
    pending.promise = this.#acquire(pending).then(
      (resource) => {
        this.#emit('acquireSuccess', id, resource)
        return resource
      },
      (error: unknown) => {
        pending.isRejected = true
        this.#emit('acquireFail', id, error)
        throw error
      },
    )
    // A caller that only aborts does not await the promise.
    pending.promise.catch(() => {})
    return pending
  }

  /** Releases a resource. False if it is not in use. */
  release(resource: R): boolean {
    const leases = this.#used.get(resource)
    const lease = leases?.pop()
    if (leases === undefined || lease === undefined) return false
    if (leases.length === 0) this.#used.delete(resource)
    this.#emit('release', resource)
    const box = lease.connection
    box.freeSince = performance.now()
    this.#free.add(box)
    lease.release()
    return true
  }

  numUsed(): number {
    return this.core.state().inUse
  }

  numFree(): number {
    return this.core.state().idle
  }

  numPendingAcquires(): number {
    return this.#pending.size - this.#validations
  }

  numPendingValidations(): number {
    return this.#validations
  }

  numPendingCreates(): number {
    return this.core.state().opening
  }

  /** Whether the pool has no resources, no creates under way and no waiters. */
  isEmpty(): boolean {
    const { connections, opening } = this.core.state()
    return connections + opening + this.#pending.size === 0
  }

  /** Destroys what has been free for longer than `idleTimeoutMillis`, the longest first, down to `min` in all. */
  check(): void {
    const { idleTimeoutMillis = 30_000 } = this.#options
    const now = performance.now()
    let spare = this.core.state().connections - this.min
    for (const box of this.#free) {
      if (spare <= 0 || now - box.freeSince < idleTimeoutMillis) break
      spare--
      box.lost()
    }
    if (this.isEmpty()) this.#stopReaping()
  }

  /**
   * Rejects waiters, waits for creates under way and for resources in use, and destroys all. Never rejects: see the
   * inspection that it resolves with.
   */
  destroy(): Promise<PromiseInspection<void>> {
    this.#destroying ??= inspect(this.#destroy())
    return this.#destroying
  }

  /** Whether `destroy` was called. */
  get destroyed(): boolean {
    return this.#destroying !== undefined
  }

  on<E extends keyof TarnEvents<R>>(event: E, listener: (...args: TarnEvents<R>[E]) => unknown): void
  on(event: string, listener: (...args: never[]) => unknown): void {
    this.#emitter.on(event, listener as () => void)
  }

  removeListener(event: string, listener: (...args: never[]) => unknown): void {
    this.#emitter.removeListener(event, listener as () => void)
  }

  removeAllListeners(event?: string): void {
    this.#emitter.removeAllListeners(event)
  }

  async #acquire(pending: Pending<R>): Promise<R> {
    try {
      const lease = await pending.orElse(this.core.acquire({ signal: pending.signal }))
      if ('value' in lease) return lease.value
      const box = lease.connection
      this.#free.delete(box)
      const leases = this.#used.get(box.resource)
      if (leases === undefined) this.#used.set(box.resource, [lease])
      else leases.push(lease)
      return box.resource
    } catch (error) {
      throw this.#translate(error, pending)
    } finally {
      this.#pending.delete(pending)
    }
  }

  #translate(error: unknown, pending: Pending<R>): unknown {
    if (error instanceof AcquireTimeoutError) {
      const cause = error.cause ?? pending.possibleTimeoutCause ?? error
      const message = cause instanceof Error ? cause.message : error.message
      return Object.assign(new this.#timeoutError(message), { cause })
    }
    if (error instanceof PoolClosedError) return new Error('aborted: the pool is destroyed', { cause: error })
    return error instanceof ConnectError ? error.cause : error
  }

  async #destroy(): Promise<void> {
    const id = ++this.#events
    this.#emit('poolDestroyRequest', id)
    this.#stopReaping()
    for (const pending of this.#pending) pending.abort()
    await this.core.close({ timeoutMs: Infinity })
    this.#emit('poolDestroySuccess', id)
    this.#emitter.removeAllListeners()
  }

  #manager(): ConnectionManager<Box<R>> {
    const { create, destroy, validate } = this.#options
    return {
      connect: async ({ signal, lost }: ConnectContext) => {
        const id = ++this.#events
        this.#emit('createRequest', id)
        try {
          const resource = await timely(callbackOrPromise(create), signal, (late) => destroy(late))
          const box: Box<R> = { resource, lost, freeSince: performance.now() }
          this.#free.add(box)
          this.#emit('createSuccess', id, resource)
          this.#startReaping()
          return box
        } catch (error) {
          const failure = signal.aborted
            ? new TimeoutError('a create took longer than createTimeoutMillis')
            : error
          for (const pending of this.#pending) pending.possibleTimeoutCause = failure
          this.#emit('createFail', id, failure)
          throw failure
        }
      },
      isValid: async ({ resource }) => {
        this.#validations++
        try {
          return Boolean(await validate?.(resource))
        } catch (error) {
          this.#log(`the validator threw: ${String(error)}`)
          return false
        } finally {
          this.#validations--
        }
      },
      hasBroken: () => false,
      close: async (box) => {
        this.#free.delete(box)
        const id = ++this.#events
        this.#emit('destroyRequest', id, box.resource)
        try {
          await withinTime(
            () => destroy(box.resource),
            this.#options.destroyTimeoutMillis ?? 5_000,
            () => new TimeoutError('a destroy took longer than destroyTimeoutMillis'),
          )
          this.#emit('destroySuccess', id, box.resource)
        } catch (error) {
          this.#emit('destroyFail', id, box.resource, error)
          this.#log(`the destroyer threw: ${String(error)}`)
        }
      },
    }
  }

  #startReaping(): void {
    if (this.#reaper !== undefined || this.#destroying !== undefined) return
    this.#emit('startReaping')
    this.#reaper = setInterval(() => this.check(), this.#options.reapIntervalMillis ?? 1_000)
    this.#reaper.unref()
  }

  #stopReaping(): void {
    if (this.#reaper === undefined) return
    this.#emit('stopReaping')
    clearInterval(this.#reaper)
    this.#reaper = undefined
  }

  readonly #emit: Emit = (event, ...args) => {
    for (const listener of this.#emitter.listeners(event)) {
      try {
        Reflect.apply(listener, undefined, args)
      } catch (error) {
        this.#log(`a listener of '${event}' threw: ${String(error)}`)
      }
    }
  }

  #log(message: string): void {
    this.#options.log?.(`cenote/compat/tarn: ${message}`, 'warn')
  }
}

async function inspect(promise: Promise<void>): Promise<PromiseInspection<void>> {
  let failure: { error: unknown } | undefined
  try {
    await promise
  } catch (error) {
    failure = { error }
  }
  return {
    value: () => undefined,
    reason: () => failure?.error,
    isFulfilled: () => failure === undefined,
    isRejected: () => failure !== undefined,
  }
}

import { EventEmitter } from 'node:events'

import {
  AcquireTimeoutError,
  ConnectError,
  type ConnectionManager,
  type Lease,
  Pool as CorePool,
  PoolClosedError,
  PoolError,
} from '../index.ts'
import type { Factory, GenericPoolOptions } from './generic-pool/options.ts'

export type { Factory, GenericPoolOptions, GenericPoolOptions as Options } from './generic-pool/options.ts'

// generic-pool has no limit; without one, creates that hang would use up the pool for good.
const CREATE_TIMEOUT_MS = 60_000

/** An acquire took longer than acquireTimeoutMillis. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/** The type of a pool, under the name that generic-pool has for it. */
export type Pool<R> = GenericPool<R>

interface Box<R> {
  readonly resource: R
}

/**
 * A pool with the interface of generic-pool 3.
 *
 * @example
 * ```ts
 * import { createPool } from 'cenote/compat/generic-pool'
 *
 * const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 5 })
 * const resource = await pool.acquire()
 * console.log(pool.borrowed) // prints 1
 * await pool.release(resource)
 * await pool.drain()
 * await pool.clear()
 * ```
 */
export function createPool<R>(factory: Factory<R>, options?: GenericPoolOptions): GenericPool<R> {
  return new GenericPool(factory, options)
}

/**
 * The pool of generic-pool 3 over a pool of cenote. It has the same factory, options, methods, counters and events, without
 * the faults of the original. A create that always fails is retried with backoff, and only while a caller waits. A check that
 * rejects, or a call that throws or hangs, costs no capacity. `use` always releases, and `clear` of a pool in use never hands
 * out a destroyed resource.
 */
export class GenericPool<R> extends EventEmitter {
  /** The pool underneath, for its state and telemetry. */
  readonly core: CorePool<Box<R>>
  readonly max: number
  readonly min: number
  readonly #factory: Factory<R>
  readonly #options: GenericPoolOptions
  readonly #maxWaiting: number
  readonly #loans = new Map<R, Lease<Box<R>>>()
  readonly #conditions = new Set<() => void>()
  #pending = 0
  #isStarted = false
  #isDraining = false

  /** Throws TypeError for a factory that lacks a function. */
  constructor(factory: Factory<R>, options: GenericPoolOptions = {}) {
    super()
    checkFactory(factory, options)
    this.#factory = factory
    this.#options = options
    this.max = Math.max(whole(options.max) ?? 1, 1)
    this.min = Math.min(whole(options.min) ?? 0, this.max)
    this.#maxWaiting = whole(options.maxWaitingClients) ?? Infinity
    const { softIdleTimeoutMillis = -1, idleTimeoutMillis, evictionRunIntervalMillis = 0 } = options
    const isEvicting =
      evictionRunIntervalMillis > 0 || softIdleTimeoutMillis > 0 || Boolean(idleTimeoutMillis)
    const idleMs = softIdleTimeoutMillis > 0 ? softIdleTimeoutMillis : idleTimeoutMillis || 30_000
    this.core = new CorePool<Box<R>>(this.#manager(), {
      maxSize: this.max,
      queueStrategy: options.fifo === false ? 'lifo' : 'fifo',
      testOnCheckOut: options.testOnBorrow === true,
      validationBypassMs: 0,
      acquireTimeoutMs: whole(options.acquireTimeoutMillis) || Infinity,
      connectTimeoutMs: CREATE_TIMEOUT_MS,
      closeTimeoutMs: whole(options.destroyTimeoutMillis) || 5_000,
      idleTimeoutMs: isEvicting && idleMs > 0 ? idleMs : Infinity,
      reapIntervalMs: evictionRunIntervalMillis > 0 ? evictionRunIntervalMillis : 1_000,
      maxLifetimeMs: Infinity,
      onError: (error) => {
        // A failure of create, destroy or check is reported where it happens; only a destroy that hangs is not.
        if (error instanceof PoolError && error.code === 'CLOSE_FAILED')
          this.emit('factoryDestroyError', error)
        this.#lookSoon()
      },
    })
    if (options.autostart !== false) this.start()
  }

  /** Opens `min` resources. Needed only with `autostart: false`, and there done by the first acquire too. */
  start(): void {
    if (this.#isDraining || this.#isStarted) return
    this.#isStarted = true
    this.#keepMin()
  }

  /** Acquires a resource; a lower `priority` is served first. Rejects with TimeoutError, or when too many callers wait. */
  acquire(priority?: number): Promise<R> {
    return this.#promise(this.#acquire(priority))
  }

  /** Calls `fn` with a resource, and releases it, or destroys it if `fn` fails. */
  use<T>(fn: (resource: R) => T | PromiseLike<T>, priority?: number): Promise<T> {
    return this.#promise(this.#use(fn, priority))
  }

  isBorrowedResource(resource: R): boolean {
    return this.#loans.has(resource)
  }

  /** Releases a resource. Rejects if it is not borrowed. */
  release(resource: R): Promise<void> {
    return this.#promise(this.#return(resource, (lease) => lease.release()))
  }

  /** Destroys a borrowed resource. Rejects if it is not borrowed. */
  destroy(resource: R): Promise<void> {
    return this.#promise(this.#return(resource, (lease) => lease.destroy()))
  }

  /** Accepts no more callers, and resolves when every waiter was served and every resource released. */
  drain(): Promise<void> {
    this.#isDraining = true
    this.#keepMin()
    return this.#promise(this.#until(() => this.#pending === 0 && this.#loans.size === 0))
  }

  /** Destroys every idle resource, and those in use when they are released. After `drain` it ends the pool. */
  clear(): Promise<void> {
    return this.#promise(this.#clear())
  }

  /** Resolves when `min` resources exist, idle or in use. */
  ready(): Promise<void> {
    return this.#promise(this.#until(() => this.core.state().connections >= this.min))
  }

  get spareResourceCapacity(): number {
    return this.max - this.size
  }

  get size(): number {
    const { connections, opening } = this.core.state()
    return connections + opening
  }

  get available(): number {
    return this.core.state().idle
  }

  get borrowed(): number {
    return this.#loans.size
  }

  get pending(): number {
    return this.#pending
  }

  async #acquire(priority: number | undefined): Promise<R> {
    if (this.#isDraining) throw new Error('pool is draining and cannot accept work')
    const isFull = this.spareResourceCapacity < 1 && this.available < 1
    if (isFull && this.#pending >= this.#maxWaiting) throw new Error('max waitingClients count exceeded')
    this.start()
    const last = (this.#options.priorityRange || 1) - 1
    const wanted = Math.trunc(Number(priority)) || 0
    this.#pending++
    // Before the core hands out a resource: minIdle does not count it.
    this.#keepMin()
    try {
      const lease = await this.core.acquire({ priority: wanted < 0 || wanted > last ? last : wanted })
      const { resource } = lease.connection
      this.#loans.set(resource, lease)
      return resource
    } catch (error) {
      if (error instanceof AcquireTimeoutError) {
        throw Object.assign(new TimeoutError('ResourceRequest timed out'), { cause: error.cause ?? error })
      }
      if (error instanceof PoolClosedError)
        throw new Error('pool is draining and cannot accept work', { cause: error })
      throw error instanceof ConnectError ? error.cause : error
    } finally {
      this.#pending--
      this.#keepMin()
      this.#look()
    }
  }

  async #use<T>(fn: (resource: R) => T | PromiseLike<T>, priority: number | undefined): Promise<T> {
    const resource = await this.#acquire(priority)
    let result: T
    try {
      result = await fn(resource)
    } catch (error) {
      // fn may have released it itself.
      if (this.#loans.has(resource)) await this.#return(resource, (lease) => lease.destroy())
      throw error
    }
    if (this.#loans.has(resource)) await this.#return(resource, (lease) => lease.release())
    return result
  }

  async #return(resource: R, how: (lease: Lease<Box<R>>) => void): Promise<void> {
    const lease = this.#loans.get(resource)
    if (lease === undefined) throw new Error('Resource not currently part of this pool')
    this.#loans.delete(resource)
    this.#keepMin()
    how(lease)
    this.#look()
  }

  async #clear(): Promise<void> {
    if (this.#isDraining && this.#loans.size === 0) {
      await this.core.close()
      return
    }
    this.core.clear()
    await this.#until(() => this.core.state().closing === 0)
  }

  // `min` counts what is borrowed; the core's minIdle does not.
  #keepMin(): void {
    if (this.min === 0 || !this.#isStarted || this.core.state().closed) return
    const minIdle = this.#isDraining ? 0 : Math.max(0, this.min - this.#loans.size - this.#pending)
    if (minIdle !== this.core.state().minIdle) void this.core.resize({ minIdle })
  }

  #manager(): ConnectionManager<Box<R>> {
    const { create, destroy, validate } = {
      create: async () => await this.#factory.create(),
      destroy: async (resource: R) => await this.#factory.destroy(resource),
      validate: async (resource: R) => (await this.#factory.validate?.(resource)) !== false,
    }
    const manager: ConnectionManager<Box<R>> = {
      connect: async ({ signal }) => {
        try {
          const resource = await create()
          if (signal.aborted) await destroy(resource)
          signal.throwIfAborted()
          return { resource }
        } catch (error) {
          if (!signal.aborted) this.emit('factoryCreateError', error)
          throw error
        } finally {
          this.#lookSoon()
        }
      },
      isValid: ({ resource }) => validate(resource),
      hasBroken: () => false,
      close: async ({ resource }) => {
        try {
          await destroy(resource)
        } catch (error) {
          this.emit('factoryDestroyError', error)
        } finally {
          this.#lookSoon()
        }
      },
    }
    if (this.#options.testOnReturn === true) manager.reset = ({ resource }) => validate(resource)
    return manager
  }

  #until(isMet: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!isMet()) return
        this.#conditions.delete(look)
        resolve()
      }
      this.#conditions.add(look)
      look()
    })
  }

  // The core counts what a call of the manager did only after the call has settled.
  #lookSoon(): void {
    setImmediate(() => this.#look())
  }

  #look(): void {
    for (const look of [...this.#conditions]) look()
  }

  #promise<T>(promise: Promise<T>): Promise<T> {
    const { Promise: Wanted } = this.#options
    return Wanted === undefined || Wanted === Promise
      ? promise
      : (new Wanted<T>((resolve, reject) => void promise.then(resolve, reject)) as Promise<T>)
  }
}

/** For `import genericPool from 'cenote/compat/generic-pool'`. */
const genericPool: { readonly createPool: typeof createPool } = { createPool }
export default genericPool

function checkFactory<R>(factory: Factory<R>, options: GenericPoolOptions): void {
  if (typeof factory?.create !== 'function') throw new TypeError('factory.create must be a function')
  if (typeof factory.destroy !== 'function') throw new TypeError('factory.destroy must be a function')
  const isNeeded = options.testOnBorrow === true || options.testOnReturn === true
  if (typeof factory.validate !== 'function' && (factory.validate !== undefined || isNeeded)) {
    throw new TypeError('factory.validate must be a function')
  }
}

// Text is a number here too, as in generic-pool.
function whole(value: number | string | undefined): number | undefined {
  const number = Number.parseInt(String(value), 10)
  return Number.isNaN(number) ? undefined : number
}

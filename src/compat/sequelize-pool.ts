import { OWN_CONNECT } from './connect-backoff.ts'
import {
  AcquireTimeoutError,
  ConnectError,
  type ConnectionManager,
  type Lease,
  Pool as CorePool,
  PoolClosedError,
} from '../index.ts'

import { check, type FactoryOptions, type LogLevel } from './sequelize-pool/options.ts'

export type { FactoryLogger, FactoryOptions, LogLevel } from './sequelize-pool/options.ts'

interface Box<R> {
  readonly resource: R
  /** Closes the resource if it is idle. */
  readonly lost: () => void
  /** Settles when `destroy` of the factory has. */
  readonly destroyed: {
    readonly promise: Promise<void>
    readonly resolve: () => void
    readonly reject: (reason: unknown) => void
  }
}

const GRACE_MS = 1_000

/** An acquire took longer than acquireTimeoutMillis. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/** The errors of the factory's `destroy`, one for each resource of a `destroyAllNow`. */
export class AggregateError extends Error {
  override name = 'AggregateError'
  readonly errors: Error[]

  constructor(errors: Error[]) {
    super(errors.map(String).join('; '))
    this.errors = errors
  }

  override toString(): string {
    return `AggregateError of:\n${this.errors.map((error) => `    ${String(error)}\n`).join('')}`
  }
}

/**
 * The class `Pool` of sequelize-pool 8 over a pool of cenote, for Sequelize's connection manager. It has the same options,
 * methods and counters, without the faults of the original. A create that hangs frees its slot. A caller that waits while the
 * pool is drained is served or rejected. An idle pool does not keep a process alive.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote/compat/sequelize-pool'
 *
 * const pool = new Pool({ create: async () => ({}), destroy: () => {}, validate: () => true, min: 0, max: 5 })
 * const resource = await pool.acquire()
 * console.log(pool.using) // prints 1
 * pool.release(resource)
 * await pool.drain()
 * ```
 */
export class Pool<R> {
  /** The pool underneath, for its state and telemetry. */
  readonly core: CorePool<Box<R>>
  // Subclasses of the original read these three.
  protected readonly idleTimeoutMillis: number
  protected readonly acquireTimeoutMillis: number
  protected readonly reapIntervalMillis: number
  readonly #options: FactoryOptions<R>
  readonly #leases = new Map<R, Lease<Box<R>>>()
  readonly #timeoutError: new (message: string) => Error
  readonly #free = new Set<Box<R>>()
  #waiting = 0
  #isDraining = false
  #onReturn: () => void = () => {}

  /**
   * `classes.TimeoutError` is thrown instead of this module's, for Sequelize, which tests `instanceof` sequelize-pool's own.
   * Throws Error for a wrong option, with the text of sequelize-pool.
   */
  constructor(
    options: FactoryOptions<R>,
    classes: { readonly TimeoutError?: new (message: string) => Error } = {},
  ) {
    check(options)
    this.#options = options
    this.#timeoutError = classes.TimeoutError ?? TimeoutError
    this.idleTimeoutMillis = options.idleTimeoutMillis ?? 30_000
    this.acquireTimeoutMillis = options.acquireTimeoutMillis ?? 30_000
    this.reapIntervalMillis = options.reapIntervalMillis ?? 1_000
    const acquireTimeoutMs = this.acquireTimeoutMillis || 30_000
    this.core = new CorePool<Box<R>>(this.#manager(), {
      ...(options.name === undefined ? {} : { name: options.name }),
      maxSize: options.max,
      // sequelize-pool reads 0 as "destroy it at its first return".
      maxUses: Math.max(1, Math.ceil(options.maxUses ?? Infinity)),
      maxLifetimeMs: Infinity,
      queueStrategy: 'lifo',
      validationBypassMs: 0,
      idleTimeoutMs: this.idleTimeoutMillis || 30_000,
      acquireTimeoutMs,
      // Later than the callers' deadline, which is reported as a timeout.
      connectTimeoutMs: acquireTimeoutMs + GRACE_MS,
      reapIntervalMs: this.reapIntervalMillis || 1_000,
      retryConnect: false,
      connectBackoff: OWN_CONNECT,
      onError: (error) => this.#log(String(error), 'warn'),
    })
    // After `core` is assigned: its first attempts log the size of the pool.
    this.#keepMin()
  }

  /** The option `name`. */
  get name(): string {
    return this.#options.name as string
  }

  get minSize(): number {
    return this.#options.min
  }

  get size(): number {
    const { connections, opening } = this.core.state()
    return connections + opening
  }

  get maxSize(): number {
    return this.core.state().maxSize
  }

  get available(): number {
    return this.core.state().idle
  }

  get using(): number {
    return this.#leases.size
  }

  get waiting(): number {
    return this.#waiting
  }

  /** A resource. Rejects with TimeoutError, with what `create` failed with, or when the pool is draining. */
  async acquire(): Promise<R> {
    if (this.#isDraining) throw new Error('pool is draining and cannot accept work')
    this.#waiting++
    // Before the core hands out a resource: minIdle does not count it.
    this.#keepMin()
    this.#log(`dispense() clients=${this.#waiting} available=${this.available}`, 'info')
    try {
      const lease = await this.core.acquire()
      const { resource } = lease.connection
      this.#free.delete(lease.connection)
      this.#leases.set(resource, lease)
      return resource
    } catch (error) {
      if (error instanceof AcquireTimeoutError) {
        // Callers compare the original's text; the cause holds the state of the pool.
        throw Object.assign(new this.#timeoutError('Pool acquire operation timeout'), { cause: error })
      }
      if (error instanceof PoolClosedError)
        throw new Error('pool is draining and cannot accept work', { cause: error })
      throw error instanceof ConnectError ? error.cause : error
    } finally {
      this.#waiting--
      this.#keepMin()
      this.#onReturn()
    }
  }

  /** Gives a resource back. Never throws: a resource that is not in use is only logged. */
  release(resource: R): void {
    const lease = this.#leases.get(resource)
    if (lease === undefined) {
      const isFree = [...this.#free].some((box) => box.resource === resource)
      const what = isFree
        ? 'release called twice for the same resource'
        : 'attempt to release an invalid resource'
      this.#log(`${what}: ${new Error().stack}`, 'error')
      return
    }
    this.#leases.delete(resource)
    this.#keepMin()
    this.#free.add(lease.connection)
    lease.release()
    this.#onReturn()
  }

  /**
   * Destroys a resource, in use or idle, and resolves when `destroy` of the factory has. Rejects with what that failed with.
   * Ignores a resource that is not of this pool.
   */
  async destroy(resource: R): Promise<void> {
    const lease = this.#leases.get(resource)
    const box = lease?.connection ?? [...this.#free].find((each) => each.resource === resource)
    if (box === undefined) return
    this.#leases.delete(resource)
    this.#free.delete(box)
    this.#keepMin()
    if (lease === undefined) box.lost()
    else lease.destroy()
    this.#onReturn()
    await box.destroyed.promise
  }

  /** Accepts no more callers, and resolves when every waiter was served and every resource released. */
  async drain(): Promise<void> {
    this.#log('draining', 'info')
    this.#isDraining = true
    await this.core.resize({ minIdle: 0 })
    await new Promise<void>((resolve) => {
      this.#onReturn = () => {
        if (this.#waiting + this.#leases.size === 0) resolve()
      }
      this.#onReturn()
    })
  }

  /**
   * Destroys every idle resource, and resolves when all are destroyed; a resource in use stays. After `drain` it ends the pool.
   * Rejects with {@link AggregateError} if `destroy` of the factory failed.
   */
  async destroyAllNow(): Promise<void> {
    this.#log('force destroying all objects', 'info')
    const errors: Error[] = []
    for (const { resource } of this.#free) {
      try {
        await this.destroy(resource)
      } catch (error) {
        errors.push(error as Error)
      }
    }
    if (this.#isDraining) await this.core.close()
    if (errors.length > 0) throw new AggregateError(errors)
  }

  #manager(): ConnectionManager<Box<R>> {
    const { create, destroy, validate } = this.#options
    return {
      connect: async ({ signal, lost }) => {
        this.#log(
          `createResource() - creating obj - count=${this.size} min=${this.minSize} max=${this.maxSize}`,
          'verbose',
        )
        const resource = await create()
        if (signal.aborted) await destroy(resource)
        signal.throwIfAborted()
        const destroyed = Promise.withResolvers<void>()
        destroyed.promise.catch(() => {})
        const box = { resource, lost, destroyed }
        this.#free.add(box)
        return box
      },
      isValid: ({ resource }) => validate(resource),
      hasBroken: () => false,
      close: async (box) => {
        this.#free.delete(box)
        try {
          await destroy(box.resource)
          box.destroyed.resolve()
        } catch (error) {
          box.destroyed.reject(error)
          throw error
        }
      },
    }
  }

  // `min` counts what is in use; the core's minIdle does not.
  #keepMin(): void {
    if (this.minSize === 0 || this.#isDraining) return
    const minIdle = Math.max(0, Math.min(this.minSize, this.maxSize) - this.#leases.size - this.#waiting)
    if (minIdle !== this.core.state().minIdle) void this.core.resize({ minIdle })
  }

  #log(message: string, level: LogLevel): void {
    const { log } = this.#options
    if (typeof log === 'function') log(message, level)
    else if (log === true) console.log(`${level.toUpperCase()} pool ${this.name ?? ''} - ${message}`)
  }
}

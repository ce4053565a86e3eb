import { AcquireTimeoutError, ConnectError, type Lease, Pool as CorePool, PoolClosedError } from '../index.ts'

/** Options of {@link Pool}: those of sequelize-pool. */
export interface SequelizePoolOptions<R> {
  readonly name?: string | undefined
  readonly create: () => Promise<R>
  readonly destroy: (resource: R) => unknown
  /** Whether a resource that was used before may be used again. Synchronous. */
  readonly validate: (resource: R) => boolean
  readonly max: number
  /** Resources kept in all, from the start. */
  readonly min: number
  /** Checkouts before a resource is replaced. Default: no limit. */
  readonly maxUses?: number | undefined
  /** Default: 30000. */
  readonly idleTimeoutMillis?: number | undefined
  /** Default: 30000. */
  readonly acquireTimeoutMillis?: number | undefined
  /** Default: 1000. */
  readonly reapIntervalMillis?: number | undefined
  /** Hears what went wrong where nobody waits for it. */
  readonly log?: ((message: string, level: string) => unknown) | boolean | undefined
}

interface Box<R> {
  readonly resource: R
}

const GRACE_MS = 1_000

/** An acquire took longer than acquireTimeoutMillis. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/**
 * The class `Pool` of sequelize-pool 8 over a pool of cenote, for Sequelize's connection manager. The same options, methods
 * and counters, without its faults: a create that hangs costs no place, who waits when the pool is drained is served or
 * told, an idle pool does not keep a process alive.
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
  readonly name: string
  readonly minSize: number
  readonly #options: SequelizePoolOptions<R>
  readonly #leases = new Map<R, Lease<Box<R>>>()
  readonly #timeoutError: new (message: string) => Error
  #waiting = 0
  #isDraining = false
  #onReturn: () => void = () => {}

  /** `classes.TimeoutError`: thrown instead of this module's, for Sequelize, which tests `instanceof` sequelize-pool's own. */
  constructor(
    options: SequelizePoolOptions<R>,
    classes: { readonly TimeoutError?: new (message: string) => Error } = {},
  ) {
    this.#options = options
    this.#timeoutError = classes.TimeoutError ?? TimeoutError
    this.minSize = options.min
    const { create, destroy, validate } = options
    this.core = new CorePool<Box<R>>(
      {
        connect: async ({ signal }) => {
          const resource = await create()
          if (signal.aborted) await destroy(resource)
          signal.throwIfAborted()
          return { resource }
        },
        isValid: () => true,
        // Before each use and after it: it is synchronous.
        hasBroken: ({ resource }) => !validate(resource),
        close: async ({ resource }) => {
          await destroy(resource)
        },
      },
      {
        ...(options.name === undefined ? {} : { name: options.name }),
        maxSize: options.max,
        minIdle: Math.min(options.min, options.max),
        maxUses: options.maxUses ?? Infinity,
        maxLifetimeMs: Infinity,
        testOnCheckOut: false,
        idleTimeoutMs: options.idleTimeoutMillis || 30_000,
        acquireTimeoutMs: options.acquireTimeoutMillis || 30_000,
        // Later than who waits for it, who is told of a time-out.
        connectTimeoutMs: (options.acquireTimeoutMillis || 30_000) + GRACE_MS,
        reapIntervalMs: options.reapIntervalMillis || 1_000,
        retryConnect: false,
        onError: (error) => this.#log(String(error), 'warn'),
      },
    )
    this.name = this.core.options.name
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
    // Before the core hands one out, for it keeps so many idle beside it.
    this.#keepMin()
    try {
      const lease = await this.core.acquire()
      const { resource } = lease.connection
      this.#leases.set(resource, lease)
      return resource
    } catch (error) {
      if (error instanceof AcquireTimeoutError) {
        throw Object.assign(new this.#timeoutError(`Pool acquire operation timeout: ${error.message}`), {
          cause: error,
        })
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

  /** Gives a resource back. Never throws: one that is not in use is only logged. */
  release(resource: R): void {
    this.#end(resource, (lease) => lease.release())
  }

  /** Gives a resource back for good. */
  async destroy(resource: R): Promise<void> {
    this.#end(resource, (lease) => lease.destroy())
  }

  /** Accepts no more work, and resolves when all that was asked for has been served and given back. */
  async drain(): Promise<void> {
    this.#isDraining = true
    await this.core.resize({ minIdle: 0 })
    await new Promise<void>((resolve) => {
      this.#onReturn = () => {
        if (this.#waiting + this.#leases.size === 0) resolve()
      }
      this.#onReturn()
    })
  }

  /** Destroys every resource. After `drain`: the end of the pool. */
  async destroyAllNow(): Promise<void> {
    if (this.#isDraining) await this.core.close()
    else this.core.clear()
  }

  // `min` counts what is in use; the core's minIdle does not.
  #keepMin(): void {
    if (this.minSize === 0 || this.#isDraining) return
    const minIdle = Math.max(0, Math.min(this.minSize, this.maxSize) - this.#leases.size - this.#waiting)
    if (minIdle !== this.core.state().minIdle) void this.core.resize({ minIdle })
  }

  #end(resource: R, how: (lease: Lease<Box<R>>) => void): void {
    const lease = this.#leases.get(resource)
    if (lease === undefined) {
      this.#log('a resource was given back that is not in use', 'warn')
      return
    }
    this.#leases.delete(resource)
    this.#keepMin()
    how(lease)
    this.#onReturn()
  }

  #log(message: string, level: string): void {
    const { log } = this.#options
    if (typeof log === 'function') log(message, level)
    else if (log === true) console.log(`${level} pool ${this.name} - ${message}`)
  }
}

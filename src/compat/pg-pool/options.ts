import { OWN_CONNECT } from '../connect-backoff.ts'
import type { PoolOptions as CoreOptions } from '../../index.ts'
import type { Client, ClientBase, ClientConfig, PoolClient, PoolConfig } from './types.ts'

/** The class of the clients. */
export type ClientLikeCtr<C = Client> = new (config?: string | ClientConfig) => C

/** The state to which a returned client is restored. */
export type PgPoolReset = 'none' | 'rollback' | 'discard all'

/** Options of the class `Pool`: those of `pg.Pool`, with those of `pg.Client`, and a few of its own. */
export type PgPoolOptions<C = Client> = Omit<PoolConfig, 'Client' | 'onConnect' | 'verify'> & {
  /** Another name of `max`. */
  poolSize?: number | undefined
  /** The class of the clients. Default: that of the installed package `pg`. */
  Client?: ClientLikeCtr<C> | (new () => ClientBase) | undefined
  /** Prepares a new client before its first use. Its failure is the failure of `connect`. */
  onConnect?: ((client: NoInfer<C>) => unknown) | undefined
  /** Judges a new client: calls back with an error if the client may not be used. */
  verify?: ((client: NoInfer<C> & PoolClient, done: (error?: Error | null) => void) => unknown) | undefined
  /**
   * The treatment of a returned client: `rollback`: an open transaction is rolled back; `discard all`: the session
   * state is reset too, by DISCARD ALL and then `onConnect`; `none`: a client in a transaction is closed. A client with a
   * query still running is always closed. Default: 'rollback'.
   */
  resetOnRelease?: PgPoolReset | undefined
  /**
   * Maximum number of concurrent queries of `pool.query` on one client: they share clients, which needs pg 8.23. A query that
   * needs a client of its own (BEGIN, SET, COPY, several statements, …) gets one, as from `connect`. Cursors and streams
   * are rejected on every client of the pool, and `query_timeout` is rejected. Default: none: a client for each query.
   */
  maxPipeline?: number | undefined
  /** Options of the pool underneath, over those that follow from the above: `name`, `overload`, hooks, … */
  core?: CoreOptions<NoInfer<C> & PoolClient> | undefined
}

/** The options as the pool itself reads them, whatever the types of the driver are. */
export interface GivenOptions {
  readonly max?: number | undefined
  readonly poolSize?: number | undefined
  readonly min?: number | undefined
  readonly maxUses?: number | undefined
  readonly allowExitOnIdle?: boolean | undefined
  readonly maxLifetimeSeconds?: number | undefined
  readonly idleTimeoutMillis?: number | null | undefined
  readonly connectionTimeoutMillis?: number | undefined
  readonly log?: ((...messages: unknown[]) => void) | undefined
  readonly Client?: unknown
  readonly Promise?: PromiseConstructorLike | undefined
  readonly onConnect?: ((client: any) => unknown) | undefined
  readonly verify?: ((client: any, done: (error?: Error | null) => void) => unknown) | undefined
  readonly resetOnRelease?: PgPoolReset | undefined
  readonly maxPipeline?: number | undefined
  readonly core?: CoreOptions<any> | undefined
  readonly [option: string]: unknown
}

/** The options with a default, as the pool itself reads them. */
export interface Defaults {
  readonly max: number
  readonly min: number
  readonly maxUses: number
  readonly allowExitOnIdle: boolean
  readonly maxLifetimeSeconds: number
  readonly idleTimeoutMillis: number | null
}

const GRACE_MS = 1_000
const RESETS: readonly unknown[] = ['none', 'rollback', 'discard all']

/** Throws TypeError for a wrong value of an option that pg-pool does not have. */
export function checkOptions({ resetOnRelease = 'rollback', maxPipeline = 1 }: GivenOptions): void {
  if (!RESETS.includes(resetOnRelease))
    throw new TypeError(
      `resetOnRelease must be 'none', 'rollback' or 'discard all' (got ${String(resetOnRelease)})`,
    )
  if (!Number.isSafeInteger(maxPipeline) || maxPipeline < 1)
    throw new TypeError(`maxPipeline must be an integer >= 1 (got ${String(maxPipeline)})`)
}

/** The options given, with the defaults of pg-pool. */
export function withDefaults(options: GivenOptions): GivenOptions & Defaults {
  const own = {
    ...options,
    max: options.max || options.poolSize || 10,
    min: options.min || 0,
    maxUses: options.maxUses || Infinity,
    allowExitOnIdle: options.allowExitOnIdle ?? false,
    maxLifetimeSeconds: options.maxLifetimeSeconds ?? 0,
    idleTimeoutMillis: options.idleTimeoutMillis === undefined ? 10_000 : options.idleTimeoutMillis,
  }
  hide(own, options)
  return own
}

/** The same in the words of the pool underneath, hooks excepted. */
export function coreOptions(options: GivenOptions & Defaults): CoreOptions<any> {
  const lifetimeMs = (options.maxLifetimeSeconds || Infinity) * 1_000
  const idleMs = options.idleTimeoutMillis || Infinity
  const limitMs = options.connectionTimeoutMillis || Infinity
  return {
    maxSize: options.max,
    minIdle: Math.min(options.min, options.max),
    queueStrategy: 'lifo',
    maxUses: options.maxUses,
    maxLifetimeMs: lifetimeMs,
    lifetimeJitter: 0,
    idleTimeoutMs: idleMs,
    reapIntervalMs: Math.min(Math.max(Math.min(idleMs, lifetimeMs) / 100, 1), 1_000),
    acquireTimeoutMs: limitMs,
    // The driver has the same limit; this is for a driver that has none, after the caller was rejected.
    connectTimeoutMs: limitMs + GRACE_MS,
    retryConnect: false,
    // One attempt per caller, and no wait after a failure, as with pg-pool.
    maxConnecting: options.max,
    connectBackoff: OWN_CONNECT,
  }
}

/** Keeps a password or a key out of the text when the pool is logged. */
function hide(own: object, given: GivenOptions): void {
  if ('password' in given) {
    Object.defineProperty(own, 'password', {
      configurable: true,
      enumerable: false,
      writable: true,
      value: given['password'],
    })
  }
  const { ssl } = given as { ssl?: { key?: unknown } }
  if (typeof ssl === 'object' && ssl !== null && 'key' in ssl) {
    Object.defineProperty(own, 'ssl', {
      enumerable: true,
      value: Object.defineProperty({ ...ssl }, 'key', { enumerable: false }),
    })
  }
}

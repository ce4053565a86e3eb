import type { PoolOptions } from '../../index.ts'
import type { ClientClass, PgPoolClient } from './clients.ts'

/** Options of the class `Pool`: those of pg-pool, and all of `pg.Client`, which get them unchanged. */
export interface PgPoolOptions {
  /** Clients at the most. Default: 10. */
  readonly max?: number | undefined
  /** Another name of `max`. */
  readonly poolSize?: number | undefined
  /** Clients kept ready from the start. pg-pool opens none before they are asked for. Default: 0. */
  readonly min?: number | undefined
  /** Checkouts before a client is replaced. Default: no limit. */
  readonly maxUses?: number | undefined
  /** An idle client does not keep the process alive. Default: false. */
  readonly allowExitOnIdle?: boolean | undefined
  /** Default: 0: no limit. */
  readonly maxLifetimeSeconds?: number | undefined
  /** Idle for longer: ended. 0 or null: never. Default: 10000. */
  readonly idleTimeoutMillis?: number | null | undefined
  /** Limit of one `connect`, waiting included. Default: 0: none. */
  readonly connectionTimeoutMillis?: number | undefined
  readonly log?: ((...messages: unknown[]) => void) | undefined
  /** The class of the clients. Default: that of the installed package `pg`. */
  readonly Client?: ClientClass | undefined
  /** The class of the promises that are returned. Default: Promise. */
  readonly Promise?: PromiseConstructorLike | undefined
  /** Prepares a new client before its first use. What it fails with is what `connect` fails with. */
  readonly onConnect?: ((client: any) => unknown) | undefined
  /** Judges a new client: calls back with an error when it may not be used. */
  readonly verify?: ((client: any, callback: (error?: Error | null) => void) => unknown) | undefined
  /** Options of the pool underneath, over those that follow from the above: `name`, `overload`, hooks, … */
  readonly core?: PoolOptions<PgPoolClient> | undefined
  readonly [option: string]: unknown
}

/** Keeps a password or a key from showing when the pool is logged. */
export function hide(own: PgPoolOptions, given: PgPoolOptions): void {
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

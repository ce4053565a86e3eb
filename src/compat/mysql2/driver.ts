import type { EventEmitter } from 'node:events'

import mysql2 from 'mysql2'

/** The package `mysql2`, as far as it is used. */
export interface Mysql2Module {
  createConnection(config: any): any
  createQuery(sql: unknown, values: unknown, callback: unknown, config: unknown): Query
  format(sql: string, values?: unknown, stringifyObjects?: unknown, timezone?: unknown): string
  escape(value: unknown, stringifyObjects?: unknown, timezone?: unknown): string
  escapeId(value: unknown, forbidQualified?: boolean): string
  raw(sql: string): unknown
  readonly Pool: { readonly prototype: { promise(this: object, promise?: PromiseConstructorLike): object } }
  readonly PoolConnection: new (pool: unknown, options: { readonly config: unknown }) => DriverConnection
  readonly ConnectionConfig: {
    new (options: object): ConnectionConfig
    parseUrl(url: string): Record<string, unknown>
  }
}

/** A query of the driver: an event emitter that ends by `end`, or calls back. */
export interface Query extends EventEmitter {
  onResult?: ((error: Failure | null, ...rest: unknown[]) => unknown) | undefined
  namedPlaceholders?: unknown
}

/** The error of a statement. */
export interface Failure extends Error {
  readonly errno?: number
  readonly fatal?: boolean
}

/** The driver's own view of a config, with its defaults. */
export interface ConnectionConfig {
  readonly connectTimeout: number
  readonly namedPlaceholders?: unknown
  readonly stringifyObjects?: unknown
  readonly timezone?: unknown
  readonly gracefulEnd?: boolean
}

/** A connection of the driver's pool, whose methods that release it are replaced. */
export interface DriverConnection extends EventEmitter {
  query(...args: any[]): Query
  execute(...args: any[]): Query
  close(): void
  release(): void
  destroy(): void
  end(callback?: (error?: unknown) => unknown): unknown
  /** The driver's `end`, which says QUIT after all commands that were given before. */
  _realEnd(callback?: (error?: unknown) => unknown): unknown
  _removeFromPool(): void
  _pool: unknown
  _released: boolean
  lastActiveTime: number
  readonly config: ConnectionConfig
  readonly threadId: number | null
}

/** The installed package `mysql2`. Imported by its literal name, so that bundlers find it. */
export const installed: Mysql2Module = mysql2 as unknown as Mysql2Module

/** The driver that a pool uses: the given one, or the installed package. Throws TypeError for anything else. */
export function driverOf(given: unknown): Mysql2Module {
  if (given === undefined || given === null) return installed
  const { Pool, PoolConnection, ConnectionConfig } = given as Partial<Mysql2Module>
  if ([Pool, PoolConnection, ConnectionConfig].some((part) => typeof part !== 'function')) {
    throw new TypeError("driver must be what `import mysql from 'mysql2'` gives (got something else)")
  }
  return given as Mysql2Module
}

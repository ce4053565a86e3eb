import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'

/** The package `mysql2`, as far as it is used. */
export interface Mysql2Module {
  createConnection(config: any): any
  createQuery(sql: unknown, values: unknown, callback: unknown, config: unknown): Query
  format(sql: string, values?: unknown, stringifyObjects?: unknown, timezone?: unknown): string
  escape(value: unknown, stringifyObjects?: unknown, timezone?: unknown): string
  escapeId(value: unknown, forbidQualified?: boolean): string
  raw(sql: string): unknown
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

/** What a statement failed with. */
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

/** A connection of the driver's pool, whose methods that give it back are our own. */
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

const require = createRequire(import.meta.url)

/** The installed package `mysql2`, or `mysql2/promise`. Throws one line that says what to install, code 'MODULE_NOT_FOUND'. */
export function loadMysql2<T = Mysql2Module>(specifier: string = 'mysql2'): T {
  try {
    return require(specifier) as T
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw cause
    throw Object.assign(
      new Error("cenote/compat/mysql2 needs the package 'mysql2': npm install mysql2", { cause }),
      { code: 'MODULE_NOT_FOUND' },
    )
  }
}

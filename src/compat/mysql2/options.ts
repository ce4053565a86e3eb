import type { PoolConnection, PoolOptions as DriverOptions } from 'mysql2'

import type { PoolOptions as CoreOptions } from '../../index.ts'
import type { ConnectionConfig, Mysql2Module } from './driver.ts'

/** Options of createPool: those of mysql2's, and all of a connection, which get them unchanged. */
export interface PoolOptions extends DriverOptions {
  /**
   * Limit of one getConnection, waiting and connecting included, in milliseconds; mysql2 has none. The error is
   * AcquireTimeoutError. Default: 0: none.
   */
  acquireTimeout?: number
  /** Options of the pool underneath, over those that follow from the above: `name`, `maxLifetimeMs`, `overload`, hooks, … */
  core?: CoreOptions<PoolConnection>
  /** The driver: what `import mysql from 'mysql2'` gives. Default: the installed package `mysql2`. */
  driver?: unknown
}

/** The options of a pool with their defaults, under the names that mysql2 has for them. */
export interface PoolConfig {
  readonly connectionConfig: ConnectionConfig
  readonly waitForConnections: boolean
  /** 0: no limit. */
  connectionLimit: number
  readonly maxIdle: number
  readonly idleTimeout: number
  /** 0: no limit. */
  readonly queueLimit: number
  readonly resetOnRelease: boolean
}

// Options that the driver does not have.
const OWN = ['acquireTimeout', 'core', 'driver', 'uri']

/** The pool's own options with defaults, and what is left for a connection. Throws TypeError for a wrong value. */
export function parse(
  given: PoolOptions | string,
  driver: Mysql2Module,
): { config: PoolConfig; options: PoolOptions; connection: Record<string, unknown> } {
  if (typeof given !== 'string' && (typeof given !== 'object' || given === null)) {
    throw new TypeError(
      `options of createPool must be a connection string or an object (got ${String(given)})`,
    )
  }
  const uri = typeof given === 'string' ? given : given.uri
  const set =
    typeof given === 'string' ? [] : Object.entries(given).filter(([, value]) => value !== undefined)
  const options: PoolOptions = {
    ...(uri === undefined ? {} : driver.ConnectionConfig.parseUrl(uri)),
    ...Object.fromEntries(set),
  }
  const connection: Record<string, unknown> = { ...options }
  for (const name of OWN) delete connection[name]
  const connectionLimit = count(options, 'connectionLimit', 10)
  count(options, 'acquireTimeout', 0)
  const config: PoolConfig = {
    connectionConfig: new driver.ConnectionConfig({ ...connection }),
    waitForConnections: options.waitForConnections === undefined || Boolean(options.waitForConnections),
    connectionLimit,
    maxIdle: count(options, 'maxIdle', connectionLimit),
    idleTimeout: count(options, 'idleTimeout', 60_000),
    queueLimit: count(options, 'queueLimit', 0),
    resetOnRelease: Boolean(options.resetOnRelease),
  }
  return { config, options, connection }
}

type Count = 'acquireTimeout' | 'connectionLimit' | 'idleTimeout' | 'maxIdle' | 'queueLimit'

// Text is a number here too: it comes from the environment or from a connection string.
function count(options: PoolOptions, name: Count, byDefault: number): number {
  const value: unknown = options[name]
  if (value === undefined || value === null) return byDefault
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 0 || typeof value === 'boolean' || value === '') {
    throw new TypeError(`${name} must be an integer >= 0 (got ${JSON.stringify(value)})`)
  }
  return number
}

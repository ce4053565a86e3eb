import type { Pool as DriverPool, PoolConnection } from 'mysql2'

import type { Pool as CorePool } from '../index.ts'
import { installed, type Mysql2Module } from './mysql2/driver.ts'
import type { PoolOptions } from './mysql2/options.ts'
import { Mysql2Pool } from './mysql2/pool.ts'

export type * from 'mysql2'
export type { PoolOptions } from './mysql2/options.ts'

/** The pool of mysql2, with the pool of cenote underneath it. */
export type Pool = DriverPool &
  AsyncDisposable & {
    /** The pool underneath, for its state and telemetry. */
    readonly core: CorePool<PoolConnection>
  }

/**
 * createPool of mysql2 over a pool of cenote. It has the same options, methods with callbacks, `promise()`, events and
 * connections, without the faults of the original. Callers are served in order and in their own async context. An open
 * transaction or a dead connection never reaches the next caller. `idleTimeout` works at every `maxIdle`, and a caller's wait
 * has a limit (`acquireTimeout`). Throws TypeError for a wrong option.
 *
 * @example
 * ```ts
 * import { createPool } from 'cenote/compat/mysql2'
 *
 * const pool = createPool({ uri: process.env.MYSQL_URL, connectionLimit: 10 })
 * pool.query('select 40 + 2 as answer', (error, rows) => {
 *   console.log(error ?? rows) // prints answer: 42
 *   pool.end()
 * })
 * ```
 */
export function createPool(options: PoolOptions | string): Pool {
  return new Mysql2Pool(options) as unknown as Pool
}

/** Not here: make one pool for each server, or use that of mysql2. Throws. */
export function createPoolCluster(): never {
  throw new Error(
    'cenote/compat/mysql2 has no createPoolCluster: make a pool for each server with createPool, or import it from mysql2',
  )
}

/** The driver's own. */
export const createConnection: typeof import('mysql2').createConnection = (config: string | object) =>
  installed.createConnection(config)

/** The driver's own. */
export const format: Mysql2Module['format'] = (...args) => installed.format(...args)

/** The driver's own. */
export const escape: Mysql2Module['escape'] = (...args) => installed.escape(...args)

/** The driver's own. */
export const escapeId: Mysql2Module['escapeId'] = (...args) => installed.escapeId(...args)

/** The driver's own. */
export const raw: Mysql2Module['raw'] = (sql) => installed.raw(sql)

/** For `import mysql from 'cenote/compat/mysql2'`: the driver's own exports, with the pool of cenote. */
const mysql: Omit<typeof import('mysql2'), 'createPool' | 'createPoolCluster'> & {
  createPool: typeof createPool
  createPoolCluster: typeof createPoolCluster
} = Object.assign(Object.create(installed), { createPool, createPoolCluster })
export default mysql

import type { PoolConnection } from 'mysql2'
import promised, { type Pool as DriverPool } from 'mysql2/promise'

import type { Pool as CorePool } from '../index.ts'
import { createPoolCluster } from './mysql2.ts'
import type { PoolOptions } from './mysql2/options.ts'
import { Mysql2Pool } from './mysql2/pool.ts'

export type * from 'mysql2/promise'
export type { PoolOptions } from './mysql2/options.ts'
export { createPoolCluster, escape, escapeId, format, raw } from './mysql2.ts'

/** The pool of mysql2/promise; `pool.pool` is the one with callbacks. */
export type Pool = DriverPool & {
  /** The pool underneath, for its state and telemetry. */
  readonly core: CorePool<PoolConnection>
}

/**
 * createPool of mysql2/promise over a pool of cenote: see that of `cenote/compat/mysql2`.
 *
 * @example
 * ```ts
 * import { createPool } from 'cenote/compat/mysql2/promise'
 *
 * const pool = createPool({ uri: process.env.MYSQL_URL, connectionLimit: 10 })
 * const [rows] = await pool.query('select 40 + 2 as answer')
 * console.log(rows) // prints answer: 42
 * await pool.end()
 * ```
 */
export function createPool(options: PoolOptions | string): Pool {
  const pool = new Mysql2Pool(options)
  const { Promise: own } = options as { Promise?: PromiseConstructorLike }
  return Object.assign(pool.promise(own), { core: pool.core }) as unknown as Pool
}

/** The driver's own. */
export const createConnection: typeof import('mysql2/promise').createConnection = (config: string | object) =>
  promised.createConnection(config as never)

/** For `import mysql from 'cenote/compat/mysql2/promise'`: the driver's own exports, with the pool of cenote. */
const mysql: Omit<typeof import('mysql2/promise'), 'createPool' | 'createPoolCluster'> & {
  createPool: typeof createPool
  createPoolCluster: typeof createPoolCluster
} = Object.assign(Object.create(promised), { createPool, createPoolCluster })
export default mysql

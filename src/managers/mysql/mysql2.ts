import { PoolOptionsError } from '../../core/contract/errors.ts'
import type { Pool } from '../../core/pool.ts'
import type { Transaction } from '../transaction.ts'
import { type MysqlConfigSource, MysqlManager, type MysqlOptions } from './manager.ts'
import type { Mysql2Connection, Mysql2Driver } from './mysql2-driver.ts'
import { MYSQL2 } from './mysql2-session.ts'
import { type MysqlTransactionOptions, runMysqlTransaction } from './transaction.ts'

export { type Transaction, TransactionError, type TransactionErrorCode } from '../transaction.ts'
export type { MysqlIsolation, MysqlTransactionOptions } from './transaction.ts'
export type {
  MysqlConfigOrUrl,
  MysqlConfigSource,
  MysqlManager,
  MysqlOptions,
  MysqlReset as Mysql2Reset,
} from './manager.ts'
export type { Mysql2Connection, Mysql2Driver, StructuralMysql2Connection } from './mysql2-driver.ts'

/** Options of {@link Mysql2Manager}. */
export interface Mysql2ManagerOptions<C extends object = Mysql2Connection> extends MysqlOptions<C> {
  /**
   * The driver: what `import mysql from 'mysql2/promise'` gives, or 'mysql2' for connections with callbacks.
   * Default: 'mysql2/promise' of the installed package `mysql2`, loaded at the first connect.
   */
  readonly driver?: Mysql2Driver<C> | undefined
}

/**
 * Connections to MySQL and MariaDB with the driver `mysql2`: `new Pool(new Mysql2Manager('mysql://…'))`.
 *
 * A lease holds what the driver's `createConnection` makes. A connection that the server ends (KILL, wait_timeout,
 * shutdown) is known to be broken immediately. A connection that is returned in a transaction, with another database or
 * `autocommit` than it had, or with a command still running is never handed on as it is. The time to connect is limited
 * by the pool's `connectTimeoutMs`, not by the driver's 10 s, unless the config has a `connectTimeout`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { Mysql2Manager } from 'cenote/mysql2'
 *
 * await using pool = new Pool(new Mysql2Manager(process.env.MYSQL_URL))
 * const [rows] = await pool.run((connection) => connection.query('select 40 + 2 as answer'))
 * console.log(rows) // prints [ { answer: 42 } ]
 * ```
 */
export class Mysql2Manager<C extends object = Mysql2Connection> extends MysqlManager<C> {
  /**
   * `config`: what the driver's `createConnection` takes, or a connection string, or a function that returns either. Throws
   * TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: MysqlConfigSource, options: Mysql2ManagerOptions<C> = {}) {
    super(MYSQL2, config, options)
  }

  /** Throws PoolOptionsError: connections of mysql2 cannot be shared, because the driver sends one command at a time. */
  get share(): undefined {
    throw new PoolOptionsError(
      '',
      'pool',
      this,
      'pool must be one whose connections can be shared (got one of mysql2, which sends one command at a time). Use cenote/mariadb, or pool.run',
    )
  }
}

/**
 * Calls `fn` with a connection of the pool inside a transaction: START TRANSACTION, `fn`, COMMIT. Rolls back when `fn` throws
 * or `signal` aborts; the error of `fn`, or the reason of the signal, passes through. `timeoutMs` bounds the wait for a
 * connection, never the work. `tx.transaction(fn)` is a savepoint. `retries` repeats the transaction after a deadlock (1213).
 *
 * Rejects with `TransactionError` (code 'COMMIT_UNKNOWN') when the connection was lost before the answer to COMMIT arrived.
 * Throws TypeError for a wrong option, and every error of `pool.run`. A statement of DDL commits implicitly.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { Mysql2Manager, transaction } from 'cenote/mysql2'
 * import type { RowDataPacket } from 'mysql2'
 *
 * await using pool = new Pool(new Mysql2Manager(process.env.MYSQL_URL))
 * const total = await transaction(pool, async (tx) => {
 *   await tx.query('create temporary table stock (n int)')
 *   await tx.query('insert into stock values (40), (2)')
 *   await tx.transaction((savepoint) => savepoint.query('select nonsense')).catch(() => {})
 *   const [rows] = await tx.query<RowDataPacket[]>('select sum(n) as total from stock')
 *   return Number(rows[0]?.['total'])
 * })
 * console.log(total) // prints 42
 * ```
 */
export async function transaction<C extends object, T>(
  pool: Pick<Pool<C>, 'run'>,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  options: MysqlTransactionOptions = {},
): Promise<T> {
  return await runMysqlTransaction(MYSQL2, pool, fn, options)
}

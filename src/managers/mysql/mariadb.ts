import type { ShareableConnection } from '../../core/contract/share.ts'
import type { Pool } from '../../core/pool.ts'
import type { Transaction } from '../transaction.ts'
import type { MariadbConnection, MariadbDriver } from './mariadb-driver.ts'
import { MARIADB, type MariadbSession } from './mariadb-session.ts'
import { mariadbShare, type MariadbSharedView, refuseSocketTimeout } from './mariadb-share.ts'
import { type MysqlConfigSource, MysqlManager, type MysqlOptions } from './manager.ts'
import { type MysqlTransactionOptions, runMysqlTransaction } from './transaction.ts'

export { type Transaction, TransactionError, type TransactionErrorCode } from '../transaction.ts'
export type { MariadbSharedView } from './mariadb-share.ts'
export type { MysqlIsolation, MysqlTransactionOptions } from './transaction.ts'
export type { MariadbConnection, MariadbDriver, StructuralMariadbConnection } from './mariadb-driver.ts'
export type {
  MysqlConfigOrUrl,
  MysqlConfigSource,
  MysqlManager,
  MysqlOptions,
  MysqlReset as MariadbReset,
} from './manager.ts'

/** Options of {@link MariadbManager}. */
export interface MariadbManagerOptions<C extends object = MariadbConnection> extends MysqlOptions<C> {
  /**
   * The driver: what `import mariadb from 'mariadb'` gives. Default: the installed package `mariadb`, loaded at the first
   * connect.
   */
  readonly driver?: MariadbDriver<C> | undefined
}

/**
 * Connections to MariaDB and MySQL with the driver `mariadb`: `new Pool(new MariadbManager('mariadb://…'))`.
 *
 * A connection that the server ends (KILL, wait_timeout, shutdown) is known to be broken immediately. A connection that is
 * returned in a transaction, with another database or `autocommit` than it had, or with a command still running is never
 * handed on as it is. The time to connect is limited by the pool's `connectTimeoutMs`, not by the driver's 1 s, unless the
 * config has a `connectTimeout`. Redirects by the server are not followed.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { MariadbManager } from 'cenote/mariadb'
 *
 * await using pool = new Pool(new MariadbManager(process.env.MYSQL_URL))
 * const rows = await pool.run((connection) => connection.query('select 40 + 2 as answer'))
 * console.log(Number(rows[0].answer)) // prints 42
 * ```
 */
export class MariadbManager<C extends object = MariadbConnection> extends MysqlManager<C> {
  readonly #share: ShareableConnection<C, MariadbSharedView<C>>

  /**
   * `config`: what the driver's `createConnection` takes, or a connection string, or a function that returns either. Throws
   * TypeError for a wrong config, PoolOptionsError for a wrong option.
   */
  constructor(config: MysqlConfigSource, options: MariadbManagerOptions<C> = {}) {
    super(MARIADB, config, options)
    this.#share = mariadbShare<C>((connection) => {
      const { session, isUnchanged } = this.sessionOf(connection)
      return { session: session as MariadbSession, isUnchanged }
    })
  }

  /** The sharing of connections. Throws PoolOptionsError if the config has a `socketTimeout`. */
  get share(): ShareableConnection<C, MariadbSharedView<C>> {
    refuseSocketTimeout(this.configured('socketTimeout'))
    return this.#share
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
 * import { MariadbManager, transaction } from 'cenote/mariadb'
 *
 * await using pool = new Pool(new MariadbManager(process.env.MYSQL_URL))
 * const total = await transaction(pool, async (tx) => {
 *   await tx.query('create temporary table stock (n int)')
 *   await tx.query('insert into stock values (40), (2)')
 *   await tx.transaction((savepoint) => savepoint.query('select nonsense')).catch(() => {})
 *   const rows = await tx.query('select sum(n) as total from stock')
 *   return Number(rows[0].total)
 * })
 * console.log(total) // prints 42
 * ```
 */
export async function transaction<C extends object, T>(
  pool: Pick<Pool<C>, 'run'>,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  options: MysqlTransactionOptions = {},
): Promise<T> {
  return await runMysqlTransaction(MARIADB, pool, fn, options)
}

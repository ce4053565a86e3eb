import type { Pool } from '../../core/pool.ts'
import {
  checkTransactionOptions,
  runTransaction,
  type Transaction,
  type TransactionDialect,
  type TransactionOptions,
} from '../transaction.ts'
import type { SqliteDatabase } from './driver.ts'

/** When a transaction of SQLite takes its lock. */
export type SqliteIsolation = 'deferred' | 'immediate' | 'exclusive'

/** Options of {@link transaction}. */
export interface SqliteTransactionOptions extends TransactionOptions {
  /** `immediate` takes the writer's lock at the begin, so that no later statement finds it taken. Default: 'immediate'. */
  readonly isolation?: SqliteIsolation | undefined
  /** Whether the transaction only reads: it begins 'deferred', and takes no lock of a writer. Default: false. */
  readonly readOnly?: boolean | undefined
}

const ISOLATIONS: readonly SqliteIsolation[] = ['deferred', 'immediate', 'exclusive']
const BUSY = /^SQLITE_BUSY/

/**
 * Calls `fn` with a connection of the pool inside a transaction: BEGIN, `fn`, COMMIT. Rolls back when `fn` throws or
 * `signal` aborts. `fn` may be asynchronous; the connection serves no other caller in the meantime. `tx.transaction(fn)` is a
 * savepoint. `retries` repeats the transaction when the database is locked (SQLITE_BUSY).
 *
 * Throws TypeError for a wrong option, and every error of `pool.run`.
 *
 * @example
 * ```ts
 * import { mkdtempSync } from 'node:fs'
 * import { tmpdir } from 'node:os'
 * import { join } from 'node:path'
 *
 * import { openSqlite, transaction } from 'cenote/sqlite'
 *
 * await using sqlite = await openSqlite(join(mkdtempSync(join(tmpdir(), 'cenote-')), 'stock.db'))
 * const row = await transaction(sqlite.writer, (tx) => {
 *   tx.exec('create table stock (n integer); insert into stock values (40), (2)')
 *   return tx.prepare('select sum(n) as total from stock').get()
 * })
 * console.log(row) // prints total: 42
 * ```
 */
export async function transaction<D extends object, T>(
  pool: Pick<Pool<D>, 'run'>,
  fn: (tx: Transaction<D>) => T | PromiseLike<T>,
  options: SqliteTransactionOptions = {},
): Promise<T> {
  const rest = checkTransactionOptions(options, ISOLATIONS)
  const { isolation = options.readOnly === true ? 'deferred' : 'immediate' } = options
  const used = (database: D): SqliteDatabase => database as SqliteDatabase
  const isOpen = (database: D): boolean => {
    const { isTransaction, inTransaction } = used(database)
    return isTransaction === true || inTransaction === true
  }
  const dialect: TransactionDialect<D> = {
    begin: [`BEGIN ${isolation}`],
    execute: (database, sql) => used(database).exec(sql),
    commit: (database) => {
      used(database).exec('COMMIT')
      return true
    },
    isRefusal: () => true,
    isTransient: (error) => {
      const { code, errcode } = error as { code?: unknown; errcode?: unknown }
      return typeof errcode === 'number' ? (errcode & 0xff) === 5 : BUSY.test(String(code))
    },
    stateOf: (database) => {
      try {
        return isOpen(database) ? 'transaction' : 'idle'
      } catch {
        return 'unusable'
      }
    },
  }
  return await runTransaction(dialect, pool, fn, rest)
}

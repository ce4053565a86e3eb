import type { Pool } from '../../core/pool.ts'
import {
  checkTransactionOptions,
  runTransaction,
  type Transaction,
  type TransactionDialect,
  type TransactionOptions,
} from '../transaction.ts'
import type { PgClient } from './client.ts'
import { codeOf, isFatalMessage } from './errors.ts'

/** The isolation levels of PostgreSQL. */
export type PgIsolation = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'

/** Options of {@link transaction}. */
export interface PgTransactionOptions extends TransactionOptions {
  /** Default: the server's `default_transaction_isolation`, which is 'read committed' unless it was changed. */
  readonly isolation?: PgIsolation | undefined
  /** Whether the server refuses every change. Default: the server's `default_transaction_read_only`. */
  readonly readOnly?: boolean | undefined
}

const ISOLATIONS: readonly PgIsolation[] = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
]
const TRANSIENT = new Set(['40001', '40P01'])
// With 40003 and class 08 the server itself does not know the outcome.
const SQLSTATE = /^(?!08|40003)[0-9A-Z]{5}$/

/**
 * Calls `fn` with a connection of the pool inside a transaction: BEGIN, `fn`, COMMIT. Rolls back when `fn` throws or
 * `signal` aborts; the error of `fn`, or the reason of the signal, passes through. `timeoutMs` bounds the wait for a
 * connection, never the work. `tx.transaction(fn)` is a savepoint.
 *
 * Rejects with {@link TransactionError} when COMMIT was answered with ROLLBACK (code 'ROLLED_BACK'), and when the
 * connection was lost before the answer to COMMIT arrived (code 'COMMIT_UNKNOWN'). An abort after COMMIT was sent has no
 * effect if the server commits. Throws TypeError for a wrong option, and every error of `pool.run`.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager, transaction } from 'cenote/pg'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL))
 * const total = await transaction(
 *   pool,
 *   async (tx) => {
 *     await tx.query('create temporary table stock (n int) on commit drop')
 *     await tx.query('insert into stock values (40), (2)')
 *     await tx.transaction((savepoint) => savepoint.query('select 1 / 0')).catch(() => {})
 *     const { rows } = await tx.query('select sum(n)::int as total from stock')
 *     return rows[0].total
 *   },
 *   { isolation: 'serializable', retries: 3 },
 * )
 * console.log(total) // prints 42
 * ```
 */
export async function transaction<C extends object, T>(
  pool: Pick<Pool<C>, 'run'>,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  options: PgTransactionOptions = {},
): Promise<T> {
  const rest = checkTransactionOptions(options, ISOLATIONS)
  const { isolation, readOnly } = options
  const level = isolation === undefined ? '' : ` isolation level ${isolation}`
  const access = readOnly === undefined ? '' : readOnly ? ' read only' : ' read write'
  const dialect = { ...DIALECT, begin: [`begin${level}${access}`] }
  return await runTransaction(dialect as unknown as TransactionDialect<C>, pool, fn, rest)
}

const DIALECT: Omit<TransactionDialect<PgClient>, 'begin'> = {
  execute: (client, sql) => client.query(sql),
  commit: async (client) => {
    const { command } = (await client.query('commit')) as { command?: string }
    return command !== 'ROLLBACK'
  },
  isRefusal: (client, error) =>
    SQLSTATE.test(codeOf(error) ?? '') && !isFatalMessage(error) && client._queryable !== false,
  isTransient: (error) => TRANSIENT.has(codeOf(error) ?? ''),
  stateOf: (client) => {
    const isBusy = (client._activeQuery ?? null) !== null || (client._queryQueue?.length ?? 0) > 0
    if (isBusy || client._queryable === false || client._ended === true) return 'unusable'
    return client._txStatus === 'I' ? 'idle' : 'transaction'
  },
}

import type { Pool } from '../../core/pool.ts'
import {
  checkTransactionOptions,
  runTransaction,
  type Transaction,
  type TransactionDialect,
  type TransactionOptions,
} from '../transaction.ts'
import { isLastError } from './errors.ts'
import { IN_TRANSACTION, type MysqlAdapter, type MysqlSession } from './session.ts'

/** The isolation levels of MySQL and MariaDB. */
export type MysqlIsolation = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'

/** Options of `transaction`. */
export interface MysqlTransactionOptions extends TransactionOptions {
  /** Default: the session's level, which is 'repeatable read' unless it was changed. */
  readonly isolation?: MysqlIsolation | undefined
  /** Whether the server refuses every change. Default: the session's, which is false unless it was changed. */
  readonly readOnly?: boolean | undefined
}

const ISOLATIONS: readonly MysqlIsolation[] = [
  'read uncommitted',
  'read committed',
  'repeatable read',
  'serializable',
]
// A deadlock: the server has rolled back.
const DEADLOCK = 1213
const sessions = new WeakMap<object, MysqlSession>()

/** Makes the session of a connection known to its transactions. */
export function remember(connection: object, session: MysqlSession): void {
  sessions.set(connection, session)
}

/** Runs `fn` in a transaction, for a driver whose connections cannot answer whether COMMIT rolled back: MySQL never does. */
export async function runMysqlTransaction<C extends object, T>(
  adapter: MysqlAdapter,
  pool: Pick<Pool<C>, 'run'>,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  options: MysqlTransactionOptions,
): Promise<T> {
  const rest = checkTransactionOptions(options, ISOLATIONS)
  const { isolation, readOnly } = options
  const access = readOnly === undefined ? '' : readOnly ? ' READ ONLY' : ' READ WRITE'
  const level = isolation === undefined ? [] : [`SET TRANSACTION ISOLATION LEVEL ${isolation}`]
  const sessionOf = (connection: C): MysqlSession => {
    const session = sessions.get(connection)
    if (session === undefined) throw new TypeError(`pool must be a pool of ${adapter.manager} (got another)`)
    return session
  }
  const dialect: TransactionDialect<C> = {
    begin: [...level, `START TRANSACTION${access}`],
    execute: (connection, sql) => sessionOf(connection).query(sql),
    commit: async (connection) => {
      await sessionOf(connection).query('COMMIT')
      return true
    },
    isRefusal: (connection, error) =>
      typeof (error as { errno?: unknown }).errno === 'number' &&
      !isLastError(error) &&
      !sessionOf(connection).isDead(),
    isTransient: (error) => (error as { errno?: unknown } | undefined)?.errno === DEADLOCK,
    stateOf: (connection) => {
      const session = sessionOf(connection)
      if (session.isDead() || session.isBusy()) return 'unusable'
      return session.status === undefined || (session.status & IN_TRANSACTION) !== 0 ? 'transaction' : 'idle'
    },
  }
  return await runTransaction(dialect, pool, fn, rest)
}

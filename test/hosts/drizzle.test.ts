import { sql } from 'drizzle-orm'
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2'
import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'

import * as promised from '../../src/compat/mysql2-promise.ts'
import { createPool } from '../../src/compat/mysql2.ts'
import { Pool } from '../../src/compat/pg-pool.ts'
import { isPoolError } from '../../src/index.ts'
import { describeHost, type Host, type Runner } from './host.ts'

interface Db {
  execute(query: ReturnType<typeof sql.raw>): Promise<unknown>
  transaction(work: (transaction: Db) => Promise<unknown>): Promise<unknown>
}

const first = (row: unknown): unknown => Object.values((row ?? {}) as object)[0]
const runnerOf = (db: Db, rowOf: (result: unknown) => unknown): Runner => ({
  one: async (text) => first(rowOf(await db.execute(sql.raw(text)))),
})
function hostOf(
  db: Db,
  rowOf: (result: unknown) => unknown,
  pool: Pick<Host, 'core'> & { end(): Promise<void> },
): Host {
  return {
    core: pool.core,
    ...runnerOf(db, rowOf),
    close: () => pool.end(),
    transaction: (work) =>
      db.transaction((transaction) =>
        work({
          ...runnerOf(transaction, rowOf),
          nested: (inner) => transaction.transaction((savepoint) => inner(runnerOf(savepoint, rowOf))),
        }),
      ),
  }
}
const rowOfPg = (result: unknown): unknown => (result as { rows: unknown[] }).rows[0]
const rowOfMysql = (result: unknown): unknown => {
  const [rows] = result as [unknown]
  return Array.isArray(rows) ? rows[0] : undefined
}
// Drizzle wraps what a query fails with.
const causeOf = (error: unknown): Error => ((error as Error).cause ?? error) as Error

describeHost('Drizzle node-postgres', {
  server: 'postgres',
  open: (connectionString, { max, timeoutMs }) => {
    const pool = new Pool({ connectionString, max, connectionTimeoutMillis: timeoutMs })
    return hostOf(drizzlePg({ client: pool }) as unknown as Db, rowOfPg, pool)
  },
  isTimeout: (error) => causeOf(error).message === 'timeout exceeded when trying to connect',
})

const isTimeout = (error: unknown): boolean => isPoolError(causeOf(error))

describeHost('Drizzle mysql2', {
  server: 'mariadb',
  open: (uri, { max, timeoutMs }) => {
    const pool = promised.createPool({ uri, connectionLimit: max, acquireTimeout: timeoutMs })
    return hostOf(drizzleMysql({ client: pool }) as unknown as Db, rowOfMysql, pool)
  },
  isTimeout,
})

describeHost('Drizzle mysql2 with callbacks', {
  server: 'mariadb',
  open: (uri, { max, timeoutMs }) => {
    const pool = createPool({ uri, connectionLimit: max, acquireTimeout: timeoutMs })
    const db = drizzleMysql({ client: pool }) as unknown as Db
    return hostOf(db, rowOfMysql, {
      core: pool.core,
      end: () => pool[Symbol.asyncDispose]() as Promise<void>,
    })
  },
  isTimeout,
})

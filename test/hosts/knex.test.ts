import knex, { type Knex } from 'knex'
import { TimeoutError } from 'tarn'

import { createPool } from '../../src/compat/mysql2.ts'
import { Pool as PgPool } from '../../src/compat/pg-pool.ts'
import { Pool as TarnPool } from '../../src/compat/tarn.ts'
import { isPoolError } from '../../src/index.ts'
import { describeHost, type Host, type Runner } from './host.ts'

const runnerOf = (db: Knex): Runner => ({
  one: async (text) => {
    const result: unknown = await db.raw(text)
    const rows = Array.isArray(result) ? (result[0] as unknown) : (result as { rows: unknown[] }).rows
    const row = Array.isArray(rows) ? (rows[0] as unknown) : undefined
    return Object.values((row ?? {}) as object)[0]
  },
})
function hostOf(db: Knex, core: Host['core'], end: () => Promise<unknown>): Host {
  return {
    core,
    ...runnerOf(db),
    close: async () => {
      await db.destroy()
      await end()
    },
    transaction: (work) =>
      db.transaction((transaction) =>
        work({
          ...runnerOf(transaction),
          nested: (inner) => transaction.transaction((savepoint) => inner(runnerOf(savepoint))),
        }),
      ),
  }
}
const log = { warn: () => {}, error: () => {} }

describeHost('Knex pg, connectionPool', {
  server: 'postgres',
  open: (connectionString, { max, timeoutMs }) => {
    const pool = new PgPool({ connectionString, max, connectionTimeoutMillis: timeoutMs })
    return hostOf(knex({ client: 'pg', connectionPool: pool, log }), pool.core, () => pool.end())
  },
  isTimeout: (error) => (error as Error).message === 'timeout exceeded when trying to connect',
})

describeHost('Knex pg, its tarn', {
  server: 'postgres',
  open: (connection, { max, timeoutMs }) => {
    const db = knex({ client: 'pg', connection, pool: { max: 0 }, acquireConnectionTimeout: timeoutMs, log })
    const { client } = db as unknown as { client: TarnHost }
    const pool = new TarnPool(client.getPoolSettings({ min: 0, max }), { TimeoutError })
    client.initializeExternalPool(pool)
    return hostOf(db, pool.core, () => pool.destroy())
  },
  isTimeout: (error) => (error as Error).name === 'KnexTimeoutError',
  seesLoss: 'when used',
})

describeHost('Knex mysql2, connectionPool', {
  server: 'mariadb',
  open: (uri, { max, timeoutMs }) => {
    const pool = createPool({ uri, connectionLimit: max, acquireTimeout: timeoutMs })
    const end = (): Promise<void> => pool[Symbol.asyncDispose]() as Promise<void>
    return hostOf(knex({ client: 'mysql2', connectionPool: pool as never, log }), pool.core, end)
  },
  isTimeout: isPoolError,
})

interface TarnHost {
  getPoolSettings(options: object): ConstructorParameters<typeof TarnPool>[0]
  initializeExternalPool(pool: object): void
}

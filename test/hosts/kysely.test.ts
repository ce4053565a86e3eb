import {
  CompiledQuery,
  Kysely,
  MysqlDialect,
  PostgresDialect,
  sql,
  type Transaction as KyselyTransaction,
} from 'kysely'

import { createPool } from '../../src/compat/mysql2.ts'
import { Pool as PgPool } from '../../src/compat/pg-pool.ts'
import { isPoolError, Pool } from '../../src/index.ts'
import { MysqlPoolDialect, PostgresPoolDialect } from '../../src/kysely/index.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { describeHost, type Host } from './host.ts'

type Db = Kysely<Record<string, never>>

async function one(db: Db, text: string): Promise<unknown> {
  const { rows } = await db.executeQuery<Record<string, unknown>>(CompiledQuery.raw(text))
  return Object.values(rows[0] ?? {})[0]
}

/** A host that is a Kysely, its nested transactions savepoints of a controlled one. */
function hostOf(db: Db, core: Host['core']): Host {
  return {
    core,
    one: (text) => one(db, text),
    close: () => db[Symbol.asyncDispose](),
    transaction: (work) =>
      db.transaction().execute((trx: KyselyTransaction<Record<string, never>>) =>
        work({
          one: (text) => one(trx, text),
          nested: async (inner) => {
            await sql`savepoint inner_one`.execute(trx)
            try {
              const result = await inner({ one: (text) => one(trx, text) })
              await sql`release savepoint inner_one`.execute(trx)
              return result
            } catch (error) {
              await sql`rollback to savepoint inner_one`.execute(trx)
              throw error
            }
          },
        }),
      ),
  }
}

const isCoreTimeout = (error: unknown): boolean =>
  isPoolError(error) && (error as { code?: string }).code === 'ACQUIRE_TIMEOUT'

describeHost('Kysely PostgresDialect', {
  server: 'postgres',
  open: (connectionString, { max, timeoutMs }) => {
    const pool = new PgPool({ connectionString, max, connectionTimeoutMillis: timeoutMs })
    return hostOf(new Kysely({ dialect: new PostgresDialect({ pool }) }), pool.core)
  },
  isTimeout: (error) => (error as Error).message === 'timeout exceeded when trying to connect',
})

describeHost('Kysely MysqlDialect', {
  server: 'mariadb',
  open: (uri, { max, timeoutMs }) => {
    const pool = createPool({ uri, connectionLimit: max, acquireTimeout: timeoutMs })
    return hostOf(new Kysely({ dialect: new MysqlDialect({ pool }) }), pool.core)
  },
  isTimeout: isCoreTimeout,
})

describeHost('Kysely PostgresPoolDialect', {
  server: 'postgres',
  open: (url, { max, timeoutMs }) => {
    const pool = new Pool(new PgManager(url), {
      maxSize: max,
      acquireTimeoutMs: timeoutMs,
      retryConnect: false,
    })
    return hostOf(new Kysely({ dialect: new PostgresPoolDialect({ pool }) }), pool)
  },
  isTimeout: isCoreTimeout,
})

describeHost('Kysely MysqlPoolDialect', {
  server: 'mariadb',
  open: (url, { max, timeoutMs }) => {
    const pool = new Pool(new Mysql2Manager(url), {
      maxSize: max,
      acquireTimeoutMs: timeoutMs,
      retryConnect: false,
    })
    return hostOf(new Kysely({ dialect: new MysqlPoolDialect({ pool }) }), pool)
  },
  isTimeout: isCoreTimeout,
})

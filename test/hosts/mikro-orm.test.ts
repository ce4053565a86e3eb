import { MikroORM, type SqlEntityManager } from '@mikro-orm/postgresql'
import { defineEntity, p } from '@mikro-orm/core'
import { PostgresDialect } from 'kysely'

import { Pool as PgPool } from '../../src/compat/pg-pool.ts'
import { isPoolError, Pool } from '../../src/index.ts'
import { PostgresPoolDialect } from '../../src/kysely/index.ts'
import { PgManager } from '../../src/managers/pg.ts'
import { describeHost, type Host, type Runner } from './host.ts'

const Thing = defineEntity({ name: 'Thing', properties: { id: p.integer().primary() } })

const runnerOf = (em: SqlEntityManager): Runner => ({
  one: async (text) => {
    const rows = await em.execute(text)
    return Object.values((Array.isArray(rows) ? (rows[0] ?? {}) : {}) as object)[0]
  },
})
async function hostOf(driverOptions: object, core: Host['core']): Promise<Host> {
  const orm = await MikroORM.init({ entities: [Thing], dbName: 'postgres', driverOptions, debug: false })
  const own = (): SqlEntityManager => orm.em.fork({ freshEventManager: true, useContext: false })
  return {
    core,
    one: (text) => runnerOf(own()).one(text),
    close: () => orm.close(true),
    transaction: (work) =>
      own().transactional((em) =>
        work({
          ...runnerOf(em),
          nested: (inner) => em.transactional((savepoint) => inner(runnerOf(savepoint))),
        }),
      ),
  }
}
const chain = (error: unknown): string =>
  error instanceof Error ? `${error.message} ${chain(error.cause)}` : ''

describeHost('MikroORM, pg-pool', {
  server: 'postgres',
  open: (connectionString, { max, timeoutMs }) => {
    const pool = new PgPool({ connectionString, max, connectionTimeoutMillis: timeoutMs })
    return hostOf(new PostgresDialect({ pool }), pool.core)
  },
  isTimeout: (error) => chain(error).includes('timeout exceeded when trying to connect'),
})

describeHost('MikroORM, PostgresPoolDialect', {
  server: 'postgres',
  open: (url, { max, timeoutMs }) => {
    const pool = new Pool(new PgManager(url), {
      maxSize: max,
      acquireTimeoutMs: timeoutMs,
      retryConnect: false,
    })
    return hostOf(new PostgresPoolDialect({ pool }), pool)
  },
  isTimeout: (error) => isPoolError(error) || chain(error).includes('acquire timed out'),
})

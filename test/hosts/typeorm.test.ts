import 'reflect-metadata'
import pg from 'pg'
import { DataSource, type DataSourceOptions, type EntityManager } from 'typeorm'

import * as mysqlCompat from '../../src/compat/mysql2.ts'
import { type PgPoolOptions, Pool } from '../../src/compat/pg-pool.ts'
import { isPoolError } from '../../src/index.ts'
import { describeHost, type Host, type Runner } from './host.ts'

const runnerOf = (manager: Pick<EntityManager, 'query'>): Runner => ({
  one: async (text) => {
    const rows: unknown = await manager.query(text)
    return Array.isArray(rows) ? Object.values((rows[0] ?? {}) as object)[0] : undefined
  },
})
async function hostOf(options: DataSourceOptions, core: () => Host['core']): Promise<Host> {
  const source = new DataSource(options)
  await source.initialize()
  return {
    core: core(),
    ...runnerOf(source),
    close: () => source.destroy(),
    transaction: (work) =>
      source.transaction((manager) =>
        work({
          ...runnerOf(manager),
          nested: (inner) => manager.transaction((savepoint) => inner(runnerOf(savepoint))),
        }),
      ),
  }
}

describeHost('TypeORM postgres', {
  server: 'postgres',
  open: (url, { max, timeoutMs }) => {
    const made: Pool[] = []
    class Own extends Pool {
      constructor(options: PgPoolOptions) {
        super(options)
        made.push(this)
      }
    }
    return hostOf(
      {
        type: 'postgres',
        driver: { ...pg, Pool: Own },
        url,
        poolSize: max,
        connectTimeoutMS: timeoutMs,
        poolErrorHandler: () => {},
      },
      () => (made[0] as Pool).core,
    )
  },
  isTimeout: (error) => (error as Error).message === 'timeout exceeded when trying to connect',
})

describeHost('TypeORM mysql', {
  server: 'mariadb',
  open: (url, { max, timeoutMs }) => {
    let made: mysqlCompat.Pool | undefined
    const driver = {
      ...mysqlCompat,
      createPool: (options: mysqlCompat.PoolOptions) => (made = mysqlCompat.createPool(options)),
    }
    return hostOf(
      { type: 'mariadb', driver, url, poolSize: max, extra: { acquireTimeout: timeoutMs } },
      () => (made as mysqlCompat.Pool).core,
    )
  },
  isTimeout: isPoolError,
})

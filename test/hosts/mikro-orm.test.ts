import { MikroORM, type SqlEntityManager } from '@mikro-orm/postgresql'
import { defineEntity, p } from '@mikro-orm/core'
import { PostgresDialect } from 'kysely'
import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { Pool as PgPool } from '../../src/compat/pg-pool.ts'
import { isPoolError, Pool } from '../../src/index.ts'
import { PostgresPoolDialect } from '../../src/kysely/index.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { describeHost, execute, type Host, type Runner } from './host.ts'

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

const url = inject('postgresUrl')

test.skipIf(url === '')(
  'entities: what is written is read, dates too, and a flush that fails writes nothing',
  async () => {
    const table = `cenote_mikro_${process.pid}`
    await execute(url, [`create table ${table} (id int primary key, title text, sold_at timestamptz)`])
    const Book = defineEntity({
      name: 'Book',
      tableName: table,
      properties: { id: p.integer().primary(), title: p.string(), soldAt: p.datetime() },
    })
    const types = new pg.TypeOverrides()
    for (const oid of [1082, 1114, 1184, 1186]) types.setTypeParser(oid, (text: string) => text)
    const pool = new Pool(new PgManager({ connectionString: url, types }), { maxSize: 2 })
    {
      await using orm = await MikroORM.init({
        entities: [Book],
        dbName: 'postgres',
        driverOptions: new PostgresPoolDialect({ pool }) as never,
      })
      const soldAt = new Date('2026-02-03T04:05:06.789Z')
      const em = orm.em.fork()
      em.create(Book, { id: 1, title: 'one', soldAt })
      em.create(Book, { id: 2, title: 'two', soldAt })
      await em.flush()
      const found = await orm.em.fork().find(Book, { title: 'two' })
      expect(found.map((book) => [book.id, book.soldAt])).toEqual([[2, soldAt]])
      const twice = orm.em.fork()
      twice.create(Book, { id: 3, title: 'three', soldAt })
      twice.create(Book, { id: 1, title: 'again', soldAt })
      await expect(twice.flush()).rejects.toThrow('duplicate key')
      expect(await orm.em.fork().count(Book)).toBe(2)
      expect(pool.state()).toMatchObject({ inUse: 0 })
    }
    expect(pool.state()).toMatchObject({ closed: true, connections: 0 })
    await execute(url, [`drop table ${table}`])
  },
)

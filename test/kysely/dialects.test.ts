import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'

import { isAbortedTransactionError, Kysely, type Logger, type PostgresCursorConstructor, sql } from 'kysely'
import mysql from 'mysql2'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'

import { Pool } from '../../src/index.ts'
import { MysqlPoolDialect, PostgresPoolDialect } from '../../src/kysely/index.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { execute } from '../hosts/host.ts'

// Other runs may use the same server.
const TABLE = `cenote_kysely_${process.pid}` as 'cenote_kysely'
const IDS = `cenote_kysely_ids_${process.pid}` as 'cenote_kysely_ids'

interface Tables {
  cenote_kysely: { n: number; name: string | null }
  cenote_kysely_ids: { id: number; name: string }
}
interface Made {
  readonly db: Kysely<Tables>
  readonly pool: Pick<Pool<unknown>, 'state'>
}
interface Sql {
  readonly me: string
  sleep(seconds: number): string
  running: string
}

const urls = { postgres: inject('postgresUrl'), mariadb: inject('mariadbUrl') }
const made: Made[] = []
afterEach(async () => {
  for (const { db } of made.splice(0)) await db.destroy()
  vi.restoreAllMocks()
})
function keep(result: Made): Made {
  made.push(result)
  return result
}
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('it did not come to hold within 5 s')
    await delay(5)
  }
}

const cursor = createRequire(import.meta.url)('pg-cursor') as PostgresCursorConstructor
const openPostgres = (log?: Logger): Made => {
  const pool = new Pool(new PgManager(urls.postgres), { maxSize: 1 })
  return keep({
    pool,
    db: new Kysely({ dialect: new PostgresPoolDialect({ pool, cursor }), ...(log && { log }) }),
  })
}
const openMysql = (log?: Logger): Made => {
  const pool = new Pool(new Mysql2Manager(urls.mariadb), { maxSize: 1 })
  return keep({ pool, db: new Kysely({ dialect: new MysqlPoolDialect({ pool }), ...(log && { log }) }) })
}

describe.each<[string, string, (log?: Logger) => Made, Sql]>([
  [
    'PostgresPoolDialect',
    urls.postgres,
    openPostgres,
    {
      me: 'select pg_backend_pid() as id',
      sleep: (seconds) => `select pg_sleep(${seconds}) /* cenote */`,
      running:
        "select count(*) as n from pg_stat_activity where query like 'select pg_sleep%/* cenote */' and state = 'active'",
    },
  ],
  [
    'MysqlPoolDialect',
    urls.mariadb,
    openMysql,
    {
      me: 'select connection_id() as id',
      sleep: (seconds) => `select sleep(${seconds}) as cenote`,
      running:
        "select count(*) as n from information_schema.processlist where info = 'select sleep(30) as cenote'",
    },
  ],
])('%s', (_name, url, open, { me, sleep, running }) => {
  describe.skipIf(url === '')('on its real server', () => {
    const table = `create table ${TABLE} (n int primary key, name varchar(20))`
    const fresh = (): Promise<unknown> => execute(url, [`drop table if exists ${TABLE}`, table])
    const isRunning = async (): Promise<boolean> => Number((await execute(url, [running]))[0]?.['n']) > 0
    const idOf = async ({ db }: Made): Promise<unknown> =>
      (await sql<{ id: number }>`${sql.raw(me)}`.execute(db)).rows[0]?.id

    test('the log has every statement of a transaction, the commit too', async () => {
      const logged: string[] = []
      const { db } = open(({ query }) => void logged.push(query.sql))
      await db.transaction().execute((trx) => sql`select 1`.execute(trx))
      expect(logged).toEqual(['start transaction', 'select 1', 'commit'])
    })

    test('an error has the stack of its caller', async () => {
      const { db } = open()
      async function callerOfAWrongStatement(): Promise<void> {
        await sql`select nonsense from nowhere`.execute(db)
      }
      const error = await callerOfAWrongStatement().catch((failure: Error) => failure)
      expect((error as Error).stack).toContain('callerOfAWrongStatement')
    })

    test('queries and changes, with what they say of their rows', async () => {
      await fresh()
      const { db } = open()
      const { numInsertedOrUpdatedRows } = await db
        .insertInto(TABLE)
        .values([
          { n: 1, name: 'one' },
          { n: 2, name: null },
        ])
        .executeTakeFirstOrThrow()
      expect(numInsertedOrUpdatedRows).toBe(2n)
      const updated = await db.updateTable(TABLE).set({ name: 'two' }).where('n', '=', 2).executeTakeFirst()
      expect(updated.numUpdatedRows).toBe(1n)
      const rows = await db.selectFrom(TABLE).selectAll().where('n', '>', 1).execute()
      expect(rows).toEqual([{ n: 2, name: 'two' }])
      const deleted = await db.deleteFrom(TABLE).executeTakeFirst()
      expect(deleted.numDeletedRows).toBe(2n)
      expect((await db.introspection.getTables()).map(({ name }) => name)).toContain(TABLE)
      await execute(url, [`drop table ${TABLE}`])
    })

    test('a caller that gives up leaves the queue immediately, and nothing is written to the console', async () => {
      const { db, pool } = open()
      const noise = vi.spyOn(console, 'error').mockImplementation(() => {})
      await db.connection().execute(async () => {
        const controller = new AbortController()
        const reason = new Error('gone')
        const query = sql`select 1`.execute(db, { signal: controller.signal })
        const transaction = db
          .connection()
          .execute((own) => own.transaction().execute(async () => 1), { signal: controller.signal })
        const failed = Promise.allSettled([query, transaction])
        await until(() => pool.state().waiting === 2)
        controller.abort(reason)
        expect(pool.state().waiting).toBe(0)
        expect(await failed).toMatchObject([{ reason }, { reason }])
        expect(pool.state().statistics.acquires.aborted).toBe(2)
      })
      await until(() => pool.state().idle === 1)
      expect(noise).not.toHaveBeenCalled()
    })

    test('cancel query: the server stops it, though no connection is free; this one is used again', async () => {
      const made = open()
      const noise = vi.spyOn(console, 'error').mockImplementation(() => {})
      const id = await idOf(made)
      const controller = new AbortController()
      const failed = sql`${sql.raw(sleep(30))}`
        .execute(made.db, { signal: controller.signal, inflightQueryAbortStrategy: 'cancel query' })
        .catch((error: unknown) => error)
      await until(isRunning)
      const reason = new Error('too slow')
      controller.abort(reason)
      expect(await failed).toBe(reason)
      await until(async () => !(await isRunning()))
      expect(await idOf(made)).toEqual(id)
      expect(noise).not.toHaveBeenCalled()
    })

    test('kill session: its connection is closed', async () => {
      const made = open()
      const noise = vi.spyOn(console, 'error').mockImplementation(() => {})
      const id = await idOf(made)
      const controller = new AbortController()
      const failed = sql`${sql.raw(sleep(30))}`
        .execute(made.db, { signal: controller.signal, inflightQueryAbortStrategy: 'kill session' })
        .catch((error: unknown) => error)
      await until(isRunning)
      controller.abort(new Error('too slow'))
      expect(await failed).toMatchObject({ message: 'too slow' })
      expect(await idOf(made)).not.toEqual(id)
      await until(async () => !(await isRunning()))
      expect(noise).not.toHaveBeenCalled()
    })

    test('ignore query, the default: the connection is returned when the query has ended', async () => {
      const { db, pool } = open()
      const controller = new AbortController()
      const failed = sql`${sql.raw(sleep(0.1))}`
        .execute(db, { signal: controller.signal })
        .catch((error: unknown) => error)
      await until(() => pool.state().inUse === 1)
      await delay(20)
      controller.abort(new Error('bored'))
      expect(await failed).toMatchObject({ message: 'bored' })
      expect(pool.state()).toMatchObject({ inUse: 1 })
      await until(() => pool.state().idle === 1)
    })

    test('a controlled transaction with savepoints, and settings of a transaction', async () => {
      await fresh()
      const { db } = open()
      const trx = await db.startTransaction().setIsolationLevel('serializable').execute()
      await trx.insertInto(TABLE).values({ n: 1, name: null }).execute()
      const first = await trx.savepoint('first').execute()
      await first.insertInto(TABLE).values({ n: 2, name: null }).execute()
      await first.rollbackToSavepoint('first').execute()
      const second = await first.savepoint('a "quoted" `one`').execute()
      await second.insertInto(TABLE).values({ n: 3, name: null }).execute()
      await second.releaseSavepoint('a "quoted" `one`').execute()
      await trx.commit().execute()
      expect(await db.selectFrom(TABLE).select('n').orderBy('n').execute()).toEqual([{ n: 1 }, { n: 3 }])
      const readOnly = db
        .transaction()
        .setAccessMode('read only')
        .execute((reader) => reader.insertInto(TABLE).values({ n: 4, name: null }).execute())
      await expect(readOnly).rejects.toThrow(/read.only/i)
      await execute(url, [`drop table ${TABLE}`])
    })

    test('a stream, read to its end or left early, gives its connection back', async () => {
      const { db, pool } = open()
      const numbers = sql<{ n: number }>`select 1 as n union select 2 union select 3 order by n`
      const compiled = numbers.compile(db)
      const rows: unknown[] = []
      for await (const row of db.getExecutor().stream<{ n: number }>(compiled, 2)) rows.push(...row.rows)
      expect(rows).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }])
      for await (const row of db.getExecutor().stream<{ n: number }>(compiled, 1)) {
        expect(row.rows).toEqual([{ n: 1 }])
        break
      }
      expect((await sql<{ n: number }>`select 4 as n`.execute(db)).rows).toEqual([{ n: 4 }])
      await until(() => pool.state().idle === 1)
      const failing = db.getExecutor().stream(sql`select nothing from nowhere`.compile(db), 1)
      await expect(failing.next()).rejects.toThrow('nowhere')
      await until(() => pool.state().inUse === 0)
    })

    test('destroy closes the pool', async () => {
      const { db, pool } = open()
      await sql`select 1`.execute(db)
      await db.destroy()
      expect(pool.state()).toMatchObject({ closed: true, connections: 0 })
      await expect(sql`select 1`.execute(db)).rejects.toThrow('destroyed')
    })
  })
})

test.skipIf(urls.postgres === '')('a commit that the database turned into a rollback rejects', async () => {
  const { db, pool } = openPostgres()
  const failed = db.transaction().execute(async (trx) => {
    await sql`select nothing from nowhere`.execute(trx).catch(() => {})
  })
  expect(isAbortedTransactionError(await failed.catch((error: unknown) => error))).toBe(true)
  await until(() => pool.state().idle === 1)
})

test.skipIf(urls.postgres === '')('a stream without a cursor says what is missing', async () => {
  const pool = new Pool(new PgManager(urls.postgres), { maxSize: 1 })
  const { db } = keep({ pool, db: new Kysely({ dialect: new PostgresPoolDialect({ pool }) }) })
  const stream = db.getExecutor().stream(sql`select 1`.compile(db), 1)
  await expect(stream.next()).rejects.toThrow("streaming needs the package 'pg-cursor'")
  expect(pool.state().inUse).toBe(0)
})

test.skipIf(urls.mariadb === '')(
  'MySQL connections with callbacks do as well, and tell the id of a new row',
  async () => {
    await execute(urls.mariadb, [
      `drop table if exists ${IDS}`,
      `create table ${IDS} (id int primary key auto_increment, name varchar(9))`,
    ])
    const pool = new Pool(new Mysql2Manager(urls.mariadb, { driver: mysql }), { maxSize: 1 })
    const { db } = keep({ pool, db: new Kysely<Tables>({ dialect: new MysqlPoolDialect({ pool }) }) })
    const inserted = await db
      .insertInto(IDS)
      .values({ name: 'a' } as never)
      .executeTakeFirst()
    expect(inserted.insertId).toBe(1n)
    await execute(urls.mariadb, [`drop table ${IDS}`])
  },
)

test('a lease that arrives with the abort goes back', async () => {
  const opened = Promise.withResolvers<{ n: number }>()
  const pool = new Pool<{ n: number }>({
    connect: () => opened.promise,
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  })
  const driver = new PostgresPoolDialect({ pool: pool as never }).createDriver()
  const controller = new AbortController()
  const acquired = driver.acquireConnection({ signal: controller.signal }).catch((error: unknown) => error)
  await once(process, 'never', { signal: AbortSignal.timeout(1) }).catch(() => {})
  opened.resolve({ n: 1 })
  // After the pool has handed over, and before the caller knows.
  for (let turn = 0; turn < 20 && pool.state().inUse === 0; turn++) await Promise.resolve()
  expect(pool.state().inUse).toBe(1)
  controller.abort(new Error('gone'))
  expect(await acquired).toMatchObject({ message: 'gone' })
  expect(pool.state()).toMatchObject({ inUse: 0, idle: 1 })
  await pool.close()
})

import { Kysely, sql } from 'kysely'
import { describe, expect, inject, test } from 'vitest'

import { Pool as PgPool } from '../../src/compat/pg-pool.ts'
import { Pool } from '../../src/index.ts'
import { MysqlPoolDialect, PostgresPoolDialect } from '../../src/kysely/index.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'

const url = inject('postgresUrl')

test('the dialect of mysql2 rejects share', () => {
  const pool = new Pool(new Mysql2Manager('mysql://localhost/x'))
  expect(() => new MysqlPoolDialect({ pool, share: true })).toThrow(/one command at a time/)
})

test('a wrong maxPipeline is rejected', () => {
  expect(() => new PgPool({ maxPipeline: 0 })).toThrow('maxPipeline must be an integer >= 1 (got 0)')
})

describe.skipIf(url === '')('pg-pool with maxPipeline', () => {
  test('queries share one client, and connect stays exclusive', async () => {
    const pool = new PgPool({ connectionString: url, max: 2, maxPipeline: 50 })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        pool.query<{ n: number; pid: number }>('select $1::int as n, pg_backend_pid() as pid', [n]),
      ),
    )
    expect(answers.map(({ rows }) => rows[0]?.n)).toEqual(Array.from({ length: 40 }, (_, n) => n))
    const [pid] = new Set(answers.map(({ rows }) => rows[0]?.pid))
    expect(pool.totalCount).toBe(1)
    const client = await pool.connect()
    expect((await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid).toBeTypeOf(
      'number',
    )
    await client.query('begin')
    await client.query('rollback')
    client.release()
    expect(pid).toBeTypeOf('number')
    await pool.end()
  })

  test('what needs a client of its own gets one, and callbacks work', async () => {
    const pool = new PgPool({ connectionString: url, max: 2, maxPipeline: 50 })
    const several = (await pool.query('select 1 as a; select 2 as a')) as unknown as { rows: object[] }[]
    expect(several.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ a: 2 }]])
    await pool.query('begin')
    const rows = await new Promise((resolve, reject) => {
      pool.query('select $1::int as a', [3], (error, result) =>
        (error as unknown) ? reject(error) : resolve(result.rows),
      )
    })
    expect(rows).toEqual([{ a: 3 }])
    await expect(pool.query('select nonsense')).rejects.toMatchObject({ code: '42703' })
    await pool.end()
    await expect(pool.query('select 1')).rejects.toThrow('Cannot use a pool after calling end on the pool')
  })

  test('a password that is not enumerable reaches the client', async () => {
    const { hostname, port, username, pathname } = new URL(url)
    const config = {
      host: hostname,
      port: Number(port || 5432),
      user: username,
      password: 'x',
      database: pathname.slice(1),
    }
    const pool = new PgPool({ ...config, maxPipeline: 5 })
    expect((await pool.query('select 1 as a')).rows).toEqual([{ a: 1 }])
    await pool.end()
  })
})

describe.skipIf(url === '')('Kysely with share', () => {
  test('statements share a connection, and a transaction has its own', async () => {
    const pool = new Pool(new PgManager(url, { share: true }), { maxSize: 3 })
    const db = new Kysely<object>({ dialect: new PostgresPoolDialect({ pool, share: true }) })
    const pid = sql<{ pid: number }>`select pg_backend_pid() as pid`
    const pids = await Promise.all(
      Array.from({ length: 20 }, async () => (await pid.execute(db)).rows[0]?.pid),
    )
    expect(new Set(pids).size).toBe(1)
    const seen = await db.transaction().execute(async (tx) => {
      await sql`create temp table cenote_shared_tx (n int) on commit drop`.execute(tx)
      await sql`insert into cenote_shared_tx values (1), (2)`.execute(tx)
      const { rows } = await sql<{
        n: string
      }>`select count(*) as n, pg_backend_pid() as pid from cenote_shared_tx`.execute(tx)
      return rows[0]
    })
    expect(seen).toMatchObject({ n: '2' })
    await expect(sql`select nonsense`.execute(db)).rejects.toThrow(/nonsense/)
    await db.connection().execute(async (own) => {
      await sql`set timezone to 'Asia/Tokyo'`.execute(own)
      expect((await sql<{ TimeZone: string }>`show timezone`.execute(own)).rows).toEqual([
        { TimeZone: 'Asia/Tokyo' },
      ])
    })
    await db.destroy()
    expect(pool.state().closed).toBe(true)
  })
})

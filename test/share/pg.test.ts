import pg from 'pg'
// @ts-expect-error: the package has no types
import Cursor from 'pg-cursor'
import { describe, expect, expectTypeOf, inject, test } from 'vitest'

import { hasPgBouncer, startPgBouncer } from '../servers/pgbouncer.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import { type PgClient, PgManager, type PgManagerOptions } from '../../src/managers/pg/pg.ts'
import { refusalOf } from '../../src/managers/pg/refused.ts'
import {
  share,
  type Share,
  type ShareOptions,
  ShareRefusedError,
  type SharedView,
} from '../../src/share/index.ts'

const url = inject('postgresUrl')

interface Made extends AsyncDisposable {
  readonly pool: Pool<PgClient>
  readonly db: Share<SharedView<PgClient>>
  readonly errors: unknown[]
}

function make(
  options: ShareOptions = { connections: 1 },
  poolOptions: Partial<PoolOptions<PgClient>> = {},
  manager: PgManagerOptions = {},
  to: string = url,
): Made {
  const errors: unknown[] = []
  const pool = new Pool<PgClient>(new PgManager(to, { ...manager, share: true }), {
    ...poolOptions,
    onError: (error) => errors.push(error),
  })
  const db = share(pool, options)
  return {
    pool,
    db,
    errors,
    [Symbol.asyncDispose]: async () => {
      await db.close()
      await pool.close()
    },
  }
}

test.each([
  ['begin', false],
  ['START TRANSACTION', false],
  ['-- why\n/* a /* nested */ comment */ Commit', false],
  ['rollback', false],
  ['savepoint a', false],
  ['end', false],
  ['set search_path to x', false],
  ['reset all', false],
  ['discard all', false],
  ['deallocate all', false],
  ['listen x', false],
  ['prepare a as select 1', false],
  ['declare c cursor for select 1', false],
  ['copy t from stdin', false],
  ['create temp table t (a int)', false],
  ['create local temporary table t (a int)', false],
  ['create or replace temp view v as select 1', false],
  ['select 1 into temp t', false],
  ['lock table t', false],
  ['select pg_advisory_lock(1)', false],
  ['with a as (select pg_try_advisory_lock(1)) select * from a', false],
  ["select set_config('a.b', 'c', false)", false],
  ["select set_config('a.b', 'c', $1)", false],
  ['select 1; select 2', false],
  ['select 1;begin', false],
  ["select E'\\';'; begin", false],
  ['; ; begin', false],
  ['select 1;', true],
  ["select ';begin' as a", true],
  ['select $$ ; begin; $$', true],
  ['select $tag$ ; $$ ; $tag$', true],
  ['select "a;b" from t -- ; begin', true],
  ["select 'it''s ; fine'", true],
  ['select pg_advisory_xact_lock(1)', true],
  ["select set_config('a.b', 'c', true)", true],
  ['select temp from weather', true],
  ["select 'pg_advisory_lock(1)'", true],
  ['select $1::text;  -- end', true],
  ['insert into begin values (1)', true],
  ['', true],
])('the statement %j runs on a shared connection: %j', (text, isAllowed) => {
  expect(refusalOf(text) === undefined).toBe(isAllowed)
})

describe.skipIf(url === '')('a share of PgManager', () => {
  test('the view has the typed query of the driver', async () => {
    await using made = make()
    const result = await made.db.run(({ query }) => {
      expectTypeOf(query).toEqualTypeOf<PgClient['query']>()
      return query<{ a: number }>('select $1::int as a', [7])
    })
    expect(result.rows).toEqual([{ a: 7 }])
    const named = await made.db.run(({ query }) =>
      query({ name: 'n', text: 'select 1 as a', rowMode: 'array' }),
    )
    expect(named.rows).toEqual([[1]])
    const called = await made.db.run(
      ({ query }) =>
        new Promise((resolve, reject) => {
          query('select 2 as a', (error: unknown, found: pg.QueryResult) =>
            error === null || error === undefined ? resolve(found.rows) : reject(error as Error),
          )
        }),
    )
    expect(called).toEqual([{ a: 2 }])
  })

  test('many callers use one connection', async () => {
    await using made = make()
    const numbers = Array.from({ length: 200 }, (_, n) => n)
    const found = await Promise.all(
      numbers.map((n) =>
        made.db.run(async ({ query }) => (await query('select $1::int as n', [n])).rows[0].n as number),
      ),
    )
    expect(found).toEqual(numbers)
    expect(made.pool.state().connections).toBe(1)
  })

  test('what needs a connection of its own is rejected, and is not sent', async () => {
    await using made = make()
    const error = await made.db.run(({ query }) => query('begin')).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(ShareRefusedError)
    expect(error).toMatchObject({
      code: 'SHARE_REFUSED',
      statement: 'begin',
      pool: made.db.name,
      message: expect.stringMatching(/must be one outside transactions \(got 'begin'\)/) as string,
    })
    await expect(made.db.run(({ query }) => query(new Cursor('select 1')) as never)).rejects.toMatchObject({
      code: 'SHARE_REFUSED',
    })
    await expect(
      made.db.run(({ query }) => query({ text: 'select 1', query_timeout: 100 } as never)),
    ).rejects.toMatchObject({ code: 'INVALID_OPTIONS', option: 'query_timeout' })
    expect((await made.db.run(({ query }) => query('select 1 as a'))).rows).toEqual([{ a: 1 }])
  })

  test('a query_timeout of the config is rejected, at share and at connect', async () => {
    const config = { connectionString: url, query_timeout: 100 }
    expect(() => share(new Pool(new PgManager(config, { share: true })))).toThrow(
      /^query_timeout must be unset on a shared connection/,
    )
    expect(() => share(new Pool(new PgManager(`${url}?query_timeout=100`, { share: true })))).toThrow(
      /query_timeout/,
    )
    await using pool = new Pool(new PgManager(() => config, { share: true }))
    await using db = share(pool)
    await expect(db.run(({ query }) => query('select 1'))).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      cause: { code: 'INVALID_OPTIONS', option: 'query_timeout' },
    })
  })

  test('an older driver is named', async () => {
    class Older extends pg.Client {
      constructor(config: pg.ClientConfig) {
        super(config)
        Reflect.deleteProperty(this, 'pipeline')
      }
    }
    const manager = new PgManager(url, { share: true, driver: { Client: Older } as never })
    await using pool = new Pool(manager)
    await expect(pool.acquire()).rejects.toMatchObject({
      cause: { message: expect.stringContaining('pg 8.23 or later') as string },
    })
  })

  test('an exclusive lease of such a pool says why it has no cursors', async () => {
    await using made = make()
    await expect(made.pool.run((client) => client.query(new Cursor('select 1')) as never)).rejects.toThrow(
      /cursors and streams must run on a connection that does not pipeline/,
    )
  })

  test('errors of one statement stay with it, also by a name', async () => {
    await using made = make()
    const [before, bad, after] = await Promise.allSettled([
      made.db.run(({ query }) => query('select 1')),
      made.db.run(({ query }) => query({ name: 'bad', text: 'select 1/$1::int', values: [0] })),
      made.db.run(({ query }) => query('select 3')),
    ])
    expect([before.status, bad.status, after.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(bad).toMatchObject({ reason: { code: '22012' } })
    expect(made.db.state()).toMatchObject({ taken: 0, connections: 1 })
  })

  test('what slipped through rejects its run, and what was sent behind it is not delivered', async () => {
    await using made = make()
    const { pool, db, errors } = made
    const name = `cenote_slip_${process.pid}`
    await pool.run((client) =>
      client.query(
        `create function ${name}() returns void language sql as $$ select set_config('TimeZone', 'Asia/Tokyo', false) $$`,
      ),
    )
    const delivered: unknown[] = []
    const [before, dirty, behind, retried] = await Promise.allSettled([
      db.run(({ query }) => query('select 1 as a')),
      db.run(({ query }) => query(`select ${name}()`)),
      db.run(async ({ query }) => {
        delivered.push(await query('select 3 as a'))
      }),
      db.run(({ query }) => query('select 4 as a'), { retries: 1 }),
    ])
    await pool.run((client) => client.query(`drop function ${name}`))
    expect(before).toMatchObject({ value: { rows: [{ a: 1 }] } })
    expect(dirty).toMatchObject({
      reason: { code: 'CONNECTION_DIRTY', message: expect.stringContaining('TimeZone') as string },
    })
    expect(behind).toMatchObject({ reason: { code: 'CONNECTION_LOST' } })
    expect(delivered).toEqual([])
    expect(retried).toMatchObject({ value: { rows: [{ a: 4 }] } })
    expect(errors).toEqual([expect.objectContaining({ code: 'CONNECTION_DIRTY' })])
  })

  test('an abort settles its caller and leaves the neighbours alone', async () => {
    await using made = make()
    const controller = new AbortController()
    const slow = made.db.run(({ query }) => query('select pg_sleep(0.2)'), { signal: controller.signal })
    const other = made.db.run(({ query }) => query('select 2 as a'))
    await made.db.run(() => controller.abort(new Error('enough')))
    await expect(slow).rejects.toThrow('enough')
    expect(made.db.state().taken).toBeGreaterThan(0)
    expect((await other).rows).toEqual([{ a: 2 }])
    expect(made.db.state().taken).toBe(0)
  })

  test('a terminated connection is one event with the cause that only one query receives', async () => {
    await using made = make()
    const { pool, db } = made
    const pid = (await db.run(({ query }) => query('select pg_backend_pid() as pid'))).rows[0].pid as number
    const lost = Promise.allSettled([1, 2, 3].map(() => db.run(({ query }) => query('select pg_sleep(5)'))))
    const retried = db.run(({ query }) => query('select 7 as a'), { retries: 2 })
    await pool.run((client) => client.query('select pg_terminate_backend($1)', [pid]))
    for (const each of await lost)
      expect(each).toMatchObject({ reason: { code: 'CONNECTION_LOST', cause: { code: '57P01' } } })
    expect((await retried).rows).toEqual([{ a: 7 }])
  })

  test('a turn of the event loop is one write', async () => {
    await using made = make()
    const { pool, db } = made
    await db.run(({ query }) => query('select 1'))
    let writes = 0
    // The only connection of the pool is the share's.
    const lease = await pool.acquire()
    const stream = (
      lease.connection as unknown as { connection: { stream: { _writev: unknown; _write: unknown } } }
    ).connection.stream
    for (const method of ['_write', '_writev'] as const) {
      const original = stream[method] as (...given: unknown[]) => unknown
      stream[method] = (...given: unknown[]): unknown => {
        writes++
        return original.apply(stream, given)
      }
    }
    lease.release()
    await Promise.all(Array.from({ length: 50 }, () => db.run(({ query }) => query('select 1'))))
    expect(writes).toBe(1)
  })

  test.skipIf(!hasPgBouncer())('behind PgBouncer the connection runs empty now and then', async () => {
    const bouncer = await startPgBouncer(url, { default_pool_size: 1 })
    try {
      await using made = make({ connections: 1 }, {}, {}, bouncer.url)
      let isOver = false
      const busy = async (): Promise<void> => {
        while (!isOver) await made.db.run(({ query }) => query('select pg_sleep(0.002)'))
      }
      const load = Promise.all(Array.from({ length: 8 }, busy))
      const client = new pg.Client(bouncer.url)
      await client.connect()
      const began = performance.now()
      for (let n = 0; n < 3; n++) await client.query('select 1')
      expect(performance.now() - began).toBeLessThan(2_000)
      isOver = true
      await load
      await client.end()
    } finally {
      await bouncer.destroy()
    }
  })
})

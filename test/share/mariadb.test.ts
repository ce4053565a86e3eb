import { describe, expect, inject, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { type MariadbConnection, MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { share, type Share, type ShareOptions, type SharedView } from '../../src/share/index.ts'

const url = inject('mariadbUrl')

interface Made extends AsyncDisposable {
  readonly pool: Pool<MariadbConnection>
  readonly db: Share<SharedView<MariadbConnection>>
  readonly errors: unknown[]
}

function make(
  options: ShareOptions = { connections: 1 },
  poolOptions: Partial<PoolOptions<MariadbConnection>> = {},
): Made {
  const errors: unknown[] = []
  const pool = new Pool(new MariadbManager(url), { ...poolOptions, onError: (error) => errors.push(error) })
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

test('a pool of mysql2 cannot be shared', () => {
  const pool = new Pool(new Mysql2Manager('mysql://localhost/x'))
  expect(() => share(pool)).toThrow(/mysql2, which sends one command at a time/)
})

test('a socketTimeout is rejected when the pool is shared', () => {
  const pool = new Pool(new MariadbManager('mariadb://localhost/x?socketTimeout=100'))
  expect(() => share(pool)).toThrow(/^socketTimeout must be unset on a shared connection/)
})

describe.skipIf(url === '')('a share of MariadbManager', () => {
  test('many callers use one connection, by query and by execute', async () => {
    await using made = make()
    const numbers = Array.from({ length: 40 }, (_, n) => n)
    const rows = await Promise.all(
      numbers.map((n) =>
        made.db.run(async (view) => {
          const found = await (n % 2 === 0
            ? view.query<{ n: number }[]>('select ? as n', [n])
            : view.execute<{ n: number }[]>('select ? as n', [n]))
          return Number(found[0]?.n)
        }),
      ),
    )
    expect(rows).toEqual(numbers)
    expect(made.pool.state().connections).toBe(1)
  })

  test('what needs a connection of its own is rejected, and is not sent', async () => {
    await using made = make()
    for (const text of [
      'begin',
      '/*! commit */',
      '# comment\n START TRANSACTION',
      'set @a = 1',
      'select 1; select 2',
      "select get_lock('x', 1)",
      'create temporary table t (a int)',
      'use mysql',
      'lock tables t write',
      'select 1 into @a',
    ])
      await expect(
        made.db.run((view) => view.query(text)),
        text,
      ).rejects.toMatchObject({ code: 'SHARE_REFUSED' })
    const rows = await made.db.run((view) => view.query<object[]>("select ';' as `set`, 'begin' as `commit`"))
    expect(rows[0]).toEqual({ set: ';', commit: 'begin' })
  })

  test('the error of one statement stays with its caller', async () => {
    await using made = make()
    const [before, bad, after] = await Promise.allSettled([
      made.db.run((view) => view.query('select 1')),
      made.db.run((view) => view.query('select nonsense')),
      made.db.run((view) => view.query('select 3')),
    ])
    expect([before.status, bad.status, after.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test('a transaction that slipped through rejects its run, and what was sent behind it', async () => {
    await using made = make()
    const { pool, db, errors } = made
    const name = `cenote_slip_${process.pid}`
    await pool.run(async (connection) => {
      await connection.query(`drop procedure if exists ${name}`)
      await connection.query(`create procedure ${name}() begin start transaction; end`)
    })
    const [before, dirty, behind, retried] = await Promise.allSettled([
      db.run((view) => view.query('select 1 as a')),
      db.run((view) => view.query(`call ${name}()`)),
      db.run((view) => view.query('select 3 as a')),
      db.run((view) => view.query<object[]>('select 4 as a'), { retries: 1 }),
    ])
    await pool.run((connection) => connection.query(`drop procedure ${name}`))
    expect(before.status).toBe('fulfilled')
    expect(dirty).toMatchObject({ reason: { code: 'CONNECTION_DIRTY' } })
    expect(behind).toMatchObject({ reason: { code: 'CONNECTION_LOST' } })
    expect(retried).toMatchObject({ status: 'fulfilled' })
    expect(errors).toEqual([expect.objectContaining({ code: 'CONNECTION_DIRTY' })])
  })

  test('a killed connection is one event, and retries run again on another', async () => {
    await using made = make()
    const { pool, db } = made
    const id = await db.run(async (view) =>
      Number((await view.query<{ id: bigint }[]>('select connection_id() as id'))[0]?.id),
    )
    const lost = Promise.allSettled([1, 2, 3].map(() => db.run((view) => view.query('select sleep(5)'))))
    const retried = db.run((view) => view.query<{ a: number }[]>('select 7 as a'), { retries: 2 })
    await pool.run((connection) => connection.query(`kill ${id}`))
    const causes = (await lost).map((each) => (each as PromiseRejectedResult).reason as Error)
    for (const each of causes) expect(each).toMatchObject({ code: 'CONNECTION_LOST' })
    expect(new Set(causes.map(({ cause }) => cause)).size).toBe(1)
    expect(Number((await retried)[0]?.a)).toBe(7)
  })
})

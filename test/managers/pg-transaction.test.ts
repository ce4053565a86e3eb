import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { type PgClient, PgManager, transaction, TransactionError } from '../../src/managers/pg/pg.ts'
import { TcpProxy } from '../../src/testing/index.ts'

const url = inject('postgresUrl')
const TABLE = `cenote_transaction_${process.pid}`
const pools: Pool<PgClient>[] = []
const open = (options: PoolOptions<PgClient> = {}, config: string = url): Pool<PgClient> => {
  const pool = new Pool<PgClient>(new PgManager(config), options)
  pools.push(pool)
  return pool
}
const admin = new pg.Client({ connectionString: url })
const rows = async (): Promise<number[]> =>
  (await admin.query(`select n from ${TABLE} order by n`)).rows.map(({ n }) => n)
const insert = (tx: Pick<PgClient, 'query'>, n: number): Promise<unknown> =>
  tx.query(`insert into ${TABLE} values ($1)`, [n])
const failureOf = async (promise: Promise<unknown>): Promise<unknown> =>
  await promise.then(
    () => expect.unreachable('it resolved'),
    (error: unknown) => error,
  )

describe.skipIf(url === '')('a transaction on a real PostgreSQL', () => {
  beforeAll(async () => {
    await admin.connect()
    await admin.query(`create table ${TABLE} (n int primary key)`)
  })
  beforeEach(() => admin.query(`truncate ${TABLE}`))
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
  })
  afterAll(async () => {
    await admin.query(`drop table ${TABLE}`)
    await admin.end()
  })

  test('commits, gives what fn returned, and keeps its connection', async () => {
    const pool = open({ maxSize: 1 })
    expect(await transaction(pool, async (tx) => (await insert(tx, 1), 'done'))).toBe('done')
    expect(await rows()).toEqual([1])
    expect(pool.state()).toMatchObject({ idle: 1, statistics: { connects: { opened: 1 } } })
  })

  test('isolation and readOnly reach the server; a wrong option is rejected by name', async () => {
    const pool = open({ maxSize: 1 })
    const settings = (options?: Parameters<typeof transaction>[2]) =>
      transaction(
        pool,
        async (tx) =>
          (
            await tx.query(
              "select current_setting('transaction_isolation') as i, current_setting('transaction_read_only') as r",
            )
          ).rows[0],
        options,
      )
    expect(await settings()).toEqual({ i: 'read committed', r: 'off' })
    expect(await settings({ isolation: 'serializable', readOnly: true })).toEqual({
      i: 'serializable',
      r: 'on',
    })
    await expect(settings({ isolation: 'snapshot' as never })).rejects.toThrow(
      "isolation must be one of 'read uncommitted', 'read committed', 'repeatable read', 'serializable' (got 'snapshot')",
    )
    await expect(settings({ readOnly: 1 as never })).rejects.toThrow('readOnly must be true or false (got 1)')
    await expect(settings({ isolated: true } as never)).rejects.toThrow('isolated')
    await expect(transaction(pool, 5 as never)).rejects.toThrow('fn must be a function (got 5)')
  })

  test('a throw rolls back before the caller learns of it, and passes through', async () => {
    const pool = open({ maxSize: 1 })
    const wrong = new Error('changed my mind')
    const error = await failureOf(
      transaction(pool, async (tx) => {
        await insert(tx, 1)
        throw wrong
      }),
    )
    expect(error).toBe(wrong)
    expect(await rows()).toEqual([])
    // No row is locked any more.
    await admin.query(`insert into ${TABLE} values (1)`)
    expect(pool.state()).toMatchObject({ idle: 1, statistics: { connects: { opened: 1 } } })
  })

  test('an error that fn caught: COMMIT is answered with ROLLBACK, and the transaction rejects', async () => {
    const pool = open({ maxSize: 1 })
    const swallowing = transaction(pool, async (tx) => {
      await insert(tx, 1)
      await insert(tx, 1).catch(() => {})
      return 'said ok'
    })
    const error = await failureOf(swallowing)
    expect(error).toBeInstanceOf(TransactionError)
    expect(error).toMatchObject({ name: 'TransactionError', code: 'ROLLED_BACK' })
    expect(await rows()).toEqual([])
  })

  test('an abort cancels between statements: rolled back, rejected with the reason', async () => {
    const pool = open({ maxSize: 1 })
    const controller = new AbortController()
    const reason = new Error('the request went away')
    let isPast = false
    const error = await failureOf(
      transaction(
        pool,
        async (tx) => {
          await insert(tx, 1)
          controller.abort(reason)
          await insert(tx, 2)
          isPast = true
        },
        { signal: controller.signal },
      ),
    )
    expect(error).toBe(reason)
    expect(isPast).toBe(false)
    expect(await rows()).toEqual([])
    expect(pool.state()).toMatchObject({ idle: 1, statistics: { connects: { opened: 1 } } })
  })

  test('serialization failures and deadlocks are repeated, and the last error is thrown when retries are spent', async () => {
    const pool = open({ maxSize: 2 })
    await admin.query(`insert into ${TABLE} values (1), (2)`)
    // Both read what the other writes: one of them cannot be serialized.
    const bothRead = Promise.withResolvers<void>()
    let reads = 0
    let runs = 0
    const work = (own: number) =>
      transaction(
        pool,
        async (tx) => {
          runs++
          await tx.query(`select sum(n) from ${TABLE}`)
          if (++reads === 2) bothRead.resolve()
          await bothRead.promise
          await insert(tx, own)
        },
        // More than one: PostgreSQL may abort the repetition too, while the other transaction is still committing.
        { isolation: 'serializable', retries: 9 },
      )
    await Promise.all([work(10), work(20)])
    expect(runs).toBeGreaterThan(2)
    expect(await rows()).toEqual([1, 2, 10, 20])

    const bothHold = Promise.withResolvers<void>()
    let holding = 0
    const cross = (first: number, second: number) =>
      transaction(
        pool,
        async (tx) => {
          await tx.query('set local deadlock_timeout = 50')
          await tx.query(`update ${TABLE} set n = n where n = ${first}`)
          if (++holding === 2) bothHold.resolve()
          await bothHold.promise
          await tx.query(`update ${TABLE} set n = n where n = ${second}`)
        },
        { retries: 9 },
      )
    await Promise.all([cross(1, 2), cross(2, 1)])
    const settled = await Promise.allSettled([
      transaction(pool, () => Promise.reject(Object.assign(new Error('always'), { code: '40001' })), {
        retries: 2,
      }),
    ])
    expect(settled).toMatchObject([{ status: 'rejected', reason: { message: 'always' } }])
  })

  test('retries is the number of repetitions, whatever made them necessary', async () => {
    const pool = open({ maxSize: 1, connectBackoff: { minMs: 1, maxMs: 5 } })
    let runs = 0
    const failing = transaction(
      pool,
      async (tx) => {
        runs++
        if (runs === 2) {
          const { rows: found } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
          await Promise.all([
            tx.query('select pg_sleep(30)'),
            admin.query('select pg_terminate_backend($1)', [found[0]?.pid]),
          ])
        }
        throw Object.assign(new Error('not serializable'), { code: '40001' })
      },
      { retries: 2 },
    )
    await expect(failing).rejects.toThrow('not serializable')
    expect(runs).toBe(3)
  })

  test('a connection that breaks before COMMIT was sent is repeated on another one', async () => {
    const pool = open({ maxSize: 1, connectBackoff: { minMs: 1, maxMs: 5 } })
    let runs = 0
    const result = await transaction(
      pool,
      async (tx) => {
        await insert(tx, 1)
        if (++runs === 1) {
          const { rows: found } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
          await Promise.all([
            tx.query('select pg_sleep(30)'),
            admin.query('select pg_terminate_backend($1)', [found[0]?.pid]),
          ])
        }
        return runs
      },
      { retries: 1 },
    )
    expect(result).toBe(2)
    expect(await rows()).toEqual([1])
  })

  test('a COMMIT whose answer is lost is never repeated, and rejects with an unknown outcome', async () => {
    await using proxy = await TcpProxy.start({ port: Number(new URL(url).port) || 5432 })
    const behind = new URL(url)
    behind.host = `${proxy.host}:${proxy.port}`
    const pool = open({ maxSize: 1 }, behind.href)
    // The deferred trigger holds COMMIT up until the lock is free; meanwhile the connection is cut.
    await admin.query(`
      create function ${TABLE}_wait() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock(${process.pid}); return null; end';
      create constraint trigger wait after insert on ${TABLE} deferrable initially deferred
        for each row execute function ${TABLE}_wait()`)
    await admin.query(`select pg_advisory_lock(${process.pid})`)
    let runs = 0
    try {
      const committing = failureOf(
        transaction(pool, async (tx) => (runs++, await insert(tx, 1)), { retries: 3 }),
      )
      await expect
        .poll(async () => {
          const { rows: waiting } = await admin.query(
            "select 1 from pg_locks where locktype = 'advisory' and not granted and objid = $1",
            [process.pid],
          )
          return waiting.length
        })
        .toBe(1)
      proxy.cut()
      const error = await committing
      expect(error).toMatchObject({ name: 'TransactionError', code: 'COMMIT_UNKNOWN' })
      expect((error as Error).cause).toBeInstanceOf(Error)
      expect(runs).toBe(1)
    } finally {
      await admin.query('select pg_advisory_unlock_all()')
      await admin.query(`drop trigger wait on ${TABLE}; drop function ${TABLE}_wait()`)
    }
  })

  test('a COMMIT that the server rejects passes its error through', async () => {
    const pool = open({ maxSize: 1 })
    await admin.query(
      `alter table ${TABLE} add constraint own unique (n) deferrable initially deferred, drop constraint ${TABLE}_pkey`,
    )
    try {
      const error = await failureOf(
        transaction(pool, async (tx) => {
          await insert(tx, 1)
          await insert(tx, 1)
        }),
      )
      expect(error).toMatchObject({ code: '23505' })
      expect(pool.state()).toMatchObject({ idle: 1, statistics: { connects: { opened: 1 } } })
    } finally {
      await admin.query(`alter table ${TABLE} drop constraint own, add primary key (n)`)
    }
  })

  test('a nested transaction is a savepoint: only its own work is undone', async () => {
    const pool = open({ maxSize: 1 })
    await transaction(pool, async (tx) => {
      await insert(tx, 1)
      const inner = tx.transaction(async (savepoint) => {
        await insert(savepoint, 2)
        await savepoint.transaction((deeper) => insert(deeper, 3))
        await insert(savepoint, 1)
      })
      await expect(inner).rejects.toMatchObject({ code: '23505' })
      const swallowing = tx.transaction((savepoint) => insert(savepoint, 1).catch(() => 'said ok'))
      await expect(swallowing).rejects.toMatchObject({ code: '25P02' })
      await tx.transaction((savepoint) => insert(savepoint, 4))
    })
    expect(await rows()).toEqual([1, 4])
  })

  test('a nested transaction that is not awaited, and a use after the end, are rejected', async () => {
    const pool = open({ maxSize: 1 })
    let kept: Pick<PgClient, 'query'> | undefined
    const dangling = transaction(pool, async (tx) => {
      kept = tx
      void tx.transaction((savepoint) => insert(savepoint, 1)).catch(() => {})
    })
    expect(await failureOf(dangling)).toMatchObject({ code: 'NESTED_OPEN' })
    const parallel = transaction(pool, (tx) =>
      Promise.all([tx.transaction((one) => insert(one, 1)), tx.transaction((two) => insert(two, 2))]),
    )
    expect(await failureOf(parallel)).toMatchObject({ code: 'NESTED_OPEN' })
    expect(() => kept?.query('select 1')).toThrow('used after the transaction had ended')
    expect(await rows()).toEqual([])
  })

  test('the connection inside is still the driver’s own client', async () => {
    const pool = open({ maxSize: 1 })
    await transaction(pool, async (tx) => {
      expect(tx).toBeInstanceOf(pg.Client)
      const notices: unknown[] = []
      tx.on('notice', (notice) => notices.push(notice))
      await tx.query("do 'begin raise notice ''heard''; end'")
      expect(notices).toMatchObject([{ message: 'heard' }])
    })
  })
})

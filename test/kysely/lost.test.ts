import { createRequire } from 'node:module'

import { Kysely, type PostgresCursorConstructor, type Transaction, sql } from 'kysely'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'

import { Pool } from '../../src/index.ts'
import { MysqlPoolDialect, PostgresPoolDialect } from '../../src/kysely/index.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { execute } from '../hosts/host.ts'

type Db = Kysely<object>
interface Made {
  readonly db: Db
  readonly pool: Pick<Pool<unknown>, 'state'>
}
interface Row {
  readonly n: number
  readonly pid: number
}

const urls = { postgres: inject('postgresUrl'), mariadb: inject('mariadbUrl') }
const cursor = createRequire(import.meta.url)('pg-cursor') as PostgresCursorConstructor
const options = { maxSize: 1, acquireTimeoutMs: 5_000 }
const openPostgres = (): Made => {
  const pool = new Pool(new PgManager(urls.postgres), options)
  return { pool, db: new Kysely<object>({ dialect: new PostgresPoolDialect({ pool, cursor }) }) }
}
const openMysql = (): Made => {
  const pool = new Pool(new Mysql2Manager(urls.mariadb), options)
  return { pool, db: new Kysely<object>({ dialect: new MysqlPoolDialect({ pool }) }) }
}

let made: Made | undefined
afterEach(async () => {
  await made?.db.destroy()
  made = undefined
})

describe.each([
  [
    'PostgresPoolDialect',
    urls.postgres,
    openPostgres,
    {
      rows: 'select n, pg_backend_pid() as pid from generate_series(1, 2000000) as n',
      pid: 'select pg_backend_pid() as pid',
      sleep: 'select pg_sleep(30)',
      kill: (pid: number) => `select pg_terminate_backend(${pid}, 5000)`,
    },
  ],
  [
    'MysqlPoolDialect',
    urls.mariadb,
    openMysql,
    {
      rows: 'select seq as n, connection_id() as pid from seq_1_to_2000000',
      pid: 'select connection_id() as pid',
      sleep: 'select 1 from seq_1_to_2 where sleep(30)',
      kill: (pid: number) => `kill ${pid}`,
    },
  ],
])('%s, whose connection is killed', (_name, url, open, { rows, pid, sleep, kill }) => {
  const killed = (id: number): Promise<unknown> => execute(url, [kill(id)])
  const pidOf = async (db: Db): Promise<number> =>
    (await sql<{ pid: number }>`${sql.raw(pid)}`.execute(db)).rows[0]!.pid
  const streamOf = (db: Db): AsyncIterableIterator<{ rows: Row[] }> =>
    db.getExecutor().stream<Row>(sql<Row>`${sql.raw(rows)}`.compile(db), 10)
  /** The pool has its only connection back, or another one, and it works. */
  const isWell = async ({ db, pool }: Made): Promise<void> => {
    await vi.waitUntil(() => pool.state().inUse === 0, { timeout: 5_000 })
    expect(await pidOf(db)).toBeGreaterThan(0)
  }
  const start = async (): Promise<Made & { id: number }> => {
    made = open()
    return { ...made, id: await pidOf(made.db) }
  }

  describe.skipIf(url === '')('on its real server', () => {
    test('while it is idle: the next query is served', async () => {
      const { db, pool, id } = await start()
      await killed(id)
      // MariaDB answers the kill before it closes the connection.
      await vi.waitUntil(() => pool.state().connections === 0, { timeout: 5_000 })
      await isWell({ db, pool })
    })

    test('while a query runs: the query fails', async () => {
      const { db, pool, id } = await start()
      const query = sql`${sql.raw(sleep)}`.execute(db).then(
        () => 'answered',
        () => 'failed',
      )
      await vi.waitUntil(() => pool.state().inUse === 1)
      // The query was sent before: the server has it before the kill.
      await execute(url, ['select 1'])
      await killed(id)
      expect(await query).toBe('failed')
      await isWell({ db, pool })
    })

    test('while a stream is open: the stream fails and the lease is closed', async () => {
      const { db, pool, id } = await start()
      const read = async (): Promise<void> => {
        let isKilled = false
        for await (const _ of streamOf(db)) {
          if (!isKilled) await killed(id)
          isKilled = true
        }
      }
      await expect(read()).rejects.toThrow(/terminating|connection|ECONNRESET/)
      await isWell({ db, pool })
      const { closed } = pool.state().statistics
      expect(closed.lost + closed.broken).toBe(1)
    })

    test.each(['break', 'throw'] as const)('while a stream is open, and its loop ends by %s', async (how) => {
      const { db, pool, id } = await start()
      const loop = async (): Promise<string> => {
        for await (const _ of streamOf(db)) {
          await killed(id)
          if (how === 'throw') throw new Error('mine')
          break
        }
        return 'left'
      }
      expect(await loop().catch((error: Error) => error.message)).toBe(how === 'throw' ? 'mine' : 'left')
      await isWell({ db, pool })
    })

    test('in a transaction, before a query, a stream, or the commit: the transaction fails', async () => {
      const { db, pool } = await start()
      const steps: Record<string, (trx: Transaction<object>) => Promise<unknown>> = {
        query: (trx) => pidOf(trx),
        stream: (trx) => streamOf(trx).next(),
        commit: async () => {},
      }
      for (const step of Object.values(steps)) {
        const failed = db.transaction().execute(async (trx) => {
          await killed(await pidOf(trx))
          await step(trx)
        })
        await expect(failed).rejects.toThrow()
        await isWell({ db, pool })
      }
    })

    test('no statement waits behind an open stream of its own connection: it is rejected', async () => {
      const { db, pool } = await start()
      await db.connection().execute(async (own) => {
        for await (const _ of streamOf(own)) {
          await expect(pidOf(own)).rejects.toThrow('a stream is open on this connection')
          await expect(streamOf(own).next()).rejects.toThrow('a stream is open on this connection')
          break
        }
        expect(await pidOf(own)).toBeGreaterThan(0)
      })
      const open: unknown[] = []
      const failed = db.transaction().execute(async (trx) => {
        const stream = streamOf(trx)
        open.push(stream)
        await stream.next()
      })
      await expect(failed).rejects.toThrow('a stream is open on this connection')
      await isWell({ db, pool })
    })

    test('a stream that is left open when its connection is released closes the connection', async () => {
      const { db, pool, id } = await start()
      const stream = await db.connection().execute(async (own) => {
        const opened = streamOf(own)
        await opened.next()
        return opened
      })
      await isWell({ db, pool })
      expect(await pidOf(db)).not.toBe(id)
      expect(pool.state().statistics.closed.destroyed).toBe(1)
      await stream.return?.().catch(() => {})
    })
  })
})

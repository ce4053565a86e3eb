import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import mysql, { type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { MariadbManager, transaction as inMariadb } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager, transaction as inMysql2 } from '../../src/managers/mysql/mysql2.ts'
import { openSqlite, transaction as inSqlite } from '../../src/managers/sqlite/sqlite.ts'
import { kill } from './mysql-faults.ts'

const url = inject('mariadbUrl')

interface Used {
  query(sql: string): Promise<unknown>
  readonly threadId: number | null
}
interface Case {
  readonly pool: () => Pool<Used>
  readonly run: typeof inMysql2
}

describe.skipIf(url === '').each([
  ['mysql2', { pool: () => new Pool<Used>(new Mysql2Manager(url) as never, { maxSize: 2 }), run: inMysql2 }],
  [
    'mariadb',
    { pool: () => new Pool<Used>(new MariadbManager(url) as never, { maxSize: 2 }), run: inMariadb },
  ],
] satisfies [string, Case][])('transaction of cenote/%s', (name, { pool: open, run }) => {
  const table = `cenote_tx_${name}_${process.pid}`
  let pool: Pool<Used>
  let admin: mysql.Connection
  const rows = async (): Promise<unknown[]> => {
    const [found] = await admin.query<RowDataPacket[]>(`select n from ${table} order by n`)
    return found.map(({ n }) => n as number)
  }
  beforeAll(async () => {
    admin = await mysql.createConnection(url)
    await admin.query(`create table ${table} (n int primary key) engine = innodb`)
    pool = open()
  })
  afterAll(async () => {
    await pool.close()
    await admin.query(`drop table ${table}`)
    await admin.end()
  })
  const insert = (tx: { query(sql: string): Promise<unknown> }, n: number) =>
    tx.query(`insert into ${table} values (${n})`)

  test('commits what fn did, rolls back what it threw, and a savepoint alone', async () => {
    const value = await run(pool, async (tx) => {
      await insert(tx, 1)
      await tx
        .transaction(async (inner) => {
          await insert(inner, 2)
          throw new Error('inner')
        })
        .catch(() => {})
      return 'done'
    })
    expect(value).toBe('done')
    const failed = run(pool, async (tx) => {
      await insert(tx, 3)
      throw new Error('outer')
    })
    await expect(failed).rejects.toThrow('outer')
    expect(await rows()).toEqual([1])
  })

  test('isolation and readOnly hold for the transaction alone', async () => {
    const write = run(pool, (tx) => insert(tx, 9), { readOnly: true })
    await expect(write).rejects.toMatchObject({ errno: 1792 })
    await run(pool, (tx) => insert(tx, 4), { isolation: 'serializable' })
    await expect(run(pool, () => {}, { isolation: 'snapshot' as never })).rejects.toThrow(
      /^isolation must be one of .*'serializable' \(got 'snapshot'\)$/,
    )
    expect(await rows()).toEqual([1, 4])
  })

  test('a deadlock is retried, and the connection that was killed in COMMIT leaves an unknown outcome', async () => {
    await admin.query(`insert into ${table} values (100), (200)`)
    const gate = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let calls = 0
    const lock = (first: number, second: number, own: number) =>
      run(
        pool,
        async (tx) => {
          calls++
          await tx.query(`select n from ${table} where n = ${first} for update`)
          gate[own]!.resolve()
          await gate[1 - own]!.promise
          await tx.query(`select n from ${table} where n = ${second} for update`)
        },
        { retries: 2 },
      )
    await Promise.all([lock(100, 200, 0), lock(200, 100, 1)])
    expect(calls).toBe(3)
    const killed = run(pool, async (tx) => {
      await insert(tx, 5)
      await kill(url, Number(tx.threadId))
      await tx.query('select 1')
    })
    await expect(killed).rejects.toThrow()
    expect(await rows()).toEqual([1, 4, 100, 200])
  })
})

describe('transaction of cenote/sqlite', () => {
  test('commits, rolls back, and a savepoint alone', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cenote-sqlite-'))
    const sqlite = await openSqlite(join(folder, 'data.db'))
    try {
      await sqlite.writer.run((db) => db.exec('create table t (n integer)'))
      await inSqlite(sqlite.writer, async (tx) => {
        tx.exec('insert into t values (1)')
        await tx
          .transaction((inner) => {
            inner.exec('insert into t values (2)')
            throw new Error('inner')
          })
          .catch(() => {})
      })
      const failed = inSqlite(sqlite.writer, (tx) => {
        tx.exec('insert into t values (3)')
        throw new Error('outer')
      })
      await expect(failed).rejects.toThrow('outer')
      const all = await inSqlite(sqlite.readers, (tx) => tx.prepare('select n from t').all(), {
        readOnly: true,
      })
      expect(all.map((row) => ({ ...row }))).toEqual([{ n: 1 }])
      await expect(
        inSqlite(sqlite.readers, (tx) => tx.exec('delete from t'), { readOnly: true }),
      ).rejects.toThrow('readonly')
    } finally {
      await sqlite.close()
      rmSync(folder, { recursive: true })
    }
  })
})

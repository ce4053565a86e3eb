import { EventEmitter } from 'node:events'

import { CompiledQuery, Kysely, MssqlDialect, type Tedious } from 'kysely'
import { afterEach, expect, test, vi } from 'vitest'

import { Pool, TimeoutError } from '../../src/compat/tarn.ts'

type Done = (error: Error | null, rowCount?: number) => void

// There is no server of this kind here: a connection that knows its number, its transactions and how to die.
class FakeConnection extends EventEmitter {
  static made: FakeConnection[] = []
  readonly log: string[] = []
  readonly id = FakeConnection.made.push(this)
  closed = false

  connect(done: (error?: Error) => void): void {
    setImmediate(done)
  }

  execSql(request: FakeRequest): void {
    this.log.push(request.sql)
    setImmediate(() => {
      const error = this.closed ? new Error('dead') : request.sql === 'bad' ? new Error('bad sql') : null
      request.done(error, 1)
      if (error !== null) return
      request.emit('row', [{ metadata: { colName: 'id' }, value: this.id }])
      request.emit('requestCompleted')
    })
  }

  beginTransaction(done: Done): void {
    this.log.push('begin')
    setImmediate(done, null)
  }

  commitTransaction(done: Done): void {
    this.log.push('commit')
    setImmediate(done, null)
  }

  rollbackTransaction(done: Done): void {
    this.log.push('rollback')
    setImmediate(done, null)
  }

  close(): void {
    this.closed = true
    setImmediate(() => this.emit('end'))
  }
}

class FakeRequest extends EventEmitter {
  readonly sql: string
  readonly done: Done

  constructor(sql: string, done: Done) {
    super()
    this.sql = sql
    this.done = done
  }
}

const open = (max: number, acquireTimeoutMillis = 5_000): Kysely<Record<string, never>> =>
  new Kysely({
    dialect: new MssqlDialect({
      tarn: { Pool: Pool as never, options: { min: 0, max, acquireTimeoutMillis } },
      tedious: {
        Request: FakeRequest,
        TYPES: {},
        connectionFactory: () => new FakeConnection(),
      } as unknown as Tedious,
    }),
  })
const idOf = async (db: Kysely<Record<string, never>>, text = 'select 1'): Promise<number | undefined> =>
  (await db.executeQuery<{ id: number }>(CompiledQuery.raw(text))).rows[0]?.id

afterEach(() => {
  FakeConnection.made = []
  vi.restoreAllMocks()
})

test('queries share the connections, and all are closed at the end', async () => {
  {
    await using db = open(2)
    const ids = await Promise.all(Array.from({ length: 10 }, () => idOf(db)))
    expect(new Set(ids).size).toBeLessThanOrEqual(2)
    await expect(idOf(db, 'bad')).rejects.toThrow('bad sql')
    expect(await idOf(db)).toBeLessThanOrEqual(2)
  }
  expect(FakeConnection.made.every(({ closed }) => closed)).toBe(true)
})

test('a transaction is on one connection, and undone by an error', async () => {
  await using db = open(2)
  await db.transaction().execute(async (trx) => expect(await idOf(trx)).toBe(await idOf(trx)))
  const failed = db.transaction().execute(async (trx) => {
    await idOf(trx)
    throw new Error('my own')
  })
  await expect(failed).rejects.toThrow('my own')
  expect(FakeConnection.made[0]?.log).toEqual([
    'begin',
    'select 1',
    'select 1',
    'commit',
    // Kysely validates what was used before.
    'select 1',
    'begin',
    'select 1',
    'rollback',
  ])
})

test('exhausted: a TimeoutError in time; a dead connection is replaced', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => {})
  await using db = open(1, 200)
  await db.connection().execute(async () => {
    await expect(idOf(db)).rejects.toBeInstanceOf(TimeoutError)
  })
  expect(await idOf(db)).toBe(1)
  FakeConnection.made[0]?.close()
  expect(await idOf(db)).toBe(2)
})

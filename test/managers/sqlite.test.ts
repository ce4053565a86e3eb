import { chmod, copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as sqlite from 'node:sqlite'

import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import {
  openSqlite,
  type OpenSqliteOptions,
  type SqliteDatabase,
  type SqliteDriver,
  SqliteManager,
  type SqliteManagerOptions,
} from '../../src/managers/sqlite/sqlite.ts'

/** node:sqlite behind the names of better-sqlite3, which is not installed here: its options, properties and error codes. */
class BetterShaped {
  readonly #database: sqlite.DatabaseSync
  constructor(path: string, options: { readonly?: boolean; timeout?: number; fileMustExist?: boolean } = {}) {
    const { readonly = false, timeout = 5_000, ...rest } = options
    if (Object.keys(rest).length > 0) throw new TypeError('an option that better-sqlite3 does not have')
    this.#database = named(() => new sqlite.DatabaseSync(path, { readOnly: readonly, timeout }))
  }
  get open(): boolean {
    return this.#database.isOpen
  }
  get inTransaction(): boolean {
    return this.#database.isTransaction
  }
  exec(sql: string): this {
    named(() => this.#database.exec(sql))
    return this
  }
  function(name: string, call: () => number): this {
    named(() => this.#database.function(name, call))
    return this
  }
  prepare(sql: string): sqlite.StatementSync {
    const statement = named(() => this.#database.prepare(sql))
    const get = statement.get.bind(statement)
    return Object.assign(statement, { get: (...values: never[]) => named(() => get(...values)) })
  }
  close(): this {
    this.#database.close()
    return this
  }
}
function named<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    const names: Record<number, string> = { 14: 'SQLITE_CANTOPEN', 26: 'SQLITE_NOTADB', 5: 'SQLITE_BUSY' }
    const { errcode, message } = error as { errcode: number; message: string }
    throw Object.assign(new Error(message), { code: names[errcode] })
  }
}

let folder = ''
let path = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cenote-sqlite-'))
  path = join(folder, 'data.db')
})
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
  await rm(folder, { recursive: true })
})

const context = { signal: new AbortController().signal, lost: () => {} }
const failure = <D extends object>(manager: SqliteManager<D>) =>
  manager.connect(context).then(
    () => undefined,
    (error: Error) => ({ message: error.message, isFatal: manager.isFatal(error) }),
  )
const all = (database: SqliteDatabase, sql: string) =>
  database
    .prepare(sql)
    .all()
    .map((row) => ({ ...(row as object) }))

describe.each([
  ['node:sqlite', undefined],
  ['node:sqlite given as the driver', sqlite],
  ['the shape of better-sqlite3', BetterShaped],
] as readonly [string, SqliteDriver | undefined][])('with %s', (_, driver) => {
  const make = (options: SqliteManagerOptions<SqliteDatabase> = {}) =>
    new SqliteManager<SqliteDatabase>(path, { driver, ...options })
  const open = async (options: OpenSqliteOptions<SqliteDatabase> = {}) => {
    const pools = await openSqlite<SqliteDatabase>(path, { driver, ...options })
    cleanups.push(() => pools.close())
    return pools
  }

  test('many readers see what one writer has committed, while it writes', async () => {
    const { readers, writer } = await open({ readers: 3, pool: { name: 'orders' } })
    await writer.run((db) => db.exec('create table t (n integer)'))
    await writer.run((db) => db.prepare('insert into t values (?)').run(1))
    const writing = await writer.acquire()
    writing.connection.exec('begin immediate; insert into t values (2)')
    const leases = await Promise.all([1, 2, 3].map(() => readers.acquire()))
    for (const { connection } of leases) expect(all(connection, 'select n from t')).toEqual([{ n: 1 }])
    writing.connection.exec('commit')
    for (const { connection } of leases) expect(all(connection, 'select n from t')).toHaveLength(2)
    for (const lease of [...leases, writing]) lease.release()
    expect([readers.options.name, writer.options.name]).toEqual(['orders-readers', 'orders-writer'])
    expect(writer.state().maxSize).toBe(1)
  })

  test('writers queue: none meets SQLITE_BUSY from another, and none overtakes', async () => {
    const { writer } = await open({ busyTimeoutMs: 0 })
    await writer.run((db) => db.exec('create table t (n integer)'))
    await Promise.all(
      Array.from({ length: 20 }, (__, n) =>
        writer.run(async (db) => {
          db.exec('begin immediate')
          await new Promise((resolve) => setImmediate(resolve))
          db.prepare('insert into t values (?)').run(n)
          db.exec('commit')
        }),
      ),
    )
    const rows = await writer.run((db) => all(db, 'select n from t order by rowid'))
    expect(rows).toEqual(Array.from({ length: 20 }, (__, n) => ({ n })))
  })

  test('a reader cannot write', async () => {
    const { readers } = await open()
    await expect(readers.run((db) => db.exec('create table t (n integer)'))).rejects.toThrow('readonly')
  })

  test('an open transaction is rolled back at return; with none its connection is closed', async () => {
    const { writer } = await open()
    await writer.run((db) => db.exec('create table t (n integer)'))
    const first = await writer.run((db) => (db.exec('begin; insert into t values (1)'), db))
    await writer.run((db) => {
      expect(db).toBe(first)
      expect(all(db, 'select * from t')).toEqual([])
    })
    const pool = new Pool(make({ resetOnRelease: 'none' }), { maxSize: 1 })
    await pool.run((db) => db.exec('begin'))
    await pool.run((db) => db.exec('begin immediate; rollback'))
    expect(pool.state().statistics.closed.hook).toBe(1)
    await pool.close()
  })

  test.each(['readers', 'writer'] as const)(
    'an unfinished iterator of %s closes its connection; the next holder sees what was committed',
    async (which) => {
      const pools = await open({ readers: 1, busyTimeoutMs: 0 })
      await pools.writer.run((db) => db.exec('create table t (n integer); insert into t values (1), (2)'))
      const first = await pools[which].run((db) => {
        ;(db.prepare('select n from t') as unknown as sqlite.StatementSync).iterate().next()
        return db
      })
      const other = new sqlite.DatabaseSync(path)
      other.exec('insert into t values (3)')
      other.close()
      await pools.writer.run((db) => db.exec('insert into t values (4)'))
      const [next, rows] = await pools[which].run((db) => [db, all(db, 'select n from t')] as const)
      expect(next === first).toBe(false)
      expect(rows).toHaveLength(4)
      expect(pools[which].state().statistics.closed.hook).toBe(1)
    },
  )

  test('onConnect sets pragmas before first use; its failure is a connect failure that leaves nothing open', async () => {
    const { writer } = await open({
      onConnect: (db) => void db.exec('pragma foreign_keys = on; pragma cache_size = 77'),
    })
    expect(await writer.run((db) => all(db, 'pragma cache_size'))).toEqual([{ cache_size: 77 }])
    expect(await writer.run((db) => all(db, 'pragma foreign_keys'))).toEqual([{ foreign_keys: 1 }])
    const seen: SqliteDatabase[] = []
    const failing = make({
      onConnect: async (db) => {
        seen.push(db)
        await Promise.reject(new Error('no such extension'))
      },
    })
    expect(await failure(failing)).toEqual({ message: 'no such extension', isFatal: false })
    expect(() => seen[0]?.exec('select 1')).toThrow()
  })

  test('the busy timeout is that of the option', async () => {
    const blocker = await make().connect(context)
    blocker.exec('create table t (n integer); begin immediate')
    const waiting = await make({ busyTimeoutMs: 40 }).connect(context)
    const startedAt = performance.now()
    expect(() => waiting.exec('begin immediate')).toThrow('locked')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(35)
    blocker.close()
    waiting.close()
  })

  test('a file replaced under its pool is noticed by the check: the next caller sees the new one', async () => {
    const { writer, readers } = await open({ pool: { validationBypassMs: 0 } })
    await writer.run((db) => db.exec('create table t (n integer); insert into t values (1)'))
    expect(await readers.run((db) => all(db, 'select n from t'))).toEqual([{ n: 1 }])
    const backup = join(folder, 'backup.db')
    const other = new sqlite.DatabaseSync(backup)
    other.exec('create table t (n integer); insert into t values (2)')
    other.close()
    await rm(`${path}-wal`)
    await rm(`${path}-shm`)
    await rename(backup, path)
    expect(await writer.run((db) => all(db, 'select n from t'))).toEqual([{ n: 2 }])
    expect(await readers.run((db) => all(db, 'select n from t'))).toEqual([{ n: 2 }])
    expect(readers.state().statistics.closed.invalid).toBe(1)
  })

  test('close folds the WAL back into the file, whoever read last', async () => {
    const { writer, readers, close } = await open()
    await writer.run((db) => db.exec('create table t (n integer); insert into t values (1)'))
    await readers.run((db) => db.prepare('select n from t').all())
    await close()
    const copy = join(folder, 'copy.db')
    await copyFile(path, copy)
    const database = new sqlite.DatabaseSync(copy)
    expect(database.prepare('select n from t').all()).toHaveLength(1)
    database.close()
  })

  test('what is no database, or cannot be opened, is fatal and says why', async () => {
    const notADatabase = join(folder, 'letter.txt')
    await writeFile(notADatabase, 'Dear reader, this is not a database at all. '.repeat(50))
    const cases: [string, SqliteManagerOptions<SqliteDatabase>, string][] = [
      [notADatabase, {}, 'it is not a SQLite database'],
      [notADatabase, { mode: 'reader' }, 'it is not a SQLite database'],
      [join(folder, 'no', 'x.db'), {}, `the folder '${join(folder, 'no')}' does not exist`],
      [join(folder, 'no.db'), { mode: 'reader' }, 'the file does not exist; a writer creates it'],
      [folder, {}, 'it is not a file'],
    ]
    for (const [file, options, problem] of cases) {
      const found = await failure(new SqliteManager<SqliteDatabase>(file, { driver, ...options }))
      const message = `cannot open '${file}' as a ${options.mode ?? 'writer'}: ${problem}`
      expect(found).toEqual({ message, isFatal: true })
    }
    await expect(openSqlite(notADatabase, { driver })).rejects.toMatchObject({
      name: 'ConnectError',
      message: expect.stringContaining('it is not a SQLite database'),
    })
  })
})

test.skipIf(process.getuid?.() === 0)('a file that this process may not write to is fatal', async () => {
  await writeFile(path, '')
  await chmod(path, 0o400)
  expect(await failure(new SqliteManager(path))).toMatchObject({ isFatal: true })
})

test('a connection that met corruption or a failing disk is broken, one that met a constraint is not', () => {
  const manager = new SqliteManager(path)
  const database = new sqlite.DatabaseSync(':memory:')
  for (const error of [
    { errcode: 10 },
    { errcode: 11 + 256 },
    { code: 'SQLITE_IOERR_READ' },
    { code: 'SQLITE_CORRUPT' },
  ])
    expect(manager.hasBroken(database, error)).toBe(true)
  for (const error of [
    undefined,
    new Error('of the caller'),
    { errcode: 19 },
    { code: 'SQLITE_BUSY' },
    'text',
  ])
    expect(manager.hasBroken(database, error)).toBe(false)
  database.close()
  expect(manager.hasBroken(database)).toBe(true)
  manager.close(database)
})

test('wrong arguments are rejected by name', async () => {
  const wrong =
    (...given: unknown[]) =>
    () =>
      new SqliteManager(...(given as [string]))
  for (const bad of [':memory:', '', 'file:x?mode=memory', undefined])
    expect(wrong(bad)).toThrow(`path must be the path of a file (got '${String(bad)}')`)
  expect(wrong('x', { mode: 'rw' })).toThrow(/^mode .*'reader' or 'writer'/)
  expect(wrong('x', { resetOnRelease: 'all' })).toThrow(/^resetOnRelease .*'none' or 'rollback'/)
  expect(wrong('x', { busyTimeoutMs: 0.5 })).toThrow(/^busyTimeoutMs .*>= 0/)
  expect(wrong('x', { onConnect: 5 })).toThrow(/^onConnect .*a function/)
  expect(wrong('x', { driver: {} })).toThrow(/^driver .*'node:sqlite'/)
  expect(wrong('x', { timeout: 5 })).toThrow('timeout must be one of the options of SqliteManager')
  await expect(openSqlite(path, { readers: 0 })).rejects.toThrow(/^maxSize /)
  await expect(openSqlite(path, { raeders: 2 } as never)).rejects.toThrow('raeders must be one of')
})

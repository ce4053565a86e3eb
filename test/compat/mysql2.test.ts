import { AsyncLocalStorage } from 'node:async_hooks'
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'

import driver, { type PoolConnection, type RowDataPacket } from 'mysql2'
import mysqlPromise, { type PoolConnection as PromiseConnection } from 'mysql2/promise'
import { afterEach, describe, expect, inject, test } from 'vitest'

import * as promised from '../../src/compat/mysql2-promise.ts'
import mysql, { createPool, createPoolCluster, type Pool, type PoolOptions } from '../../src/compat/mysql2.ts'
import { isPoolError } from '../../src/index.ts'
import { kill } from '../managers/mysql-faults.ts'

const url = inject('mariadbUrl')
const pools: { core: Pool['core'] }[] = []
const make = (options: PoolOptions = {}): Pool => {
  const pool = createPool({ uri: url, ...options })
  pools.push(pool)
  return pool
}
const makePromised = (options: PoolOptions = {}): promised.Pool => {
  const pool = promised.createPool({ uri: url, ...options })
  pools.push(pool)
  return pool
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map(({ core }) => core.close({ timeoutMs: 0 })))
})
const get = (pool: Pool): Promise<PoolConnection> =>
  new Promise((resolve, reject) =>
    pool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error))),
  )
const ask = (on: { query: Pool['query'] }, sql: string, values: unknown[] = []): Promise<RowDataPacket[]> =>
  new Promise((resolve, reject) =>
    on.query<RowDataPacket[]>(sql, values, (error, rows) => (error === null ? resolve(rows) : reject(error))),
  )
const end = (pool: Pool): Promise<unknown> => new Promise((resolve) => pool.end(resolve))
const failureOf = async (promise: Promise<unknown>): Promise<Error> =>
  await promise.then(
    () => expect.unreachable('it resolved'),
    (error: Error) => error,
  )
async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error('it did not come to hold within 5 s')
    await delay(5)
  }
}

describe.skipIf(url === '')('callbacks, on a real MariaDB', () => {
  test('query and execute in all their forms', async () => {
    const pool = make()
    expect(await ask(pool, 'select ? as name', ['brick'])).toEqual([{ name: 'brick' }])
    const rows = await new Promise((resolve) => pool.query('select 1 as n', (_, result) => resolve(result)))
    expect(rows).toEqual([{ n: 1 }])
    const named = make({ namedPlaceholders: true })
    const byName = await new Promise((resolve) =>
      named.query({ sql: 'select :n as n', values: { n: 3 } }, (_, result) => resolve(result)),
    )
    expect(byName).toEqual([{ n: 3 }])
    for (const run of [
      (done: (error: unknown, result: unknown) => void) => pool.execute('select ? as n', [4], done),
      (done: (error: unknown, result: unknown) => void) => pool.execute('select 4 as n', done),
      (done: (error: unknown, result: unknown) => void) =>
        pool.execute({ sql: 'select ? as n', values: [4] }, done),
    ]) {
      const result = await new Promise((resolve, reject) =>
        run((error, value) => (error === null ? resolve(value) : reject(error as Error))),
      )
      expect(result).toEqual([{ n: 4 }])
    }
    const error = await failureOf(ask(pool, 'select nothing from nowhere'))
    expect(error).toMatchObject({ code: 'ER_NO_SUCH_TABLE', errno: 1146 })
    const thrown = await new Promise((resolve) =>
      pool.execute('select ?', [undefined] as never, (failure) => resolve(failure)),
    )
    expect(String(thrown)).toContain('must not contain undefined')
    // After a failed statement the connection is rolled back first.
    await until(() => pool.core.state().inUse === 0)
  })

  test('rows as events and as a stream; the connection is returned after them', async () => {
    const pool = make({ connectionLimit: 1 })
    const seen: unknown[] = []
    await new Promise<void>((resolve, reject) =>
      pool
        .query('select 1 as n union select 2')
        .on('error', reject)
        .on('fields', (fields: { name: string }[]) => seen.push(fields[0]?.name))
        .on('result', (row: unknown) => seen.push(row))
        .on('end', () => resolve()),
    )
    expect(seen).toEqual(['n', { n: 1 }, { n: 2 }])
    const rows: unknown[] = []
    for await (const row of pool.query('select 3 as n').stream()) rows.push(row)
    expect(rows).toEqual([{ n: 3 }])
    await new Promise((resolve) => pool.query('select nothing from nowhere').on('error', resolve))
    await until(() => pool.core.state().idle === 1)
    pool.end()
    expect(await new Promise((resolve) => pool.query('select 1').on('error', resolve))).toMatchObject({
      message: 'Pool is closed.',
    })
  })

  test('getConnection: the driver’s own, one object per physical connection, released once', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    const { PoolConnection } = createRequire(import.meta.url)('mysql2') as typeof driver
    expect(connection).toBeInstanceOf(PoolConnection)
    const waiter = get(pool)
    connection.release()
    expect(await waiter).toBe(connection)
    connection.release()
    connection.release()
    expect(pool.core.state()).toMatchObject({ connections: 1, idle: 1, inUse: 0 })
    pool.releaseConnection(await get(pool))
    {
      using again = await get(pool)
      expect(again).toBe(connection)
    }
    expect(pool.core.state()).toMatchObject({ idle: 1, inUse: 0 })
    const asPromise = (await get(pool)).promise()
    expect((await asPromise.query('select 1 as n'))[0]).toEqual([{ n: 1 }])
    asPromise.release()
    const ended = await get(pool)
    await new Promise((resolve) => ended.end(resolve))
    expect(pool.core.state()).toMatchObject({ connections: 1, idle: 1 })
  })

  test('with gracefulEnd, end closes the connection and frees its place', async () => {
    const pool = make({ connectionLimit: 1, gracefulEnd: true })
    const connection = await get(pool)
    await new Promise((resolve) => connection.end(resolve))
    const other = await get(pool)
    expect(other).not.toBe(connection)
    other.release()
  })

  test('destroy frees the place immediately, in use or not', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    const waiter = get(pool)
    connection.destroy()
    const other = await waiter
    expect(other).not.toBe(connection)
    expect(pool.core.state().statistics.closed.destroyed).toBe(1)
    other.release()
    other.destroy()
    expect(await get(pool)).not.toBe(other)
  })

  test('a transaction left open never reaches the next caller; resetOnRelease forgets the session too', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    await ask(connection, 'start transaction')
    await ask(connection, 'select 1')
    connection.release()
    expect(await ask(pool, 'select @@in_transaction as n')).toEqual([{ n: 0 }])
    for (const resetOnRelease of [false, true]) {
      const other = make({ connectionLimit: 1, resetOnRelease })
      await ask(other, 'set @cenote = 7')
      expect(await ask(other, 'select @cenote as n')).toEqual([{ n: resetOnRelease ? null : 7 }])
    }
  })

  test('events: connection, acquire, release for every lease, enqueue for a caller that has to wait', async () => {
    const pool = make({ connectionLimit: 1 })
    const events: unknown[][] = []
    for (const event of ['connection', 'acquire', 'release', 'enqueue']) {
      pool.on(event, (...args: unknown[]) => events.push([event, ...args]))
    }
    const connection = await get(pool)
    const waiter = get(pool)
    connection.release()
    ;(await waiter).release()
    expect(events.map(([event]) => event)).toEqual([
      'connection',
      'acquire',
      'enqueue',
      'release',
      'acquire',
      'release',
    ])
    for (const [event, subject] of events) {
      expect(subject).toBe(event === 'enqueue' ? undefined : connection)
    }
  })

  test('what a listener of connection sets holds for the first caller', async () => {
    const pool = make()
    pool.on('connection', (connection) => connection.query("set time_zone = '+05:00'"))
    expect(await ask(pool, 'select @@time_zone as zone')).toEqual([{ zone: '+05:00' }])
  })

  test('waitForConnections false, and queueLimit', async () => {
    const none = make({ connectionLimit: 1, waitForConnections: false })
    const [first, second] = await Promise.allSettled([get(none), get(none)])
    expect(second).toMatchObject({ reason: { message: 'No connections available.' } })
    expect(first.status).toBe('fulfilled')
    const one = make({ connectionLimit: 1, queueLimit: 1 })
    const connection = await get(one)
    const waiter = get(one)
    expect((await failureOf(get(one))).message).toBe('Queue limit reached.')
    expect(one).toMatchObject({
      _allConnections: { length: 1 },
      _freeConnections: { length: 0 },
      _connectionQueue: { length: 1 },
    })
    connection.release()
    ;(await waiter).release()
  })

  test('acquireTimeout limits the wait, with an error that says what to do', async () => {
    const pool = make({ connectionLimit: 1, acquireTimeout: 500 })
    await get(pool)
    const error = await failureOf(ask(pool, 'select 1'))
    expect(isPoolError(error)).toBe(true)
    expect(error).toMatchObject({ code: 'ACQUIRE_TIMEOUT', phase: 'queue' })
  })

  test('idleTimeout works at every maxIdle, and surplus connections go within a second or so', async () => {
    const pool = make({ idleTimeout: 30, core: { reapIntervalMs: 10 } })
    await ask(pool, 'select 1')
    await until(() => pool.core.state().connections === 0)
    const two = make({ maxIdle: 1 })
    const [one, other] = await Promise.all([get(two), get(two)])
    one.release()
    other.release()
    expect(two.core.state().idle).toBe(2)
    await until(() => two.core.state().connections === 1)
    expect(await get(two)).toBe(other)
  })

  test('an idle connection that the server kills is replaced, one in use frees its place', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    connection.release()
    await kill(url, connection.threadId)
    await until(() => pool.core.state().connections === 0)
    expect(await ask(pool, 'select 1 as n')).toEqual([{ n: 1 }])
    const held = await get(pool)
    const waiter = get(pool)
    const failed = failureOf(ask(held, 'select sleep(10)'))
    await kill(url, held.threadId)
    expect(await failed).toMatchObject({
      code: expect.stringMatching(/PROTOCOL_CONNECTION_LOST|ER_CONNECTION_KILLED/),
    })
    const next = await waiter
    expect(next).not.toBe(held)
    held.release()
    expect(pool.core.state()).toMatchObject({ connections: 1, inUse: 1 })
  })

  test('end rejects waiting callers, finishes running commands, and can be called again', async () => {
    const pool = make({ connectionLimit: 1 })
    const slow = ask(pool, 'select sleep(0.05) as n')
    await until(() => pool.core.state().inUse === 1)
    const waiter = failureOf(get(pool))
    const ended = Promise.all([end(pool), end(pool)])
    expect((await waiter).message).toBe('Pool is closed.')
    expect(await slow).toEqual([{ n: 0 }])
    await ended
    expect(pool.core.state()).toMatchObject({ connections: 0, closed: true })
    expect((await failureOf(get(pool))).message).toBe('Pool is closed.')
    const held = make()
    const connection = await get(held)
    await end(held)
    connection.release()
    connection.destroy()
    expect(held.core.state()).toMatchObject({ connections: 0, closing: 0 })
    {
      await using disposed = make()
      await ask(disposed, 'select 1')
    }
    const scoped = make()
    {
      using _pool = scoped
    }
    expect(scoped.core.state().closed).toBe(true)
  })

  test('callbacks continue in the async context of their caller, not in that of the releasing caller', async () => {
    const storage = new AsyncLocalStorage<string>()
    const pool = make({ connectionLimit: 1 })
    const held = await get(pool)
    const seen: (string | undefined)[] = []
    const asked = storage.run('caller', () => {
      const note = (): number => seen.push(storage.getStore())
      return Promise.all([
        new Promise<void>((resolve) =>
          pool.getConnection((_, connection) => {
            note()
            connection.release()
            resolve()
          }),
        ),
        new Promise<void>((resolve) => pool.query('select 1', () => resolve(void note()))),
        new Promise<void>((resolve) => pool.execute('select 1', () => resolve(void note()))),
      ])
    })
    storage.run('releaser', () => held.release())
    await asked
    expect(seen).toEqual(['caller', 'caller', 'caller'])
  })

  test('one statement after another uses one connection, and a callback finds it released', async () => {
    const pool = make({ connectionLimit: 5 })
    for (let n = 0; n < 5; n++) await ask(pool, 'select 1')
    for (let n = 0; n < 5; n++) {
      await new Promise<void>((resolve) =>
        pool.execute('select 1', () => {
          expect(pool.core.state()).toMatchObject({ connections: 1, idle: 1 })
          resolve()
        }),
      )
    }
    expect(pool.core.state().statistics.connects.opened).toBe(1)
  })

  test('a statement that takes longer than its timeout gives its connection back when it has ended', async () => {
    const pool = make({ connectionLimit: 1 })
    const failed = new Promise((resolve) => pool.query({ sql: 'select sleep(0.15)', timeout: 20 }, resolve))
    expect(await failed).toMatchObject({ code: 'PROTOCOL_SEQUENCE_TIMEOUT' })
    expect(pool.core.state().inUse).toBe(1)
    expect(await ask(pool, 'select 1 as n')).toEqual([{ n: 1 }])
    const lent = new Promise<PoolConnection>((resolve) => pool.once('acquire', resolve))
    const killed = failureOf(ask(pool, 'select sleep(5)'))
    await kill(url, (await lent).threadId, 'connection', 'sleep(5)')
    expect(await killed).toBeInstanceOf(Error)
    await until(() => pool.core.state().inUse === 0)
  })

  test('a listener of acquire that throws fails that caller, and costs no place', async () => {
    const pool = make({ connectionLimit: 1 })
    pool.once('acquire', () => {
      throw new Error('listener')
    })
    expect((await failureOf(get(pool))).message).toBe('listener')
    expect(pool.core.state()).toMatchObject({ idle: 1, inUse: 0 })
  })

  test('options of the pool underneath, and a driver of one’s own', async () => {
    const opened: unknown[] = []
    const core: PoolOptions['core'] = {
      name: 'mine',
      afterConnect: (connection) => void opened.push(connection),
    }
    const pool = make({ driver, core })
    const connection = await get(pool)
    expect(opened).toEqual([connection])
    expect(pool.core.options.name).toBe('mine')
    expect(Reflect.get(connection, '_pool')).toBe(pool)
    await pool.core.resize({ maxSize: 20 })
    expect(pool.core.state().maxSize).toBe(20)
  })

  test('waitForConnections false knows that the pool underneath has been resized', async () => {
    const pool = make({ connectionLimit: 1, waitForConnections: false })
    await get(pool)
    await pool.core.resize({ maxSize: 2 })
    await get(pool)
    expect((await failureOf(get(pool))).message).toBe('No connections available.')
  })

  test('a read-only server’s connection is not used again', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    await ask(connection, 'set session transaction read only')
    connection.release()
    const error = await failureOf(ask(pool, 'create table cenote_never (n int)'))
    expect(error).toMatchObject({ errno: 1792 })
    expect(await get(pool)).not.toBe(connection)
  })

  test('autocommit, the database and the user of a connection never reach the next caller', async () => {
    const pool = make({ connectionLimit: 1 })
    const state = 'select @@autocommit as a, database() as d, connection_id() as id'
    const [before] = await ask(pool, state)
    const connection = await get(pool)
    await ask(connection, 'set autocommit = 0')
    await ask(connection, 'use mysql')
    connection.release()
    expect(await ask(pool, state)).toEqual([before])
    const changed = await get(pool)
    await new Promise<void>((resolve) => changed.changeUser({}, () => resolve()))
    changed.release()
    const [after] = await ask(pool, state)
    expect(after).toMatchObject({ a: 1, d: before!['d'] })
    expect(after!['id']).not.toBe(before!['id'])
  })

  test('a caller that hides the error of a read-only server leaves its connection to no other caller', async () => {
    const pool = make({ connectionLimit: 1 })
    const connection = await get(pool)
    await ask(connection, 'set session transaction read only')
    await failureOf(ask(connection, 'create table cenote_never (n int)'))
    connection.release()
    expect(await get(pool)).not.toBe(connection)
  })

  test('a connect error is the driver’s, reaches its caller immediately, and costs no place', async () => {
    const pool = make({ connectionLimit: 1, password: 'wrong' })
    expect(await failureOf(ask(pool, 'select 1'))).toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' })
    expect(pool.core.state()).toMatchObject({ connections: 0, opening: 0 })
  })

  test('a new connectionLimit of the config holds for the next caller', async () => {
    const pool = make({ connectionLimit: 1 })
    const first = await get(pool)
    const config = (pool as unknown as { config: { connectionLimit: number } }).config
    config.connectionLimit = 2
    const second = await get(pool)
    expect([config.connectionLimit, second.threadId === first.threadId]).toEqual([2, false])
    first.release()
    second.release()
  })

  test('connectionLimit 0 is no limit', async () => {
    const pool = make({ connectionLimit: 0 })
    const connections = await Promise.all(Array.from({ length: 12 }, () => get(pool)))
    expect(new Set(connections).size).toBe(12)
  })

  test('escape, escapeId and format, with the pool’s timezone', () => {
    const pool = make({ timezone: 'Z' })
    expect(pool.escape("it's")).toBe(String.raw`'it\'s'`)
    expect(pool.escapeId('a.b')).toBe('`a`.`b`')
    expect(pool.format('?? = ?', ['at', new Date(0)])).toBe("`at` = '1970-01-01 00:00:00.000'")
    expect(mysql.format('?', [1])).toBe('1')
    expect([mysql.escape(1), mysql.escapeId('a')]).toEqual(['1', '`a`'])
    expect(mysql.format('?', [mysql.raw('now()')])).toBe('now()')
  })

  test('options as text, of a connection string too', () => {
    const pool = make({ uri: `${url}?connectionLimit=3`, queueLimit: '4' as never })
    expect(pool.config).toMatchObject({ connectionLimit: 3, queueLimit: 4, maxIdle: 3, idleTimeout: 60_000 })
    pools.push(createPool(`${url}?connectionLimit=2`))
    expect(pools.at(-1)?.core.state().maxSize).toBe(2)
  })
})

describe.skipIf(url === '')('promises, on a real MariaDB', () => {
  test('query, execute, getConnection, events and end', async () => {
    const pool = makePromised({ connectionLimit: 1 })
    const acquired: unknown[] = []
    pool.on('acquire', (connection) => acquired.push(connection))
    expect((await pool.query('select ? as n', [1]))[0]).toEqual([{ n: 1 }])
    expect((await pool.execute('select ? as n', [2]))[0]).toEqual([{ n: 2 }])
    const connection: PromiseConnection = await pool.getConnection()
    await connection.beginTransaction()
    await connection.rollback()
    pool.releaseConnection(connection)
    {
      await using _again = await pool.getConnection()
    }
    expect(acquired).toHaveLength(4)
    expect(pool.core.state()).toMatchObject({ connections: 1, idle: 1 })
    expect(pool.escape(1)).toBe('1')
    expect(await failureOf(pool.query('select nothing from nowhere'))).toMatchObject({ errno: 1146 })
    await pool.end()
    expect((await failureOf(pool.query('select 1'))).message).toBe('Pool is closed.')
    {
      await using disposed = makePromised()
      await disposed.query('select 1')
    }
    const ofCallbacks = make().promise()
    expect((await ofCallbacks.query('select 3 as n'))[0]).toEqual([{ n: 3 }])
  })
})

test.each([
  [{ connectionLimit: -1 }, 'connectionLimit must be an integer >= 0 (got -1)'],
  [{ queueLimit: 'many' }, 'queueLimit must be an integer >= 0 (got "many")'],
  [{ maxIdle: 1.5 }, 'maxIdle must be an integer >= 0 (got 1.5)'],
  [{ idleTimeout: Number.NaN }, 'idleTimeout must be an integer >= 0 (got null)'],
  [undefined, 'options of createPool must be a connection string or an object (got undefined)'],
])('%j is rejected', (options, message) => {
  expect(() => createPool(options as never)).toThrow(message)
})

test('the driver is checked, and is the one that wraps the pool for promises', () => {
  expect(() => createPool({ driver: { createConnection: () => {} } })).toThrow(
    "driver must be what `import mysql from 'mysql2'` gives",
  )
  class OtherPool extends (driver as unknown as { Pool: new () => object }).Pool {
    promise(): string {
      return 'wrapped by the given driver'
    }
  }
  const other = Object.assign(Object.create(driver), { Pool: OtherPool })
  const pool = createPool({ uri: 'mysql://x@127.0.0.1:1/x', driver: other })
  expect(pool.promise()).toBe('wrapped by the given driver')
})

test('pools and connections are instances of the classes of mysql2, whose other exports are there', () => {
  const pool = createPool('mysql://x@127.0.0.1:1/x')
  expect(pool).toBeInstanceOf(Reflect.get(driver, 'Pool'))
  const wrapped = promised.createPool('mysql://x@127.0.0.1:1/x')
  expect(wrapped).toBeInstanceOf(Reflect.get(mysqlPromise, 'PromisePool'))
  expect(mysql.Types).toBe(driver.Types)
  expect(promised.default.Types).toBe(mysqlPromise.Types)
})

test('createPoolCluster is rejected, and says what to do', () => {
  expect(() => createPoolCluster()).toThrow('make a pool for each server with createPool')
})

import callbacks, { type Connection as CallbackConnection, type QueryError } from 'mysql2'
import promises, { type Connection, type RowDataPacket } from 'mysql2/promise'
import { afterEach, describe, expect, expectTypeOf, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { type Mysql2Connection, Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { explain } from '../../src/managers/mysql/errors.ts'
import { describeMysql } from './mysql-cases.ts'
import { sayingIdle } from './mysql-faults.ts'
import { missingDriver, runScript } from '../scripts.ts'

const url = inject('mariadbUrl')
const query = (connection: CallbackConnection, sql: string): Promise<object[]> =>
  new Promise((settle, fail) =>
    connection.query(sql, (error: QueryError | null, rows) =>
      error === null ? settle(rows as object[]) : fail(error),
    ),
  )

describeMysql<Connection>({
  name: "Mysql2Manager with 'mysql2/promise'",
  manager: (config, options = {}) => new Mysql2Manager(config, { ...options, driver: promises }),
  query: async (connection, sql) => (await connection.query(sql))[0] as object[],
  execute: (connection, sql, values) => connection.execute(sql, values as string[]),
  threadId: (connection) => connection.threadId,
})

describeMysql<CallbackConnection>({
  name: "Mysql2Manager with 'mysql2' and callbacks",
  manager: (config, options = {}) => new Mysql2Manager(config, { ...options, driver: callbacks }),
  query,
  execute: (connection, sql, values) =>
    new Promise((settle, fail) =>
      connection.execute(sql, values as string[], (error: QueryError | null, rows) =>
        error === null ? settle(rows) : fail(error),
      ),
    ),
  threadId: (connection) => Number(connection.threadId),
})

const pools: Pool<never>[] = []
const keep = <C>(pool: Pool<C>): Pool<C> => {
  pools.push(pool as unknown as Pool<never>)
  return pool
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})

describe.skipIf(url === '')('Mysql2Manager and its driver', () => {
  test('the default driver is the installed mysql2/promise', async () => {
    const pool = keep(new Pool(new Mysql2Manager(url), { maxSize: 1 }))
    const rows = await pool.run(async (connection) => {
      expectTypeOf(connection).toEqualTypeOf<Mysql2Connection>()
      return (await connection.query<RowDataPacket[]>('select 1 as n'))[0]
    })
    expect(rows).toEqual([{ n: 1 }])
  })

  test('what is leased has the type that the driver makes', () => {
    expectTypeOf(new Pool(new Mysql2Manager(url, { driver: promises }))).toEqualTypeOf<Pool<Connection>>()
    expectTypeOf(new Pool(new Mysql2Manager(url, { driver: callbacks }))).toEqualTypeOf<
      Pool<CallbackConnection>
    >()
  })

  test('a release in the callback of a failed query keeps the connection, one with another queued does not', async () => {
    const pool = keep(new Pool(new Mysql2Manager(url, { driver: callbacks }), { maxSize: 1 }))
    const failed = (then: (connection: CallbackConnection) => void): Promise<number> =>
      pool.acquire().then(
        (lease) =>
          new Promise((settle) => {
            const { connection } = lease
            connection.query('select nonsense', (error) => {
              then(connection)
              lease.release(error)
              settle(Number(connection.threadId))
            })
          }),
      )
    const first = await failed(() => {})
    expect(await failed((connection) => connection.query('select sleep(5)', () => {}))).toBe(first)
    expect(await pool.run((connection) => Promise.resolve(connection.threadId))).not.toBe(first)
    expect(pool.state().statistics.closed.hook).toBe(1)
  })

  test('a query that took longer than its own timeout takes its connection with it', async () => {
    const pool = keep(new Pool(new Mysql2Manager(url, { driver: promises }), { maxSize: 1 }))
    const sleep = (connection: Connection) => connection.query({ sql: 'select sleep(5)', timeout: 20 })
    const code = { code: 'PROTOCOL_SEQUENCE_TIMEOUT' }
    await expect(pool.run(sleep)).rejects.toMatchObject(code)
    await pool.run((connection) => expect(sleep(connection)).rejects.toMatchObject(code))
    expect((await pool.run((connection) => connection.query('select 1 as n')))[0]).toEqual([{ n: 1 }])
    expect(pool.state().statistics.closed).toMatchObject({ broken: 1, hook: 1 })
  })

  test('a stream of rows left paused is closed', async () => {
    const pool = keep(new Pool(new Mysql2Manager(url, { driver: callbacks }), { maxSize: 1 }))
    const first = await pool.run(async (connection) => {
      const rows = connection.query('select seq from seq_1_to_100000').stream()
      rows.on('error', () => {})
      await new Promise((settle) => rows.once('data', settle))
      rows.pause()
      return connection.threadId
    })
    expect(await pool.run((connection) => Promise.resolve(connection.threadId))).not.toBe(first)
  })

  test('with compression, rows that look like the end of an answer do not hide an open transaction', async () => {
    const pool = keep(
      new Pool(new Mysql2Manager({ uri: url, compress: true }, { driver: promises }), { maxSize: 1 }),
    )
    await pool.run(async (connection) => {
      await connection.query('begin')
      await connection.query("select '' as a, repeat('x', 70000) as b union all select '', ''")
      await connection.execute("select '' as a, 1 as b")
    })
    const [rows] = await pool.run((connection) => connection.query('select @@in_transaction as it'))
    expect(rows).toEqual([{ it: 0 }])
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('a server that is no MariaDB may forget the character set in a reset: it is set again', async () => {
    const asMysql = async (config: never): Promise<Connection> => {
      const connection = await promises.createConnection(config)
      const core = Reflect.get(connection, 'connection') as CallbackConnection & {
        _isMariaDB: boolean
        reset: unknown
      }
      core._isMariaDB = false
      const reset = core.reset as (done: () => void) => void
      // What MySQL does: the session's character set becomes the server's.
      core.reset = (done: () => void) => reset.call(core, () => core.query('set names latin1', done))
      return connection
    }
    const manager = new Mysql2Manager(
      { uri: url, charset: 'utf8mb4_bin' },
      { driver: { createConnection: asMysql }, resetOnRelease: 'reset' },
    )
    const pool = keep(new Pool(manager, { maxSize: 1 }))
    await pool.run((connection) => connection.query('select 1'))
    const [rows] = await pool.run((connection) =>
      connection.query('select @@character_set_client as a, @@collation_connection as b'),
    )
    expect(rows).toEqual([{ a: 'utf8mb4', b: 'utf8mb4_bin' }])
  })

  test('a driver without a reset changes the user to the same one', async () => {
    const older = async (config: never): Promise<Connection> => {
      const connection = await promises.createConnection(config)
      Object.assign(Reflect.get(connection, 'connection') as object, { reset: undefined })
      return connection
    }
    const manager = new Mysql2Manager(url, { driver: { createConnection: older }, resetOnRelease: 'reset' })
    const pool = keep(new Pool(manager, { maxSize: 1 }))
    await pool.run((connection) => connection.query('set @x = 1'))
    const [rows] = await pool.run((connection) => connection.query('select @x as x, database() as d'))
    expect(rows).toEqual([{ x: null, d: new URL(url).pathname.slice(1) }])
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('a driver that shows no packets costs a ROLLBACK each time, and hides no transaction', async () => {
    const opaque = async (config: never): Promise<Connection> => {
      const connection = await promises.createConnection(config)
      const core = Reflect.get(connection, 'connection') as { handlePacket: unknown }
      const { handlePacket } = core
      Object.defineProperty(core, 'handlePacket', {
        get: () => (new Error('stack').stack?.includes('watchStatus') === true ? undefined : handlePacket),
      })
      return connection
    }
    const pool = keep(
      new Pool(new Mysql2Manager(url, { driver: { createConnection: opaque } }), { maxSize: 1 }),
    )
    await pool.run((connection) => connection.query('begin'))
    const [rows] = await pool.run((connection) => connection.query('select @@in_transaction as it'))
    expect(rows).toEqual([{ it: 0 }])
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('a process ends when its pool is closed', async () => {
    const printed = await runScript(`
      import { Pool } from 'SRC/index.ts'
      import { Mysql2Manager } from 'SRC/managers/mysql/mysql2.ts'
      const pool = new Pool(new Mysql2Manager('${url}'), { minIdle: 2 })
      await pool.run((connection) => connection.query('select 1'))
      const { closed, abandoned } = await pool.close()
      console.log(closed > 0, abandoned)`)
    expect(printed).toBe('true 0')
  })
})

test('a connection of which MySQL says that it was idle for too long is lost, before its socket ends', async () => {
  const { server, port } = await sayingIdle()
  const lost = Promise.withResolvers<void>()
  const manager = new Mysql2Manager(`mysql://x@127.0.0.1:${port}/x`)
  const { signal } = new AbortController()
  const connection = await manager.connect({ signal, lost: () => lost.resolve() })
  expect(await manager.isValid(connection, signal)).toBe(true)
  await lost.promise
  expect(manager.hasBroken(connection)).toBe(true)
  await manager.close(connection)
  await new Promise((settle) => server.close(settle))
})

test('a name with several addresses that all refuse: the error names host, port and the first reason', () => {
  const refused = (port: number) => new Error(`connect ECONNREFUSED 127.0.0.${port}:1`)
  const error = Object.assign(new AggregateError([refused(1), refused(2)], ''), { code: 'ECONNREFUSED' })
  for (const thrown of [error, new Error('', { cause: error })])
    expect(explain(thrown, 'db.test', 3307)).toMatchObject({
      message: 'cannot connect to db.test:3307: connect ECONNREFUSED 127.0.0.1:1 (and 1 more address)',
    })
  expect(explain(refused(3), 'db.test', 3307)).toEqual(refused(3))
})

test('where the driver is missing, one line says what to install, immediately', async () => {
  expect(await missingDriver('mysql/mysql2.ts', "Mysql2Manager('mysql://x@127.0.0.1:1/x')")).toBe(
    "ConnectError: cenote/mysql2 needs the package 'mysql2': npm install mysql2",
  )
})

test('fatal and retryable errors are distinguished', () => {
  const { isFatal } = Mysql2Manager.prototype
  for (const errno of [1044, 1045, 1049, 1115, 1130, 1698]) expect(isFatal({ errno })).toBe(true)
  for (const code of ['NOT_MYSQL', 'HANDSHAKE_NO_SSL_SUPPORT', 'ERR_MODULE_NOT_FOUND', 'ERR_INVALID_URL'])
    expect(isFatal({ code })).toBe(true)
  expect(isFatal({ code: 'HANDSHAKE_SSL_ERROR', message: 'certificate has expired' })).toBe(true)
  const dropped = 'Client network socket disconnected before secure TLS connection was established'
  expect(isFatal({ code: 'HANDSHAKE_SSL_ERROR', message: dropped })).toBe(false)
  for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'NO_GREETING', 'PROTOCOL_CONNECTION_LOST'])
    expect(isFatal({ code, errno: -1 })).toBe(false)
  for (const errno of [1040, 1203, 1226, 1053, 1129]) expect(isFatal({ errno })).toBe(false)
  expect(isFatal(new TypeError("Unknown charset 'abc'"))).toBe(true)
  for (const nothing of [undefined, null, 'text']) expect(isFatal(nothing)).toBe(false)
})

test('wrong arguments are rejected by name', () => {
  expect(() => new Mysql2Manager(5 as never)).toThrow(/^config must be a connection string.*\(got 5\)$/)
  expect(() => new Mysql2Manager(undefined)).toThrow(
    /^config must be a connection string.*\(got undefined\)$/,
  )
  for (const text of ['postgres://x:secret@y', 'mysql://x:secret@y:z'])
    expect(() => new Mysql2Manager(text)).toThrow(
      'config must be a URL of the form mysql://user:password@host:port/database (the given string is none)',
    )
  const wrong = (options: object) => () => new Mysql2Manager('mysql://x', options)
  expect(wrong({ resetOnRelease: 'all' })).toThrow(/^resetOnRelease .*'none', 'rollback' or 'reset'/)
  expect(wrong({ drivr: promises })).toThrow(/^drivr must be one of the options of Mysql2Manager/)
  expect(wrong({ driver: {} })).toThrow(/^driver .*'mysql2\/promise'/)
  expect(() => new Mysql2Manager({ stream: {} })).toThrow('config.stream must be a function')
  expect(wrong({ onConnect: 'set x' })).toThrow(/^onConnect .*a function/)
})

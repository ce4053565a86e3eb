import { connect, type Socket } from 'node:net'

import mariadb, { type Connection } from 'mariadb'
import callbacks from 'mariadb/callback'
import { describe, expect, expectTypeOf, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { type MariadbConnection, MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { describeMysql } from './mysql-cases.ts'
import { missingDriver, runScript } from '../scripts.ts'

const url = inject('mariadbUrl')
const configOf = (text: string) => {
  const { hostname: host, port, username: user, password, pathname } = new URL(text)
  return { host, port: Number(port || 3306), user, password, database: pathname.slice(1) }
}

describeMysql<Connection>({
  name: 'MariadbManager',
  manager: (config, options = {}) => new MariadbManager(config, { ...options, driver: mariadb }),
  query: (connection, sql) => connection.query<object[]>(sql),
  execute: (connection, sql, values) => connection.execute(sql, values),
  threadId: (connection) => Number(connection.threadId),
})

describe.skipIf(url === '')('MariadbManager and its driver', () => {
  test('the default driver is the installed mariadb, and a connection string carries options', async () => {
    const other = new URL(url)
    other.search = '?rowsAsArray=true&sessionVariables={"wait_timeout":77}'
    await using pool = new Pool(new MariadbManager(other.href.replace(/^\w+/, 'mariadb')), { maxSize: 1 })
    const rows = await pool.run((connection) => {
      expectTypeOf(connection).toEqualTypeOf<MariadbConnection>()
      return connection.query('select 1, @@wait_timeout')
    })
    expect(Array.from(rows as unknown as unknown[])).toEqual([[1, 77n]])
  })

  test('what is leased has the type that the driver makes', () => {
    expectTypeOf(new Pool(new MariadbManager(url, { driver: mariadb }))).toEqualTypeOf<Pool<Connection>>()
  })

  test('the queue of an older driver shows which command runs', async () => {
    const older = async (config: never): Promise<Connection> => {
      const connection = await mariadb.createConnection(config)
      connection.once('newListener' as 'end', function (this: object) {
        Object.assign(this, { activeReceiveCmd: undefined })
      })
      return connection
    }
    const manager = new MariadbManager(url, { driver: { createConnection: older } })
    await using pool = new Pool(manager, { maxSize: 1 })
    const first = await pool.run((connection) => Promise.resolve(connection.threadId))
    const lease = await pool.acquire()
    lease.connection.query('select sleep(5)').catch(() => {})
    lease.release()
    expect(await pool.run((connection) => Promise.resolve(connection.threadId))).not.toBe(first)
  })

  test("a stream that the config gives is the connection's, and is watched too", async () => {
    const { host, port, ...config } = configOf(url)
    const open = () => connect(port, host)
    for (const stream of [open, (done: (error: null, socket: Socket) => void) => done(null, open())]) {
      await using pool = new Pool(new MariadbManager({ ...config, stream }, { driver: mariadb }), {
        maxSize: 1,
      })
      const first = await pool.run((connection) => Promise.resolve(connection.threadId))
      const lease = await pool.acquire()
      lease.connection.query('select sleep(5)').catch(() => {})
      lease.release()
      expect(await pool.run((connection) => Promise.resolve(connection.threadId))).not.toBe(first)
    }
  })

  test('a process ends when its pool is closed', async () => {
    const printed = await runScript(`
      import { Pool } from 'SRC/index.ts'
      import { MariadbManager } from 'SRC/managers/mysql/mariadb.ts'
      const pool = new Pool(new MariadbManager('${url}'), { minIdle: 2 })
      await pool.run((connection) => connection.query('select 1'))
      const { closed, abandoned } = await pool.close()
      console.log(closed > 0, abandoned)`)
    expect(printed).toBe('true 0')
  })
})

test('the driver with callbacks is rejected, immediately', async () => {
  await using pool = new Pool(new MariadbManager('mariadb://x@127.0.0.1:1/x', { driver: callbacks as never }))
  await expect(pool.acquire()).rejects.toThrow('(got one with callbacks)')
})

test('where the driver is missing, one line says what to install, immediately', async () => {
  expect(await missingDriver('mysql/mariadb.ts', "MariadbManager('mariadb://x@127.0.0.1:1/x')")).toBe(
    "ConnectError: cenote/mariadb needs the package 'mariadb': npm install mariadb",
  )
})

test('fatal and retryable errors are distinguished', () => {
  const { isFatal } = MariadbManager.prototype
  for (const code of ['ER_SELF_SIGNED', 'ER_SERVER_SSL_DISABLED', 'CERT_HAS_EXPIRED', 'ERR_SOCKET_BAD_PORT'])
    expect(isFatal({ code })).toBe(true)
  for (const code of ['ER_CONNECTION_TIMEOUT', 'ER_SOCKET_UNEXPECTED_CLOSE', 'ECONNRESET'])
    expect(isFatal({ code })).toBe(false)
})

test('wrong arguments are rejected by name, and no password is shown', () => {
  expect(() => new MariadbManager(5 as never)).toThrow(/^config must be a connection string.*\(got 5\)$/)
  expect(() => new MariadbManager(undefined)).toThrow(
    /^config must be a connection string.*\(got undefined\)$/,
  )
  for (const text of ['postgres://user:secret@x/y', 'mariadb://user:secret@x:y/z'])
    expect(() => new MariadbManager(text)).toThrow(
      'config must be a URL of the form mariadb://user:password@host:port/database?option=value (the given string is none)',
    )
  const wrong = (options: object) => () => new MariadbManager('mariadb://x', options)
  expect(wrong({ resetOnRelease: 'all' })).toThrow(/^resetOnRelease .*'none', 'rollback' or 'reset'/)
  expect(wrong({ drivr: mariadb })).toThrow(/^drivr must be one of the options of MariadbManager/)
  expect(wrong({ driver: {} })).toThrow(/^driver .*`import mariadb from 'mariadb'`/)
  expect(() => new MariadbManager({ stream: {} })).toThrow('config.stream must be a function')
  expect(wrong({ onConnect: 'set x' })).toThrow(/^onConnect .*a function/)
})

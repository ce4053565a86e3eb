import mysql from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'

import { type PrivateMariadb, startMariadb } from '../servers/mariadb.ts'
import { type ConnectionManager, Pool, type PoolOptions } from '../../src/index.ts'
import { gone, kill, silent, startWithTls } from './mysql-faults.ts'

/** What the cases need to know of a driver. */
export interface Driven<C> {
  readonly name: string
  manager(
    config: string | object,
    options?: { resetOnRelease?: 'none' | 'rollback' | 'reset'; onConnect?: (connection: C) => unknown },
  ): ConnectionManager<C>
  query(connection: C, sql: string): Promise<readonly object[]>
  execute(connection: C, sql: string, values: unknown[]): Promise<unknown>
  threadId(connection: C): number
}

const url = inject('mariadbUrl')
const never = new AbortController().signal

/** What every manager of MySQL and MariaDB must do, on a shared server and on one that can be restarted and suspended. */
export function describeMysql<C>(driven: Driven<C>): void {
  const { manager, query, execute, threadId } = driven
  const pools: Pool<C>[] = []
  const make = (
    options: PoolOptions<C> = {},
    managerOptions: Parameters<typeof manager>[1] = {},
    config: string | object = url,
  ): Pool<C> => {
    const pool = new Pool<C>(manager(config, managerOptions), options)
    pools.push(pool)
    return pool
  }
  const one = async (connection: C, expression: string): Promise<unknown> => {
    const [row] = await query(connection, `select ${expression} as it`)
    const value: unknown = Reflect.get(row as object, 'it')
    return typeof value === 'bigint' ? Number(value) : value
  }
  const count = async (connection: C, scope: 'global' | 'session', variable: string): Promise<number> => {
    const [row] = await query(connection, `show ${scope} status like '${variable}'`)
    return Number(Reflect.get(row as object, 'Value'))
  }
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
  })

  describe.skipIf(url === '')(`${driven.name} on a real server`, () => {
    test('a connection killed while idle is removed immediately and never handed out', async () => {
      const closed = Promise.withResolvers<string>()
      const pool = make({ maxSize: 1, beforeClose: (_, reason) => closed.resolve(reason) })
      const id = await pool.run((connection) => Promise.resolve(threadId(connection)))
      await kill(url, id)
      expect(await closed.promise).toBe('lost')
      expect(await pool.run((connection) => one(connection, '1'))).toBe(1)
      expect(pool.state().statistics.closed.lost).toBe(1)
    })

    test('a connection that the server gives up after wait_timeout is removed immediately', async () => {
      const closed = Promise.withResolvers<string>()
      const pool = make({ maxSize: 1, beforeClose: (_, reason) => closed.resolve(reason) })
      await pool.run((connection) => query(connection, 'set session wait_timeout = 1'))
      expect(await closed.promise).toBe('lost')
      expect(pool.state().connections).toBe(0)
      expect(await pool.run((connection) => one(connection, '@@wait_timeout > 1'))).toBe(1)
    })

    test('a connection killed under its query is broken, and a retried run is served by another', async () => {
      const pool = make({ maxSize: 1 })
      const ids: number[] = []
      const result = await pool.run(
        async (connection) => {
          ids.push(threadId(connection))
          if (ids.length === 1) await Promise.all([query(connection, 'select sleep(30)'), kill(url, ids[0]!)])
          return 'served'
        },
        { retries: 1 },
      )
      expect(result).toBe('served')
      expect(new Set(ids).size).toBe(2)
      const { lost, broken } = pool.state().statistics.closed
      expect(lost + broken).toBe(1)
    })

    test('a query that is killed alone leaves its connection in use', async () => {
      const pool = make({ maxSize: 1 })
      const lease = await pool.acquire()
      const id = threadId(lease.connection)
      // In a WHERE the server raises an error; a bare sleep would only return early.
      const killed = query(lease.connection, 'select 1 from information_schema.tables where sleep(30)').catch(
        (error: unknown) => error,
      )
      await kill(url, id, 'query', 'sleep(30)')
      expect(await killed).toMatchObject({ code: 'ER_QUERY_INTERRUPTED' })
      lease.release(await killed)
      expect(await pool.run((connection) => Promise.resolve(threadId(connection)))).toBe(id)
    })

    test('isValid is a round trip that fails on a dead connection', async () => {
      const lost = Promise.withResolvers<void>()
      const own = manager(url)
      const connection = await own.connect({ signal: never, lost: () => lost.resolve() })
      expect(await own.isValid(connection, never)).toBe(true)
      expect(own.hasBroken(connection)).toBe(false)
      await kill(url, threadId(connection))
      await lost.promise
      await expect(own.isValid(connection, never)).rejects.toThrow()
      expect(own.hasBroken(connection)).toBe(true)
      await own.close(connection)
    })

    test('a connection that its user ended is never handed on', async () => {
      const pool = make({ maxSize: 1 })
      const first = await pool.run((connection) => {
        ;(connection as { destroy(): void }).destroy()
        return Promise.resolve(threadId(connection))
      })
      expect(await pool.run((connection) => one(connection, 'connection_id()'))).not.toBe(first)
    })

    test('a transaction left open is rolled back, and a clean connection costs nothing at return', async () => {
      const pool = make({ maxSize: 1 })
      await pool.run((connection) => query(connection, 'create temporary table t (n int) engine = innodb'))
      for (let index = 0; index < 10; index++) {
        await pool.run((connection) => query(connection, 'insert into t values (1)'))
        await pool.run((connection) => execute(connection, 'select n from t where n = ?', [0]))
      }
      expect(await pool.run((connection) => count(connection, 'session', 'Com_rollback'))).toBe(0)
      await pool.run(async (connection) => {
        await query(connection, 'begin')
        await query(connection, 'insert into t values (2)')
        await query(connection, 'select * from t')
      })
      expect(await pool.run((connection) => count(connection, 'session', 'Com_rollback'))).toBe(1)
      expect(await pool.run((connection) => one(connection, '(select count(*) from t)'))).toBe(10)
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('a transaction that autocommit = 0 opened by itself is rolled back', async () => {
      const pool = make({ maxSize: 1 })
      await pool.run((connection) => query(connection, 'create temporary table t (n int) engine = innodb'))
      await pool.run(async (connection) => {
        await query(connection, 'set autocommit = 0')
        await execute(connection, 'insert into t values (?)', [1])
      })
      expect(await pool.run((connection) => one(connection, '(select count(*) from t)'))).toBe(0)
      await pool.run((connection) => query(connection, 'set autocommit = 1'))
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('a failed statement keeps its connection, and a transaction it left open is rolled back', async () => {
      const procedure = `cenote_${process.pid}_${Math.trunc(Math.random() * 1e9)}`
      const pool = make({ maxSize: 1 })
      await pool.run((connection) =>
        query(
          connection,
          `create procedure ${procedure}() begin start transaction; signal sqlstate '45000'; end`,
        ),
      )
      try {
        const id = await pool.run((connection) => Promise.resolve(threadId(connection)))
        await expect(
          pool.run((connection) => query(connection, `call ${procedure}()`)),
        ).rejects.toMatchObject({ sqlState: '45000' })
        expect(
          await pool.run(async (connection) => [
            threadId(connection),
            await one(connection, '@@in_transaction'),
          ]),
        ).toEqual([id, 0])
      } finally {
        await pool.run((connection) => query(connection, `drop procedure ${procedure}`))
      }
    })

    test('an answer with large numbers hides no open transaction, and none is made up', async () => {
      const pool = make({ maxSize: 1 })
      await pool.run((connection) =>
        query(
          connection,
          'create temporary table t (n int auto_increment primary key, m int) engine = innodb',
        ),
      )
      for (const rows of [250, 251, 300, 70_000]) {
        const fill = `insert into t (m) select seq from seq_1_to_${rows}`
        await pool.run((connection) => query(connection, fill))
        await pool.run(async (connection) => {
          await query(connection, 'begin')
          await query(connection, fill)
        })
      }
      expect(await pool.run((connection) => count(connection, 'session', 'Com_rollback'))).toBe(4)
      expect(await pool.run((connection) => one(connection, '(select count(*) from t)'))).toBe(70_801)
    })

    test("'none' closes a connection in a transaction and keeps one that is clean", async () => {
      const pool = make({ maxSize: 1 }, { resetOnRelease: 'none' })
      await pool.run((connection) => query(connection, 'select 1'))
      await pool.run((connection) => query(connection, 'begin'))
      await pool.run((connection) => query(connection, 'select 1'))
      expect(pool.state().statistics.connects.opened).toBe(2)
      expect(pool.state().statistics.closed.hook).toBe(1)
    })

    test("'reset' forgets all session state, keeps database and character set, and applies onConnect again", async () => {
      const pool = make(
        { maxSize: 1 },
        {
          resetOnRelease: 'reset',
          onConnect: (connection) => query(connection, "set time_zone = '+05:00'"),
        },
      )
      const name = `cenote_${process.pid}_${Math.trunc(Math.random() * 1e9)}`
      const session = (connection: C): Promise<unknown> =>
        one(
          connection,
          "concat_ws(' ', database(), @@character_set_client, @@collation_connection, @@time_zone)",
        )
      const before = await pool.run(session)
      expect(before).toMatch(/\+05:00$/)
      await pool.run(async (connection) => {
        for (const statement of [
          'set @x = 1',
          "set time_zone = '+01:00'",
          'create temporary table t (n int) engine = innodb',
          `select get_lock('${name}', 0)`,
          'begin',
          'insert into t values (1)',
        ])
          await query(connection, statement)
      })
      const after = await pool.run(async (connection) => [
        await one(connection, '@x'),
        await one(connection, `is_used_lock('${name}')`),
        await one(connection, '@@in_transaction'),
        await session(connection),
      ])
      expect(after).toEqual([null, null, 0, before])
      await expect(pool.run((connection) => query(connection, 'select * from t'))).rejects.toMatchObject({
        code: 'ER_NO_SUCH_TABLE',
      })
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('a connection that is returned with a command still running is closed, the next caller gets another', async () => {
      const pool = make({ maxSize: 1 })
      const lease = await pool.acquire()
      const id = threadId(lease.connection)
      const running = query(lease.connection, 'select sleep(5)').catch((error: unknown) => error)
      const queued = query(lease.connection, 'select 1').catch((error: unknown) => error)
      lease.release()
      expect(await pool.run((connection) => Promise.resolve(threadId(connection)))).not.toBe(id)
      expect(await running).toBeInstanceOf(Error)
      expect(await queued).toBeInstanceOf(Error)
      expect(pool.state().statistics.closed.hook).toBe(1)
    })

    test('prepared statements are kept with their connection, and one lease prepares for the next', async () => {
      const pool = make({ maxSize: 1 })
      for (let index = 0; index < 20; index++)
        await pool.run((connection) => execute(connection, 'select ? + 1 as n', [index]))
      expect(await pool.run((connection) => count(connection, 'session', 'Com_stmt_prepare'))).toBe(1)
      expect(await pool.run((connection) => count(connection, 'session', 'Com_stmt_execute'))).toBe(20)
    })

    test('denied, no such database, no TLS: fatal, with the cause', async () => {
      const wrong = (change: (url: URL) => void): string => {
        const other = new URL(url)
        change(other)
        return other.href
      }
      const { hostname: host, port, username: user, password } = new URL(url)
      const cases: [string | object, string | RegExp][] = [
        [wrong((it) => (it.password = 'wrong')), 'ER_ACCESS_DENIED_ERROR'],
        [wrong((it) => (it.username = 'nobody_here')), /^ER_ACCESS_DENIED(_NO_PASSWORD)?_ERROR$/],
        [wrong((it) => (it.pathname = '/no_such_database')), 'ER_BAD_DB_ERROR'],
        [
          { host, port: Number(port || 3306), user, password, ssl: {} },
          /^(HANDSHAKE_NO_SSL_SUPPORT|ER_SERVER_SSL_DISABLED)$/,
        ],
      ]
      for (const [config, code] of cases) {
        await expect(make({}, {}, config).acquire()).rejects.toMatchObject({
          name: 'ConnectError',
          cause: { code: typeof code === 'string' ? code : expect.stringMatching(code) },
        })
      }
    })

    test('an abort while onConnect runs ends the attempt and closes the connection', async () => {
      const controller = new AbortController()
      const begun = Promise.withResolvers<number>()
      const own = manager(url, {
        onConnect: (connection) => {
          begun.resolve(threadId(connection))
          return new Promise(() => {})
        },
      })
      const attempt = own.connect({ signal: controller.signal, lost: () => {} })
      const id = await begun.promise
      controller.abort(new Error('no longer wanted'))
      await expect(attempt).rejects.toThrow('no longer wanted')
      await gone(url, [id])
    })

    test('an onConnect that fails fails the connect and closes the connection', async () => {
      let id = 0
      const own = manager(url, {
        onConnect: (connection) => {
          id = threadId(connection)
          return query(connection, 'set no_such_variable = 1')
        },
      })
      await expect(own.connect({ signal: never, lost: () => {} })).rejects.toMatchObject({
        code: 'ER_UNKNOWN_SYSTEM_VARIABLE',
      })
      await gone(url, [id])
    })
  })

  describe.skipIf(url === '')(`${driven.name} on a server of its own`, () => {
    let server: PrivateMariadb
    beforeAll(async () => {
      server = await startMariadb({
        flags: ['--character-set-server=latin1', '--collation-server=latin1_bin'],
      })
    })
    afterAll(() => server.destroy())

    test('a restart: every idle connection is removed immediately, callers wait and are served', async () => {
      const gaveUp = Promise.withResolvers<void>()
      const pool = make(
        {
          maxSize: 3,
          minIdle: 3,
          connectBackoff: { minMs: 20, maxMs: 100 },
          onError: () => gaveUp.resolve(),
        },
        {},
        server.url,
      )
      const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
      for (const lease of leases) lease.release()
      await server.stop()
      const waiting = Promise.all(
        [1, 2, 3, 4].map((n) => pool.run((connection) => one(connection, String(n)))),
      )
      await gaveUp.promise
      expect(pool.state()).toMatchObject({ idle: 0, waiting: 4, statistics: { closed: { lost: 3 } } })
      await server.start()
      expect(await waiting).toEqual([1, 2, 3, 4])
    })

    test('a server that does not answer: its connections are closed, callers wait and are served when it does', async () => {
      const failed = Promise.withResolvers<void>()
      const pool = make(
        {
          maxSize: 1,
          validationBypassMs: 0,
          validationTimeoutMs: 150,
          connectTimeoutMs: 200,
          connectBackoff: { minMs: 20, maxMs: 50 },
          onError: (error) => {
            if ((error as Error).message.includes('connect took longer')) failed.resolve()
          },
        },
        {},
        server.url,
      )
      await pool.run((connection) => one(connection, '1'))
      server.suspend()
      try {
        const waiting = pool.run((connection) => one(connection, '2'))
        await failed.promise
        expect(pool.state().statistics.closed.invalid).toBe(1)
        server.resume()
        expect(await waiting).toBe(2)
      } finally {
        server.resume()
      }
    })

    test('close is an orderly end for a healthy connection, and bounded when the server does not answer', async () => {
      const own = manager(server.url)
      const connect = () => own.connect({ signal: never, lost: () => {} })
      const observer = await connect()
      const aborted = await count(observer, 'global', 'Aborted_clients')
      const healthy = await Promise.all([connect(), connect(), connect()])
      await Promise.all(healthy.map(async (connection) => own.close(connection)))
      await gone(server.url, healthy.map(threadId))
      expect(await count(observer, 'global', 'Aborted_clients')).toBe(aborted)
      server.suspend()
      try {
        const before = performance.now()
        await own.close(observer)
        expect(performance.now() - before).toBeLessThan(3_000)
      } finally {
        server.resume()
      }
    })

    test("'reset' frees the prepared statements of the server and keeps the character set of the client", async () => {
      const pool = make({ maxSize: 1 }, { resetOnRelease: 'reset' }, server.url)
      for (let index = 0; index < 20; index++)
        await pool.run((connection) => execute(connection, `select ? + ${index} as n`, [index]))
      await pool.run(async (connection) => {
        expect(await count(connection, 'global', 'Prepared_stmt_count')).toBe(0)
        expect(await one(connection, '@@character_set_client')).toBe('utf8mb4')
        expect(await one(connection, "'😀'")).toBe('😀')
      })
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('too many connections is retried until the server has room', async () => {
      const admin = await mysql.createConnection(server.url)
      await admin.query("create user limited identified by 'x' with max_user_connections 1")
      await admin.query('grant select on test.* to limited')
      const config = {
        host: '127.0.0.1',
        port: server.port,
        user: 'limited',
        password: 'x',
        database: 'test',
      }
      const holder = await mysql.createConnection(config)
      const refused = Promise.withResolvers<unknown>()
      const pool = make({ onError: (error) => refused.resolve(error) }, {}, config)
      const waiting = pool.run((connection) => one(connection, '1'))
      expect(await refused.promise).toMatchObject({ cause: { errno: 1226 } })
      await holder.end()
      expect(await waiting).toBe(1)
      await pool.close()
      await admin.end()
    })

    test('a user without a right to the database: fatal', async () => {
      const admin = await mysql.createConnection(server.url)
      await admin.query("create user stranger identified by 'x'")
      await admin.end()
      const config = {
        host: '127.0.0.1',
        port: server.port,
        user: 'stranger',
        password: 'x',
        database: 'test',
      }
      await expect(make({}, {}, config).acquire()).rejects.toMatchObject({
        name: 'ConnectError',
        cause: { code: 'ER_DBACCESS_DENIED_ERROR' },
      })
    })

    test('a Unix socket is as good', async () => {
      const config = { socketPath: server.socketPath, user: 'root', password: 'cenote', database: 'test' }
      const closed = Promise.withResolvers<string>()
      const pool = make({ beforeClose: (_, reason) => closed.resolve(reason) }, {}, config)
      const id = await pool.run((connection) => Promise.resolve(threadId(connection)))
      await kill(server.url, id)
      expect(await closed.promise).toBe('lost')
    })
  })

  describe.skipIf(url === '')(`${driven.name} over TLS`, () => {
    let server: PrivateMariadb
    let ca: string
    let end: () => Promise<void>
    beforeAll(async () => {
      ;({ server, ca, end } = await startWithTls(31))
    })
    afterAll(() => end())
    const config = (ssl: object): object => ({
      host: '127.0.0.1',
      port: server.port,
      user: 'root',
      password: 'cenote',
      database: 'test',
      ssl,
    })

    test('a killed connection is lost; a busy connection is closed and its query rejects', async () => {
      const closed = Promise.withResolvers<string>()
      const pool = make(
        { maxSize: 1, beforeClose: (_, reason) => closed.resolve(reason) },
        {},
        config({ ca, rejectUnauthorized: true, checkServerIdentity: () => undefined }),
      )
      const id = await pool.run(async (connection) => {
        const [row] = await query(connection, "show session status like 'Ssl_cipher'")
        expect(Reflect.get(row as object, 'Value')).not.toBe('')
        return threadId(connection)
      })
      await kill(server.url, id)
      expect(await closed.promise).toBe('lost')
      const lease = await pool.acquire()
      const running = query(lease.connection, 'select sleep(5)').catch((error: unknown) => error)
      lease.release()
      expect(await running).toBeInstanceOf(Error)
    })

    test('a untrusted certificate is fatal', async () => {
      await expect(make({}, {}, config({ rejectUnauthorized: true })).acquire()).rejects.toMatchObject({
        name: 'ConnectError',
        message: expect.stringContaining(
          process.versions['bun'] === undefined
            ? 'self-signed certificate'
            : 'unable to verify the first certificate',
        ),
      })
    })

    test('an expired certificate is fatal', async () => {
      const expired = await startWithTls(-1)
      try {
        const own = {
          ...config({ ca: expired.ca, checkServerIdentity: () => undefined }),
          port: expired.server.port,
        }
        await expect(make({}, {}, own).acquire()).rejects.toMatchObject({
          name: 'ConnectError',
          message: expect.stringContaining('certificate has expired'),
        })
      } finally {
        await expired.end()
      }
    })
  })

  describe(`${driven.name} and servers that are none`, () => {
    test('a server that accepts and says nothing: the attempt fails in time and leaves no socket behind', async () => {
      const { server, port, closed } = await silent()
      const pool = make({ connectTimeoutMs: 100, retryConnect: false }, {}, `mysql://x@127.0.0.1:${port}/x`)
      await expect(pool.acquire()).rejects.toMatchObject({
        name: 'ConnectError',
        message: expect.stringContaining('connect took longer than 100 ms'),
      })
      expect(closed.length).toBe(1)
      await Promise.all(closed)
      await pool.close()
      await new Promise((resolve) => server.close(resolve))
    })

    test('a server that says something else is named immediately, and fatal', async () => {
      const { server, port, closed } = await silent('SSH-2.0-OpenSSH_9.2\r\n')
      await expect(make({}, {}, `mysql://x@127.0.0.1:${port}/x`).acquire()).rejects.toMatchObject({
        name: 'ConnectError',
        message: expect.stringContaining(
          `127.0.0.1:${port} begins with 'SSH-2.0-OpenSSH_9.2.', not a MySQL or MariaDB server`,
        ),
        cause: { code: 'NOT_MYSQL' },
      })
      await Promise.all(closed)
      await new Promise((resolve) => server.close(resolve))
    })

    test('silence is reported after 6 s and may be retried; a PostgreSQL is detected and fatal', async () => {
      const { server, port } = await silent()
      const own = manager(`mysql://x@127.0.0.1:${port}/x`)
      const postgres = inject('postgresUrl')
      const [error, told] = await Promise.all([
        own.connect({ signal: never, lost: () => {} }).catch((caught: unknown) => caught),
        postgres === ''
          ? undefined
          : make({}, {}, postgres.replace(/^\w+:/, 'mysql:'))
              .acquire()
              .catch((caught: unknown) => caught),
      ])
      expect(error).toMatchObject({
        code: 'NO_GREETING',
        message: expect.stringContaining(`127.0.0.1:${port} accepted the connection but has not greeted`),
      })
      expect(own.isFatal?.(error)).toBe(false)
      if (postgres !== '') {
        expect(told).toMatchObject({
          name: 'ConnectError',
          message: expect.stringContaining('is a PostgreSQL server, not a MySQL or MariaDB server'),
        })
      }
      await new Promise((resolve) => server.close(resolve))
    })

    test('no server, unknown host: a clear error, and a retry may help', async () => {
      for (const [host, code] of [
        ['127.0.0.1:1', 'ECONNREFUSED'],
        ['no-such-host.invalid', 'ENOTFOUND'],
      ]) {
        const own = manager(`mysql://x@${host}/x`)
        const error = await own.connect({ signal: never, lost: () => {} }).catch((caught: unknown) => caught)
        expect(error).toMatchObject({ code })
        expect(own.isFatal?.(error)).toBe(false)
      }
    })

    test('a port that is none is fatal', async () => {
      await expect(make({}, {}, { host: '127.0.0.1', port: 99_999 }).acquire()).rejects.toMatchObject({
        name: 'ConnectError',
        cause: { code: 'ERR_SOCKET_BAD_PORT' },
      })
    })
  })
}

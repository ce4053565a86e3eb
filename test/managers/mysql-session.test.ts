import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import mariadb from 'mariadb'
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'

import { type ConnectionManager, Pool, type PoolOptions } from '../../src/index.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { type PrivateMariadb, startMariadb } from '../servers/mariadb.ts'

/** What the cases use of a connection of either driver. */
interface Used {
  query(sql: string | object): Promise<unknown>
  changeUser(options: { user: string; password: string; database: string }): Promise<unknown>
  readonly threadId: number | null
}
type Mode = 'none' | 'rollback' | 'reset'
type Managed = ConnectionManager<Used> & {
  cancel(connection: Used, signal: AbortSignal): Promise<void>
}

const MODES: readonly Mode[] = ['none', 'rollback', 'reset']
const MANAGERS: Readonly<Record<string, (config: object, mode: Mode) => Managed>> = {
  Mysql2Manager: (config, resetOnRelease) =>
    new Mysql2Manager(config, { driver: mysql, resetOnRelease }) as never,
  MariadbManager: (config, resetOnRelease) =>
    new MariadbManager(config, { driver: mariadb, resetOnRelease }) as never,
}
const names = Object.keys(MANAGERS)

describe.skipIf(inject('mariadbUrl') === '')('the session of a MariaDB connection', () => {
  let server: PrivateMariadb
  let admin: Connection
  let config: { host: string; port: number; user: string; password: string; database: string }
  const pools: Pool<Used>[] = []

  beforeAll(async () => {
    server = await startMariadb({ flags: ['--max-connections=60'] })
    config = { host: '127.0.0.1', port: server.port, user: 'app', password: 'x', database: 'test' }
    admin = await mysql.createConnection({ ...config, user: 'root', password: 'cenote' })
    for (const sql of [
      'create database archive',
      'create table test.orders (id int) engine = innodb',
      'create table archive.orders (id int) engine = innodb',
      'create table test.other (id int) engine = innodb',
      'create role clerk',
      "create user app@'127.0.0.1' identified by 'x'",
      "create user tenant@'127.0.0.1' identified by 'x'",
      "grant all on *.* to app@'127.0.0.1'",
      "revoke super, read only admin, connection admin on *.* from app@'127.0.0.1'",
      "grant clerk to app@'127.0.0.1'",
      "grant all on test.* to tenant@'127.0.0.1'",
    ])
      await admin.query(sql)
  })
  afterAll(async () => {
    await admin.end()
    await server.destroy()
  })
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
    await admin.query('set global read_only = 0')
    await admin.query('truncate test.orders')
  })

  const make = (manager: string, mode: Mode, options: PoolOptions<Used> = {}): Pool<Used> => {
    const pool = new Pool(MANAGERS[manager]!(config, mode), { maxSize: 1, ...options })
    pools.push(pool)
    return pool
  }
  const one = async (connection: Used, sql: string): Promise<string> => {
    // The rows of mariadb, or of mysql2 with the fields behind them.
    const answer = (await connection.query({ sql, rowsAsArray: true })) as unknown[][]
    const row = (Array.isArray(answer[0]?.[0]) ? answer[0][0] : answer[0]) as unknown[]
    return String(row[0])
  }
  const statements = async (text: string): Promise<number> => {
    const [rows] = await admin.query<RowDataPacket[]>(
      'select count(*) as n from information_schema.processlist where user = ? and info like ?',
      ['app', `%${text}%`],
    )
    return Number(rows[0]?.['n'])
  }
  const until = async (holds: () => Promise<boolean>): Promise<void> => {
    const deadline = Date.now() + 10_000
    while (!(await holds())) if (Date.now() > deadline) throw new Error('it did not come to hold within 10 s')
  }

  interface State {
    /** What a holder leaves behind, one statement each; 'user' stands for changeUser. */
    readonly leave: readonly string[]
    /** What the next holder sees of it. An error counts as a result. */
    readonly see: string
  }
  const STATES: Readonly<Record<string, State>> = {
    'an open transaction': {
      leave: ['begin', 'insert into orders values (1)'],
      see: 'select count(*) from orders',
    },
    '`SET autocommit = 0`': { leave: ['set autocommit = 0'], see: 'select @@autocommit' },
    '`USE` of another database': { leave: ['use archive'], see: 'select database()' },
    'another user (`changeUser`)': { leave: ['user'], see: 'select user()' },
    'a role (`SET ROLE`)': { leave: ['set role clerk'], see: 'select current_role()' },
    'isolation level of the session': {
      leave: ['set session transaction isolation level serializable'],
      see: 'select @@tx_isolation',
    },
    'read-only transactions of the session': {
      leave: ['set session transaction read only'],
      see: 'select @@tx_read_only',
    },
    'other session variables': { leave: ["set time_zone = '+05:00'"], see: 'select @@time_zone' },
    'user variables (`@x`)': { leave: ['set @x = 1'], see: 'select @x' },
    'temporary tables': {
      leave: ['create temporary table scratch (n int)'],
      see: 'select count(*) from scratch',
    },
    '`GET_LOCK`': {
      leave: ["do get_lock('cenote', 0)"],
      see: "select is_used_lock('cenote') = connection_id()",
    },
    '`LOCK TABLES`': { leave: ['lock tables orders write'], see: 'select count(*) from other' },
    '`PREPARE`': { leave: ["prepare p from 'select 1'"], see: 'execute p' },
  }

  async function outcome(manager: string, mode: Mode, { leave, see }: State): Promise<string> {
    const seen = (connection: Used): Promise<string> =>
      one(connection, see).catch((error: { errno?: number }) => `error ${error.errno}`)
    const pool = make(manager, mode)
    const fresh = make(manager, mode)
    const before = await fresh.run(seen)
    await fresh.close()
    const first = await pool.run(async (connection) => {
      const id = connection.threadId
      for (const sql of leave) {
        if (sql === 'user') await connection.changeUser({ user: 'tenant', password: 'x', database: 'test' })
        else await connection.query(sql)
      }
      return id
    })
    const [next, after] = await pool.run(async (connection) => [connection.threadId, await seen(connection)])
    await pool.close()
    if (after === before) return next === first ? 'restored' : 'closed'
    expect(next).toBe(first)
    return 'kept'
  }

  test('the table in docs/managers.md shows what a connection keeps', async () => {
    const lines = ['| left behind | `none` | `rollback` | `reset` |', '|---|---|---|---|']
    for (const [name, state] of Object.entries(STATES)) {
      const outcomes: string[] = []
      for (const mode of MODES) {
        const ofEach: string[] = []
        // One after the other: the locks of one would be in the way of the other.
        for (const manager of names) ofEach.push(await outcome(manager, mode, state))
        expect(new Set(ofEach).size, `${name} with ${mode}: ${ofEach.join()}`).toBe(1)
        outcomes.push(ofEach[0]!)
      }
      lines.push(`| ${name} | ${outcomes.join(' | ')} |`)
    }
    const file = join(import.meta.dirname, '../../docs/managers.md')
    const page = await readFile(file, 'utf8')
    const marked = /(<!-- session state of MariaDB -->\n\n)[^<]*(\n<!-- end -->)/
    expect(page).toMatch(marked)
    const expected = page.replace(marked, (_, start, end) => `${start}${lines.join('\n')}\n${end}`)
    if (process.env['CENOTE_DOCS'] === '1') await writeFile(file, expected)
    else expect(page).toBe(expected)
  }, 120_000)

  describe.each(names)('%s', (manager) => {
    test('a write after SET autocommit = 0 of another holder is committed', async () => {
      const pool = make(manager, 'rollback')
      const ids = new Set<unknown>()
      for (const leave of [
        ['set autocommit = 0', 'insert into orders values (1)', 'commit'],
        ['set autocommit = 0', 'insert into orders values (1)'],
        ['set autocommit = 0', 'select nonsense'],
        ['set completion_type = CHAIN', 'set autocommit = 0', 'begin'],
      ]) {
        await pool.run(async (connection) => {
          for (const sql of leave) await connection.query(sql).catch(() => {})
        })
        await pool.run((connection) => connection.query('insert into orders values (2)'))
        ids.add(await pool.run((connection) => Promise.resolve(connection.threadId)))
      }
      const [rows] = await admin.query<RowDataPacket[]>('select id from test.orders order by id')
      expect(rows.map(({ id }) => id)).toEqual([1, 2, 2, 2, 2])
      expect(ids.size).toBe(1)
    })

    test('autocommit = 0 set by onConnect is what a connection is brought back to', async () => {
      const own = manager === 'Mysql2Manager' ? Mysql2Manager : MariadbManager
      const onConnect = (connection: Used) => connection.query('set autocommit = 0')
      const pool = new Pool<Used>(new own(config, { onConnect } as object) as never, { maxSize: 1 })
      pools.push(pool)
      await pool.run((connection) => connection.query('set autocommit = 1'))
      expect(await pool.run((connection) => one(connection, 'select @@autocommit'))).toBe('0')
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('autocommit = 0 set by init_connect of the server stays', async () => {
      await admin.query("set global init_connect = 'set autocommit = 0'")
      try {
        const pool = make(manager, 'rollback')
        await pool.run((connection) => connection.query('select 1'))
        await pool.run((connection) => connection.query('select 1'))
        expect(await pool.run((connection) => one(connection, 'select @@autocommit'))).toBe('0')
      } finally {
        await admin.query("set global init_connect = ''")
      }
    })

    test('after USE a connection without a database of its own is closed', async () => {
      const { database: _, ...without } = config
      const pool = new Pool(MANAGERS[manager]!(without, 'rollback'), { maxSize: 1 })
      pools.push(pool)
      await pool.run((connection) => connection.query('use archive'))
      expect(await pool.run((connection) => one(connection, 'select database()'))).toBe('null')
      expect(pool.state().statistics.connects.opened).toBe(2)
    })

    test.each(MODES)('a failed changeUser closes the connection with %s', async (mode) => {
      const pool = make(manager, mode)
      const wrong = { user: 'tenant', password: 'wrong', database: 'test' }
      const first = await pool.run(async (connection) => {
        await connection.changeUser(wrong).catch(() => {})
        return connection.threadId
      })
      expect(await pool.run((connection) => Promise.resolve(connection.threadId))).not.toBe(first)
    })

    test('a connection to a demoted server is not used again, even if its holder hides the error', async () => {
      const pool = make(manager, 'rollback')
      await admin.query('set global read_only = 1')
      const insert = (connection: Used) => connection.query('insert into orders values (1)')
      const ids: unknown[] = []
      for (const work of [insert, (connection: Used) => insert(connection).catch(() => {})]) {
        await pool
          .run((connection) => {
            ids.push(connection.threadId)
            return work(connection)
          })
          .catch((error: unknown) => expect(error).toMatchObject({ errno: 1290 }))
      }
      ids.push(await pool.run((connection) => Promise.resolve(connection.threadId)))
      expect(new Set(ids).size).toBe(3)
    })

    test('cancel stops the statement and keeps the connection, whose next statement runs', async () => {
      const own = MANAGERS[manager]!(config, 'rollback')
      const pool = new Pool(own, { maxSize: 1 })
      pools.push(pool)
      const lease = await pool.acquire()
      const { connection } = lease
      const sql = 'select 1 from information_schema.tables where sleep(30)'
      const failed = connection.query(sql).catch((error: unknown) => error)
      await until(async () => (await statements('where sleep(30)')) === 1)
      await own.cancel(connection, new AbortController().signal)
      expect(await failed).toMatchObject({ errno: 1317 })
      expect(await one(connection, 'select 1 + sleep(0.01)')).toBe('1')
      const id = connection.threadId
      lease.release()
      expect(await pool.run((next) => Promise.resolve(next.threadId))).toBe(id)
    })

    test('cancel of an idle connection does nothing, and none of many hits the next holder', async () => {
      const own = MANAGERS[manager]!(config, 'rollback')
      const pool = new Pool(own, { maxSize: 1 })
      pools.push(pool)
      const { signal } = new AbortController()
      for (let round = 0; round < 40; round++) {
        const lease = await pool.acquire()
        const short = lease.connection.query(`do sleep(${(round % 5) / 1_000})`).catch(() => {})
        const cancelled = own.cancel(lease.connection, signal)
        await short
        lease.release()
        const value = await pool.run((connection) => one(connection, `select ${round} + sleep(0.002)`))
        expect(value).toBe(String(round))
        await cancelled
      }
    })

    test('cancel is bounded by its signal while the server is silent', async () => {
      const own = MANAGERS[manager]!(config, 'rollback')
      const connection = await own.connect({ signal: new AbortController().signal, lost: () => {} })
      const running = connection.query('select sleep(20)').catch((error: unknown) => error)
      server.suspend()
      try {
        const controller = new AbortController()
        const cancelled = own.cancel(connection, controller.signal)
        controller.abort(new Error('too long'))
        await expect(cancelled).rejects.toThrow('too long')
        const startedAt = performance.now()
        await own.close(connection)
        expect(performance.now() - startedAt).toBeLessThan(4_500)
        expect(await running).toBeInstanceOf(Error)
      } finally {
        server.resume()
      }
    })

    test('the server never runs more statements of the pool than maxSize, whatever callers give up', async () => {
      const pool = make(manager, 'rollback', { maxSize: 2 })
      let most = 0
      let isOver = false
      const watching = (async () => {
        while (!isOver) most = Math.max(most, await statements('sleep(7)'))
      })()
      // Each caller leaves its statement running.
      const give = async (): Promise<void> => {
        const lease = await pool.acquire()
        void lease.connection.query('select count(*) from seq_1_to_5 where sleep(7)').catch(() => {})
        await until(async () => (await statements('sleep(7)')) > 0)
        lease.release()
      }
      await Promise.all(Array.from({ length: 12 }, give))
      isOver = true
      await watching
      await until(async () => (await statements('sleep(7)')) === 0)
      expect(most).toBeGreaterThan(0)
      expect(most).toBeLessThanOrEqual(2)
      expect(pool.state().statistics.connects.opened).toBe(12)
    }, 30_000)

    test('the config may be a function, which gives each connection its own credentials', async () => {
      const users = ['app', 'tenant']
      const own = manager === 'Mysql2Manager' ? Mysql2Manager : MariadbManager
      const source = async () => ({ ...config, user: await Promise.resolve(users.shift()!) })
      const pool = new Pool<Used>(new own(source) as never, { maxSize: 2 })
      pools.push(pool)
      const user = (connection: Used) => one(connection, "select substring_index(user(), '@', 1)")
      const leases = await Promise.all([pool.acquire(), pool.acquire()])
      const seen = await Promise.all(leases.map(({ connection }) => user(connection)))
      expect(new Set(seen)).toEqual(new Set(['app', 'tenant']))
      for (const lease of leases) lease.release()
      const failing = new Pool(new own(() => Promise.reject(new Error('no token'))), { retryConnect: false })
      await expect(failing.acquire()).rejects.toMatchObject({ cause: { message: 'no token' } })
      await failing.close()
    })
  })
})

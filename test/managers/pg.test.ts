import dns from 'node:dns'
import { createServer, type AddressInfo, type Socket } from 'node:net'

import pg from 'pg'
import { afterEach, describe, expect, inject, test, vi } from 'vitest'

import { isPoolError, Pool, type PoolOptions } from '../../src/index.ts'
import type { PgClient } from '../../src/managers/pg/client.ts'
import { PgManager, type PgManagerOptions } from '../../src/managers/pg/pg.ts'
import { TcpProxy } from '../../src/testing/index.ts'

const url = inject('postgresUrl')
const pools: Pool<PgClient>[] = []
const make = (
  options: PoolOptions<PgClient> = {},
  managerOptions: PgManagerOptions<PgClient> = {},
  config: string | Record<string, unknown> = url,
) => {
  const pool = new Pool<PgClient>(new PgManager(config, managerOptions), options)
  pools.push(pool)
  return pool
}
const kill = async (...clients: PgClient[]): Promise<void> => {
  const killer = new pg.Client({ connectionString: url })
  await killer.connect()
  for (const { processID } of clients) await killer.query('select pg_terminate_backend($1)', [processID])
  await killer.end()
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})

describe.skipIf(url === '')('PgManager on a real PostgreSQL', () => {
  test('a connection killed while idle is removed immediately, never handed out, and does not end the process', async () => {
    const closed = Promise.withResolvers<string>()
    const pool = make({ maxSize: 1, beforeClose: (_, reason) => closed.resolve(reason) }, { driver: pg })
    const lease = await pool.acquire()
    const { processID } = lease.connection
    lease.release()
    await kill({ processID } as PgClient)
    expect(await closed.promise).toBe('lost')
    expect((await pool.run((client) => client.query<{ n: number }>('select 1 as n'))).rows).toEqual([
      { n: 1 },
    ])
  })

  test('a query that its time limit ended has broken its connection, and a retried run is served by a new one', async () => {
    await using proxy = await TcpProxy.start({ port: Number(new URL(url).port) || 5432 })
    const behind = new URL(url)
    behind.host = `${proxy.host}:${proxy.port}`
    const pool = make({ maxSize: 1 }, {}, { connectionString: behind.href, query_timeout: 200 })
    await pool.run((client) => client.query('select 1'))
    // What is sent from now on is swallowed, and nobody tells.
    proxy.halfOpen()
    const swallowed = pool.run((client) => client.query('select 1'))
    await expect(swallowed).rejects.toThrow('Query read timeout')
    expect(pool.state().statistics.closed).toMatchObject({ broken: 1 })
    let runs = 0
    const { rows } = await pool.run(
      async (client) => {
        if (++runs === 1) proxy.halfOpen()
        return await client.query<{ n: number }>('select 1 as n')
      },
      { retries: 1 },
    )
    expect([rows, runs]).toEqual([[{ n: 1 }], 2])
  })

  test('a client whose query received FATAL is broken from that moment, and a retried run is served', async () => {
    const pool = make({ maxSize: 1 })
    let runs = 0
    const result = await pool.run(
      async (client) => {
        runs++
        if (runs === 1) {
          await Promise.all([client.query('select pg_sleep(30)'), kill(client)])
        }
        return 'served'
      },
      { retries: 1 },
    )
    expect(result).toBe('served')
    expect(runs).toBe(2)
    const { lost, broken } = pool.state().statistics.closed
    expect(lost + broken).toBe(1)
  })

  test('isValid is a round trip that fails on a dead connection', async () => {
    const manager = new PgManager(url)
    const client = await manager.connect({ signal: new AbortController().signal, lost: () => {} })
    expect(await manager.isValid(client, new AbortController().signal)).toBe(true)
    await kill(client)
    await expect(manager.isValid(client, new AbortController().signal)).rejects.toThrow()
    expect(manager.hasBroken(client)).toBe(true)
    await manager.close(client)
  })

  test('a connection that is returned in a transaction is rolled back', async () => {
    const pool = make({ maxSize: 1 })
    const lease = await pool.acquire()
    const { processID } = lease.connection
    await lease.connection.query('create temp table t (n int)')
    await lease.connection.query('begin')
    await lease.connection.query('insert into t values (1)')
    lease.release()
    await pool.run(async (client) => {
      expect(client.processID).toBe(processID)
      expect((await client.query('select * from t')).rows).toEqual([])
    })
  })

  test('a failed transaction is rolled back too', async () => {
    const pool = make({ maxSize: 1 })
    await expect(
      pool.run(async (client) => {
        await client.query('begin')
        await client.query('select nonsense')
      }),
    ).rejects.toMatchObject({ code: '42703' })
    expect((await pool.run((client) => client.query('select 1 as n'))).rows).toEqual([{ n: 1 }])
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test("resetOnRelease 'none' closes a connection in a transaction, 'discard all' forgets session state", async () => {
    const none = make({ maxSize: 1 }, { resetOnRelease: 'none' })
    await none.run((client) => client.query('begin'))
    await none.run((client) => client.query('select 1'))
    expect(none.state().statistics.closed.hook).toBe(1)
    const all = make({ maxSize: 1 }, { resetOnRelease: 'discard all' })
    await all.run((client) => client.query('create temp table forgotten (n int)'))
    await expect(all.run((client) => client.query('select * from forgotten'))).rejects.toMatchObject({
      code: '42P01',
    })
    expect(all.state().statistics.connects.opened).toBe(1)
  })

  test.each([
    ["'discard all'", 'discard all', 'select 1'],
    ['a DISCARD ALL of the holder', 'rollback', 'discard all'],
    ['a DEALLOCATE ALL of the holder', 'rollback', 'deallocate all'],
  ] as const)('a named statement works again after %s', async (_, resetOnRelease, between) => {
    const pool = make({ maxSize: 1 }, { resetOnRelease })
    const byId = (client: PgClient) =>
      client.query({ name: 'by-id', text: 'select $1::int as v', values: [7] })
    await pool.run(byId)
    await pool.run((client) => client.query(between))
    // The driver learns from the first failure that the server has dropped the statement.
    if (resetOnRelease === 'rollback') await expect(pool.run(byId)).rejects.toMatchObject({ code: '26000' })
    expect((await pool.run(byId)).rows).toEqual([{ v: 7 }])
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('a connection whose named statement has another result than it was prepared for is replaced', async () => {
    const pool = make({ maxSize: 1 })
    await pool.run((client) => client.query('create temp table shape (n int)'))
    const all = (client: PgClient) => client.query({ name: 'all', text: 'select * from shape' })
    await pool.run(all)
    await pool.run((client) => client.query('alter table shape add column m int'))
    await expect(pool.run(all)).rejects.toMatchObject({ code: '0A000' })
    await pool.run((client) => client.query('create temp table shape (n int, m int)'))
    expect((await pool.run(all)).rowCount).toBe(0)
    expect(pool.state().statistics.connects.opened).toBe(2)
  })

  test('a connection that is returned with a query still running is closed, and the next caller gets another', async () => {
    const pool = make({ maxSize: 1 })
    const lease = await pool.acquire()
    const { processID } = lease.connection
    const running = lease.connection.query('select pg_sleep(30)').catch((error: Error) => error)
    lease.release()
    const next = await pool.run((client) => Promise.resolve(client.processID))
    expect(next).not.toBe(processID)
    expect(await running).toBeInstanceOf(Error)
  })

  test('no such database is fatal: the caller gets it immediately', async () => {
    const other = new URL(url)
    other.pathname = '/no_such_database'
    await expect(make({}, {}, other.href).acquire()).rejects.toMatchObject({
      name: 'ConnectError',
      cause: { code: '3D000' },
    })
  })

  test('fatal and retryable errors are distinguished by SQLSTATE', () => {
    const { isFatal } = PgManager.prototype
    for (const code of ['28000', '28P01', '3D000', '42501', 'ERR_MODULE_NOT_FOUND'])
      expect(isFatal({ code })).toBe(true)
    for (const code of ['53300', '57P03', '57P01', '08006', 'ECONNREFUSED', 'ENOTFOUND'])
      expect(isFatal({ code })).toBe(false)
    expect(isFatal(undefined)).toBe(false)
    expect(isFatal(new Error('The server does not support SSL connections'))).toBe(true)
  })

  test('too many connections is retried until the server has room', async () => {
    const limited = `cenote_${process.pid}`
    const admin = new pg.Client({ connectionString: url })
    await admin.connect()
    await admin.query(`create role ${limited} login superuser connection limit 1 password 'x'`)
    await admin.query(`alter role ${limited} nosuperuser`)
    const own = new URL(url)
    own.username = limited
    own.password = 'x'
    try {
      const holder = new pg.Client({ connectionString: own.href })
      await holder.connect()
      const errors: unknown[] = []
      const refused = Promise.withResolvers<void>()
      const pool = make({ onError: (error) => (errors.push(error), refused.resolve()) }, {}, own.href)
      const waiting = pool.run((client) => client.query('select 1 as n'))
      await refused.promise
      await holder.end()
      expect((await waiting).rows).toEqual([{ n: 1 }])
      expect(errors[0]).toMatchObject({ cause: { code: '53300' } })
      await pool.close()
    } finally {
      await admin.query(`drop role ${limited}`)
      await admin.end()
    }
  })

  test('close is graceful for a healthy client and quick for a dead one', async () => {
    const manager = new PgManager(url)
    const connect = () => manager.connect({ signal: new AbortController().signal, lost: () => {} })
    const [healthy, dead] = [await connect(), await connect()]
    await kill(dead)
    await Promise.all([manager.close(healthy), manager.close(dead)])
    const { rows } = await make().run((client) =>
      client.query('select pid from pg_stat_activity where pid in ($1, $2)', [
        (healthy as PgClient).processID,
        (dead as PgClient).processID,
      ]),
    )
    expect(rows.length).toBeLessThanOrEqual(1)
  })
})

test('a server that accepts and says nothing: the attempt fails in time and leaves no socket behind', async () => {
  const sockets: Promise<void>[] = []
  const server = createServer((socket: Socket) => {
    socket.on('error', () => {})
    sockets.push(new Promise((resolve) => socket.on('close', () => resolve())))
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const pool = make({ connectTimeoutMs: 100, retryConnect: false }, {}, `postgres://x@127.0.0.1:${port}/x`)
  await expect(pool.acquire()).rejects.toMatchObject({
    name: 'ConnectError',
    message: expect.stringContaining('connect took longer than 100 ms'),
  })
  await Promise.all(sockets)
  expect(sockets.length).toBeGreaterThan(0)
  await pool.close()
  await new Promise((resolve) => server.close(resolve))
})

test('a name with several addresses of which none answers: the error names the host, the port and the first reason', async () => {
  const { lookup } = dns
  vi.spyOn(dns, 'lookup').mockImplementation(((
    name: string,
    options: object,
    done: (...of: unknown[]) => void,
  ) => {
    if (name !== 'db.test') return lookup(name, options, done as never)
    const addresses = ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 }))
    process.nextTick(done, null, addresses)
  }) as never)
  const pool = make({ retryConnect: false }, {}, 'postgres://x@db.test:1/x')
  await expect(pool.acquire()).rejects.toMatchObject({
    cause: {
      message: 'cannot connect to db.test:1: connect ECONNREFUSED 127.0.0.1:1 (and 1 more address)',
      code: 'ECONNREFUSED',
      cause: { errors: [{}, {}] },
    },
  })
  vi.restoreAllMocks()
})

test('no server: a clear error with its cause', async () => {
  const pool = make({ retryConnect: false }, {}, 'postgres://x@127.0.0.1:1/x')
  const error = await pool.acquire().catch((caught: unknown) => caught)
  expect(isPoolError(error) && error.message).toMatch(
    /could not connect: connect ECONNREFUSED 127\.0\.0\.1:1/,
  )
})

test('wrong arguments are rejected by name', () => {
  expect(() => new PgManager(5 as never)).toThrow(/^config must be a connection string, .* \(got 5\)$/)
  expect(() => new PgManager('postgres://x', { dnsRefreshMs: 0 })).toThrow(
    'dnsRefreshMs must be a number of milliseconds > 0, or Infinity (got 0)',
  )
  expect(() => new PgManager('postgres://x', { resetOnRelease: 'all' as never })).toThrow(
    "resetOnRelease must be one of 'none', 'rollback', 'discard all' (got 'all')",
  )
  expect(() => new PgManager('postgres://x', { drivr: pg } as never)).toThrow(
    'drivr must be one of the options of PgManager: did you mean driver?',
  )
  expect(() => new PgManager('postgres://x', { driver: {} as never })).toThrow(
    'driver must be an object with the class Client',
  )
})

test('a connection string that is not set, or is no PostgreSQL URL, is rejected by the constructor', () => {
  const url: string | undefined = process.env['CENOTE_NOT_SET']
  expect(() => new PgManager(url)).toThrow(
    'config must be a connection string, an object for pg.Client, or a function that returns one of them (got undefined)',
  )
  const rule = 'the connection string must begin with postgres://, postgresql://, socket: or /'
  for (const [given, shown] of [
    ['', 'an empty string'],
    ['mysql://root:secret@localhost/db', 'mysql://'],
    ['localhost:5432/db', 'a string without one of them'],
    ['host=localhost password=secret', 'a string without one of them'],
    ['user:secret@host/app', 'a string without one of them'],
  ] as const) {
    expect(() => new PgManager(given)).toThrow(`${rule} (got ${shown})`)
    expect(() => new PgManager({ connectionString: given })).toThrow(`${rule} (got ${shown})`)
  }
  for (const right of ['postgres://x', 'PostgreSQL://h1,h2/db', 'socket:/run/postgresql?db=x', '/run db'])
    expect(() => new PgManager(right)).not.toThrow()
})

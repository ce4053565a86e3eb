import { once } from 'node:events'
import { createRequire } from 'node:module'

import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { type PrivatePostgres, startPostgres } from '../servers/postgres.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import { TcpProxy } from '../../src/testing/index.ts'

let server: PrivatePostgres
let admin: pg.Client
beforeAll(async () => {
  server = await startPostgres({ flags: ['-c', 'max_connections=20'] })
  admin = new pg.Client(server.url)
  await admin.connect()
})
afterAll(async () => {
  await admin.end()
  await server.destroy()
})
const pools: Pool<PgClient>[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})

// The package has no types.
const Cursor = createRequire(import.meta.url)('pg-cursor') as new (
  text: string,
) => pg.Submittable & { read(count: number): Promise<unknown[]> }
const NAME = 'the pool of this test'
const make = (config: Record<string, unknown> = {}, options: PoolOptions<PgClient> = {}) => {
  const manager = new PgManager({ connectionString: server.url, application_name: NAME, ...config })
  const pool = new Pool<PgClient>(manager, { maxSize: 1, ...options })
  pools.push(pool)
  return pool
}
const connect = (manager: PgManager): Promise<PgClient> =>
  manager.connect({ signal: new AbortController().signal, lost: () => {} })
const atWork = async (): Promise<number> => {
  const { rows } = await admin.query<{ n: number }>(
    "select count(*)::int as n from pg_stat_activity where application_name = $1 and state = 'active'",
    [NAME],
  )
  return rows[0]?.n ?? 0
}
const sessions = async (): Promise<number> => {
  const { rows } = await admin.query<{ n: number }>(
    'select count(*)::int as n from pg_stat_activity where application_name = $1',
    [NAME],
  )
  return rows[0]?.n ?? 0
}

describe.each([{ pipeline: false }, { pipeline: true }])(
  'closing a busy client, pipeline: $pipeline',
  (mode) => {
    test('the server never runs more statements than maxSize, although every caller gives up after 100 ms', async () => {
      const pool = make({ ...mode, query_timeout: 100 }, { maxSize: 2 })
      let most = 0
      let isOver = false
      const watching = (async () => {
        while (!isOver) most = Math.max(most, await atWork())
      })()
      const errors = await Promise.all(
        Array.from({ length: 30 }, () =>
          pool.run((client) => client.query('select pg_sleep(20)')).catch((error: Error) => error.message),
        ),
      )
      isOver = true
      await watching
      expect(most).toBe(2)
      expect(new Set(errors)).toEqual(new Set(['Query read timeout']))
      expect(pool.state().statistics.closed.broken).toBe(30)
      await pool.close()
      await expect.poll(sessions, { interval: 5 }).toBe(0)
    })

    test('a lease returned with statements sent and queued leaves none of them on the server', async () => {
      const manager = new PgManager({ connectionString: server.url, application_name: NAME, ...mode })
      const client = await connect(manager)
      const statements = Promise.allSettled(
        Array.from({ length: 5 }, (_, n) => client.query('select pg_sleep($1)', [20 + n])),
      )
      await expect.poll(atWork, { interval: 5 }).toBe(1)
      await manager.close(client)
      expect(await sessions()).toBe(0)
      expect(new Set((await statements).map(({ status }) => status))).toEqual(new Set(['rejected']))
    })

    test('the slot stays taken until the server is free of the statement', async () => {
      const pool = make(mode)
      const lease = await pool.acquire()
      lease.connection.query('select pg_sleep(20)').catch(() => {})
      await expect.poll(atWork, { interval: 5 }).toBe(1)
      lease.release()
      expect(pool.state()).toMatchObject({ closing: 1, connections: 0 })
      await pool.run(async () => expect(await atWork()).toBe(0))
    })
  },
)

test('a socket that the holder destroyed under a statement does not leave the statement on the server', async () => {
  const pool = make()
  const lease = await pool.acquire()
  lease.connection.query('select pg_sleep(20)').catch(() => {})
  await expect.poll(atWork, { interval: 5 }).toBe(1)
  lease.connection.connection?.stream?.destroy()
  await new Promise<void>((resolve) => void lease.connection.on('end', () => resolve()))
  lease.release()
  await pool.close()
  await expect.poll(sessions, { interval: 5 }).toBe(0)
})

test('an open cursor, and a COPY that waits for rows, are ended without a wait', async () => {
  const manager = new PgManager({ connectionString: server.url, application_name: NAME })
  const reading = await connect(manager)
  const cursor = (reading as unknown as pg.Client).query(new Cursor('select generate_series(1, 10)'))
  expect(await cursor.read(1)).toHaveLength(1)
  const copying = await connect(manager)
  await copying.query('create temp table rows_of_copy (n int)')
  const waiting = once(copying.connection as never, 'copyInResponse')
  // The driver refuses the statement when the server asks for its rows; the server still waits for them.
  const { promise, resolve } = Promise.withResolvers<void>()
  ;(copying as unknown as pg.Client).query({
    submit: (connection: pg.Connection) => connection.query('copy rows_of_copy from stdin'),
    handleCopyInResponse: () => {},
    handleError: () => resolve(),
    handleReadyForQuery: () => {},
    handleCommandComplete: () => {},
  } as never)
  await waiting
  const beganAt = performance.now()
  await Promise.all([manager.close(reading), manager.close(copying)])
  // The second request would be sent after 50 ms, and the last after 1,550 ms.
  expect(performance.now() - beganAt).toBeLessThan(1_000)
  await promise
  expect(await sessions()).toBe(0)
})

test('a statement that the server cannot be reached to cancel does not hold the close up', async () => {
  const { port } = new URL(server.url)
  await using proxy = await TcpProxy.start({ port: Number(port) })
  const behind = new URL(server.url)
  behind.port = String(proxy.port)
  const manager = new PgManager(behind.href)
  const client = await connect(manager)
  const statement = client.query('select pg_sleep(1)').catch((error: Error) => error)
  proxy.refuse()
  await manager.close(client)
  expect(await statement).toBeInstanceOf(Error)
})

describe('cancel', () => {
  test('stops what runs, keeps the connection, and leaves the next statement alone', async () => {
    const manager = new PgManager({ connectionString: server.url, application_name: NAME })
    const client = await connect(manager)
    for (let round = 0; round < 20; round++) {
      const statement = client.query('select pg_sleep(20)').catch((error: { code: string }) => error.code)
      await manager.cancel(client, new AbortController().signal)
      expect(await statement).toBe('57014')
      expect((await client.query('select pg_sleep(0.001)')).rowCount).toBe(1)
    }
    await manager.close(client)
  })

  test('sends no request for an idle client', async () => {
    const { port } = new URL(server.url)
    await using proxy = await TcpProxy.start({ port: Number(port) })
    const behind = new URL(server.url)
    behind.port = String(proxy.port)
    const manager = new PgManager(behind.href)
    const client = await connect(manager)
    proxy.refuse()
    await manager.cancel(client, new AbortController().signal)
    await proxy.heal()
    expect(manager.hasBroken(client)).toBe(false)
    await manager.close(client)
  })

  test('destroys the client when its signal aborts before the server has answered', async () => {
    const { port } = new URL(server.url)
    await using proxy = await TcpProxy.start({ port: Number(port) })
    const behind = new URL(server.url)
    behind.port = String(proxy.port)
    const manager = new PgManager(behind.href)
    const client = await connect(manager)
    proxy.blackhole()
    const statement = client.query('select 1').catch((error: Error) => error)
    const controller = new AbortController()
    const cancelling = manager.cancel(client, controller.signal)
    await expect.poll(() => proxy.connections).toBe(2)
    controller.abort()
    await cancelling
    expect(await statement).toBeInstanceOf(Error)
    await manager.close(client)
  })
})

test('ref and unref decide whether an open client keeps the process alive', async () => {
  const manager = new PgManager(server.url)
  const client = await connect(manager)
  const stream = client.connection?.stream as unknown as { _handle: { hasRef(): boolean } }
  manager.unref(client)
  expect(stream._handle.hasRef()).toBe(false)
  manager.ref(client)
  expect(stream._handle.hasRef()).toBe(true)
  manager.unref(client)
  // A close that is awaited must settle although nothing else keeps the process alive.
  const closing = manager.close(client)
  expect(stream._handle.hasRef()).toBe(true)
  await closing
})

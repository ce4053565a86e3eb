import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { createServer, type Socket } from 'node:net'

import pg from 'pg'
// @ts-expect-error the driver has no types
import Cursor from 'pg-cursor'
import { afterEach, describe, expect, inject, test } from 'vitest'

import { type PgPoolOptions, Pool, type PoolClient } from '../../src/compat/pg-pool.ts'

const url = inject('postgresUrl')
const pools: Pool[] = []
const make = (options: PgPoolOptions = {}): Pool => {
  const pool = new Pool({ connectionString: url, ...options })
  pools.push(pool)
  return pool
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map(({ core }) => core.close({ timeoutMs: 0 })))
})
const failureOf = async (promise: Promise<unknown>): Promise<Error> =>
  await promise.then(
    () => expect.unreachable('it resolved'),
    (error: Error) => error,
  )

describe.skipIf(url === '')('on a real PostgreSQL', () => {
  test('query with a promise and a callback, values and a config', async () => {
    const pool = make()
    expect((await pool.query('select $1::text as name', ['brick'])).rows).toEqual([{ name: 'brick' }])
    expect((await pool.query({ text: 'select $1::int as n', values: [7] })).rows).toEqual([{ n: 7 }])
    const called = Promise.withResolvers<{ rows: unknown[] }>()
    pool.query('select $1::int as n', [8], (error: Error | undefined, result: { rows: unknown[] }) =>
      error === undefined ? called.resolve(result) : called.reject(error),
    )
    expect((await called.promise).rows).toEqual([{ n: 8 }])
    const bare = Promise.withResolvers<{ rows: unknown[] }>()
    pool.query('select 9 as n', (_: unknown, result: { rows: unknown[] }) => bare.resolve(result))
    expect((await bare.promise).rows).toEqual([{ n: 9 }])
  })

  test('min is kept in all, idle or in use', async () => {
    const pool = make({ min: 2, max: 5 })
    await expect.poll(() => pool.idleCount).toBe(2)
    const clients = [await pool.connect(), await pool.connect()]
    await pool.query('select 1')
    expect(pool.totalCount).toBe(3)
    for (const client of clients) client.release()
    expect([pool.totalCount, pool.idleCount]).toEqual([3, 3])
  })

  test('connect with a promise and a callback: the same client for each physical connection', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    expect(client).toBeInstanceOf(pg.Client)
    expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([1, 0, 0])
    const called = Promise.withResolvers<{ again: PoolClient | undefined; release: () => void }>()
    pool.connect((error, again, release) =>
      error ? called.reject(error) : called.resolve({ again, release }),
    )
    expect(pool.waitingCount).toBe(1)
    client.release()
    const { again, release } = await called.promise
    expect(again).toBe(client)
    release()
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
    expect(() => client.release()).toThrow(
      'Release called on client which has already been released to the pool.',
    )
  })

  test('a client that was released with an error, or whose pool.query failed, is ended', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    client.release(new Error('bad'))
    expect(pool.idleCount).toBe(0)
    const other = await pool.connect()
    expect(other).not.toBe(client)
    other.release()
    const error = await failureOf(pool.query('select nothing from nowhere'))
    expect(error).toMatchObject({ code: '42P01' })
    expect(pool.idleCount).toBe(0)
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }])
  })

  test('a transaction left open never reaches the next caller', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    await client.query('begin')
    client.release()
    const { rows } = await pool.query('select now() = statement_timestamp() as own')
    expect(rows).toEqual([{ own: true }])
  })

  test('events: connect, acquire, release, remove, in their order and with their client', async () => {
    const pool = make({ max: 1 })
    const events: unknown[][] = []
    for (const event of ['connect', 'acquire', 'release', 'remove'] as const) {
      pool.on(event, (...args: unknown[]) => events.push([event, ...args]))
    }
    const removed = new Promise((resolve) => pool.once('remove', resolve))
    const client = await pool.connect()
    client.release()
    await pool.connect()
    const bad = new Error('bad')
    client.release(bad)
    await removed
    expect(events.map(([event]) => event)).toEqual([
      'connect',
      'acquire',
      'release',
      'acquire',
      'release',
      'remove',
    ])
    expect(events[0]?.[1]).toBe(client)
    expect(events[2]).toEqual(['release', undefined, client])
    expect(events[4]).toEqual(['release', bad, client])
    expect(events[5]?.[1]).toBe(client)
  })

  test('an idle client that the server kills: the event error with it, no crash without a listener', async () => {
    for (const isHeard of [true, false]) {
      const pool = make({ max: 1 })
      const client = await pool.connect()
      const { rows } = await client.query('select pg_backend_pid() as pid')
      client.release()
      const heard = new Promise<unknown[]>((resolve) => {
        if (isHeard) pool.once('error', (...args: unknown[]) => resolve(args))
        else pool.once('remove', (gone) => resolve([undefined, gone]))
      })
      const killer = make()
      await killer.query('select pg_terminate_backend($1)', [rows[0].pid])
      const [error, gone] = await heard
      expect(gone).toBe(client)
      if (isHeard) expect(error).toMatchObject({ client })
      expect(pool.totalCount).toBe(0)
      expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }])
    }
  })

  test('an error event of a client in use is its holder’s, and the client stays', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    client.emit('error', new Error('synthetic'))
    client.release()
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
    expect(await pool.connect()).toBe(client)
  })

  test('a client that dies in use frees its place immediately, and its release does nothing more', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    const { rows } = await client.query('select pg_backend_pid() as pid')
    const waiter = pool.connect()
    await make().query('select pg_terminate_backend($1)', [rows[0].pid])
    const next = await waiter
    expect(next).not.toBe(client)
    expect(pool.totalCount).toBe(1)
    client.release(new Error('it died'))
    expect(() => client.release()).toThrow('already been released')
    next.release()
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
    await pool.end()
  })

  test('a listener of acquire that throws fails that connect, and costs no place', async () => {
    const pool = make({ max: 1 })
    pool.once('acquire', () => {
      throw new Error('listener')
    })
    expect((await failureOf(pool.connect())).message).toBe('listener')
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
  })

  test('end serves callers for which a client is being opened, and waits for clients in use', async () => {
    const pool = make({ max: 5 })
    const results = Array.from({ length: 5 }, (_, n) => pool.query('select $1::int as n', [n]))
    const held = make({ max: 1 })
    const client = await held.connect()
    const waiter = failureOf(held.connect())
    let isEnded = false
    const ended = held.end().then(() => (isEnded = true))
    expect((await waiter).message).toBe('Cannot use a pool after calling end on the pool')
    expect([isEnded, held.ending, held.ended]).toEqual([false, true, false])
    client.release()
    await ended
    expect(held.ended).toBe(true)
    await pool.end()
    expect((await Promise.all(results)).map(({ rows }) => rows[0].n)).toEqual([0, 1, 2, 3, 4])
    expect(pool.totalCount).toBe(0)
    expect((await failureOf(pool.connect())).message).toBe('Cannot use a pool after calling end on the pool')
    expect((await failureOf(pool.end())).message).toBe('Called end on pool more than once')
    const called = new Promise((resolve) => pool.end(resolve))
    expect(await called).toMatchObject({ message: 'Called end on pool more than once' })
  })

  test('end: serves every caller for whom there is room', async () => {
    for (const max of [20, 50]) {
      const pool = make({ max })
      const queries = Promise.allSettled(Array.from({ length: max }, () => pool.query('select 1')))
      expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([max, 0, 0])
      await pool.end()
      expect((await queries).filter(({ status }) => status === 'fulfilled')).toHaveLength(max)
    }
  })

  test('a client returned with a cursor open is closed, and pool.query rejects a cursor', async () => {
    const pool = make({ max: 1 })
    const client = await pool.connect()
    await client.query(new Cursor('select * from generate_series(1, 1000)')).read(1)
    client.release()
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }])
    expect((await failureOf(pool.query(new Cursor('select 1')) as never)).message).toContain('pool.connect()')
    expect([pool.totalCount, pool.idleCount]).toEqual([1, 1])
  })

  test('resetOnRelease: discard all forgets the session, and a wrong value is rejected', async () => {
    const pool = make({ max: 1, resetOnRelease: 'discard all' })
    await pool.query("set application_name = 'left'")
    expect((await pool.query('show application_name')).rows).not.toEqual([{ application_name: 'left' }])
    expect(pool.core.state().statistics.connects.opened).toBe(1)
    expect(() => new Pool({ resetOnRelease: 'all' as never })).toThrow('resetOnRelease must be')
  })

  test('maxUses, idleTimeoutMillis and maxLifetimeSeconds', async () => {
    const messages: unknown[] = []
    const used = make({ max: 1, maxUses: 2, log: (message) => void messages.push(message) })
    const first = await used.connect()
    first.release()
    expect(await used.connect()).toBe(first)
    first.release()
    expect(await used.connect()).not.toBe(first)
    expect(messages).toContain('remove expended client')

    const idle = make({ idleTimeoutMillis: 10 })
    const removed = new Promise((resolve) => idle.once('remove', resolve))
    await idle.query('select 1')
    await removed
    expect([idle.idleCount, idle.totalCount]).toEqual([0, 0])

    const old = make({ maxLifetimeSeconds: 0.05 })
    const client = await old.connect()
    expect(old.expiredCount).toBe(0)
    await expect.poll(() => old.expiredCount).toBe(1)
    client.release()
    expect([old.expiredCount, old.totalCount]).toEqual([0, 0])
  })

  test('onConnect and verify: their failure is that of connect, and costs no place', async () => {
    let isWrong = true
    const pool = make({
      max: 1,
      onConnect: async (client) => {
        if (isWrong) throw new Error('not prepared')
        await client.query("set application_name = 'prepared'")
      },
    })
    expect((await failureOf(pool.connect())).message).toBe('not prepared')
    isWrong = false
    expect((await pool.query('show application_name')).rows).toEqual([{ application_name: 'prepared' }])

    const judged = make({ max: 1, verify: (_, callback) => callback(new Error('nope')) })
    expect((await failureOf(judged.connect())).message).toBe('nope')
    expect((await failureOf(judged.query('select 1'))).message).toBe('nope')
  })

  test('callbacks and promises continue in the async context of their caller, not in that of the releasing caller', async () => {
    const storage = new AsyncLocalStorage<string>()
    const pool = make({ max: 1 })
    const seen: (string | undefined)[] = []
    const client = await storage.run('holder', () => pool.connect())
    const waiting = storage.run(
      'waiter',
      () =>
        new Promise<void>((resolve) => {
          pool.connect((_error, _client, release) => {
            seen.push(storage.getStore())
            release()
            resolve()
          })
        }),
    )
    const asking = storage.run(
      'asker',
      () =>
        new Promise<void>((resolve) =>
          pool.query('select 1', () => resolve(void seen.push(storage.getStore()))),
        ),
    )
    storage.run('holder', () => client.release())
    await Promise.all([waiting, asking])
    expect(seen).toEqual(['waiter', 'asker'])
  })

  test('await using, a promise class of one’s own, and a password that does not show', async () => {
    class Mine<T> extends Promise<T> {}
    const pool = new Pool({
      connectionString: url,
      Promise: Mine as PromiseConstructorLike,
      password: 'secret',
    })
    const connected = pool.connect()
    expect(connected).toBeInstanceOf(Mine)
    ;(await connected).release()
    expect(JSON.stringify(pool.options)).not.toContain('secret')
    expect(pool.options['password']).toBe('secret')
    await pool[Symbol.asyncDispose]()
    expect(pool.ended).toBe(true)
  })
})

describe('without a server', () => {
  const silent = async (): Promise<{ port: number; close: () => void }> => {
    const sockets: Socket[] = []
    const server = createServer((socket) => void sockets.push(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const close = (): void => {
      for (const socket of sockets) socket.destroy()
      server.close()
    }
    return { port: (server.address() as { port: number }).port, close }
  }

  test('a server that never answers: the connect ends in time, with both of its messages', async () => {
    const { port, close } = await silent()
    const pool = new Pool({ host: '127.0.0.1', port, connectionTimeoutMillis: 30, max: 1, Client: pg.Client })
    pools.push(pool)
    expect((await failureOf(pool.connect())).message).toBe('Connection terminated due to connection timeout')
    const called = new Promise<Error | undefined>((resolve) => pool.connect((error) => resolve(error)))
    expect(await called).toBeInstanceOf(Error)
    expect(pool.idleCount).toBe(0)
    close()
  })

  test('the options reach the Client, whose own error reaches the caller', async () => {
    class Failing extends EventEmitter {
      constructor(options: { connectionString: string }) {
        super()
        expect(options.connectionString).toBe('postgres://foo:bar@baz:1234/xur')
      }
      connect(callback: (error: Error) => void): void {
        process.nextTick(() => callback(new Error('bad news')))
      }
      end(callback: () => void): void {
        callback()
      }
    }
    const pool = make({ Client: Failing as never, connectionString: 'postgres://foo:bar@baz:1234/xur' })
    pool.on('connect', () => expect.unreachable('it never connected'))
    expect((await failureOf(pool.connect())).message).toBe('bad news')
  })

  test('a waiter whose time is over leaves the queue; a function is no query', async () => {
    class Mute extends EventEmitter {
      readonly _queryable = true
      connect(callback: () => void): void {
        process.nextTick(callback)
      }
      end(callback: () => void): void {
        process.nextTick(callback)
      }
    }
    const pool = make({ Client: Mute as never, max: 1, connectionTimeoutMillis: 30 })
    const client = await pool.connect()
    expect((await failureOf(pool.connect())).message).toBe('timeout exceeded when trying to connect')
    expect(pool.waitingCount).toBe(0)
    client.release()
    expect(await pool.connect()).toBe(client)
    const error = await new Promise((resolve) => pool.query(resolve as never))
    expect(error).toMatchObject({
      message: 'Passing a function as the first parameter to pool.query is not supported',
    })
  })

  test.skipIf(url === '')(
    'a pool whose prototype says so is an instance of pg.Pool, for hosts that test that',
    async () => {
      const before: unknown = Object.getPrototypeOf(Pool.prototype)
      try {
        Object.setPrototypeOf(Pool.prototype, pg.Pool.prototype)
        const pool = make({ max: 1 })
        expect(pool).toBeInstanceOf(pg.Pool)
        expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }])
        expect(pool.core.state()).toMatchObject({ connections: 1, idle: 1 })
        await pool.end()
      } finally {
        Object.setPrototypeOf(Pool.prototype, before as object)
      }
    },
  )

  test('the name of the class, and of every subclass, has "Pool" in it', () => {
    class Database extends Pool {}
    const database = new Database({ connectionString: 'postgres://x' })
    pools.push(database)
    expect([Pool.name, database.constructor.name]).toEqual(['Pool', 'DatabasePool'])
    expect(Pool.Pool).toBe(Pool)
  })

  test('poolSize is another name of max', () => {
    expect(make({ poolSize: 3 }).options.max).toBe(3)
    expect(make().options).toMatchObject({ max: 10, min: 0, maxUses: Infinity, idleTimeoutMillis: 10_000 })
  })
})

// The same story told by the peer itself and by the façade. Where they differ on purpose, the façade's own tests say so.
import { createRequire } from 'node:module'
import { type AddressInfo, createServer } from 'node:net'

import genericPool from 'generic-pool'
import mysql from 'mysql2'
import pg from 'pg'
import * as sequelizePool from 'sequelize-pool'
import * as tarn from 'tarn'
import { describe, expect, inject, test, vi } from 'vitest'

import * as ownGeneric from '../../src/compat/generic-pool.ts'
import * as ownMysql from '../../src/compat/mysql2.ts'
import * as ownPg from '../../src/compat/pg-pool.ts'
import * as ownSequelize from '../../src/compat/sequelize-pool.ts'
import * as ownTarn from '../../src/compat/tarn.ts'

const urls = { postgres: inject('postgresUrl'), mariadb: inject('mariadbUrl') }
const BasePool = createRequire(import.meta.url)('pg-pool') as typeof pg.Pool

/** What happened, in its order. */
type Log = unknown[]
type Story<P> = (make: (options: Record<string, unknown>) => P, log: Log) => Promise<void>

/** Tells each story by both, and compares. */
function same<P, Q extends P>(
  stories: Record<string, Story<P>>,
  peer: (options: never) => P,
  own: (options: never) => Q,
): void {
  for (const [name, story] of Object.entries(stories)) {
    test(`as the peer: ${name}`, async () => {
      const [expected, actual]: [Log, Log] = [[], []]
      await story(peer as never, expected)
      await story(own as never, actual)
      expect(expected.length).toBeGreaterThan(0)
      expect(actual).toEqual(expected)
    })
  }
}

async function outcome(what: () => unknown): Promise<unknown> {
  try {
    return ['gave', await what()]
  } catch (error) {
    const { name, message, code } = error as Error & { code?: unknown }
    return ['failed', name, message, code]
  }
}

describe.skipIf(urls.postgres === '')('pg-pool', () => {
  const counters = (pool: pg.Pool): number[] => [
    pool.totalCount,
    pool.idleCount,
    pool.waitingCount,
    pool.expiredCount,
  ]
  const watch = (pool: pg.Pool, log: Log): void => {
    for (const event of ['connect', 'acquire', 'release']) {
      pool.on(event as 'connect', (...args: unknown[]) =>
        log.push([
          event,
          ...args.map((each) =>
            each instanceof pg.Client ? 'client' : each instanceof Error ? each.message : (each ?? undefined),
          ),
        ]),
      )
    }
  }
  const connectionString = urls.postgres
  same<pg.Pool, ownPg.Pool>(
    {
      'a life of two clients': async (make, log) => {
        const pool = make({ max: 2, idleTimeoutMillis: 0 })
        watch(pool, log)
        log.push(counters(pool))
        const first = await pool.connect()
        const second = await pool.connect()
        const third = pool.connect()
        log.push(counters(pool))
        first.release()
        const again = await third
        log.push(again === first, counters(pool))
        again.release()
        second.release(new Error('bad'))
        await vi.waitUntil(() => pool.totalCount === 1)
        log.push(counters(pool), await outcome(() => again.release()))
        log.push(await outcome(async () => (await pool.query('select 1 as n')).rows))
        log.push(await outcome(() => pool.query('select nothing from nowhere')))
        await pool.end()
        log.push(pool.ended, pool.ending, counters(pool))
        log.push(
          await outcome(() => pool.connect()),
          await outcome(() => pool.query('select 1')),
          await outcome(() => pool.end()),
        )
      },
      'options, as the pool shows them': async (make, log) => {
        for (const given of [
          {},
          { max: 3, min: 1 },
          { poolSize: 4 },
          { maxUses: 5 },
          { idleTimeoutMillis: 7, allowExitOnIdle: true },
        ]) {
          const pool = make(given)
          const { max, min, maxUses, allowExitOnIdle, idleTimeoutMillis, maxLifetimeSeconds } =
            pool.options as never
          log.push({ max, min, maxUses, allowExitOnIdle, idleTimeoutMillis, maxLifetimeSeconds })
          await pool.end()
        }
      },
      'what goes wrong': async (make, log) => {
        const pool = make({ max: 1, connectionTimeoutMillis: 500 })
        const client = await pool.connect()
        log.push(await outcome(() => pool.connect()), counters(pool))
        client.release()
        await pool.end()
        const closed = make({ connectionString: undefined, host: '127.0.0.1', port: 1 })
        log.push(await outcome(() => closed.query('select 1')), counters(closed))
        await closed.end()
        const refused = make({ onConnect: () => Promise.reject(new Error('not this one')) })
        log.push(await outcome(() => refused.connect()), counters(refused))
        await refused.end()
      },
      callbacks: async (make, log) => {
        const pool = make({ max: 1 })
        await new Promise<void>((resolve) =>
          pool.connect((error, client, done) => {
            log.push([error, client instanceof pg.Client, typeof done])
            done()
            resolve()
          }),
        )
        await new Promise<void>((resolve) =>
          pool.query('select $1::int as n', [3], (error, result) => {
            log.push([error ?? undefined, result.rows])
            resolve()
          }),
        )
        await new Promise<void>((resolve) =>
          pool.query('select nothing from nowhere', (error) => {
            log.push(error.message)
            resolve()
          }),
        )
        await new Promise<void>((resolve) => pool.end(() => resolve()))
        log.push(counters(pool))
      },
      'an error of an idle client, and of one in use': async (make, log) => {
        const pool = make({ max: 2 })
        const heard: string[] = []
        pool.on('error', (error) => heard.push(`pool ${error.message}`))
        const client = await pool.connect()
        client.on('error', (error) => heard.push(`client ${error.message}`))
        client.emit('error', new Error('in use'))
        log.push(counters(pool))
        client.release()
        client.emit('error', new Error('idle'))
        log.push(counters(pool), heard.toSorted())
        await pool.end()
      },
      'a client that ends under its query': async (make, log) => {
        const pool = make({ max: 1 })
        pool.on('error', () => {})
        pool.once('acquire', (client) => setTimeout(() => void client.end(), 50))
        log.push(((await outcome(() => pool.query('select pg_sleep(5)'))) as unknown[])[0])
        log.push((await pool.query('select 1 as n')).rows)
        await pool.end()
      },
      'one failed query after another': async (make, log) => {
        const pool = make({ max: 1 })
        for (let n = 0; n < 10; n++) log.push(await outcome(() => pool.query('invalid sql')))
        log.push(counters(pool), (await pool.query('select $1::text as name', ['x'])).rows)
        await pool.end()
      },
      'a server that hangs up on each': async (make, log) => {
        const server = createServer((socket) => socket.destroy())
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        const { port } = server.address() as AddressInfo
        const pool = make({ max: 1, connectionString: undefined, host: '127.0.0.1', port })
        const both = await Promise.allSettled([pool.connect(), pool.connect()])
        log.push(
          both.map(({ status }) => status),
          counters(pool),
        )
        await pool.end()
        server.close()
      },
      'an ended pool, by callbacks': async (make, log) => {
        const pool = make({})
        await new Promise<void>((resolve) => pool.end(resolve))
        const told = (error: Error | undefined): number => log.push(error?.message)
        await new Promise<void>((resolve) => pool.query('select 1', (error) => resolve(void told(error))))
        await new Promise<void>((resolve) => pool.connect((error) => resolve(void told(error))))
        await new Promise<void>((resolve) =>
          pool.end(((error: Error) => resolve(void told(error))) as () => void),
        )
      },
      maxUses: async (make, log) => {
        const pool = make({ max: 1, maxUses: 2 })
        const pids: unknown[] = []
        for (let n = 0; n < 4; n++) {
          pids.push((await pool.query('select pg_backend_pid() as pid')).rows[0].pid)
          await vi.waitUntil(() => n % 2 === 0 || pool.totalCount === 0)
        }
        log.push(pids.map((pid) => pids.indexOf(pid)))
        await pool.end()
      },
    },
    (options) => new BasePool({ connectionString, ...(options as object) }),
    (options) => new ownPg.Pool({ connectionString, ...(options as object) }),
  )
})

describe.skipIf(urls.mariadb === '')('mysql2', () => {
  const get = (pool: mysql.Pool): Promise<mysql.PoolConnection> =>
    new Promise((resolve, reject) =>
      pool.getConnection((error, connection) => (error === null ? resolve(connection) : reject(error))),
    )
  const ask = (pool: mysql.Pool, ...args: [string, unknown[]?]): Promise<unknown> =>
    new Promise((resolve, reject) =>
      pool.query(args[0], args[1] ?? [], (error, rows, fields) =>
        error === null ? resolve([rows, fields?.map(({ name }) => name)]) : reject(error),
      ),
    )
  const end = (pool: mysql.Pool): Promise<unknown> =>
    new Promise((resolve) => pool.end((error) => resolve(error ?? undefined)))
  same<mysql.Pool, ownMysql.Pool>(
    {
      'a life of a connection': async (make, log) => {
        const pool = make({ connectionLimit: 1 })
        for (const event of ['connection', 'acquire', 'release', 'enqueue'])
          pool.on(event, (...args: unknown[]) => log.push([event, args.length]))
        const connection = await get(pool)
        log.push(connection.constructor !== Object, typeof connection.threadId, connection.release())
        const again = await get(pool)
        log.push(again === connection, again.release(), again.release())
        log.push(await outcome(() => ask(pool, 'select ? as n, ? as t', [1, 'x'])))
        log.push(await outcome(() => ask(pool, 'select nothing from nowhere')))
        // Ours is rolled back first.
        await vi.waitUntil(() => Reflect.get(pool, '_freeConnections').length === 1)
        const asPromise = await pool.promise().getConnection()
        log.push((await asPromise.query('select 2 as n'))[0], asPromise.release())
        log.push(await end(pool), await outcome(() => get(pool)), await outcome(() => ask(pool, 'select 1')))
      },
      limits: async (make, log) => {
        const none = make({ connectionLimit: 1, waitForConnections: false })
        const held = await get(none)
        log.push(await outcome(() => get(none)))
        held.release()
        await end(none)
        const one = make({ connectionLimit: 1, queueLimit: 1 })
        const connection = await get(one)
        const waiter = get(one)
        log.push(await outcome(() => get(one)))
        connection.release()
        log.push((await waiter) === connection)
        connection.release()
        await end(one)
      },
      'what is resolved of options': async (make, log) => {
        for (const given of [
          {},
          { connectionLimit: 3 },
          { maxIdle: 2, idleTimeout: 5, queueLimit: 6 },
          { resetOnRelease: true },
          { waitForConnections: 0 },
        ]) {
          const pool = make(given)
          const { connectionConfig: _, ...config } = pool.config as Record<string, unknown>
          log.push(config)
          await end(pool)
        }
      },
      'rows as a stream and as events': async (make, log) => {
        const pool = make({ connectionLimit: 1, rowsAsArray: true })
        for await (const row of pool.query('select 1 union select 2').stream()) log.push(row)
        await new Promise<void>((resolve) =>
          pool
            .query('select 3')
            .on('fields', (fields: unknown[]) => log.push(fields.length))
            .on('result', (row: unknown) => log.push(row))
            .on('end', resolve),
        )
        log.push(
          await new Promise((resolve) =>
            pool.query('select nothing from nowhere').on('error', (error: Error) => resolve(error.message)),
          ),
        )
        await end(pool)
      },
      'prepared statements, named placeholders and their errors': async (make, log) => {
        const pool = make({ namedPlaceholders: true })
        const execute = (sql: unknown, values?: unknown): Promise<unknown> =>
          new Promise((resolve, reject) =>
            pool.execute(sql as string, values as never, (error: Error | null, rows: unknown) =>
              error === null ? resolve(rows) : reject(error),
            ),
          )
        log.push(await outcome(() => execute('select :a + :b as sum', { a: 1, b: 2 })))
        log.push(await outcome(() => execute('select ? as n', [3])))
        log.push(await outcome(() => execute('select ? as n', [undefined])))
        log.push(await outcome(() => execute('select nothing from nowhere')))
        log.push(await outcome(() => ask(pool, 'select :a as n', { a: 4 } as never)))
        await end(pool)
      },
      text: async (make, log) => {
        const pool = make({ timezone: '+02:00', stringifyObjects: true })
        log.push(
          pool.escape(new Date(0)),
          pool.escape({ a: 1 }),
          pool.escapeId('a.b'),
          pool.format('?? = ?', ['t.c', "o'k"]),
        )
        await end(pool)
      },
      'a wrong password': async (make, log) => {
        const pool = make({ password: 'wrong', user: 'nobody' })
        log.push(await outcome(() => ask(pool, 'select 1')))
        await end(pool)
      },
    },
    (options) => mysql.createPool({ uri: urls.mariadb, ...(options as object) }),
    (options) => ownMysql.createPool({ uri: urls.mariadb, ...(options as object) }),
  )
})

describe('tarn', () => {
  interface Thing {
    readonly n: number
  }
  const EVENTS = [
    'acquireRequest',
    'acquireSuccess',
    'acquireFail',
    'release',
    'createRequest',
    'createSuccess',
    'createFail',
    'destroyRequest',
    'destroySuccess',
    'destroyFail',
    'poolDestroyRequest',
    'poolDestroySuccess',
  ] as const
  const counters = (pool: tarn.Pool<Thing>): unknown[] => [
    pool.numUsed(),
    pool.numFree(),
    pool.numPendingAcquires(),
    pool.numPendingCreates(),
    pool.isEmpty(),
  ]
  const things = (): { create: () => Promise<Thing>; destroy: () => void; min: number } => {
    let made = 0
    return { create: async () => ({ n: ++made }), destroy: () => {}, min: 0 }
  }
  same<tarn.Pool<Thing>, tarn.Pool<Thing>>(
    {
      'a life of a resource': async (make, log) => {
        const pool = make({ ...things(), max: 2 })
        for (const event of EVENTS) {
          pool.on(event as 'release', (...args: unknown[]) =>
            log.push([event, ...args.filter((each) => typeof each !== 'number')]),
          )
        }
        log.push(counters(pool))
        const first = await pool.acquire().promise
        const second = await pool.acquire().promise
        log.push([first.n, second.n], counters(pool))
        const third = pool.acquire()
        log.push(counters(pool))
        log.push(pool.release(first), (await third.promise).n, pool.release(first), pool.release(second))
        log.push(counters(pool), (await pool.acquire().promise).n, pool.release(second))
        const inspection = await pool.destroy()
        log.push(typeof inspection, counters(pool))
      },
      'abort and time-outs': async (make, log) => {
        const pool = make({ ...things(), max: 1, acquireTimeoutMillis: 200 })
        const held = await pool.acquire().promise
        const pending = pool.acquire()
        pending.abort()
        log.push(await outcome(() => pending.promise), pending.isRejected)
        const late = await pool.acquire().promise.catch((error: Error) => error)
        log.push(late instanceof Error, late.constructor.name)
        pool.release(held)
        await pool.destroy()
      },
      'a create that fails': async (make, log) => {
        const pool = make({
          ...things(),
          create: async () => {
            throw new Error('no')
          },
          max: 1,
          propagateCreateError: true,
        })
        log.push(await outcome(() => pool.acquire().promise))
        const patient = make({
          ...things(),
          create: async () => {
            throw new Error('no')
          },
          max: 1,
          acquireTimeoutMillis: 200,
          createRetryIntervalMillis: 5,
        })
        log.push(await outcome(() => patient.acquire().promise))
        await Promise.all([pool.destroy(), patient.destroy()])
      },
      'wrong options': async (make, log) => {
        for (const wrong of [
          { create: undefined },
          { destroy: undefined },
          { min: -1 },
          { min: undefined },
          { max: 0 },
          { min: 3, max: 2 },
          { acquireTimeoutMillis: 0 },
          { reapIntervalMillis: 'x' },
          { idle: 1 },
        ]) {
          log.push(await outcome(() => make({ ...things(), max: 1, ...wrong })))
        }
      },
      'one that is not valid': async (make, log) => {
        const bad = new Set<number>()
        const pool = make({ ...things(), max: 1, validate: ({ n }: Thing) => !bad.has(n) })
        const first = await pool.acquire().promise
        bad.add(first.n)
        pool.release(first)
        log.push(first.n, (await pool.acquire().promise).n, counters(pool))
        pool.release({ n: 2 })
        log.push(counters(pool))
      },
    },
    (options) => new tarn.Pool<Thing>(options as never),
    (options) => new ownTarn.Pool<Thing>(options as never) as unknown as tarn.Pool<Thing>,
  )
})

describe('generic-pool', () => {
  interface Thing {
    readonly n: number
  }
  const counters = (pool: genericPool.Pool<Thing>): number[] => [
    pool.size,
    pool.available,
    pool.borrowed,
    pool.pending,
    pool.spareResourceCapacity,
    pool.max,
    pool.min,
  ]
  const factory = (): genericPool.Factory<Thing> => {
    let made = 0
    return { create: async () => ({ n: ++made }), destroy: async () => {}, validate: async () => true }
  }
  same<genericPool.Pool<Thing>, genericPool.Pool<Thing>>(
    {
      'a life of two resources': async (make, log) => {
        const pool = make({ max: 2 })
        log.push(counters(pool))
        const first = await pool.acquire()
        const second = await pool.acquire()
        log.push([first.n, second.n], counters(pool), pool.isBorrowedResource(first))
        const third = pool.acquire()
        log.push(counters(pool))
        await pool.release(first)
        log.push(
          (await third).n,
          await outcome(() => pool.release({ n: 9 })),
          await outcome(() => pool.destroy({ n: 9 })),
        )
        await pool.destroy(first)
        log.push(pool.borrowed, (await pool.use(async ({ n }) => n)) > 2)
        await pool.release(second)
        log.push(await outcome(() => pool.release(second)))
        await pool.drain()
        await pool.clear()
        log.push(await outcome(() => pool.acquire()))
      },
      'priorities, the queue and its limits': async (make, log) => {
        const pool = make({ max: 1, priorityRange: 3, maxWaitingClients: 4, acquireTimeoutMillis: 200 })
        const held = await pool.acquire()
        const served: string[] = []
        const waiting = (['low', 2] as const,
        [
          ['low', 2],
          ['high', 0],
          ['middle', 1],
          ['far', 9],
        ] as const).map(([name, priority]) =>
          pool.acquire(priority).then((thing) => {
            served.push(name)
            return pool.release(thing)
          }),
        )
        log.push(await outcome(() => pool.acquire()), counters(pool))
        await pool.release(held)
        await Promise.all(waiting)
        log.push(served)
        const again = await pool.acquire()
        log.push(await outcome(() => pool.acquire()), counters(pool))
        await pool.release(again)
        await pool.drain()
      },
      'use that fails destroys': async (make, log) => {
        const pool = make({ max: 1 })
        log.push(
          await outcome(() =>
            pool.use(async () => {
              throw new Error('own')
            }),
          ),
        )
        log.push(await pool.use(async ({ n }) => n))
        await pool.drain()
      },
      'wrong factories': async (make, log) => {
        for (const options of [
          { factory: { destroy: async () => {} } },
          { factory: { create: async () => ({ n: 1 }) } },
          { factory: { create: async () => ({ n: 1 }), destroy: async () => {}, validate: 1 } },
        ]) {
          log.push(await outcome(() => void make(options)))
        }
      },
    },
    ({ factory: given, ...options }: { factory?: genericPool.Factory<Thing> }) =>
      genericPool.createPool(given ?? factory(), options),
    ({ factory: given, ...options }: { factory?: genericPool.Factory<Thing> }) =>
      ownGeneric.createPool(given ?? factory(), options) as unknown as genericPool.Pool<Thing>,
  )
})

describe('sequelize-pool', () => {
  interface Thing {
    n: number
    bad?: boolean
  }
  const counters = (pool: sequelizePool.Pool<Thing>): unknown[] => [
    pool.size,
    pool.available,
    pool.using,
    pool.waiting,
    pool.maxSize,
    pool.minSize,
  ]
  const things = (): Record<string, unknown> => {
    let made = 0
    return {
      create: async () => ({ n: ++made }),
      destroy: () => {},
      validate: ({ bad }: Thing) => bad !== true,
      max: 1,
      min: 0,
    }
  }
  same<sequelizePool.Pool<Thing>, sequelizePool.Pool<Thing>>(
    {
      'a life of a resource': async (make, log) => {
        const pool = make({ ...things(), name: 'mine' })
        log.push(pool.name, counters(pool))
        const first = await pool.acquire()
        const waiter = pool.acquire()
        log.push(counters(pool))
        pool.release(first)
        log.push((await waiter).n, counters(pool))
        first.bad = true
        pool.release(first)
        const second = await pool.acquire()
        log.push(second.n, counters(pool))
        await pool.destroy(second)
        log.push((await pool.acquire()).n)
        pool.release({ n: 9 })
      },
      'a time-out, and a create that fails': async (make, log) => {
        const pool = make({ ...things(), acquireTimeoutMillis: 200 })
        await pool.acquire()
        const error = await pool.acquire().catch((failure: Error) => failure)
        log.push((error as Error).constructor.name, counters(pool))
        const failing = make({
          ...things(),
          create: async () => {
            throw new Error('no')
          },
        })
        log.push(await outcome(() => failing.acquire()))
      },
      'maxUses, and the end': async (make, log) => {
        const pool = make({ ...things(), maxUses: 2 })
        const seen: number[] = []
        for (let use = 0; use < 4; use++) {
          const thing = await pool.acquire()
          seen.push(thing.n)
          pool.release(thing)
        }
        log.push(seen)
        const ended = make(things())
        ended.release(await ended.acquire())
        await ended.drain()
        await ended.destroyAllNow()
        log.push(ended.size, await outcome(() => ended.acquire()).then((each) => (each as unknown[])[0]))
      },
    },
    (options) => new sequelizePool.Pool<Thing>(options),
    (options) => new ownSequelize.Pool<Thing>(options) as unknown as sequelizePool.Pool<Thing>,
  )
})

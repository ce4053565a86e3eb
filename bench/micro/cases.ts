import { type Clock, Pool } from '../../dist/index.js'
import { PgManager } from 'cenote/pg'
import pg from 'pg'

import { median } from './median.ts'
import { type BenchPool, connectionOf, makePool, makePoolOf, type PoolName } from './pools.ts'

/** One thing that is measured. */
export interface Case {
  readonly title: string
  readonly unit: 'ns' | 'bytes' | 'ms' | 'µs' | '×' | 'connections'
  /** The most that is wanted, as a multiple of the bare limit; or, with `absolute`, as a number of the unit. */
  readonly goal?: number
  readonly absolute?: true
  /** Pools for which it makes sense: all by default. */
  readonly pools?: readonly PoolName[]
  run(name: PoolName): Promise<number>
}

const collect = (): void => {
  if (globalThis.gc === undefined) throw new Error('run this with --expose-gc')
  globalThis.gc()
}
const cpuNs = (since: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since)
  return (user + system) * 1_000
}
/** The median of some runs after a few for warming up: nanoseconds an operation. */
async function perOperation(operations: number, work: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let run = 0; run < 7; run++) {
    const startedAt = performance.now()
    await work()
    if (run >= 2) times.push(((performance.now() - startedAt) * 1e6) / operations)
  }
  return median(times)
}

// So many that the pool's own work is slow beyond them: they are left out, as a run would take minutes.
const QUADRATIC: readonly PoolName[] = ['tarn', 'pg-pool']
// sequelize-pool has deadlines too, but 100,000 of them take it more than two minutes.
const WITH_DEADLINES: readonly PoolName[] = ['cenote', 'generic-pool', 'tarn', 'lightning-pool']
const ALL: readonly PoolName[] = [
  'bare',
  'cenote',
  'generic-pool',
  'tarn',
  'lightning-pool',
  'sequelize-pool',
  'pg-pool',
]

const drain = (waiters: number, goal?: number): Case => ({
  title: `${waiters.toLocaleString('en')} waiters served, each`,
  unit: 'ns',
  ...(goal !== undefined && { goal }),
  pools: waiters > 100_000 ? ALL.filter((name) => !QUADRATIC.includes(name)) : ALL,
  run: async (name) => {
    const pool = await makePool(name, 10)
    // The same number of waiters each: a few rounds of ten would time code that is not compiled yet.
    const rounds = Math.max(1, Math.floor(200_000 / waiters))
    let total = 0
    if (waiters < 100_000) for (let n = 0; n < rounds; n++) await serve(pool, waiters)
    for (let n = 0; n < rounds; n++) total += await serve(pool, waiters)
    return (total * 1e6) / (rounds * waiters)
  },
})

const aborts = (order: 'newest first' | 'at random'): Case => ({
  title: `100,000 waiters abort ${order}: one abort compared with queueing one caller with a signal`,
  unit: '×',
  goal: 1.5,
  absolute: true,
  pools: ['bare', 'cenote'],
  run: async (name) => {
    const count = 100_000
    const reason = new Error('gone')
    const ratios: number[] = []
    for (let round = 0; round < 7; round++) {
      const pool = new Pool({
        connect: () => new Promise<object>(() => {}),
        isValid: () => true,
        hasBroken: () => false,
        close: () => {},
      })
      const wait = (signal: AbortSignal): Promise<unknown> =>
        name === 'bare' ? abortOf(signal) : pool.acquire({ signal })
      const controllers = Array.from({ length: count }, () => new AbortController())
      const queueing = performance.now()
      const waits = controllers.map(({ signal }) => wait(signal).catch(() => {}))
      const queueMs = performance.now() - queueing
      if (order === 'newest first') controllers.reverse()
      else for (let n = count - 1; n > 0; n--) swap(controllers, n, Math.floor(Math.random() * n))
      const startedAt = performance.now()
      for (const controller of controllers) controller.abort(reason)
      ratios.push((performance.now() - startedAt) / queueMs)
      await Promise.all(waits)
      await pool.close({ timeoutMs: 0 })
    }
    return median(ratios)
  },
})

// The least that a caller with a signal can be: a promise and a listener.
function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}

/** The names of the cases, as the command line takes them. */
export const CASE_NAMES = [
  'idle',
  'contended',
  'drain-10',
  'drain-1000',
  'drain-100000',
  'drain-1000000',
  'heap',
  'timeouts',
  'lateness',
  'abort-newest',
  'abort-random',
  'run',
  'query',
  'burst',
  'sweep',
  'size-1000',
  'size-100000',
] as const
/** The name of a case. */
export type CaseName = (typeof CASE_NAMES)[number]

/** All cases. */
export const CASES: Readonly<Record<CaseName, Case>> = {
  idle: {
    title: 'acquire + release, a connection idle',
    unit: 'ns',
    goal: 2.7,
    run: async (name) => {
      const pool = await makePool(name, 10)
      return await perOperation(100_000, () => loop(pool, 100_000))
    },
  },
  contended: {
    title: '1,000 callers on 10 connections, each acquire + release',
    unit: 'ns',
    goal: 1.45,
    run: async (name) => {
      const pool = await makePool(name, 10)
      return await perOperation(100_000, () =>
        Promise.all(Array.from({ length: 1_000 }, () => loop(pool, 100))),
      )
    },
  },
  'drain-10': drain(10),
  'drain-1000': drain(1_000),
  'drain-100000': drain(100_000, 2),
  'drain-1000000': drain(1_000_000, 1.5),
  heap: {
    title: 'heap for each of 100,000 waiters',
    unit: 'bytes',
    goal: 1.3,
    run: async (name) => {
      const pool = await makePool(name, 1)
      await pool.acquire()
      return bytesPerWaiter(pool)
    },
  },
  timeouts: {
    title: 'CPU for each of 100,000 waiters that time out together',
    unit: 'ns',
    goal: 2_000,
    absolute: true,
    pools: WITH_DEADLINES,
    run: async (name) => {
      const { cpu } = await timeOut(name)
      return cpu
    },
  },
  lateness: {
    title: 'how late the last of 100,000 timeouts is',
    unit: 'ms',
    goal: 60,
    absolute: true,
    pools: WITH_DEADLINES,
    run: async (name) => {
      const { lateMs } = await timeOut(name)
      return lateMs
    },
  },
  'abort-newest': aborts('newest first'),
  'abort-random': aborts('at random'),
  run: {
    title: 'run(fn) compared with acquire, fn and release',
    unit: '×',
    goal: 1,
    absolute: true,
    pools: ['bare', 'cenote'],
    run: async (name) => {
      const pool = new Pool({
        connect: async () => ({}),
        isValid: () => true,
        hasBroken: () => false,
        close: () => {},
      })
      const work = async (): Promise<number> => 1
      // The least that it can be.
      const around = async <T>(fn: (connection: object) => Promise<T>): Promise<T> => {
        const lease = await pool.acquire()
        try {
          return await fn(lease.connection)
        } finally {
          lease.release()
        }
      }
      const runner = name === 'bare' ? { run: around } : pool
      const ratios: number[] = []
      for (let round = 0; round < 9; round++) {
        const [byRun, byHand] = [
          await perOperation(20_000, async () => {
            for (let n = 0; n < 20_000; n++) await runner.run(work)
          }),
          await perOperation(20_000, async () => {
            for (let n = 0; n < 20_000; n++) {
              const lease = await pool.acquire()
              try {
                await work()
              } finally {
                lease.release()
              }
            }
          }),
        ]
        ratios.push(byRun / byHand)
      }
      return median(ratios)
    },
  },
  query: {
    title:
      'CPU of the process for a `SELECT 1`, 64 callers on 10 connections of a real PostgreSQL, compared with ten bare clients',
    unit: '×',
    goal: 1.03,
    absolute: true,
    pools: ALL.filter((name) => name !== 'bare'),
    run: realQueries,
  },
  burst: {
    title:
      '50 concurrent requests of 2 ms, 5 connections open, a connect takes 150 ms: connections in the end',
    unit: 'connections',
    pools: ALL.filter((name) => name !== 'bare'),
    run: async (name) => {
      let opened = 0
      const source = {
        create: async () => {
          // The first five are open beforehand.
          if (++opened > 5) await new Promise((resolve) => setTimeout(resolve, 150))
          return {}
        },
        isBroken: () => false,
        destroy: async () => {},
      }
      const pool = await makePoolOf(source, name, 50, 30_000, 5)
      const request = async (): Promise<void> => {
        const held = await pool.acquire()
        await new Promise((resolve) => setTimeout(resolve, 2))
        pool.release(held)
      }
      await Promise.all(Array.from({ length: 50 }, request))
      return opened
    },
  },
  sweep: {
    title: 'sweep of 100,000 idle connections of which 10 have expired',
    unit: 'µs',
    goal: 20,
    absolute: true,
    pools: ['cenote'],
    run: async () => {
      let time = 0
      let ring: () => void = () => {}
      const clock: Clock = {
        now: () => time,
        random: () => 0,
        setTimeout: (callback) => {
          ring = callback
          return {}
        },
        clearTimeout: () => {},
      }
      const manager = {
        connect: async () => ({}),
        isValid: () => true,
        hasBroken: () => false,
        close: () => {},
      }
      const times: number[] = []
      const pool = new Pool<object>(manager, {
        clock,
        maxSize: 100_000,
        maxLifetimeMs: 1e9,
        idleTimeoutMs: Infinity,
        reapIntervalMs: 100,
      })
      // Ten are born with each sweep, so ten come of age with each later one.
      for (let n = 0; n < 99_000; n++) pool.add({})
      for (let n = 0; n < 100; n++) {
        time += 100
        for (let born = 0; born < 10; born++) pool.add({})
        ring()
      }
      time = 1e9
      ring()
      for (let n = 0; n < 50; n++) {
        time += 100
        const startedAt = performance.now()
        ring()
        times.push((performance.now() - startedAt) * 1e3)
        await new Promise((resolve) => setImmediate(resolve))
      }
      return times.toSorted((a, b) => a - b)[25] as number
    },
  },
  'size-1000': sized(1_000),
  'size-100000': sized(100_000),
}

function sized(size: number): Case {
  return {
    title: `acquire + release in a pool of ${size.toLocaleString('en')}`,
    unit: 'ns',
    pools: size > 1_000 ? ['bare', 'cenote'] : ALL,
    run: async (name) => {
      const pool = await makePool(name, size)
      return await perOperation(50_000, () => loop(pool, 50_000))
    },
  }
}

// The pool and the bare array have the same ten connections, in turns in one process: from one process to the next the same
// work costs up to a third more, and from one set of connections to the next a tenth. The server is CENOTE_PG_URL, or the local one.
async function realQueries(name: PoolName): Promise<number> {
  const connectionString = process.env['CENOTE_PG_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
  const costs: { readonly bare: number; readonly more: number }[] = []
  for (let set = 0; set < 3; set++) {
    const clients = Array.from({ length: 10 }, () => new pg.Client({ connectionString }))
    await Promise.all(clients.map((client) => client.connect()))
    const [bare, ours] = [await queriesOn(clients, 'bare'), await queriesOn(clients, name)]
    for (let round = 0; round < 45; round++) {
      const isBareFirst = Math.random() < 0.5
      const first = await (isBareFirst ? bare : ours)()
      const second = await (isBareFirst ? ours : bare)()
      const cost = isBareFirst ? first : second
      if (round >= 5) costs.push({ bare: cost, more: first + second - 2 * cost })
    }
    await Promise.all(clients.map((client) => client.end()))
  }
  return 1 + median(costs.map(({ more }) => more)) / median(costs.map((cost) => cost.bare))
}

// What does a round of queries, and tells its CPU.
async function queriesOn(clients: readonly pg.Client[], name: PoolName): Promise<() => Promise<number>> {
  const [callers, each] = [64, 25]
  const pool = await makePoolOf<pg.Client>(sourceOf(clients) as never, name, clients.length)
  const caller = async (): Promise<void> => {
    for (let n = 0; n < each; n++) {
      const held = await pool.acquire()
      await (connectionOf(name, held) as pg.Client).query('SELECT 1')
      pool.release(held)
    }
  }
  return async () => {
    const before = process.cpuUsage()
    await Promise.all(Array.from({ length: callers }, caller))
    return cpuNs(before)
  }
}

// What makes a pool of clients that are connected already.
function sourceOf(clients: readonly pg.Client[]): object {
  const left = [...clients]
  const next = (): pg.Client => {
    const client = left.shift()
    if (client === undefined) throw new Error('more connections were asked for than there are')
    return client
  }
  class Manager extends PgManager {
    override async connect(): Promise<never> {
      return next() as never
    }
  }
  // pg-pool makes its clients with `new`.
  const Client = function (): object {
    return Object.assign(next(), { connect: (done: () => void) => done() })
  }
  return {
    create: async () => next(),
    isBroken: () => false,
    destroy: async () => {},
    manager: new Manager({}, { driver: pg }),
    pgConfig: { Client },
  }
}

/** How many milliseconds it takes to serve so many who wait for the ten connections of a pool. */
export async function serve(pool: BenchPool<unknown>, waiters: number): Promise<number> {
  const held = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()))
  const served: Promise<void>[] = []
  const give = (each: unknown): void => pool.release(each)
  for (let n = 0; n < waiters; n++) served.push(pool.acquire().then(give))
  await new Promise((resolve) => setImmediate(resolve))
  const startedAt = performance.now()
  for (const each of held) pool.release(each)
  await Promise.all(served)
  return performance.now() - startedAt
}

/** What each of 100,000 callers keeps in memory who wait for a pool that has nothing left. */
export function bytesPerWaiter(pool: BenchPool<unknown>): number {
  const waits: Promise<unknown>[] = Array.from({ length: 100_000 })
  collect()
  const before = process.memoryUsage().heapUsed
  const served = (): void => {}
  for (let n = 0; n < waits.length; n++) waits[n] = pool.acquire().then(served)
  collect()
  const perWaiter = (process.memoryUsage().heapUsed - before) / waits.length
  // Whoever waits must not be collected with a pool that nobody needs any more.
  void pool.acquire
  return perWaiter
}

/** So many times acquire and release. */
export async function loop(pool: BenchPool<unknown>, times: number): Promise<void> {
  for (let n = 0; n < times; n++) pool.release(await pool.acquire())
}

async function timeOut(name: PoolName): Promise<{ cpu: number; lateMs: number }> {
  const [count, timeoutMs] = [100_000, 3_000]
  const pool = await makePool(name, 1, timeoutMs)
  await pool.acquire()
  const startedAt = performance.now()
  let left = count
  const done = Promise.withResolvers<void>()
  const failed = (): void => {
    if (--left === 0) done.resolve()
  }
  for (let n = 0; n < count; n++) pool.acquire().catch(failed)
  const lastAt = performance.now()
  collect()
  await new Promise((resolve) => setTimeout(resolve, timeoutMs - 200 - (performance.now() - startedAt)))
  const before = process.cpuUsage()
  await done.promise
  return { cpu: cpuNs(before) / count, lateMs: performance.now() - lastAt - timeoutMs }
}

function swap<T>(items: T[], a: number, b: number): void {
  ;[items[a], items[b]] = [items[b] as T, items[a] as T]
}

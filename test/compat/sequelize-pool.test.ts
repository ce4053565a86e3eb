import { afterEach, expect, test, vi } from 'vitest'

import { AggregateError, type FactoryOptions, Pool, TimeoutError } from '../../src/compat/sequelize-pool.ts'

interface Thing {
  readonly n: number
}

const pools: Pool<Thing>[] = []
function make(options: Partial<FactoryOptions<Thing>> = {}): {
  pool: Pool<Thing>
  destroyed: number[]
} {
  let made = 0
  const destroyed: number[] = []
  const pool = new Pool<Thing>({
    create: async () => ({ n: ++made }),
    destroy: ({ n }) => void destroyed.push(n),
    validate: () => true,
    max: 2,
    min: 0,
    ...options,
  })
  pools.push(pool)
  return { pool, destroyed }
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map(({ core }) => core.close({ timeoutMs: 0 })))
})

test('min is kept in all, idle or in use, from the start and after a destroy', async () => {
  const { pool } = make({ min: 2, max: 3 })
  await vi.waitUntil(() => pool.available === 2)
  const thing = await pool.acquire()
  await pool.acquire()
  await vi.waitUntil(() => pool.core.state().opening === 0)
  expect(pool.size).toBe(2)
  await pool.destroy(thing)
  await vi.waitUntil(() => pool.available === 1)
  expect(pool.size).toBe(2)
})

test('drain serves waiting callers, rejects later ones, and destroyAllNow ends the pool', async () => {
  const { pool, destroyed } = make({ max: 1 })
  const thing = await pool.acquire()
  const waiter = pool.acquire()
  const drained = pool.drain()
  await expect(pool.acquire()).rejects.toThrow('pool is draining and cannot accept work')
  pool.release(thing)
  pool.release(await waiter)
  await drained
  await pool.destroyAllNow()
  expect(destroyed).toEqual([1])
  expect([pool.size, pool.using, pool.waiting]).toEqual([0, 0, 0])
})

test('destroyAllNow waits until idle resources are destroyed, and leaves resources in use', async () => {
  const end = Promise.withResolvers<void>()
  const ended: number[] = []
  const destroy = async ({ n }: Thing): Promise<void> => {
    await end.promise
    ended.push(n)
  }
  const { pool } = make({ destroy })
  const [first, second] = await Promise.all([pool.acquire(), pool.acquire()])
  pool.release(second)
  const all = pool.destroyAllNow()
  expect(pool.using).toBe(1)
  end.resolve()
  await all
  expect(ended).toEqual([2])
  pool.release(first)
  expect((await pool.acquire()).n).toBe(1)
})

test('destroy waits for the factory and rejects with its error; an idle resource can be destroyed', async () => {
  const { pool } = make({
    destroy: async ({ n }) => {
      await Promise.resolve()
      throw new Error(`no end of ${n}`)
    },
  })
  const first = await pool.acquire()
  await expect(pool.destroy(first)).rejects.toThrow('no end of 1')
  const second = await pool.acquire()
  pool.release(second)
  await expect(pool.destroy(second)).rejects.toThrow('no end of 2')
  expect(pool.size).toBe(0)
  pool.release(await pool.acquire())
  const failure = await pool.destroyAllNow().catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(AggregateError)
  expect(String(failure)).toBe('AggregateError of:\n    Error: no end of 3\n')
})

test('the resource that was used last is handed out first, so that the others become idle', async () => {
  const { pool } = make({ max: 3 })
  const [first, second] = await Promise.all([pool.acquire(), pool.acquire()])
  pool.release(first)
  pool.release(second)
  expect((await pool.acquire()).n).toBe(2)
})

test('validate is called at an acquire of a used resource, also for a waiter, and not at a return', async () => {
  const validated: number[] = []
  const { pool } = make({ max: 1, validate: ({ n }) => validated.push(n) > 0 })
  const thing = await pool.acquire()
  pool.release(thing)
  expect(validated).toEqual([])
  await pool.acquire()
  expect(validated).toEqual([1])
  const waiter = pool.acquire()
  pool.release(thing)
  await waiter
  expect(validated).toEqual([1, 1])
})

test.each([
  [{ create: undefined as never }, 'create function is required'],
  [{ destroy: undefined as never }, 'destroy function is required'],
  [{ validate: undefined as never }, 'validate function is required'],
  [{ min: -1 }, 'min must be an integer >= 0'],
  [{ min: '1' as never }, 'min must be an integer >= 0'],
  [{ max: 0 }, 'max must be an integer > 0'],
  [{ min: 3, max: 2 }, 'max is smaller than min'],
  [{ maxUses: -1 }, 'maxUses must be an integer >= 0'],
])('the options %o are rejected as by sequelize-pool: %s', (options, message) => {
  expect(() => make(options)).toThrow(message)
})

test('a create that hangs is a TimeoutError in time, of the class that a host tests for, and costs no place', async () => {
  class HostsOwn extends Error {}
  let isHanging = true
  const options = {
    max: 1,
    min: 0,
    acquireTimeoutMillis: 400,
    create: () => (isHanging ? new Promise<Thing>(() => {}) : Promise.resolve({ n: 7 })),
    destroy: () => {},
    validate: () => true,
  }
  const pool = new Pool<Thing>(options, { TimeoutError: HostsOwn })
  pools.push(pool)
  await expect(pool.acquire()).rejects.toBeInstanceOf(HostsOwn)
  isHanging = false
  await vi.waitUntil(() => pool.size === 0, { timeout: 5_000 })
  expect((await pool.acquire()).n).toBe(7)
  const own = make({ max: 1, acquireTimeoutMillis: 20 }).pool
  await own.acquire()
  await expect(own.acquire()).rejects.toBeInstanceOf(TimeoutError)
})

test('a validate that throws says no; a second release is only logged', async () => {
  const logged: string[] = []
  const { pool } = make({
    max: 1,
    validate: ({ n }) => {
      if (n === 1) throw new Error('cannot tell')
      return true
    },
    log: (message) => logged.push(message),
  })
  pool.release(await pool.acquire())
  const second = await pool.acquire()
  expect(second.n).toBe(2)
  pool.release(second)
  pool.release(second)
  expect(logged.some((line) => line.startsWith('release called twice for the same resource'))).toBe(true)
  expect(pool.core.state()).toMatchObject({ idle: 1, inUse: 0 })
})

test('idle resources are destroyed down to min', async () => {
  const { pool } = make({ min: 1, idleTimeoutMillis: 20, reapIntervalMillis: 5 })
  const both = await Promise.all([pool.acquire(), pool.acquire()])
  for (const thing of both) pool.release(thing)
  await vi.waitUntil(() => pool.size === 1)
})

test('log receives the original’s texts for create, dispense, drain and destroyAllNow', async () => {
  const logged: string[] = []
  const { pool } = make({ log: (message, level) => logged.push(`${level} ${message}`) })
  pool.release(await pool.acquire())
  await pool.drain()
  await pool.destroyAllNow()
  expect(logged).toEqual([
    'info dispense() clients=1 available=0',
    'verbose createResource() - creating obj - count=1 min=0 max=2',
    'info draining',
    'info force destroying all objects',
  ])
})

test('a timeout has exactly the original’s message, and its cause describes the pool', async () => {
  const { pool } = make({ max: 1, acquireTimeoutMillis: 20 })
  const resource = await pool.acquire()
  const error = await pool.acquire().catch((reason: unknown) => reason as Error)
  expect(error).toMatchObject({ name: 'TimeoutError', message: 'Pool acquire operation timeout' })
  expect(String((error as Error).cause)).toContain('1 of 1 in use')
  pool.release(resource)
})

test('a subclass reads the timeouts and their defaults under the original’s names', () => {
  class Subclass extends Pool<object> {
    get timeouts(): number[] {
      return [this.idleTimeoutMillis, this.acquireTimeoutMillis, this.reapIntervalMillis]
    }
  }
  const factory = { create: async () => ({}), destroy: () => {}, validate: () => true, min: 0, max: 1 }
  expect(new Subclass(factory).timeouts).toEqual([30_000, 30_000, 1_000])
  expect(new Subclass({ ...factory, idleTimeoutMillis: 0 }).timeouts[0]).toBe(0)
})

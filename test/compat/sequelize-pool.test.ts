import { afterEach, expect, test, vi } from 'vitest'

import { Pool, type SequelizePoolOptions, TimeoutError } from '../../src/compat/sequelize-pool.ts'

interface Thing {
  readonly n: number
}

const pools: Pool<Thing>[] = []
function make(options: Partial<SequelizePoolOptions<Thing>> = {}): {
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

test('drain serves who waits, refuses who comes later, and destroyAllNow ends the pool', async () => {
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

test('destroyAllNow of a pool in use: those in use go when they come back', async () => {
  const { pool, destroyed } = make()
  const thing = await pool.acquire()
  await pool.destroyAllNow()
  pool.release(thing)
  await vi.waitUntil(() => destroyed.length === 1)
  expect((await pool.acquire()).n).toBe(2)
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
  expect(logged).toContain('a resource was given back that is not in use')
  expect(pool.core.state()).toMatchObject({ idle: 1, inUse: 0 })
})

test('idle resources are destroyed down to min', async () => {
  const { pool } = make({ min: 1, idleTimeoutMillis: 20, reapIntervalMillis: 5 })
  const both = await Promise.all([pool.acquire(), pool.acquire()])
  for (const thing of both) pool.release(thing)
  await vi.waitUntil(() => pool.size === 1)
})

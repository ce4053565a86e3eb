import { afterEach, describe, expect, test } from 'vitest'

import {
  createPool,
  type Factory,
  type GenericPool,
  type GenericPoolOptions,
  TimeoutError,
} from '../../src/compat/generic-pool.ts'

interface Thing {
  readonly id: number
}

const pools: GenericPool<Thing>[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map(({ core }) => core.close({ timeoutMs: 0 })))
})

const things = (options: GenericPoolOptions = {}, factory: Partial<Factory<Thing>> = {}) => {
  const log = { created: 0, destroyed: [] as Thing[] }
  const pool = createPool<Thing>(
    { create: () => ({ id: ++log.created }), destroy: (thing) => void log.destroyed.push(thing), ...factory },
    options,
  )
  pools.push(pool)
  return { pool, log }
}
const failureOf = async (promise: Promise<unknown>): Promise<Error> =>
  await promise.then(
    () => expect.unreachable('it resolved'),
    (error: Error) => error,
  )

test('defaults: one resource, kept when it is returned; counters', async () => {
  const { pool } = things()
  expect([pool.max, pool.min, pool.spareResourceCapacity]).toEqual([1, 0, 1])
  const thing = await pool.acquire()
  const waiting = pool.acquire()
  expect([pool.size, pool.available, pool.borrowed, pool.pending]).toEqual([1, 0, 1, 1])
  expect(pool.isBorrowedResource(thing)).toBe(true)
  await pool.release(thing)
  expect(await waiting).toBe(thing)
  await pool.release(thing)
  expect(pool.isBorrowedResource(thing)).toBe(false)
  expect([pool.size, pool.available, pool.borrowed, pool.pending]).toEqual([1, 1, 0, 0])
})

test('numbers may be text, min is at most max, and 0 means the default', async () => {
  const { pool } = things({ max: '3', min: '5', acquireTimeoutMillis: 0 })
  expect([pool.max, pool.min]).toEqual([3, 3])
  await pool.ready()
  expect(pool.available).toBe(3)
})

test('release and destroy of what is not borrowed are rejected', async () => {
  const { pool } = things()
  const thing = await pool.acquire()
  await pool.release(thing)
  for (const call of [pool.release(thing), pool.destroy(thing), pool.release({ id: 0 })]) {
    expect((await failureOf(call)).message).toBe('Resource not currently part of this pool')
  }
})

test('destroy makes room for a waiting caller', async () => {
  const { pool, log } = things()
  const thing = await pool.acquire()
  const waiting = pool.acquire()
  await pool.destroy(thing)
  expect(await waiting).not.toBe(thing)
  expect(log.destroyed).toEqual([thing])
})

test('the caller with the lower priority is served first; a priority out of range is the last', async () => {
  const { pool } = things({ priorityRange: 3 })
  const thing = await pool.acquire()
  const order: string[] = []
  const wait = (name: string, priority?: number) =>
    pool.acquire(priority).then((got) => {
      order.push(name)
      return pool.release(got)
    })
  const all = [wait('two', 2), wait('out of range', 99), wait('one', 1), wait('none'), wait('zero', 0)]
  await pool.release(thing)
  await Promise.all(all)
  expect(order).toEqual(['none', 'zero', 'one', 'two', 'out of range'])
})

test('too many waiting callers, and a wait that is too long', async () => {
  const { pool } = things({ maxWaitingClients: 1, acquireTimeoutMillis: 20 })
  await pool.acquire()
  const waiting = failureOf(pool.acquire())
  expect((await failureOf(pool.acquire())).message).toBe('max waitingClients count exceeded')
  const error = await waiting
  expect(error).toBeInstanceOf(TimeoutError)
  expect([error.name, error.message]).toEqual(['TimeoutError', 'ResourceRequest timed out'])
})

test('no caller may wait, and still the first is served', async () => {
  const { pool } = things({ maxWaitingClients: 0 })
  await pool.acquire()
  expect((await failureOf(pool.acquire())).message).toBe('max waitingClients count exceeded')
})

describe('use', () => {
  test('gives the resource back, with what the function returned, also when it returned no promise', async () => {
    const { pool } = things()
    expect(await pool.use(({ id }) => id)).toBe(1)
    expect(await pool.use(async ({ id }) => id)).toBe(1)
    expect(pool.borrowed).toBe(0)
  })

  test('destroys it when the function fails or throws', async () => {
    const { pool, log } = things()
    for (const fn of [
      () => Promise.reject(new Error('mine')),
      () => {
        throw new Error('mine')
      },
    ]) {
      expect((await failureOf(pool.use(fn))).message).toBe('mine')
    }
    expect(log.destroyed).toEqual([{ id: 1 }, { id: 2 }])
    expect(pool.borrowed).toBe(0)
  })

  test('leaves it alone when the function gave it back itself', async () => {
    const { pool } = things()
    await pool.use((thing) => pool.release(thing))
    expect([pool.borrowed, pool.available]).toEqual([0, 1])
  })
})

test('min is kept in all, idle or borrowed, and restored after a destroy', async () => {
  const { pool, log } = things({ min: 2, max: 5 })
  await pool.ready()
  expect([pool.size, pool.available]).toEqual([2, 2])
  const [one] = await Promise.all([pool.acquire(), pool.acquire()])
  expect(pool.size).toBe(2)
  await pool.destroy(one)
  await expect.poll(() => pool.size).toBe(2)
  expect(log.created).toBe(3)
})

test('ready resolves while the resources are borrowed', async () => {
  const { pool } = things({ min: 1, max: 1 })
  await pool.acquire()
  await pool.ready()
})

test('autostart false: nothing is made before start or the first acquire', async () => {
  const { pool, log } = things({ min: 1, autostart: false })
  expect([pool.size, log.created]).toEqual([0, 0])
  pool.start()
  await pool.ready()
  expect(log.created).toBe(1)
})

test('testOnBorrow: one that is not valid, or whose check rejects, is replaced', async () => {
  let answer: () => boolean | Promise<boolean> = () => true
  const { pool, log } = things({ testOnBorrow: true }, { validate: () => answer() })
  await pool.release(await pool.acquire())
  expect((await pool.acquire()).id).toBe(1)
  await pool.release([...log.destroyed, { id: 1 }][0] as Thing).catch(() => {})
  for (const bad of [() => false, () => Promise.reject(new Error('check'))]) {
    const { pool: other, log: otherLog } = things({ testOnBorrow: true }, { validate: () => answer() })
    answer = () => true
    await other.release(await other.acquire())
    answer = bad
    expect((await other.acquire()).id).toBe(2)
    expect(otherLog.destroyed).toEqual([{ id: 1 }])
  }
})

test('testOnReturn: one that is not valid when it is returned is destroyed', async () => {
  const { pool, log } = things({ testOnReturn: true }, { validate: () => false })
  await pool.release(await pool.acquire())
  await expect.poll(() => log.destroyed).toEqual([{ id: 1 }])
})

test('a create that fails is reported by an event and retried until it succeeds', async () => {
  let fails = 2
  const { pool } = things(
    {},
    {
      create: () => {
        if (fails-- > 0) throw new Error('no')
        return { id: 1 }
      },
    },
  )
  const errors: unknown[] = []
  pool.on('factoryCreateError', (error) => errors.push(error))
  expect((await pool.acquire()).id).toBe(1)
  expect(errors).toHaveLength(2)
})

test('a destroy that throws or hangs is reported by an event, and delays nothing', async () => {
  let destroy: () => unknown = () => {
    throw new Error('stuck')
  }
  const { pool } = things({ destroyTimeoutMillis: 20 }, { destroy: () => destroy() })
  const errors: Error[] = []
  pool.on('factoryDestroyError', (error: Error) => errors.push(error))
  await pool.destroy(await pool.acquire())
  const second = await pool.acquire()
  expect(errors.map(({ message }) => message)).toEqual(['stuck'])
  destroy = () => new Promise(() => {})
  await pool.destroy(second)
  await pool.clear()
  expect(errors).toHaveLength(2)
})

test('drain serves waiting callers, rejects later ones, and clear ends the pool', async () => {
  const { pool, log } = things()
  const thing = await pool.acquire()
  const waiting = pool.acquire()
  let isDrained = false
  const drained = pool.drain().then(() => (isDrained = true))
  expect((await failureOf(pool.acquire())).message).toBe('pool is draining and cannot accept work')
  await pool.release(thing)
  await pool.release(await waiting)
  await drained
  expect(isDrained).toBe(true)
  await pool.clear()
  expect(log.destroyed).toEqual([thing])
  expect(pool.core.state().closed).toBe(true)
})

test('clear of a pool in use: nothing that it destroyed is handed out again', async () => {
  const { pool, log } = things({ max: 2 })
  const [one, two] = await Promise.all([pool.acquire(), pool.acquire()])
  await pool.release(one)
  await pool.clear()
  expect(log.destroyed).toEqual([one])
  expect(await pool.acquire()).not.toBe(one)
  await pool.release(two)
  expect(await pool.acquire()).not.toBe(two)
})

test('with an idle timeout, idle resources are destroyed down to min', async () => {
  const { pool, log } = things({ max: 3, min: 1, idleTimeoutMillis: 20, evictionRunIntervalMillis: 5 })
  await pool.ready()
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire()))
  await Promise.all(all.map((thing) => pool.release(thing)))
  await expect.poll(() => log.destroyed.length).toBe(2)
  expect(pool.available).toBe(1)
})

test('promises of a class of one’s own', async () => {
  class Mine<T> extends Promise<T> {}
  const { pool } = things({ Promise: Mine as PromiseConstructorLike })
  const acquired = pool.acquire()
  expect(acquired).toBeInstanceOf(Mine)
  expect(pool.release(await acquired)).toBeInstanceOf(Mine)
})

test('a factory that lacks a function is rejected', () => {
  const create = () => 1
  const destroy = () => {}
  expect(() => createPool({ destroy } as never)).toThrow(new TypeError('factory.create must be a function'))
  expect(() => createPool({ create } as never)).toThrow(new TypeError('factory.destroy must be a function'))
  expect(() => createPool({ create, destroy, validate: 1 } as never)).toThrow('factory.validate')
  expect(() => createPool({ create, destroy }, { testOnBorrow: true })).toThrow('factory.validate')
})

import { Pool as TarnPool, TimeoutError as TarnTimeoutError } from 'tarn'
import { afterEach, describe, expect, test } from 'vitest'

import { Pool, type TarnPoolOptions, TimeoutError } from '../../src/compat/tarn.ts'

interface Thing {
  readonly id: number
}

const pools: { readonly core: { close(options: { timeoutMs: number }): unknown } }[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map(({ core }) => core.close({ timeoutMs: 0 })))
})

const things = (
  options: Partial<TarnPoolOptions<Thing>> = {},
  classes?: { TimeoutError: new (message: string) => Error },
) => {
  const log = { created: 0, destroyed: [] as Thing[], messages: [] as string[] }
  const pool = new Pool<Thing>(
    {
      create: async () => ({ id: ++log.created }),
      destroy: (thing) => void log.destroyed.push(thing),
      min: 0,
      max: 2,
      log: (message) => void log.messages.push(message),
      ...options,
    },
    classes,
  )
  pools.push(pool)
  return { pool, log }
}
const failureOf = async (promise: Promise<unknown>): Promise<Error> =>
  await promise.then(
    () => expect.unreachable('it resolved'),
    (error: Error) => error,
  )

describe('the options', () => {
  const base = { create: async () => 1, destroy: () => {}, min: 0, max: 1 }
  // Each is refused in tarn's own words.
  const wrong: Record<string, unknown>[] = [
    { ...base, create: undefined },
    { ...base, destroy: undefined },
    { ...base, min: undefined },
    { ...base, min: -1 },
    { ...base, min: 1.5 },
    { ...base, max: 0 },
    { ...base, max: '1' },
    { ...base, min: 2 },
    { ...base, acquireTimeoutMillis: 0 },
    { ...base, createTimeoutMillis: -1 },
    { ...base, destroyTimeoutMillis: 'x' },
    { ...base, idleTimeoutMillis: 1.5 },
    { ...base, reapIntervalMillis: null },
    { ...base, createRetryIntervalMillis: 0 },
    { ...base, maxUses: 3 },
  ]
  for (const options of wrong) {
    test(`${JSON.stringify(options)} is rejected as by tarn`, () => {
      let tarns = ''
      try {
        void new TarnPool(options as never)
      } catch (error) {
        tarns = (error as Error).message
      }
      expect(tarns).not.toBe('')
      expect(() => new Pool(options as never)).toThrow(tarns)
    })
  }
})

test('acquire and release: the last one used first, counters and the answer of release', async () => {
  const { pool, log } = things()
  expect(pool.isEmpty()).toBe(true)
  const [first, second] = [pool.acquire(), pool.acquire()]
  expect(pool.numPendingAcquires()).toBe(2)
  expect(pool.numPendingCreates()).toBe(2)
  const [one, two] = await Promise.all([first.promise, second.promise])
  expect([one.id, two.id]).toEqual([1, 2])
  expect([pool.numUsed(), pool.numFree(), pool.numPendingAcquires()]).toEqual([2, 0, 0])
  expect(pool.release(one)).toBe(true)
  expect(pool.release(two)).toBe(true)
  expect(pool.release(two)).toBe(false)
  expect(pool.release({ id: 9 })).toBe(false)
  expect([pool.numUsed(), pool.numFree()]).toEqual([0, 2])
  expect(await pool.acquire().promise).toBe(two)
  expect(pool.isEmpty()).toBe(false)
  expect(log.created).toBe(2)
})

test('create may call back, with a resource or an error', async () => {
  const { pool } = things({ create: (callback) => void setImmediate(callback, null, { id: 7 }) })
  expect((await pool.acquire().promise).id).toBe(7)
  const { pool: failing } = things({
    create: (callback) => void setImmediate(callback, new Error('no')),
    propagateCreateError: true,
  })
  expect((await failureOf(failing.acquire().promise)).message).toBe('no')
})

test('a resource that may be anything, even the same value twice', async () => {
  const pool = new Pool<string>({ create: async () => 'same', destroy: () => {}, min: 0, max: 2 })
  pools.push(pool)
  const both = await Promise.all([pool.acquire().promise, pool.acquire().promise])
  expect(both).toEqual(['same', 'same'])
  expect([pool.release('same'), pool.release('same'), pool.release('same')]).toEqual([true, true, false])
  expect(pool.numFree()).toBe(2)
})

test('abort, and settling from outside', async () => {
  const { pool } = things({ max: 1 })
  await pool.acquire().promise
  const [aborted, rejected, resolved] = [pool.acquire(), pool.acquire(), pool.acquire()]
  aborted.abort()
  rejected.reject(new Error('mine'))
  resolved.resolve({ id: 42 })
  expect((await failureOf(aborted.promise)).message).toBe('aborted')
  expect((await failureOf(rejected.promise)).message).toBe('mine')
  expect(await resolved.promise).toEqual({ id: 42 })
  expect([aborted.isRejected, rejected.isRejected, resolved.isRejected]).toEqual([true, true, false])
  expect(pool.numPendingAcquires()).toBe(0)
})

test('a failed create is retried; a caller that waits too long gets a TimeoutError with its message and cause', async () => {
  const no = new Error('no server')
  const { pool } = things({
    create: () => Promise.reject(no),
    acquireTimeoutMillis: 60,
    createRetryIntervalMillis: 10,
  })
  const failed: unknown[] = []
  pool.on('createFail', (_id: number, error: unknown) => failed.push(error))
  const pending = pool.acquire()
  const error = await failureOf(pending.promise)
  expect(error).toBeInstanceOf(TimeoutError)
  expect(error.message).toBe('no server')
  expect(error.cause).toBe(no)
  expect(pending.possibleTimeoutCause).toBe(no)
  expect(failed.length).toBeGreaterThan(1)
})

test('a timeout may be of the class that a host tests for', async () => {
  const { pool } = things({ max: 1, acquireTimeoutMillis: 20 }, { TimeoutError: TarnTimeoutError })
  await pool.acquire().promise
  expect(await failureOf(pool.acquire().promise)).toBeInstanceOf(TarnTimeoutError)
})

test('a resource that is not valid is destroyed and another one made; a validator that throws says no', async () => {
  let answer: () => boolean = () => true
  const { pool, log } = things({ validate: () => answer() })
  const first = await pool.acquire().promise
  pool.release(first)
  answer = () => false
  const second = await pool.acquire().promise
  expect(second).not.toBe(first)
  expect(log.destroyed).toEqual([first])
  pool.release(second)
  answer = () => {
    throw new Error('oops')
  }
  expect(await pool.acquire().promise).not.toBe(second)
  expect(log.messages.join()).toContain('oops')
})

test('check destroys what was free for too long, the longest first, down to min; the reaper runs by itself', async () => {
  const { pool, log } = things({ min: 1, max: 3, idleTimeoutMillis: 30, reapIntervalMillis: 5 })
  const events: string[] = []
  pool.on('startReaping', () => events.push('start'))
  pool.on('stopReaping', () => events.push('stop'))
  const gone = Promise.withResolvers<void>()
  pool.on('destroySuccess', () => {
    if (log.destroyed.length === 2) gone.resolve()
  })
  const all = await Promise.all([1, 2, 3].map(() => pool.acquire().promise))
  for (const thing of all) pool.release(thing)
  pool.check()
  expect(pool.numFree()).toBe(3)
  await gone.promise
  expect(log.destroyed).toEqual([all[0], all[1]])
  expect(pool.numFree()).toBe(1)
  expect(events).toEqual(['start'])
})

test('destroy waits for resources in use, rejects waiting and later callers immediately, and is done once', async () => {
  const { pool, log } = things({ max: 1 })
  const events: string[] = []
  for (const event of [
    'poolDestroyRequest',
    'poolDestroySuccess',
    'destroyRequest',
    'destroySuccess',
  ] as const) {
    pool.on(event, () => events.push(event))
  }
  const thing = await pool.acquire().promise
  const waiting = pool.acquire()
  expect(pool.destroyed).toBe(false)
  const destroyed = pool.destroy()
  expect(pool.destroy()).toBe(destroyed)
  expect(pool.destroyed).toBe(true)
  expect((await failureOf(waiting.promise)).message).toBe('aborted')
  expect((await failureOf(pool.acquire().promise)).message).toContain('aborted')
  expect(log.destroyed).toEqual([])
  pool.release(thing)
  const inspection = await destroyed
  expect([inspection.isFulfilled(), inspection.isRejected(), inspection.reason()]).toEqual([
    true,
    false,
    undefined,
  ])
  expect(log.destroyed).toEqual([thing])
  expect(events).toEqual(['poolDestroyRequest', 'destroyRequest', 'destroySuccess', 'poolDestroySuccess'])
})

test('events of a life: with their numbers and resources, whatever a listener throws', async () => {
  const { pool, log } = things({ max: 1, destroy: () => Promise.reject(new Error('stuck')) })
  const events: unknown[][] = []
  for (const event of [
    'acquireRequest',
    'acquireSuccess',
    'acquireFail',
    'release',
    'createRequest',
    'createSuccess',
    'destroyRequest',
    'destroyFail',
  ] as const) {
    pool.on(event, (...args: unknown[]) => events.push([event, ...args]))
  }
  const bad = (): never => {
    throw new Error('listener')
  }
  pool.on('release', bad)
  const thing = await pool.acquire().promise
  pool.release(thing)
  expect(log.messages.join()).toContain('listener')
  pool.removeListener('release', bad)
  await pool.destroy()
  expect(events).toEqual([
    ['acquireRequest', 1],
    ['createRequest', 2],
    ['createSuccess', 2, thing],
    ['acquireSuccess', 1, thing],
    ['release', thing],
    ['destroyRequest', 4, thing],
    ['destroyFail', 4, thing, expect.objectContaining({ message: 'stuck' })],
  ])
})

test('a create that takes too long has failed; what it makes later is destroyed', async () => {
  const late = Promise.withResolvers<Thing>()
  let calls = 0
  const { pool, log } = things({
    create: () => (++calls === 1 ? late.promise : Promise.resolve({ id: 2 })),
    createTimeoutMillis: 20,
    createRetryIntervalMillis: 5,
  })
  expect((await pool.acquire().promise).id).toBe(2)
  late.resolve({ id: 1 })
  await expect.poll(() => log.destroyed).toEqual([{ id: 1 }])
})

test('a destroy that takes too long is reported by destroyFail, as by tarn, and the pool ends', async () => {
  const options = {
    create: async () => 1,
    destroy: () => new Promise<void>(() => {}),
    min: 0,
    max: 1,
    destroyTimeoutMillis: 10,
  }
  const own = new Pool(options)
  for (const pool of [own as unknown as TarnPool<number>, new TarnPool<number>(options)]) {
    const failed: unknown[] = []
    pool.on('destroyFail', (_id, resource, error) => failed.push(resource, error.constructor.name))
    pool.release(await pool.acquire().promise)
    await pool.destroy()
    expect(failed).toEqual([1, 'TimeoutError'])
  }
})

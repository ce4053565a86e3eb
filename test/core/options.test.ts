import fc from 'fast-check'
import { expect, test } from 'vitest'

import { OTHER_NAMES } from '../../src/core/contract/other-names.ts'
import { isPoolError, Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'

const build =
  (options: unknown, manager: unknown = new ScriptedManager()) =>
  () =>
    new Pool(manager as ScriptedManager, options as PoolOptions<ScriptedConnection>)

test.each([
  [{ maxSize: 0 }, 'maxSize must be an integer >= 1 (got 0)'],
  [{ maxSize: NaN }, 'maxSize must be an integer >= 1 (got NaN)'],
  [{ maxSize: '10' }, "maxSize must be an integer >= 1 (got '10')"],
  [{ maxSize: Infinity }, 'maxSize must be an integer >= 1 (got Infinity)'],
  [{ minIdle: 11 }, 'minIdle must be an integer from 0 to maxSize (10) (got 11)'],
  [{ minIdle: -1 }, 'minIdle must be an integer >= 0 (got -1)'],
  [{ maxIdle: 1.5 }, 'maxIdle must be an integer >= 0, or Infinity (got 1.5)'],
  [{ minIdle: 2, maxIdle: 1 }, 'minIdle must be an integer from 0 to maxIdle (1) (got 2)'],
  [{ maxUses: 0 }, 'maxUses must be an integer >= 1, or Infinity (got 0)'],
  [{ lifetimeJitter: 2 }, 'lifetimeJitter must be a number from 0 to 1 (got 2)'],
  [{ acquireTimeoutMs: 0 }, 'acquireTimeoutMs must be a number of milliseconds > 0, or Infinity (got 0)'],
  [
    { acquireTimeoutMs: null },
    'acquireTimeoutMs must be a number of milliseconds > 0, or Infinity (got null)',
  ],
  [
    { connectBackoff: { minMs: 5, maxMs: 1 } },
    'connectBackoff must be { minMs, maxMs }, each a number of milliseconds > 0, minMs <= maxMs, without other keys (got {"minMs":5,"maxMs":1})',
  ],
  [{ connectBackoff: 7 }, 'without other keys (got 7)'],
  [{ connectBackoff: { minMs: 1, maxMs: 2, factor: 3 } }, 'without other keys'],
  [{ overload: { targetMs: 50 } }, '(got {"targetMs":50})'],
  [{ queueStrategy: 'random' }, "queueStrategy must be 'fifo' or 'lifo' (got 'random')"],
  [{ onError: 'log' }, "onError must be a function (got 'log')"],
  [{ testOnCheckOut: 1 }, 'testOnCheckOut must be true or false (got 1)'],
  [{ allowExitOnIdle: true }, 'allowExitOnIdle must be false for a manager without ref and unref (got true)'],
  [{ name: '' }, "name must be a non-empty string (got '')"],
  [{ clock: {} }, 'clock must be a Clock: { now, setTimeout, clearTimeout } (got {})'],
  [{ name: Symbol('x') }, 'name must be a non-empty string (got Symbol(x))'],
  [{ name: () => {} }, 'name must be a non-empty string (got a function)'],
  [{ maxsize: 5 }, 'maxsize must be one of the pool options: did you mean maxSize?'],
  [{ acquireTimeoutMillis: 5 }, 'did you mean acquireTimeoutMs?'],
  [{ toString: 5 }, 'toString must be one of the pool options'],
  [7, 'pool options must be an object (got 7)'],
])('promise 25: %j is rejected: %s', (options, message) => {
  const manager = new ScriptedManager()
  expect(build(options, manager)).toThrow(
    expect.objectContaining({
      name: 'PoolOptionsError',
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(message),
    }),
  )
  expect(manager.calls.connect).toBe(0)
})

test('promise 25: a value that cannot be shown is rejected all the same', () => {
  expect(build({ name: [10n] })).toThrow('name must be a non-empty string (got an object)')
})

test('promise 25: a manager that lacks a method is rejected by name', () => {
  expect(build({}, { connect() {}, isValid() {}, close() {} })).toThrow(
    'manager must be an object with the methods connect, isValid, hasBroken, close (got {',
  )
  expect(build({}, null)).toThrow(
    'manager must be an object with the methods connect, isValid, hasBroken, close (got null)',
  )
})

test('promise 25: the arguments of calls are checked too, and nothing is lost', async () => {
  const pool = new Pool(new ScriptedManager(), { maxSize: 1 })
  await expect(pool.acquire({ timeoutMs: -1 })).rejects.toThrow(
    'timeoutMs must be a number of milliseconds >= 0, or Infinity (got -1)',
  )
  await expect(pool.acquire({ timeout: 5 } as never)).rejects.toThrow(
    'timeout must be one of the acquire options: did you mean timeoutMs?',
  )
  await expect(pool.acquire({ signal: 5 } as never)).rejects.toThrow('signal must be an AbortSignal (got 5)')
  await expect(pool.acquire({ priority: NaN })).rejects.toThrow('priority must be a finite number (got NaN)')
  await expect(pool.run(() => 1, { retries: 1.5 })).rejects.toThrow(
    'retries must be an integer >= 0 (got 1.5)',
  )
  await expect(pool.run(5 as never)).rejects.toThrow('fn must be a function (got 5)')
  await expect(pool.close({ timeoutMs: '5' } as never)).rejects.toThrow(
    "timeoutMs must be a number of milliseconds >= 0, or Infinity (got '5')",
  )
  expect(() => pool.clear({ overMs: -1 })).toThrow('overMs must be a number of milliseconds >= 0 (got -1)')
  await expect(pool.resize(undefined as never)).rejects.toThrow(
    'resize options must be an object (got undefined)',
  )
  await expect(pool.dedicated(5 as never)).rejects.toThrow('dedicated options must be an object (got 5)')
  expect(pool.state().statistics.acquires.started).toBe(0)
  expect(await pool.run((connection) => connection.id)).toBe(1)
  await pool.close()
})

test('options are resolved with the documented defaults, and frozen', () => {
  const { options } = new Pool(new ScriptedManager(), {
    maxSize: undefined,
    name: 'orders',
    overload: { targetMs: 1, intervalMs: 2 },
  })
  expect(options).toMatchObject({
    name: 'orders',
    maxSize: 10,
    minIdle: 0,
    testOnCheckOut: true,
    validationBypassMs: 500,
    validationTimeoutMs: 5_000,
    maxLifetimeMs: 1_800_000,
    lifetimeJitter: 0.1,
    idleTimeoutMs: 600_000,
    maxUses: Infinity,
    keepaliveMs: Infinity,
    acquireTimeoutMs: 30_000,
    connectTimeoutMs: 10_000,
    closeTimeoutMs: 5_000,
    retryConnect: true,
    connectBackoff: { minMs: 50, maxMs: 5_000 },
    maxConnecting: Infinity,
    maxWaiting: Infinity,
    queueStrategy: 'fifo',
    reapIntervalMs: 30_000,
    leakThresholdMs: Infinity,
    reclaimAbandoned: false,
    allowExitOnIdle: false,
    maxIdle: 10,
  })
  expect(new Pool(new ScriptedManager(), { maxSize: 3 }).options.maxIdle).toBe(3)
  expect(
    Object.isFrozen(options) && Object.isFrozen(options.connectBackoff) && Object.isFrozen(options.overload),
  ).toBe(true)
})

test('whatever the options, there is a PoolOptionsError or a pool that works', async () => {
  const value = fc.oneof(
    fc.integer({ min: -5, max: 1_000 }),
    fc.double(),
    fc.constantFrom(undefined, null, Infinity, NaN, 'fifo', true, () => true),
    fc.object(),
  )
  const keys = Object.keys(new Pool(new ScriptedManager()).options).filter((key) => key !== 'clock')
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.constantFrom(...keys, 'nonsense'), value, { maxKeys: 4 }),
      async (options) => {
        const clock = new VirtualClock()
        let pool: Pool<ScriptedConnection>
        try {
          pool = build({ ...options, clock })()
        } catch (error) {
          expect(isPoolError(error)).toBe(true)
          return
        }
        const work = pool
          .run((connection) => connection.id, { timeoutMs: 50 })
          .catch((error: unknown) => expect(isPoolError(error)).toBe(true))
        await clock.advance(100)
        await work
      },
    ),
    { numRuns: 200 },
  )
})

test('isPoolError knows the errors of another installed copy by their brand', () => {
  expect(isPoolError({ [Symbol.for('cenote.PoolError')]: true })).toBe(true)
  expect(isPoolError(new Error('x'))).toBe(false)
  expect(isPoolError(undefined)).toBe(false)
})

test.each([
  ['max', 'maxSize'],
  ['min', 'minIdle'],
  ['idleTimeoutMillis', 'idleTimeoutMs'],
  ['connectionTimeoutMillis', 'acquireTimeoutMs'],
  ['createTimeoutMillis', 'connectTimeoutMs'],
  ['testOnBorrow', 'testOnCheckOut'],
  ['connectionLimit', 'maxSize'],
])('%s, a name of another pool, suggests %s', (key, meant) => {
  expect(build({ [key]: 1 })).toThrow(`did you mean ${meant}?`)
})

test('every name of another pool leads to an option that exists', () => {
  for (const [key, meant] of Object.entries(OTHER_NAMES))
    expect(build({ [key]: 1 }), key).toThrow(`did you mean ${meant}?`)
})

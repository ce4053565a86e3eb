import fc from 'fast-check'
import { expect, test } from 'vitest'

import { isPoolError, Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'

const build =
  (options: unknown, manager: unknown = new ScriptedManager()) =>
  () =>
    new Pool(manager as ScriptedManager, options as PoolOptions<ScriptedConnection>)

test.each([
  [{ maxSize: 0 }, 'maxSize is 0: allowed is a whole number >= 1'],
  [{ maxSize: NaN }, 'maxSize is NaN: allowed is a whole number >= 1'],
  [{ maxSize: '10' }, "maxSize is '10': allowed is a whole number >= 1"],
  [{ maxSize: Infinity }, 'maxSize is Infinity'],
  [{ minIdle: 11 }, 'minIdle is 11: allowed is a whole number from 0 to maxSize (10)'],
  [{ minIdle: -1 }, 'minIdle is -1'],
  [{ maxUses: 0 }, 'maxUses is 0: allowed is a whole number >= 1, or Infinity'],
  [{ lifetimeJitter: 2 }, 'lifetimeJitter is 2: allowed is a number from 0 to 1'],
  [{ acquireTimeoutMs: 0 }, 'acquireTimeoutMs is 0: allowed is milliseconds > 0, or Infinity'],
  [{ acquireTimeoutMs: null }, 'acquireTimeoutMs is null'],
  [
    { connectBackoff: { minMs: 5, maxMs: 1 } },
    'connectBackoff is {"minMs":5,"maxMs":1}: allowed is { minMs, maxMs }',
  ],
  [{ connectBackoff: 7 }, 'connectBackoff is 7'],
  [{ connectBackoff: { minMs: 1, maxMs: 2, factor: 3 } }, 'and no other key'],
  [{ overload: { targetMs: 50 } }, 'overload is {"targetMs":50}'],
  [{ queueStrategy: 'random' }, "queueStrategy is 'random': allowed is 'fifo' or 'lifo'"],
  [{ onError: 'log' }, "onError is 'log': allowed is a function"],
  [{ testOnCheckOut: 1 }, 'testOnCheckOut is 1: allowed is true or false'],
  [{ name: '' }, "name is '': allowed is a string that is not empty"],
  [{ clock: {} }, 'clock is {}: allowed is a Clock'],
  [{ name: Symbol('x') }, 'name is Symbol(x)'],
  [{ name: () => {} }, 'name is a function'],
  [{ maxsize: 5 }, 'maxsize is not one of the pool options: did you mean maxSize?'],
  [{ acquireTimeoutMillis: 5 }, 'did you mean acquireTimeoutMs?'],
  [{ toString: 5 }, 'toString is not one of the pool options'],
  [7, 'pool options is 7: allowed is an object'],
])('promise 25: %j is refused: %s', (options, message) => {
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

test('promise 25: a value that cannot be shown is refused all the same', () => {
  expect(build({ name: [10n] })).toThrow('name is an object')
})

test('promise 25: a manager that lacks a method is refused by name', () => {
  expect(build({}, { connect() {}, isValid() {}, close() {} })).toThrow('manager has no method hasBroken')
  expect(build({}, null)).toThrow('manager is null')
})

test('promise 25: the arguments of calls are checked too, and nothing is lost', async () => {
  const pool = new Pool(new ScriptedManager(), { maxSize: 1 })
  await expect(pool.acquire({ timeoutMs: -1 })).rejects.toThrow(
    'timeoutMs is -1: allowed is milliseconds >= 0, or Infinity',
  )
  await expect(pool.acquire({ timeout: 5 } as never)).rejects.toThrow(
    'timeout is not one of the acquire options: did you mean timeoutMs?',
  )
  await expect(pool.acquire({ signal: 5 } as never)).rejects.toThrow('signal is 5: allowed is an AbortSignal')
  await expect(pool.acquire({ priority: NaN })).rejects.toThrow('priority is NaN')
  await expect(pool.run(() => 1, { retries: 1.5 })).rejects.toThrow('retries is 1.5')
  await expect(pool.run(5 as never)).rejects.toThrow('the argument of run is number')
  await expect(pool.close({ timeoutMs: '5' } as never)).rejects.toThrow("timeoutMs is '5'")
  await expect(pool.resize(undefined as never)).rejects.toThrow('resize options is undefined')
  await expect(pool.dedicated(5 as never)).rejects.toThrow('dedicated options is 5')
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
  })
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

// Mistakes and mishaps of the user's side: plain JavaScript, a stalled event loop, dead-locks. Each is told by its name.
import { expect, test } from 'vitest'

import { explain, Pool } from '../../src/index.ts'
import { ScriptedManager, settle } from '../../src/testing/index.ts'
import { collectGarbage } from './collect-garbage.ts'
import { make } from './exact-pool.ts'

test('a hasBroken that returns a promise is reported once, its rejection caught, and breaks nothing', async () => {
  for (const result of [async () => true, () => Promise.reject(new Error('late'))]) {
    const { pool, manager, errors } = make({ maxSize: 1 })
    manager.hasBroken = result as never
    for (let n = 0; n < 3; n++) (await pool.acquire()).release()
    await settle()
    expect(errors.map(({ code, message }) => [code, message])).toEqual([
      [
        'INVALID_RESULT',
        "hasBroken of pool 'exact' returned a promise. It must return a boolean synchronously; the connection counts as unbroken",
      ],
    ])
    expect(manager.calls.connect).toBe(1)
  }
})

test('an isFatal that returns a promise is reported once, and the error counts as not fatal', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1 })
  manager.isFatal = (() => Promise.reject(new Error('late'))) as never
  manager.connects.push('fail', 'fail')
  const waiting = pool.acquire()
  await clock.advance(500)
  ;(await waiting).release()
  expect(errors.filter(({ code }) => code === 'INVALID_RESULT').map(({ message }) => message)).toEqual([
    "isFatal of pool 'exact' returned a promise. It must return a boolean synchronously; the error counts as not fatal",
  ])
})

test('an isValid that returns neither true nor false is reported once, and its connection is replaced', async () => {
  const { pool, manager, errors } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.isValid = (async () => undefined) as never
  for (const id of [2, 3]) {
    const lease = await pool.acquire()
    expect(lease.connection.id).toBe(id)
    lease.release()
  }
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    [
      'INVALID_RESULT',
      "isValid of pool 'exact' returned undefined. It must return true or false; the connection counts as invalid",
    ],
  ])
  expect(pool.state().statistics.closed.invalid).toBe(2)
})

test('the same object from two connects is a failed attempt, and never leased twice', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 2, acquireTimeoutMs: 1_000 })
  const same = { id: 1, broken: false, invalid: false, open: true, lost: () => {} }
  manager.connect = async () => same
  const first = await pool.acquire()
  const second = pool.acquire().catch((error: { cause: Error }) => error.cause.message)
  await clock.advance(1_000)
  expect(await second).toBe('manager.connect returned a connection that the pool already has')
  expect(errors[0]?.code).toBe('CONNECT_FAILED')
  expect([pool.state().connections, manager.calls.close]).toEqual([1, 0])
  first.release()
})

test('a stalled event loop: a connect, a check and a close that answer in the stall are not taken for dead', async () => {
  const { pool, manager, clock } = make({
    maxSize: 1,
    connectTimeoutMs: 1_000,
    validationBypassMs: 0,
    validationTimeoutMs: 1_000,
  })
  const connected = Promise.withResolvers<void>()
  manager.connects.push(connected.promise)
  const first = pool.acquire()
  await settle()
  clock.jump(1_500)
  // The timer rings before the input is read.
  await clock.advance(0)
  connected.resolve()
  ;(await first).release()
  expect(pool.state().statistics.connects).toEqual({ opened: 1, failed: 0 })
  const checked = Promise.withResolvers<void>()
  manager.checks.push(checked.promise)
  const second = pool.acquire()
  await settle()
  clock.jump(1_500)
  await clock.advance(0)
  checked.resolve()
  ;(await second).release()
  expect(pool.state().statistics.closed.invalid).toBe(0)
})

test('a stalled event loop: a deadline that rings late lets the input be read first, once', async () => {
  const { pool, manager, clock } = make({ maxSize: 2 })
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise, 'never')
  const served = pool.acquire({ timeoutMs: 100 })
  const late = pool.acquire({ timeoutMs: 100 }).catch((error: { code: string }) => error.code)
  await settle()
  clock.jump(200)
  await clock.advance(0)
  gate.resolve()
  expect((await served).connection.id).toBe(1)
  await clock.advance(1)
  expect(await late).toBe('ACQUIRE_TIMEOUT')
})

test('overload in an outage carries the connect error; a pause sheds no caller', async () => {
  const overload = { targetMs: 10, intervalMs: 100 }
  const { pool, manager, clock } = make({ maxSize: 1, overload })
  manager.always.connect = 'fail'
  const shed = pool.acquire().catch((error: unknown) => error)
  await clock.advance(500)
  expect(await shed).toMatchObject({
    code: 'OVERLOADED',
    cause: expect.objectContaining({ message: expect.stringMatching(/^connect \d+ failed$/) }),
    message: expect.stringMatching(/The last connect attempt failed: connect \d+ failed$/),
  })
  const paused = make({ maxSize: 1, overload })
  paused.pool.pause()
  const waits = [1, 2, 3].map(() => paused.pool.run(() => 'served'))
  await paused.clock.advance(10_000)
  paused.pool.resume()
  expect(await Promise.all(waits)).toEqual(['served', 'served', 'served'])
  expect(paused.pool.state().statistics.acquires.refused).toBe(0)
})

test('promise 28: holders that wait for a second connection are named, in explain and in the timeout', async () => {
  const { pool, clock } = make({ maxSize: 2, acquireTimeoutMs: 1_000 })
  const failed = [1, 2].map(() =>
    pool.run(() => pool.acquire()).catch((error: { code: string; message: string }) => error),
  )
  await clock.advance(500)
  const { condition, severity, text } = explain(pool)
  expect([condition, severity]).toEqual(['nested', 'problem'])
  expect(text).toContain(
    'Every connection is held by a caller that itself waits for a second one of this pool: a deadlock',
  )
  await clock.advance(500)
  const [first] = await Promise.all(failed)
  expect(first).toMatchObject({
    code: 'ACQUIRE_TIMEOUT',
    message: expect.stringContaining('a deadlock. Use the connection that the outer run or acquire gave'),
  })
  // One of several holders is no dead-lock, but is named too.
  const one = make({ maxSize: 2, acquireTimeoutMs: 1_000 })
  await one.pool.acquire()
  one.pool.run(() => one.pool.acquire()).catch(() => {})
  await settle()
  expect(explain(one.pool).text).toMatch(/^1 of the callers that hold a connection wait for a second one/)
  // Without nested callers a full pool is just busy.
  const busy = make({ maxSize: 1 })
  await busy.pool.acquire()
  busy.pool.acquire().catch(() => {})
  expect(explain(busy.pool).condition).toBe('busy')
})

test('promise 28: a hook that acquires from its own pool is rejected immediately', async () => {
  for (const hook of ['afterConnect', 'beforeAcquire', 'afterRelease', 'beforeClose'] as const) {
    const told: unknown[] = []
    const { pool, clock } = make({
      maxSize: 2,
      [hook]: async () => {
        await pool.acquire().then(
          () => told.push('served'),
          (error: { code: string; message: string }) => told.push([error.code, error.message]),
        )
      },
    })
    const lease = pool.acquire()
    await clock.advance(200)
    ;(await lease).destroy()
    if (hook === 'afterRelease') (await pool.acquire()).release()
    await settle()
    expect(told[0]).toEqual([
      'NESTED_ACQUIRE',
      `hook ${hook} of pool 'exact' must not acquire from its own pool. Use the connection that the hook receives`,
    ])
  }
})

test('promise 28: a close within run is reported, and ends at its deadline', async () => {
  const { pool, clock, errors } = make({ maxSize: 1 })
  const running = pool.run(() => pool.close({ timeoutMs: 100 }))
  await settle()
  expect(errors).toMatchObject([
    {
      code: 'NESTED_ACQUIRE',
      message: expect.stringContaining("close() of pool 'exact' was called by a holder"),
    },
  ])
  await clock.advance(100)
  expect(await running).toEqual({ closed: 0, abandoned: 1 })
})

test('promise 28: a resize within run that waits for the connection of its own caller is reported', async () => {
  const { pool, errors } = make({ maxSize: 2 })
  const [own, other] = await Promise.all([pool.acquire(), pool.acquire()])
  own.release()
  const running = pool.run(async () => {
    await pool.resize({ maxSize: 3 })
    void pool.resize({ maxSize: 1 })
    await settle()
  })
  await running
  expect(errors).toMatchObject([
    {
      code: 'NESTED_ACQUIRE',
      message: expect.stringContaining("resize() of pool 'exact' was called by a holder"),
    },
  ])
  other.release()
})

test('Error.stackTraceLimit is as the user has it in onError, in subscribers and in handlers of timeouts', async () => {
  const { stackTraceLimit } = Error
  const seen: number[] = []
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  const hear = (): void => void seen.push(Error.stackTraceLimit)
  const names = ['cenote:timeout', 'cenote:abort', 'cenote:error', 'cenote:acquire']
  for (const name of names) subscribe(name, hear)
  const { pool, clock, manager } = make({ maxSize: 1, leakThresholdMs: 10, onError: hear })
  await pool.acquire()
  const late = [1, 2].map(() => pool.acquire({ timeoutMs: 50 }).catch(hear))
  await clock.advance(50)
  await Promise.all(late)
  for (const name of names) unsubscribe(name, hear)
  expect(seen.length).toBeGreaterThanOrEqual(7)
  expect(new Set([...seen, Error.stackTraceLimit])).toEqual(new Set([stackTraceLimit]))
  expect(manager.open).toBe(1)
})

test.skipIf(collectGarbage === undefined)(
  'a pool that was used and dropped without close is collected, once its connections are reaped',
  async () => {
    const drop = async (): Promise<WeakRef<object>> => {
      const pool = new Pool(new ScriptedManager(), { idleTimeoutMs: 5, reapIntervalMs: 5, maxSize: 2 })
      const [one, two] = [await pool.acquire(), await pool.acquire()]
      const waiting = pool.acquire({ timeoutMs: 60_000 })
      one.release()
      two.release()
      ;(await waiting).release()
      return new WeakRef(pool)
    }
    const dropped = await drop()
    await expect
      .poll(
        async () => {
          collectGarbage?.()
          await settle()
          return dropped.deref() === undefined
        },
        { timeout: 5_000, interval: 10 },
      )
      .toBe(true)
  },
)

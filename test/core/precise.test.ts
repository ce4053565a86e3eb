// What exactly: each number, reason, order and word that a user may rely on and that no promise's own test looks at.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { expect, onTestFinished, test } from 'vitest'

import { textOf } from '../../src/core/contract/messages.ts'
import { isTraced, tracing } from '../../src/core/telemetry/tracing.ts'
import { Pool, PoolError, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { heard, make } from './exact-pool.ts'

test('durations on the channels are durations', async () => {
  const { pool, clock } = make({ maxSize: 1, acquireTimeoutMs: 500 })
  const acquired = heard('acquire')
  const released = heard('release')
  const closing = heard('close')
  const timedOut = heard('timeout')
  const aborted = heard('abort')
  const held = await pool.acquire()
  const controller = new AbortController()
  const first = pool.acquire()
  const second = pool.acquire({ timeoutMs: 40 }).catch(() => {})
  const third = pool.acquire({ signal: controller.signal }).catch(() => {})
  await clock.advance(30)
  held.release()
  const lease = await first
  await clock.advance(10)
  await second
  controller.abort()
  await third
  lease.destroy()
  await settle()
  expect(acquired).toEqual([
    { connection: 1, waitMs: 0 },
    { connection: 1, waitMs: 30 },
  ])
  expect(released).toEqual([
    { connection: 1, heldMs: 30 },
    { connection: 1, heldMs: 10 },
  ])
  expect(closing).toEqual([{ connection: 1, reason: 'destroyed', ageMs: 40 }])
  expect(timedOut).toEqual([{ phase: 'queue', waitMs: 40 }])
  expect(aborted).toEqual([{ waitMs: 40 }])
})

test('a signal that was aborted before rejects without a wait, and takes no idle connection', async () => {
  const { pool } = make()
  ;(await pool.acquire()).release()
  const aborted = heard('abort')
  const acquired = heard('acquire')
  await expect(pool.acquire({ signal: AbortSignal.abort('gone') })).rejects.toBe('gone')
  expect([aborted, acquired]).toEqual([[{ waitMs: 0 }], []])
  expect(pool.state().idle).toBe(1)
})

test('the reason of a rejection is published: a full queue, or overload with the wait', async () => {
  const refused = heard('refuse')
  const full = make({ maxSize: 1, maxWaiting: 1 })
  await full.pool.acquire()
  full.pool.acquire().catch(() => {})
  await expect(full.pool.acquire()).rejects.toMatchObject({ code: 'QUEUE_FULL' })
  expect(refused).toEqual([{ why: 'queueFull' }])
  const overload = { targetMs: 10, intervalMs: 100 }
  const { pool, clock } = make({ maxSize: 1, overload })
  await pool.acquire()
  const shed = pool.acquire().catch((error: unknown) => error)
  await clock.advance(350)
  expect(await shed).toMatchObject({
    code: 'OVERLOADED',
    waitedMs: 300,
    message: expect.stringMatching(
      /rejected after 300 ms: pool 'exact' is overloaded .* within 10 ms .* for 100 ms/,
    ),
  })
  expect(refused.slice(1)).toEqual([{ why: 'overloaded' }])
})

test('a stalled queue sheds only callers that have waited for more than twice the target', async () => {
  const { pool, clock } = make({ maxSize: 1, overload: { targetMs: 30, intervalMs: 100 } })
  await pool.acquire()
  const outcomes: string[] = []
  const wait = (name: string): void =>
    void pool.acquire().then(
      () => outcomes.push(`${name} served`),
      (error: PoolError) => outcomes.push(`${name} ${error.code} ${error.state?.waiting}`),
    )
  wait('first')
  await clock.advance(250)
  wait('late')
  await clock.advance(50)
  expect(outcomes).toEqual(['first OVERLOADED 2'])
  expect(pool.state().waiting).toBe(1)
  const closing = pool.close({ timeoutMs: 1 })
  await clock.advance(10)
  await closing
  expect([clock.timers, outcomes.at(-1)]).toEqual([0, 'late POOL_CLOSED 1'])
})

test('failures that belong to no caller say what failed, and carry the state', async () => {
  const { pool, manager, errors, clock } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.checks.push('fail')
  manager.closes.push('fail')
  manager.connects.push('fail')
  const lease = pool.acquire()
  await clock.advance(1_000)
  ;(await lease).release()
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    ['CHECK_FAILED', "isValid of connection 1 of pool 'exact' failed: isValid failed"],
    ['CLOSE_FAILED', "close of connection 1 of pool 'exact' failed: close failed"],
    ['CONNECT_FAILED', "connect of pool 'exact' failed: connect 2 failed"],
  ])
  expect(errors.every(({ state }) => state?.maxSize === 1)).toBe(true)
})

test('a connect failure that its caller gets is not reported in addition', async () => {
  const { pool, manager, errors } = make({ retryConnect: false })
  manager.connects.push('fail')
  await expect(pool.acquire()).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
  expect(errors).toEqual([])
})

test('a call that takes too long is named, with its limit', async () => {
  const never = (): Promise<never> => new Promise(() => {})
  const texts = async (
    options: PoolOptions<ScriptedConnection>,
    begin: (pool: Pool<ScriptedConnection>) => unknown,
  ): Promise<string[]> => {
    const { pool, errors, clock } = make({
      maxSize: 1,
      validationTimeoutMs: 50,
      closeTimeoutMs: 60,
      ...options,
    })
    await begin(pool)
    await clock.advance(70)
    void pool.close({ timeoutMs: 0 })
    return errors.map((error) => textOf(error.cause ?? error))
  }
  const lease = async (pool: Pool<ScriptedConnection>) => (await pool.acquire()).release()
  expect(await texts({ afterRelease: never }, lease)).toEqual(['afterRelease took longer than 50 ms'])
  // The connection was fresh: one report, of a failed attempt that names the hook.
  expect(await texts({ beforeAcquire: never }, (pool) => void pool.acquire().catch(() => {}))).toEqual([
    "hook beforeAcquire of pool 'exact' failed: beforeAcquire took longer than 50 ms",
  ])
  const opened = async (pool: Pool<ScriptedConnection>) => (await pool.acquire()).release()
  expect(
    await texts({ beforeAcquire: ({ id }) => (id < 0 ? true : never()) }, async (pool) => {
      pool.add({ id: 7, broken: false, invalid: false, open: true, lost: () => {} })
      expect(pool.tryAcquire()).toBeUndefined()
    }),
  ).toEqual(['beforeAcquire took longer than 50 ms'])
  expect(await texts({ beforeClose: never }, async (pool) => (await pool.acquire()).destroy())).toEqual([
    'beforeClose took longer than 50 ms',
  ])
  expect(
    await texts({ afterConnect: never }, (pool) =>
      pool.add({ id: 8, broken: false, invalid: false, open: true, lost: () => {} }),
    ),
  ).toEqual(['afterConnect took longer than 50 ms'])
  expect(await texts({}, opened)).toEqual([])
})

test('a beforeClose that fails is reported; one that does not is not', async () => {
  const { pool, errors } = make({
    maxSize: 1,
    beforeClose: ({ id }) => {
      if (id === 2) throw new Error('beforeClose')
    },
  })
  ;(await pool.acquire()).destroy()
  ;(await pool.acquire()).destroy()
  await settle()
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    ['HOOK_FAILED', "hook beforeClose of pool 'exact' failed: beforeClose"],
  ])
})

test('a hasBroken that throws counts as broken, and is reported', async () => {
  const { pool, manager, errors } = make({ maxSize: 1 })
  ;(await pool.acquire()).release()
  const lease = await pool.acquire()
  manager.hasBroken = () => {
    throw new Error('hasBroken')
  }
  lease.release()
  expect(errors).toEqual([new Error('hasBroken')])
  expect(pool.state().statistics.closed.broken).toBe(1)
})

test('a connection that was just opened and prepared is not checked, also one that was added', async () => {
  const { pool, manager } = make({ maxSize: 2, validationBypassMs: 0, afterConnect: async () => {} })
  const first = await pool.acquire()
  const waiting = pool.acquire()
  await settle()
  await waiting
  expect(manager.calls.isValid).toBe(0)
  first.destroy()
  await settle()
  const third = pool.acquire()
  await third
  expect(manager.calls.isValid).toBe(0)
  for (const afterConnect of [undefined, async () => {}]) {
    const one = make({ maxSize: 1, validationBypassMs: 0, afterConnect })
    one.pool.pause()
    const lease = one.pool.acquire()
    one.pool.add({ id: 9, broken: false, invalid: false, open: true, lost: () => {} })
    await settle()
    one.pool.resume()
    await lease
    expect(one.manager.calls.isValid).toBe(1)
  }
})

test('one added while a caller waits goes to it unchecked', async () => {
  for (const afterConnect of [undefined, async () => {}]) {
    const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0, afterConnect })
    manager.always.connect = 'fail'
    const lease = pool.acquire()
    await settle()
    expect(pool.add({ id: 9, broken: false, invalid: false, open: true, lost: () => {} })).toBe('added')
    expect((await lease).connection.id).toBe(9)
    expect(manager.calls.isValid).toBe(0)
  }
})

test('an added connection whose afterConnect fails is closed for the hook', async () => {
  const { pool, errors } = make({ afterConnect: () => Promise.reject(new Error('afterConnect')) })
  pool.add({ id: 9, broken: false, invalid: false, open: true, lost: () => {} })
  await settle()
  expect(pool.state().statistics.closed.hook).toBe(1)
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    ['HOOK_FAILED', "hook afterConnect of pool 'exact' failed: afterConnect"],
  ])
})

test('one that is returned and was reset is checked before the next has it, where each checkout is checked', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0, afterRelease: async () => {} })
  const lease = await pool.acquire()
  const next = pool.acquire()
  lease.release()
  await next
  expect(manager.calls.isValid).toBe(1)
})

test('tryAcquire asks neither isValid nor the queue, and nothing of a pool that is paused', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  pool.pause()
  expect(pool.tryAcquire()).toBeUndefined()
  pool.resume()
  expect(pool.tryAcquire()?.connection.id).toBe(1)
  expect(manager.calls.isValid).toBe(0)
})

test('tryAcquire goes on to the next when a hook rejects one', async () => {
  const { pool } = make({ maxSize: 2, queueStrategy: 'fifo', beforeAcquire: ({ id }) => id !== 1 })
  pool.add({ id: 1, broken: false, invalid: false, open: true, lost: () => {} })
  pool.add({ id: 2, broken: false, invalid: false, open: true, lost: () => {} })
  expect(pool.tryAcquire()?.connection.id).toBe(2)
  expect(pool.state().statistics.closed.hook).toBe(1)
})

test('a connection that was cleared while its beforeAcquire ran is not handed out', async () => {
  const gate = Promise.withResolvers<void>()
  const { pool } = make({ maxSize: 1, beforeAcquire: ({ id }) => (id === 1 ? gate.promise : undefined) })
  const lease = pool.acquire()
  await settle()
  pool.clear()
  gate.resolve()
  expect((await lease).connection.id).toBe(2)
  expect(pool.state().statistics.closed.cleared).toBe(1)
})

test('callers whose connection is being checked take no place of maxWaiting', async () => {
  const { pool, manager } = make({ maxSize: 2, validationBypassMs: 0, maxWaiting: 1 })
  const leases = [await pool.acquire(), await pool.acquire()]
  for (const lease of leases) lease.release()
  manager.always.isValid = 'never'
  const waits = [1, 2, 3, 4].map(() => pool.acquire().catch((error: PoolError) => error.code))
  await settle()
  expect(await waits[3]).toBe('QUEUE_FULL')
  expect(pool.state()).toMatchObject({ waiting: 1, inUse: 2 })
  void pool.close({ timeoutMs: 0 })
})

test('a detached connection is published as released, and lets a resize end', async () => {
  const { pool, clock } = make({ maxSize: 2 })
  const released = heard('release')
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  await clock.advance(5)
  let isResized = false
  const resized = pool.resize({ maxSize: 1 }).then(() => (isResized = true))
  await settle()
  expect(isResized).toBe(false)
  a.detach()
  await resized
  expect(released).toEqual([{ connection: 1, heldMs: 5 }])
  b.release()
})

test('a resize closes the longest idle, and no more than the surplus', async () => {
  for (const queueStrategy of ['fifo', 'lifo'] as const) {
    const { pool, manager } = make({ maxSize: 3, queueStrategy })
    const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
    for (const lease of [leases[1], leases[2], leases[0]]) lease?.release()
    await pool.resize({ maxSize: 2 })
    expect(manager.connections.filter(({ open }) => open).map(({ id }) => id)).toEqual([1, 3])
  }
})

test('one that broke while the pool was paused is replaced, not handed out, when it goes on', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  ;(await pool.acquire()).release()
  pool.pause()
  const lease = pool.acquire()
  ;(manager.connections[0] as ScriptedConnection).broken = true
  pool.resume()
  expect((await lease).connection.id).toBe(2)
  expect(pool.state().statistics.closed.broken).toBe(1)
})

test('a lifetime ends at its very millisecond, at a checkout and at a return', async () => {
  const { pool, clock } = make({
    maxSize: 1,
    maxLifetimeMs: 1_000,
    lifetimeJitter: 0,
    reapIntervalMs: 100_000,
  })
  const held = await pool.acquire()
  const next = pool.acquire()
  await clock.advance(1_000)
  held.release()
  expect((await next).connection.id).toBe(2)
  ;(await next).release()
  await clock.advance(999)
  const third = await pool.acquire()
  expect(third.connection.id).toBe(2)
  third.release()
  await clock.advance(1)
  expect((await pool.acquire()).connection.id).toBe(3)
})

test('a connection that was checked or used a moment ago is not checked, one that was not is', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, validationBypassMs: 100, keepaliveMs: 1_000 })
  ;(await pool.acquire()).release()
  await clock.advance(99)
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(0)
  await clock.advance(100)
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(1)
})

test('without a wish to look for leaks no caller pays for a stack', async () => {
  const { pool } = make()
  await pool.acquire()
  expect(pool.look().connections.map(({ stack }) => stack)).toEqual([undefined])
})

test('what the manager says that it connects to can be looked up', () => {
  const manager = Object.assign(new ScriptedManager(), { server: { system: 'postgresql' } })
  expect(new Pool(manager).look().server).toEqual({ system: 'postgresql' })
})

test('a checkout, a return and a hand-over read the time once each, also where a connection is reset', async () => {
  for (const more of [{}, { reset: () => {} }]) {
    const clock = new VirtualClock()
    let readings = 0
    const now = clock.now.bind(clock)
    clock.now = () => (readings++, now())
    const count = <T>(step: () => T): [T, number] => {
      const before = readings
      return [step(), readings - before]
    }
    const pool = new Pool(Object.assign(new ScriptedManager(), more), { clock, maxSize: 1 })
    ;(await pool.acquire()).release()
    const [lease, atCheckout] = count(() => pool.acquire())
    const holding = await lease
    const [next, atQueueing] = count(() => pool.acquire())
    const [, atHandOver] = count(() => holding.release())
    const held = await next
    const [, atReturn] = count(() => held.release())
    // Where a runtime does not tell whether anybody traces, each acquire is traced, which reads it once more.
    const ofTrace = isTraced(tracing.acquire) ? 1 : 0
    // What was reset is inspected anew before the next holder has it.
    const atReset = 'reset' in more ? 1 : 0
    expect([atCheckout, atQueueing, atHandOver, atReturn]).toEqual([1 + ofTrace, 1 + ofTrace, 1 + atReset, 1])
  }
})

test('the published time of a lease is exact', async () => {
  const clock = new VirtualClock()
  const pool = new Pool(new ScriptedManager(), { clock, maxSize: 1 })
  const lease = await pool.acquire()
  const released = heard('release')
  await clock.advance(1_000)
  lease.release()
  expect(released).toEqual([{ connection: 1, heldMs: 1_000 }])
})

test('the time of a connect and its failure are published on both channels', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  const opened = heard('open')
  const traces: Record<string, unknown>[] = []
  const listen = (trace: unknown): void => void traces.push({ ...(trace as object) })
  subscribe('tracing:cenote:open:asyncEnd', listen)
  onTestFinished(() => void unsubscribe('tracing:cenote:open:asyncEnd', listen))
  const gate = Promise.withResolvers<void>()
  manager.connects.push('fail', gate.promise)
  const lease = pool.acquire()
  await clock.advance(1_000)
  gate.resolve()
  await lease
  const [failed, went] = traces
  expect(failed).toMatchObject({ connection: 1, connectMs: 0, error: 'Error' })
  expect(went).toMatchObject({ connection: 2 })
  expect(went).not.toHaveProperty('error')
  expect(opened).toEqual([{ connection: 2, connectMs: went?.['connectMs'] }])
  expect(went?.['connectMs']).toBeGreaterThan(500)
  expect(went?.['connectMs']).toBeLessThan(1_000)
})

test('attempts that fail follow the backoff to the millisecond, and it can be looked up when the next is due', async () => {
  const { pool, manager, clock } = make({
    maxSize: 4,
    acquireTimeoutMs: 60_000,
    connectBackoff: { minMs: 100, maxMs: 1_000 },
  })
  manager.always.connect = 'fail'
  const waiting = [1, 2, 3].map(() => pool.acquire().catch(() => {}))
  const due: (number | undefined)[] = []
  const attempts: number[] = []
  for (let n = 0; n < 4; n++) {
    await settle()
    due.push(pool.look().retryInMs)
    attempts.push(manager.calls.connect)
    await clock.advance(30)
    expect(pool.look().retryInMs).toBe((due.at(-1) ?? 0) - 30)
    await clock.advance((due.at(-1) ?? 0) - 30)
  }
  // Half of the way from 100 to 150, as the outage is young; attempts that began together lengthen it once.
  expect(due).toEqual([125, 125, 125, 125])
  expect(attempts).toEqual([3, 4, 5, 6])
  await clock.advance(45_000)
  for (const last = manager.calls.connect; manager.calls.connect === last;) await clock.advance(1)
  await settle()
  expect(pool.look().retryInMs).toBeCloseTo(550, -1)
  manager.always.connect = 'ok'
  await clock.advance(2_000)
  await Promise.all(waiting)
  expect(pool.look()).toMatchObject({ retryInMs: undefined, connectError: undefined })
})

test('close leaves no attempt, no timer and no connection: each attempt gets the reason', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  manager.connects.push('fail', 'never')
  pool.acquire().catch(() => {})
  await settle()
  await clock.advance(1_000)
  const closing = pool.close({ timeoutMs: 1 })
  await clock.advance(10)
  await closing
  expect(manager.signals[1]?.reason).toEqual(new Error('the pool no longer needs this connection'))
  expect(clock.timers).toBe(0)
  const failing = make({ maxSize: 1 })
  failing.manager.always.connect = 'fail'
  failing.pool.acquire().catch(() => {})
  await settle()
  await Promise.all([failing.pool.close({ timeoutMs: 1 }), failing.clock.advance(10)])
  expect(failing.clock.timers).toBe(0)
})

test('a connection whose afterConnect never ends is closed once, when the pool is', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, afterConnect: () => new Promise<never>(() => {}) })
  pool.acquire().catch(() => {})
  await settle()
  await Promise.all([pool.close({ timeoutMs: 1 }), clock.advance(10)])
  expect([manager.open, manager.calls.close]).toEqual([0, 1])
  const late = make({ maxSize: 1, afterConnect: () => new Promise<never>(() => {}) })
  late.manager.closes.push('fail')
  late.pool.acquire({ timeoutMs: 100 }).catch(() => {})
  await late.clock.advance(60_000)
  expect(late.manager.open).toBe(0)
  expect(late.errors.map(String)).toContainEqual(
    "PoolError: close of a connection of pool 'exact' failed: close failed",
  )
})

test('a stray whose close goes well is not reported', async () => {
  const { pool, manager, errors, clock } = make({ maxSize: 1, connectTimeoutMs: 100 })
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  const failed = pool.acquire({ timeoutMs: 150 }).catch(() => {})
  await clock.advance(150)
  await failed
  gate.resolve()
  await settle()
  expect(manager.connections.map(({ id, open }) => [id, open])).toContainEqual([1, false])
  expect(errors.map(({ cause }) => String(cause))).toEqual([
    'TimeLimitError: connect took longer than 100 ms',
  ])
})

test('a connect that gives nothing is a failure that says so', async () => {
  for (const nothing of [undefined, null]) {
    const { pool, manager } = make({ maxSize: 1, retryConnect: false })
    manager.connect = async () => nothing as never
    await expect(pool.acquire()).rejects.toMatchObject({
      cause: new TypeError(`manager.connect returned ${String(nothing)} instead of a connection`),
    })
    expect(manager.calls.close).toBe(0)
  }
})

test('a lifetime is shortened at random, by its jitter at most', async () => {
  for (const [chance, bornFor] of [
    [0, 1_000],
    [0.25, 950],
    [0.999, 800.2],
  ] as const) {
    const clock = new VirtualClock(() => chance)
    const options = { clock, maxSize: 1, maxLifetimeMs: 1_000, lifetimeJitter: 0.2, reapIntervalMs: 1e6 }
    const pool = new Pool(new ScriptedManager(), options)
    ;(await pool.acquire()).release()
    await clock.advance(bornFor - 1)
    const young = await pool.acquire()
    expect(young.connection.id).toBe(1)
    young.release()
    await clock.advance(1)
    expect((await pool.acquire()).connection.id).toBe(2)
  }
})

test('without testOnCheckOut no connection is checked, not even for a caller that waited for an idle one', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, testOnCheckOut: false })
  ;(await pool.acquire()).release()
  await clock.advance(10_000)
  pool.pause()
  const waiting = pool.acquire()
  pool.resume()
  ;(await waiting).release()
  expect(manager.calls.isValid).toBe(0)
})

test('a connection that was checked while it was idle is not checked again within validationBypassMs', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, keepaliveMs: 400, validationBypassMs: 500 })
  ;(await pool.acquire()).release()
  await clock.advance(900)
  const checks = manager.calls.isValid
  expect(checks).toBeGreaterThan(0)
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(checks)
})

test('a pool that shrinks closes the longest idle connections first', async () => {
  const { pool, clock } = make({ maxSize: 3 })
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  for (const lease of leases) {
    lease.release()
    await clock.advance(10)
  }
  await pool.resize({ maxSize: 1 })
  expect(pool.look().connections.map(({ connection }) => connection)).toEqual([3])
})

test('a close that takes too long is reported by its name and limit', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1, closeTimeoutMs: 50 })
  manager.always.close = 'never'
  ;(await pool.acquire()).destroy()
  await clock.advance(50)
  expect(errors).toMatchObject([
    { code: 'CLOSE_FAILED', message: expect.stringContaining('close took longer than 50 ms') },
  ])
})

test('a lease that had a forced close is no leak any more', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1, leakThresholdMs: 100, closeTimeoutMs: 400 })
  manager.always.close = 'never'
  await pool.acquire()
  const closed = pool.close({ timeoutMs: 50 })
  await clock.advance(300)
  expect(errors).toEqual([])
  await clock.advance(200)
  expect(await closed).toEqual({ closed: 0, abandoned: 1 })
})

test('many callers that time out together reject at their time and in order, the first before the last is processed', async () => {
  const { pool, clock } = make({ maxSize: 1, acquireTimeoutMs: 500 })
  const { stackTraceLimit } = Error
  const held = await pool.acquire()
  const heard: { n: number; waiting: number; at: number; stackTraceLimit: number }[] = []
  for (let n = 0; n < 600; n++) {
    pool.acquire().catch(() => {
      const { waiting } = pool.state()
      heard.push({ n, waiting, at: clock.now(), stackTraceLimit: Error.stackTraceLimit })
    })
  }
  await clock.advance(100)
  const later = pool.acquire()
  await clock.advance(400)
  expect(heard.map(({ n }) => n)).toEqual(Array.from({ length: 600 }, (_, n) => n))
  // How many portions are made before the first callers hear of it is the engine's affair; all of them are not.
  expect(heard[0]?.waiting).toBeGreaterThan(1)
  expect(new Set(heard.map(({ at }) => at))).toEqual(new Set([1_000_500]))
  expect(new Set(heard.map((each) => each.stackTraceLimit))).toEqual(new Set([stackTraceLimit]))
  expect(pool.state()).toMatchObject({ waiting: 1 })
  held.release()
  ;(await later).release()
})

test('callers that time out in the same moment have errors with their own time and phase', async () => {
  const { pool, manager, clock } = make({ maxSize: 2 })
  const held = await pool.acquire()
  manager.always.connect = 'never'
  const told: string[] = []
  const wait = (timeoutMs: number, priority = 0): void => {
    const failed = ({ message }: Error): void => void told.push(message.split(' (', 1).join())
    pool.acquire({ timeoutMs, priority }).catch(failed)
  }
  wait(500)
  wait(500)
  await clock.advance(200)
  wait(300)
  await clock.advance(300)
  // The timer rings at the next whole millisecond: for both, and for the one behind first.
  wait(99.5, 1)
  await clock.advance(0.25)
  wait(99.5, 0)
  await clock.advance(99.75)
  expect(told).toEqual([
    "acquire timed out after 500 ms waiting for pool 'exact' to connect",
    "acquire timed out after 500 ms waiting for pool 'exact' to connect",
    "acquire timed out after 300 ms waiting for pool 'exact' to connect",
    "acquire timed out after 99.5 ms in the queue of pool 'exact'",
    "acquire timed out after 99.5 ms waiting for pool 'exact' to connect",
  ])
  held.release()
})

test('a dedicated connect whose signal aborts rejects with its reason, and leaves no connection', async () => {
  const { pool, manager } = make()
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  const controller = new AbortController()
  const dedicated = pool.dedicated({ signal: controller.signal })
  await settle()
  controller.abort('changed my mind')
  gate.resolve()
  await expect(dedicated).rejects.toBe('changed my mind')
  await settle()
  expect(manager.open).toBe(0)
  await expect(pool.dedicated({ signal: controller.signal })).rejects.toBe('changed my mind')
})

test('clear opens what is wanted immediately, while the old connections take their time to close', async () => {
  const { pool, manager } = make({ maxSize: 2, minIdle: 1 })
  await settle()
  manager.always.close = 'never'
  pool.clear()
  await settle()
  expect(pool.state()).toMatchObject({ idle: 1, closing: 1 })
})

test('a close keeps the process alive while it waits for a lease, and ends with a block', async () => {
  const { pool, clock } = make()
  const lease = await pool.acquire()
  const before = clock.refTimers
  const closing = pool.close()
  expect(clock.refTimers - before).toBe(1)
  lease.release()
  await closing
  expect(clock.timers).toBe(0)
  let inner: Pool<ScriptedConnection>
  {
    await using block = make().pool
    inner = block
  }
  expect(inner.state().closed).toBe(true)
})

test('what each caller waits for: the first for a hook, the next for a check, a connect, and a return', async () => {
  const { pool, manager, clock } = make({
    maxSize: 3,
    validationBypassMs: 0,
    queueStrategy: 'fifo',
    beforeAcquire: ({ id }) => id !== 2 || isReady || new Promise<boolean>(() => {}),
  })
  let isReady = true
  const leases = [await pool.acquire(), await pool.acquire()]
  for (const lease of leases) lease.release()
  isReady = false
  // The check of the first never ends; the second passes, and is in the hook; the third is never open.
  manager.checks.push('never', 'ok')
  manager.connects.push('never')
  const phases = [40, 30, 20, 10].map((timeoutMs) =>
    pool.acquire({ timeoutMs }).catch((error: unknown) => (error as { phase: string }).phase),
  )
  await clock.advance(50)
  expect(await Promise.all(phases)).toEqual(['hook', 'check', 'connect', 'queue'])
})

test('overload control serves whoever has waited for less than twice the target, and keeps no process alive', async () => {
  const { pool, clock } = make({ maxSize: 1, overload: { targetMs: 10, intervalMs: 100 } })
  let lease = await pool.acquire()
  const waiting = [pool.acquire(), pool.acquire()]
  const serveAfter = async (waitMs: number): Promise<void> => {
    await clock.advance(waitMs)
    lease.release()
    lease = (await waiting.shift()) as typeof lease
  }
  // Somebody always waits, and each for 20 ms.
  for (let n = 0; n < 25; n++) {
    await serveAfter(10)
    waiting.push(pool.acquire())
  }
  await serveAfter(5)
  await expect(serveAfter(16)).rejects.toMatchObject({ code: 'OVERLOADED', waitedMs: 21 })
  lease = await pool.acquire()
  pool.acquire().catch(() => {})
  // The deadline's.
  expect(clock.refTimers).toBe(1)
})

import { expect, test } from 'vitest'

import { channel } from 'node:diagnostics_channel'

import { occupancy, textOf } from '../../src/core/contract/messages.ts'
import { CHANNELS, PoolError, Pool } from '../../src/index.ts'
import { invariant } from '../../src/core/runtime/invariant.ts'
import { Slots } from '../../src/core/connections/slots.ts'
import { Waiter } from '../../src/core/callers/waiter.ts'
import { Waiters } from '../../src/core/callers/waiters.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { make } from './exact-pool.ts'

test('promise 11: an isFatal that throws counts as not fatal', async () => {
  const { pool, manager, clock, errors } = make()
  manager.isFatal = () => {
    throw new Error('isFatal')
  }
  manager.connects.push('fail')
  const waiting = pool.acquire()
  await clock.advance(200)
  await waiting
  expect(errors).toContainEqual(new Error('isFatal'))
})

test("promise 4: the phase is 'hook' for a caller whose connection is in beforeAcquire", async () => {
  const { pool, clock } = make({
    maxSize: 1,
    beforeAcquire: () => new Promise<never>(() => {}),
    acquireTimeoutMs: 100,
  })
  const failed = expect(pool.acquire()).rejects.toMatchObject({
    phase: 'hook',
    message: expect.stringContaining('beforeAcquire'),
  })
  await clock.advance(100)
  await failed
})

test('tryAcquire with a hook closes what is too old, and takes the next', async () => {
  const { pool, clock } = make({
    maxLifetimeMs: 100,
    reapIntervalMs: Infinity,
    lifetimeJitter: 0,
    beforeAcquire: () => true,
  })
  ;(await pool.acquire()).release()
  await clock.advance(200)
  expect(pool.tryAcquire()).toBeUndefined()
  expect(pool.state().statistics.closed.lifetime).toBe(1)
})

test('promise 24: an added connection is prepared by afterConnect before its first use', async () => {
  const { pool, manager, errors } = make({
    maxSize: 2,
    afterConnect: ({ id }) => (id === 8 ? Promise.reject(new Error('no')) : undefined) as Promise<void>,
  })
  const connection = (id: number): ScriptedConnection => ({
    id,
    broken: false,
    invalid: false,
    open: true,
    lost: () => {},
  })
  expect(pool.add(connection(7))).toBe('added')
  const bad = connection(8)
  expect(pool.add(bad)).toBe('added')
  await settle()
  expect(pool.state()).toMatchObject({ idle: 1 })
  expect(bad.open).toBe(false)
  expect(errors).toHaveLength(1)
  expect(manager.calls.connect).toBe(0)
})

test('promise 23: close gives up a check that hangs', async () => {
  const { pool, manager } = make({ maxSize: 2, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.checks.push('never')
  const waiting = pool.acquire().catch((error: Error) => error.name)
  await settle()
  expect(await pool.close()).toEqual({ closed: 1, abandoned: 0 })
  expect(await waiting).toBe('PoolClosedError')
})

test('promise 10: an afterConnect under way when the pool closes leaves no connection behind', async () => {
  const gate = Promise.withResolvers<void>()
  const { pool, manager } = make({ afterConnect: () => gate.promise })
  pool.acquire().catch(() => {})
  await settle()
  await pool.close()
  gate.resolve()
  await settle()
  expect(manager.open).toBe(0)
})

test('leaks are reported one after another as their time comes', async () => {
  const { pool, clock, errors } = make({ leakThresholdMs: 100 })
  await pool.acquire()
  await clock.advance(50)
  await pool.acquire()
  await clock.advance(60)
  expect(errors).toHaveLength(1)
  await clock.advance(60)
  expect(errors).toHaveLength(2)
})

test('a caller aborted by the connect that it caused is rejected with its reason', async () => {
  const { pool, manager } = make()
  const controller = new AbortController()
  const connect = manager.connect.bind(manager)
  manager.connect = (context) => {
    controller.abort(new Error('at once'))
    return connect(context)
  }
  await expect(pool.acquire({ signal: controller.signal })).rejects.toThrow('at once')
  await settle()
  expect(pool.state().idle).toBe(1)
})

test('errors of duplicate kinds share a base with code, pool and state', async () => {
  const { pool } = make({ maxSize: 1, maxWaiting: 0, name: 'base' })
  const error = await pool.acquire().catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(PoolError)
  expect(error).toMatchObject({ code: 'QUEUE_FULL', pool: 'base', state: { inUse: 0 } })
})

test('the bookkeeping asserts what it never clamps', () => {
  expect(() => invariant(false, 'x')).toThrow('impossible (x)')
  const slots = new Slots<object>({ maxSize: 1, minIdle: 0, maxIdle: 1 })
  const attempt = slots.reserve(0, 0)
  expect(() => slots.reserve(0, 0)).toThrow('a slot beyond maxSize')
  slots.forfeit(attempt)
  expect(() => slots.forfeit(attempt)).toThrow('a slot moved from 8 to 8')
  const slot = slots.reserve(0, 0)
  slots.fill(slot, {}, 0, Infinity, false)
  slots.close(slot, 'idle')
  expect(() => slots.lease(slot, 0)).toThrow('a slot moved from 7 to 5')
})

test('the queue keeps its order and its deadlines whoever leaves, in any order', () => {
  const waiters = new Waiters<object>(100)
  const made = Array.from(
    { length: 200 },
    (_, n) =>
      new Waiter<object>(
        () => {},
        () => {},
        0,
        n % 7 === 0 ? Infinity : (n * 37) % 101,
        0,
      ),
  )
  const priorities = new Map(made.map((waiter, n) => [waiter, n % 3] as const))
  for (const [waiter, priority] of priorities) waiters.add(waiter, priority)
  const left = new Set(made)
  for (let n = 0; left.size > 0; n++) {
    const all = [...left]
    const expected = Math.min(...all.map(({ deadline }) => deadline))
    expect(waiters.soonest()?.deadline ?? Infinity).toBe(expected)
    expect(waiters.head()).toBe(all.toSorted((a, b) => priorities.get(a)! - priorities.get(b)!)[0])
    const gone = all[(n * 31) % all.length]!
    waiters.remove(gone)
    waiters.remove(gone)
    left.delete(gone)
  }
  expect(waiters.size).toBe(0)
})

test('errors of any kind have a text, and timeouts are published with their phase', async () => {
  expect(textOf(Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' }))).toBe('ECONNREFUSED')
  expect(textOf(new AggregateError([]))).toBe('AggregateError')
  expect(textOf('text')).toBe('text')
  expect(occupancy(undefined)).toBe('state unknown')
  const seen: unknown[] = []
  const listen = (event: unknown): void => void seen.push(event)
  for (const name of [CHANNELS.timeout, CHANNELS.refuse, CHANNELS.error, CHANNELS.openError])
    channel(name).subscribe(listen)
  const { pool, manager, clock } = make({
    maxSize: 3,
    acquireTimeoutMs: 100,
    name: 'seen',
    overload: { targetMs: 5, intervalMs: 20 },
  })
  manager.connects.push(Promise.reject(new Error('no')), Promise.reject('not an Error'), 'never')
  const waits = [1, 2, 3].map(() => pool.acquire().catch(() => {}))
  await clock.advance(200)
  await Promise.all(waits)
  for (const name of [CHANNELS.timeout, CHANNELS.refuse, CHANNELS.error, CHANNELS.openError])
    channel(name).unsubscribe(listen)
  expect(seen).toContainEqual(expect.objectContaining({ pool: 'seen', error: 'Error' }))
  expect(seen).toContainEqual(expect.objectContaining({ pool: 'seen', error: 'string' }))
  expect(seen).toContainEqual(expect.objectContaining({ pool: 'seen', why: 'overloaded' }))
})

test("promise 4: callers behind the one that a connect will serve are in the phase 'queue'", async () => {
  const { pool, manager, clock } = make({ maxSize: 1, acquireTimeoutMs: 100 })
  manager.connects.push('never')
  const phases: string[] = []
  const waits = [100, 50, 40].map((timeoutMs) =>
    pool.acquire({ timeoutMs }).catch((error: { phase: string }) => phases.push(error.phase)),
  )
  await clock.advance(100)
  await Promise.all(waits)
  expect(phases).toEqual(['queue', 'queue', 'connect'])
})

test('overload: callers that are shed after a pause leave the idle connection idle', async () => {
  const { pool, clock } = make({ maxSize: 1, overload: { targetMs: 5, intervalMs: 20 } })
  const first = await pool.acquire()
  const waits = Array.from({ length: 6 }, () => pool.acquire())
  const shed = waits.slice(3).map((waiting) => waiting.catch((error: Error) => error.name))
  await clock.advance(15)
  first.release()
  await clock.advance(21)
  ;(await waits[0])!.release()
  await clock.advance(21)
  ;(await waits[1])!.release()
  pool.pause()
  ;(await waits[2])!.release()
  await clock.advance(10)
  expect(pool.state()).toMatchObject({ idle: 1, waiting: 3 })
  pool.resume()
  expect(await Promise.all(shed)).toEqual(['OverloadedError', 'OverloadedError', 'OverloadedError'])
  expect(pool.state()).toMatchObject({ idle: 1, waiting: 0 })
  ;(await pool.acquire()).release()
})

test('a synchronous beforeAcquire makes no caller wait', async () => {
  const { pool } = make({ beforeAcquire: () => true })
  ;(await pool.acquire()).release()
  ;(await pool.acquire()).release()
  expect(pool.state().statistics.acquires).toMatchObject({ direct: 1, waited: 1 })
})

test("a blocked event loop hands out no connection unchecked, and shortens no caller's deadline", async () => {
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { maxSize: 1, validationBypassMs: 20 })
  ;(await pool.acquire()).release()
  const end = performance.now() + 40
  while (performance.now() < end) continue
  const lease = await pool.acquire()
  expect(manager.calls.isValid).toBe(1)
  const startedAt = performance.now()
  const late = pool.acquire({ timeoutMs: 30 })
  await expect(late).rejects.toMatchObject({ name: 'AcquireTimeoutError' })
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(29)
  lease.release()
  await pool.close()
})

test('a connection that breaks while it is reset, checked or prepared is not handed to the caller that waits for it', async () => {
  const gate = () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    return { promise, open: () => resolve() }
  }
  const resetting = gate()
  const reset = make({ maxSize: 1, afterRelease: () => resetting.promise })
  ;(await reset.pool.acquire()).release()
  const afterReset = reset.pool.acquire()
  reset.manager.connections[0]!.broken = true
  resetting.open()
  expect((await afterReset).connection.id).toBe(2)

  const checked = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await checked.pool.acquire()).release()
  const checking = gate()
  checked.manager.checks.push(checking.promise)
  const afterCheck = checked.pool.acquire()
  checked.manager.connections[0]!.broken = true
  checking.open()
  expect((await afterCheck).connection.id).toBe(2)

  const preparing = gate()
  const prepared = make({ maxSize: 2, afterConnect: ({ id }) => (id === 1 ? preparing.promise : undefined) })
  const afterPrepare = prepared.pool.acquire()
  await settle()
  prepared.manager.connections[0]!.broken = true
  preparing.open()
  // It had served nobody.
  await prepared.clock.advance(100)
  expect((await afterPrepare).connection.id).toBe(2)

  const adding = gate()
  const added = make({ maxSize: 1, afterConnect: ({ id }) => (id === 99 ? adding.promise : undefined) })
  const connection = { id: 99, broken: false, invalid: false, open: true, lost: () => {} }
  expect(added.pool.add(connection)).toBe('added')
  const afterAdd = added.pool.acquire()
  connection.broken = true
  adding.open()
  expect((await afterAdd).connection.id).toBe(1)
})

test('minIdle is kept ready also while connections are handed out immediately', async () => {
  const { pool, manager } = make({ maxSize: 5, minIdle: 2 })
  await settle()
  using first = await pool.acquire()
  await settle()
  expect(pool.state()).toMatchObject({ inUse: 1, idle: 2 })
  using second = pool.tryAcquire()
  await settle()
  expect(pool.state()).toMatchObject({ inUse: 2, idle: 2 })
  expect([first.connection.id, second?.connection.id, manager.open]).toEqual([1, 2, 4])
})

test('an idle connection whose hook outlasts tryAcquire is checked before it goes to a caller that waits', async () => {
  const hooks: (() => void)[] = []
  const { pool, manager } = make({
    maxSize: 1,
    validationBypassMs: 0,
    beforeAcquire: () =>
      hooks.length === 0 ? undefined : new Promise<void>((resolve) => hooks.push(resolve)),
  })
  ;(await pool.acquire()).release()
  await settle()
  hooks.push(() => {})
  expect(pool.tryAcquire()).toBeUndefined()
  const waiting = pool.acquire()
  const checks = manager.calls.isValid
  hooks.pop()?.()
  await settle()
  expect(manager.calls.isValid).toBe(checks + 1)
  hooks.pop()?.()
  expect((await waiting).connection.id).toBe(1)
})

test.each(['resize', 'close'] as const)(
  'an added connection whose room a %s takes first keeps its slot until it is closed',
  async (call) => {
    const manager = new ScriptedManager()
    const clock = new VirtualClock()
    const pool = new Pool(manager, { clock, maxSize: 2, closeTimeoutMs: 1_000 })
    const lease = await pool.acquire()
    const other = await manager.connect({ signal: new AbortController().signal, lost() {} })
    manager.always.close = 'never'
    let answer: string | undefined
    let closing: Promise<unknown> | undefined
    const hasBroken = manager.hasBroken.bind(manager)
    // Within the transition of the return both calls are queued, and `add` sees room.
    manager.hasBroken = (connection) => {
      if (answer === undefined) {
        answer = 'asked'
        closing = call === 'resize' ? pool.resize({ maxSize: 1 }) : pool.close()
        answer = pool.add(other)
      }
      return hasBroken(connection)
    }
    lease.release()
    expect(answer).toBe('added')
    expect(pool.state()).toMatchObject({ opening: 0, statistics: { added: 1 } })
    expect(pool.state().closing).toBe(2)
    // The slot is free only when the close has timed out.
    await clock.advance(1_000)
    await closing
    expect(pool.state().closing).toBe(0)
    const ended = pool.close()
    await clock.advance(2_000)
    await ended
  },
)

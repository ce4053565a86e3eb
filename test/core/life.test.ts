import { expect, test, vi } from 'vitest'

import { Pool, type PoolState } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { make } from './exact-pool.ts'

function conserves({
  connections,
  statistics: { acquires, connects, added, closed, detached },
}: PoolState): void {
  const { started, direct, waited, timedOut, aborted, refused, pending } = acquires
  expect(direct + waited + timedOut + aborted + refused + pending).toBe(started)
  const sum = Object.values(closed).reduce((total, count) => total + count, 0)
  expect(connections + detached + sum).toBe(connects.opened + added)
}

test('promise 15: release is idempotent, and a stale lease cannot touch the next borrower', async () => {
  const { pool } = make({ maxSize: 1 })
  const stale = await pool.acquire()
  stale.release()
  const lease = await pool.acquire()
  stale.release()
  stale.destroy()
  expect(() => stale.connection).toThrow(
    expect.objectContaining({ name: 'LeaseReleasedError', code: 'LEASE_RELEASED' }),
  )
  expect(() => stale.detach()).toThrow(/was used after release/)
  expect(pool.state().inUse).toBe(1)
  expect(lease.connection.open).toBe(true)
  {
    using scoped = lease
    expect(scoped.connection.id).toBe(1)
  }
  expect(pool.state()).toMatchObject({ inUse: 0, idle: 1 })
})

test('promise 16: at return come generation, maxUses, lifetime and hasBroken before afterRelease', async () => {
  const afterRelease = vi.fn<() => void>()
  const { pool, manager, clock } = make({ maxSize: 1, maxUses: 2, maxLifetimeMs: 10_000, afterRelease })
  const reasons = async (act: (connection: ScriptedConnection) => unknown): Promise<string> => {
    const before = pool.state().statistics.closed
    const acquiring = pool.acquire()
    await clock.advance(100)
    const lease = await acquiring
    await act(lease.connection)
    lease.release()
    await settle()
    const after = pool.state().statistics.closed
    return Object.keys(after)
      .filter((reason) => after[reason as 'idle'] > before[reason as 'idle'])
      .join()
  }
  expect(await reasons(() => pool.clear())).toBe('cleared')
  expect(await reasons(() => clock.advance(20_000))).toBe('lifetime')
  expect(await reasons((connection) => (connection.broken = true))).toBe('broken')
  expect(await reasons(() => {})).toBe('')
  expect(afterRelease).toHaveBeenCalledTimes(1)
  expect(await reasons((connection) => (connection.broken = true))).toBe('uses')
  expect(manager.open).toBe(0)
})

test('promise 17: no caller gets a connection until afterRelease has settled; false closes it', async () => {
  const gate = Promise.withResolvers<boolean>()
  const afterRelease = vi
    .fn<() => Promise<boolean>>()
    .mockReturnValueOnce(gate.promise)
    .mockResolvedValue(false)
  const { pool } = make({ maxSize: 1, afterRelease })
  const lease = await pool.acquire()
  const waiting = pool.acquire()
  lease.release()
  lease.release()
  await settle()
  expect(pool.state()).toMatchObject({ inUse: 1, waiting: 1 })
  gate.resolve(true)
  const next = await waiting
  expect(next.connection.id).toBe(1)
  next.release()
  await settle()
  expect(pool.state()).toMatchObject({ connections: 0 })
  expect(pool.state().statistics.closed.hook).toBe(1)
  expect(afterRelease).toHaveBeenCalledTimes(2)
})

test('promise 17: the manager resets a connection before afterRelease sees it', async () => {
  const answers: (boolean | undefined | Promise<boolean>)[] = [undefined, Promise.resolve(true), false]
  const manager = Object.assign(new ScriptedManager(), { reset: () => answers.shift() })
  const { pool } = make({ maxSize: 1 }, manager)
  for (const id of [1, 1, 1, 2]) {
    const lease = await pool.acquire()
    expect(lease.connection.id).toBe(id)
    lease.release()
    await settle()
  }
})

test('promise 18: a slot stays taken until its close has settled, on every path', async () => {
  for (const act of ['destroy', 'clear', 'broken', 'resize'] as const) {
    const { pool, manager, clock } = make({ maxSize: 2 })
    const [a, b] = [await pool.acquire(), await pool.acquire()]
    const gate = Promise.withResolvers<void>()
    manager.always.close = gate.promise
    const waiting = pool.acquire()
    if (act === 'destroy') a.destroy()
    if (act === 'clear') pool.clear()
    if (act === 'broken') a.connection.broken = true
    const resized = act === 'resize' ? pool.resize({ maxSize: 1 }) : undefined
    a.release()
    await settle()
    expect(pool.state()).toMatchObject({ closing: 1, opening: 0, waiting: 1 })
    gate.resolve()
    await resized
    if (act === 'resize') b.release()
    await clock.advance(100)
    await waiting
    expect(manager.calls.connect).toBe(act === 'resize' ? 2 : 3)
  }
})

test('promise 18: a close that hangs frees its slot after closeTimeoutMs and is reported', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1 })
  manager.closes.push('never')
  ;(await pool.acquire()).destroy()
  const waiting = pool.acquire()
  await clock.advance(4_999)
  expect(pool.state()).toMatchObject({ closing: 1, opening: 0 })
  await clock.advance(1)
  await waiting
  expect(errors).toEqual([expect.objectContaining({ code: 'CLOSE_FAILED' })])
})

test('promise 19: a leased connection is never cut by age, and is closed when it is returned', async () => {
  const { pool, clock, manager } = make({ maxLifetimeMs: 1_000, reapIntervalMs: 100 })
  const lease = await pool.acquire()
  await clock.advance(10_000)
  expect(manager.open).toBe(1)
  lease.release()
  await settle()
  expect(pool.state().statistics.closed.lifetime).toBe(1)
})

test('promise 19: where minIdle needs it, an old connection is replaced before it expires', async () => {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const connect = manager.connect.bind(manager)
  manager.connect = async (context) => {
    await new Promise<void>((resolve) => void clock.setTimeout(resolve, 30))
    return connect(context)
  }
  const options = { maxLifetimeMs: 1_000, reapIntervalMs: 50, minIdle: 2, maxSize: 10, lifetimeJitter: 0 }
  const pool = new Pool(manager, { ...options, clock })
  await clock.advance(100)
  let least = Infinity
  for (let time = 0; time < 5_000; time += 10) {
    await clock.advance(10)
    least = Math.min(least, pool.state().idle)
  }
  expect(least).toBe(2)
  expect(pool.state().statistics.closed.lifetime).toBeGreaterThanOrEqual(8)
})

test('promise 20: a connection that was checked in the background keeps its place among the idle ones', async () => {
  const { pool, clock } = make({ maxSize: 2, keepaliveMs: 100, idleTimeoutMs: 10_000 })
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  a.release()
  await clock.advance(70)
  b.release()
  await clock.advance(70)
  expect((await pool.acquire()).connection.id).toBe(1)
})

test('promise 11: a hook during which its connection is lost hands out nothing', async () => {
  let isOn = true
  const beforeAcquire = (connection: ScriptedConnection): void => {
    if (isOn) connection.lost()
    isOn = false
  }
  const { pool, clock } = make({ maxSize: 1, beforeAcquire })
  const waiting = pool.acquire()
  await clock.advance(100)
  expect((await waiting).connection.id).toBe(2)
  expect(pool.state().statistics.closed.lost).toBe(1)
})

test('lifetimes are shortened by a random part, drawn once at birth', async () => {
  const manager = new ScriptedManager()
  let draws = 0
  const clock = new VirtualClock(() => (draws++, 1))
  const pool = new Pool(manager, { clock, maxLifetimeMs: 1_000, lifetimeJitter: 0.5, reapIntervalMs: 10 })
  ;(await pool.acquire()).release()
  await clock.advance(499)
  expect(pool.state().idle).toBe(1)
  await clock.advance(20)
  expect(pool.state().idle).toBe(0)
  expect(draws).toBe(1)
})

test('promise 20: idle reaping takes the longest idle first and never goes below minIdle, with fifo and lifo', async () => {
  for (const queueStrategy of ['fifo', 'lifo'] as const) {
    const { pool, clock, manager } = make({
      queueStrategy,
      maxSize: 5,
      minIdle: 2,
      idleTimeoutMs: 1_000,
      reapIntervalMs: 100,
    })
    const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()))
    for (const lease of leases) {
      lease.release()
      await clock.advance(10)
    }
    await clock.advance(2_000)
    expect(pool.state().idle).toBe(2)
    expect(manager.connections.filter(({ open }) => open).map(({ id }) => id)).toEqual([4, 5])
    await clock.advance(60_000)
    expect(manager.calls.connect).toBe(5)
  }
})

test('promise 20: minIdle is filled at start and again after every loss', async () => {
  const { pool, manager, clock } = make({ minIdle: 2, maxSize: 5 })
  await settle()
  expect(pool.state()).toMatchObject({ idle: 2, connections: 2 })
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  await settle()
  expect(pool.state()).toMatchObject({ idle: 2, connections: 5 })
  for (const lease of leases) lease.destroy()
  await settle()
  expect(pool.state().idle).toBe(2)
  manager.connections.at(-1)!.lost()
  expect(pool.state().idle).toBe(1)
  await clock.advance(100)
  expect(pool.state().idle).toBe(2)
})

test('promise 20: one hot connection with lifo does not keep the others from being reaped', async () => {
  const { pool, clock } = make({
    queueStrategy: 'lifo',
    maxSize: 3,
    idleTimeoutMs: 1_000,
    reapIntervalMs: 100,
  })
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  for (const lease of leases) lease.release()
  for (let time = 0; time < 3_000; time += 100) {
    ;(await pool.acquire()).release()
    await clock.advance(100)
  }
  expect(pool.state().idle).toBe(1)
})

test('keepaliveMs checks idle connections in the background without making them young again', async () => {
  const { pool, clock, manager } = make({ keepaliveMs: 100, idleTimeoutMs: 1_000 })
  ;(await pool.acquire()).release()
  await clock.advance(350)
  expect(manager.calls.isValid).toBe(3)
  expect(pool.state().idle).toBe(1)
  manager.connections[0]!.invalid = true
  await clock.advance(200)
  expect(pool.state().statistics.closed.invalid).toBe(1)
  ;(await pool.acquire()).release()
  await clock.advance(31_000)
  expect(pool.state().statistics.closed.idle).toBe(1)
})

test('promise 22: housekeeping timers never keep a process alive, a waiting acquire does', async () => {
  const { pool, clock } = make({ maxSize: 1, minIdle: 1, keepaliveMs: 1_000, leakThresholdMs: 1_000 })
  await settle()
  const lease = await pool.acquire()
  expect(clock.refTimers).toBe(0)
  const waiting = pool.acquire({ timeoutMs: Infinity })
  expect(clock.refTimers).toBe(1)
  lease.release()
  const served = await waiting
  expect(clock.refTimers).toBe(0)
  // Nor does one that was served within its call, or one that has timed out.
  const late = pool.acquire({ timeoutMs: 10 }).catch(() => {})
  await clock.advance(10)
  await late
  expect(clock.refTimers).toBe(0)
  served.release()
  const hooked = make({ beforeAcquire: () => true })
  ;(await hooked.pool.acquire()).release()
  ;(await hooked.pool.acquire()).release()
  expect(hooked.clock.refTimers).toBe(0)
})

test('promise 22: however many wait, there is one timer for their deadlines', async () => {
  const { pool, clock } = make({ maxSize: 1 })
  const lease = await pool.acquire()
  const before = clock.timers
  const waits = Array.from({ length: 10_000 }, (_, n) =>
    pool.acquire({ timeoutMs: 1_000 + (n % 97) }).catch(() => 'timed out'),
  )
  expect(clock.timers).toBeLessThanOrEqual(before + 1)
  await clock.advance(2_000)
  expect(new Set(await Promise.all(waits))).toEqual(new Set(['timed out']))
  lease.release()
})

test('promise 23: close rejects waiters immediately, closes what is idle, waits for what is leased', async () => {
  const { pool, manager } = make({ maxSize: 3 })
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  b.release()
  manager.connects.push('never')
  await pool.acquire()
  const waiting = expect(pool.acquire()).rejects.toMatchObject({
    name: 'PoolClosedError',
    code: 'POOL_CLOSED',
  })
  const closing = pool.close()
  await waiting
  await expect(pool.acquire()).rejects.toMatchObject({ name: 'PoolClosedError' })
  expect(pool.tryAcquire()).toBeUndefined()
  expect(manager.signals.at(-1)?.aborted).toBe(true)
  expect(pool.state()).toMatchObject({ closed: true, inUse: 2, opening: 0 })
  a.release()
  expect(manager.open).toBe(1)
  void closing
})

test('promise 23: at its deadline close forces the close of what is leased, counts it as abandoned and leaves no timer', async () => {
  const { pool, manager, clock } = make({ maxSize: 3, minIdle: 1, keepaliveMs: 500 })
  await settle()
  const lease = await pool.acquire()
  ;(await pool.acquire()).release()
  await settle()
  const closing = pool.close({ timeoutMs: 1_000 })
  await clock.advance(999)
  expect(manager.open).toBe(1)
  await clock.advance(1)
  const result = await closing
  expect(result).toEqual({ closed: 2, abandoned: 1 })
  expect(manager.open).toBe(0)
  expect(await pool.close()).toBe(result)
  expect(clock.timers).toBe(0)
  lease.release()
  lease.destroy()
  expect(manager.calls.close).toBe(3)
})

test('promise 23: close never hangs, whatever hangs', async () => {
  const { pool, manager, clock } = make({
    maxSize: 4,
    validationBypassMs: 0,
    afterRelease: () => new Promise<never>(() => {}),
  })
  const leases = [await pool.acquire(), await pool.acquire()]
  manager.always.close = 'never'
  manager.always.connect = 'never'
  leases[0]!.release()
  const waiting = pool.acquire().catch((error: Error) => error.name)
  const closing = pool.close({ timeoutMs: 100 })
  await clock.advance(1_100)
  expect(await closing).toEqual({ closed: 0, abandoned: 2 })
  expect(await waiting).toBe('PoolClosedError')
})

test('a connection that arrives after close is closed', async () => {
  const { pool, manager } = make()
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  pool.acquire().catch(() => {})
  expect(await pool.close()).toEqual({ closed: 0, abandoned: 0 })
  gate.resolve()
  await settle()
  expect(manager.open).toBe(0)
  expect(manager.calls.close).toBe(1)
})

test('clear closes idle connections now, leased ones at their return, and opening ones on arrival', async () => {
  const { pool, manager } = make({ maxSize: 3 })
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  b.release()
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  const c = await pool.acquire()
  const waiting = pool.acquire()
  pool.clear()
  expect(pool.state()).toMatchObject({ generation: 1, idle: 0, opening: 1 })
  a.release()
  c.release()
  await settle()
  expect((await waiting).connection.id).toBeGreaterThan(3)
  gate.resolve()
  await settle()
  expect(manager.connections.filter(({ open }) => open)).toHaveLength(1)
  expect(pool.state().statistics.closed.cleared).toBe(3)
})

test('resize down closes the surplus and resolves then; nothing is handed out above the limit', async () => {
  const { pool, manager } = make({ maxSize: 4 })
  const leases = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()))
  leases[3]!.release()
  let isDone = false
  const resized = pool.resize({ maxSize: 2 }).then(() => (isDone = true))
  const waiting = pool.acquire()
  await settle()
  expect(pool.state()).toMatchObject({ connections: 3, maxSize: 2, waiting: 1 })
  leases[0]!.release()
  await settle()
  expect(isDone).toBe(true)
  await resized
  expect(pool.state()).toMatchObject({ connections: 2, waiting: 1 })
  leases[1]!.release()
  await waiting
  expect(manager.calls.connect).toBe(4)
  expect(pool.state().statistics.closed.surplus).toBe(2)
})

test('resize up opens for the waiters; a resize that is overtaken resolves; a wrong one changes nothing', async () => {
  const { pool } = make({ maxSize: 1 })
  const lease = await pool.acquire()
  const waiting = pool.acquire()
  await pool.resize({ maxSize: 2 })
  await waiting
  const shrinking = pool.resize({ maxSize: 1 })
  await pool.resize({ maxSize: 2 })
  await shrinking
  await expect(pool.resize({ minIdle: 3 })).rejects.toMatchObject({
    name: 'PoolOptionsError',
    option: 'minIdle',
  })
  await expect(pool.resize({ maxSize: 0 })).rejects.toThrow(/maxSize must be an integer >= 1 \(got 0\)/)
  expect(pool.state()).toMatchObject({ maxSize: 2, minIdle: 0 })
  const last = pool.resize({ maxSize: 1 })
  const closing = pool.close()
  await last
  lease.release()
  ;(await waiting).release()
  await closing
  await expect(pool.resize({ maxSize: 3 })).rejects.toMatchObject({ name: 'PoolClosedError' })
})

test('paused: nothing is opened or handed out, callers queue and their deadlines run on', async () => {
  const { pool, clock, manager } = make({ maxSize: 2, name: undefined })
  const lease = await pool.acquire()
  pool.pause()
  const order: number[] = []
  const waits = [0, 1].map((n) => pool.acquire().then(() => order.push(n)))
  const late = expect(pool.acquire({ timeoutMs: 100 })).rejects.toThrow(/while pool 'pool-\d+' was paused/)
  lease.release()
  await clock.advance(100)
  await late
  expect(pool.state()).toMatchObject({ paused: true, idle: 1, waiting: 2 })
  expect(pool.tryAcquire()).toBeUndefined()
  pool.resume()
  await Promise.all(waits)
  expect(order).toEqual([0, 1])
  expect(manager.calls.connect).toBe(2)
})

test('detach takes a connection out of the pool and frees its slot immediately', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  const lease = await pool.acquire()
  const waiting = pool.acquire()
  const connection = lease.detach()
  expect(connection.id).toBe(1)
  expect((await waiting).connection.id).toBe(2)
  expect(manager.calls.close).toBe(0)
  conserves(pool.state())
  expect(pool.state().statistics.detached).toBe(1)
})

test('promise 26: statistics conserve at every instant', async () => {
  const { pool, manager, clock } = make({
    maxSize: 3,
    minIdle: 1,
    maxWaiting: 5,
    acquireTimeoutMs: 50,
    maxUses: 4,
    afterRelease: async () => {},
  })
  const check = (): void => conserves(pool.state())
  const hasBroken = manager.hasBroken.bind(manager)
  manager.hasBroken = (connection) => {
    check()
    return hasBroken(connection)
  }
  for (let round = 0; round < 30; round++) {
    const controller = new AbortController()
    const waits = Array.from({ length: 10 }, (_, n) =>
      pool.acquire(n === 3 ? { signal: controller.signal } : { timeoutMs: 20 + n }).then(
        (lease) => (n % 3 === 0 ? lease.destroy() : n === 4 ? void lease.detach() : lease.release()),
        () => {},
      ),
    )
    check()
    controller.abort()
    check()
    if (round % 5 === 0) pool.clear()
    manager.connects.push('fail')
    await clock.advance(5)
    check()
    await clock.advance(100)
    await Promise.all(waits)
    check()
  }
  await pool.close()
  check()
})

test('waits are counted with their percentiles', async () => {
  const { pool, clock } = make({ maxSize: 1 })
  let lease = await pool.acquire()
  for (let n = 1; n <= 100; n++) {
    const waiting = pool.acquire()
    await clock.advance(n)
    lease.release()
    lease = await waiting
  }
  const { total, max, p50, p95, p99 } = pool.state().statistics.waitMs
  expect({ total, max }).toEqual({ total: 5_050, max: 100 })
  expect(p50 / 50).toBeCloseTo(1, 1)
  expect(p95 / 95).toBeCloseTo(1, 1)
  expect(p99 / 99).toBeCloseTo(1, 1)
})

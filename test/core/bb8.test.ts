// Each test of bb8's own suite as behaviour of this pool, by bb8's name for it; and each defect of bb8 0.9.1 as a test that it fails.
import { expect, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'

function make(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const pool = new Pool(manager, { clock, ...options })
  return { manager, clock, pool }
}
const times = <T>(count: number, each: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => each(n))

test('max_size_ok: 5 concurrent callers are served by 5 connections, where the server gives no more', async () => {
  const { pool, manager } = make({ maxSize: 5 })
  manager.connects.push('ok', 'ok', 'ok', 'ok', 'ok')
  manager.always.connect = 'fail'
  expect(await Promise.all(times(5, () => pool.acquire()))).toHaveLength(5)
})

test('acquire_release, guard: a third caller waits for the first of two leases to come back', async () => {
  const { pool } = make({ maxSize: 2 })
  const [a] = [await pool.acquire(), await pool.acquire()]
  let isServed = false
  const third = pool.acquire().then(() => (isServed = true))
  await settle()
  expect(isServed).toBe(false)
  a.release()
  await third
})

test('is_send_sync: a pool may be used by any number of concurrent callers and passed about freely', async () => {
  const { pool } = make({ maxSize: 2 })
  const { acquire, run } = { acquire: () => pool.acquire(), run: () => pool.run(({ id }) => id) }
  expect(await Promise.all([run(), run(), acquire().then((lease) => lease.release())])).toHaveLength(3)
})

test('drop_on_broken: a connection found broken at its return is closed and counted', async () => {
  const { pool } = make()
  const lease = await pool.acquire()
  lease.connection.broken = true
  lease.release()
  expect(pool.state().statistics.closed.broken).toBe(1)
})

test('initialization_failure: open with minIdle rejects when nothing can be opened', async () => {
  const manager = new ScriptedManager()
  manager.always.connect = 'fail'
  await expect(Pool.open(manager, { minIdle: 1, acquireTimeoutMs: 50 })).rejects.toThrow('connect')
})

test('lazy_initialization_failure: a pool that cannot connect times its callers out', async () => {
  const { pool, manager, clock } = make()
  manager.always.connect = 'fail'
  const failed = expect(pool.acquire({ timeoutMs: 1_000 })).rejects.toMatchObject({
    name: 'AcquireTimeoutError',
  })
  await clock.advance(1_000)
  await failed
})

test('lazy_initialization_failure_no_retry (and defect G): the caller sees the error itself, immediately', async () => {
  const { pool, manager, clock } = make({ retryConnect: false })
  manager.always.connect = 'fail'
  await expect(pool.acquire({ timeoutMs: 700 })).rejects.toMatchObject({
    name: 'ConnectError',
    cause: new Error('connect 1 failed'),
  })
  expect(clock.now()).toBe(1_000_000)
})

test('get_timeout: with the only connection held the next caller fails in time', async () => {
  const { pool, clock } = make({ maxSize: 1, acquireTimeoutMs: 100 })
  await pool.acquire()
  const failed = expect(pool.acquire()).rejects.toMatchObject({ phase: 'queue' })
  await clock.advance(100)
  await failed
})

test('timeout_caller (and defect C): a caller that gives up loses no connection and is not pending forever', async () => {
  const { pool } = make({ maxSize: 1 })
  const lease = await pool.acquire()
  const gone = times(5, () => pool.acquire({ signal: AbortSignal.abort() }).catch(() => {}))
  const controller = new AbortController()
  const late = times(5, () => pool.acquire({ signal: controller.signal }).catch(() => {}))
  controller.abort()
  await Promise.all([...gone, ...late])
  expect(pool.state().statistics.acquires).toMatchObject({ aborted: 10, pending: 0 })
  lease.release()
  ;(await pool.acquire()).release()
})

test('now_invalid: when every idle connection is invalid and none can be opened, the caller fails', async () => {
  const { pool, manager, clock } = make({
    maxSize: 2,
    minIdle: 2,
    validationBypassMs: 0,
    acquireTimeoutMs: 1_000,
  })
  await settle()
  manager.always.isValid = 'fail'
  manager.always.connect = 'fail'
  const failed = expect(pool.acquire()).rejects.toMatchObject({ phase: 'connect' })
  await clock.advance(1_000)
  await failed
  expect(pool.state().statistics.closed.invalid).toBe(2)
})

test('idle_timeout and max_lifetime: what is idle or old is reaped, what is leased is not until it is back', async () => {
  for (const [option, reason] of [
    ['idleTimeoutMs', 'idle'],
    ['maxLifetimeMs', 'lifetime'],
  ] as const) {
    const { pool, clock } = make({ maxSize: 5, [option]: 1_000, reapIntervalMs: 100 })
    const [held, ...others] = await Promise.all(times(5, () => pool.acquire()))
    for (const lease of others) lease.release()
    await clock.advance(1_200)
    expect(pool.state()).toMatchObject({ connections: 1, inUse: 1 })
    held!.release()
    await clock.advance(1_200)
    expect(pool.state().statistics.closed[reason]).toBe(5)
  }
})

test('max_lifetime_reap_on_drop: an old connection is closed at its return even if nothing sweeps', async () => {
  const { pool, clock } = make({ maxLifetimeMs: 1_000, reapIntervalMs: Infinity })
  const lease = await pool.acquire()
  await clock.advance(2_000)
  lease.release()
  expect(pool.state().statistics.closed.lifetime).toBe(1)
})

test('min_idle: 2 at the start; 2 idle of 5 after three checkouts; no shrinking on return', async () => {
  const { pool } = make({ maxSize: 5, minIdle: 2 })
  await settle()
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  await settle()
  expect(pool.state()).toMatchObject({ connections: 5, idle: 2 })
  for (const lease of leases) lease.release()
  expect(pool.state()).toMatchObject({ connections: 5, idle: 5 })
})

test('conns_drop_on_pool_drop: closing the pool closes all its connections', async () => {
  const { pool, manager } = make({ maxSize: 10, minIdle: 10 })
  await settle()
  expect(await pool.close()).toEqual({ closed: 10, abandoned: 0 })
  expect(manager.open).toBe(0)
})

test('retry, conn_fail_once: one failed check or connect is retried, and the caller is served', async () => {
  const { pool, manager, clock } = make({ maxSize: 2, validationBypassMs: 0 })
  manager.connects.push('fail')
  const first = pool.acquire()
  await clock.advance(200)
  ;(await first).release()
  manager.checks.push('fail')
  expect((await pool.acquire()).connection.id).toBe(3)
})

test('customize_connection_acquire: afterConnect runs once per connection, not on reuse', async () => {
  let calls = 0
  const { pool } = make({ maxSize: 1, afterConnect: () => void calls++ })
  ;(await pool.acquire()).release()
  ;(await pool.acquire()).release()
  expect(calls).toBe(1)
})

test('broken_connections_dont_starve_pool: broken returns still wake ten waiters', async () => {
  const { pool, clock } = make({ maxSize: 5 })
  const leases = await Promise.all(times(5, () => pool.acquire()))
  const waits = times(10, () => pool.run(() => {}))
  for (const lease of leases) {
    lease.connection.broken = true
    lease.release()
  }
  // They had served nobody: one probe, after the backoff, serves the first.
  await clock.advance(100)
  await Promise.all(waits)
})

test('state_get_contention, statistics_connections_created: statistics count direct and waiting callers, and their waits', async () => {
  const { pool, clock } = make({ maxSize: 1, minIdle: 1 })
  await settle()
  const lease = await pool.acquire()
  const waiting = pool.acquire()
  await clock.advance(10)
  lease.release()
  await waiting
  expect(pool.state().statistics).toMatchObject({
    acquires: { direct: 1, waited: 1 },
    waitMs: { total: 10 },
    connects: { opened: 1 },
  })
})

test('can_use_added_connections, add_ok_until_max_size, add_checks_broken_connections', async () => {
  const { pool, manager } = make({ maxSize: 2 })
  manager.always.connect = 'never'
  const connection = (id: number): ScriptedConnection => ({
    id,
    broken: id === 9,
    invalid: false,
    open: true,
    lost: () => {},
  })
  expect([9, 1, 2, 3].map((id) => pool.add(connection(id)))).toEqual(['broken', 'added', 'added', 'full'])
  expect((await pool.acquire()).connection.id).toBe(1)
})

test('reuse_on_drop: with lifo exactly two connections serve a caller after another', async () => {
  const { pool, manager } = make({ queueStrategy: 'lifo', maxSize: 10 })
  const lease = await pool.acquire()
  ;(await pool.acquire()).release()
  ;(await pool.acquire()).release()
  lease.release()
  ;(await pool.acquire()).release()
  expect(manager.calls.connect).toBe(2)
})

test('defects A and B: 40 looping callers on 10 connections for 6 s get equal shares, and none waits long', async () => {
  const { pool, clock } = make({ maxSize: 10, acquireTimeoutMs: 2_000 })
  const shares = times(40, () => 0)
  let isOver = false
  const callers = times(40, async (caller) => {
    while (!isOver) {
      const lease = await pool.acquire()
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, 2))
      lease.release()
      shares[caller] = shares[caller]! + 1
    }
  })
  await clock.advance(6_000)
  isOver = true
  await clock.advance(1_000)
  await Promise.all(callers)
  const sum = shares.reduce((a, b) => a + b, 0)
  const jain = (sum * sum) / (40 * shares.reduce((a, b) => a + b * b, 0))
  expect(jain).toBeGreaterThanOrEqual(0.999)
  expect(pool.state().statistics.waitMs.max).toBeLessThanOrEqual(10)
  expect(pool.state().statistics.acquires.timedOut).toBe(0)
})

test('defect D: a connection whose check hung is never handed out as good', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, validationBypassMs: 0, acquireTimeoutMs: 100 })
  ;(await pool.acquire()).release()
  manager.checks.push('never')
  const failed = expect(pool.acquire()).rejects.toMatchObject({ phase: 'check' })
  await clock.advance(100)
  await failed
  const next = pool.acquire({ timeoutMs: 60_000 })
  await clock.advance(5_000)
  expect((await next).connection.id).toBe(2)
})

test('defects E and F: a connect that hangs or throws does not cost the pool its only slot', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  manager.connects.push('never', 'throw')
  const waiting = pool.acquire()
  await clock.advance(11_000)
  await waiting
})

test('defect H: an idle minIdle pool opens nothing again', async () => {
  const { pool, manager, clock } = make({ minIdle: 5, idleTimeoutMs: 200, reapIntervalMs: 50 })
  await settle()
  await clock.advance(1_300)
  expect(manager.calls.connect).toBe(5)
  expect(pool.state().idle).toBe(5)
})

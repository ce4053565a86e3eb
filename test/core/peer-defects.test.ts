// Each defect that was reproduced in a JavaScript pool, as a test that this pool does not have it.
import { expect, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'

function make(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const pool = new Pool(manager, { clock, ...options })
  return { manager, clock, pool }
}

test('generic-pool: a validate that rejects costs no capacity', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.checks.push('fail', 'throw')
  ;(await pool.acquire()).release()
  ;(await pool.acquire()).release()
  expect(pool.state().connections).toBe(1)
})

test('generic-pool: a create that throws neither throws out of acquire nor loops hotly', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  manager.always.connect = 'throw'
  const failed = expect(pool.acquire({ timeoutMs: 200 })).rejects.toMatchObject({
    name: 'AcquireTimeoutError',
  })
  await clock.advance(200)
  await failed
  expect(manager.calls.connect).toBeLessThan(10)
})

test('generic-pool: after clear nothing closed is handed out', async () => {
  const { pool } = make({ maxSize: 2 })
  ;(await pool.acquire()).release()
  pool.clear()
  expect((await pool.acquire()).connection.open).toBe(true)
})

test('generic-pool: run with a function that throws synchronously or returns no promise leaks nothing', async () => {
  const { pool } = make({ maxSize: 1 })
  await pool
    .run(() => {
      throw new Error('x')
    })
    .catch(() => {})
  await pool.run(() => 1)
  expect(pool.state()).toMatchObject({ inUse: 0, idle: 1 })
})

test('generic-pool: a destroy that throws synchronously does not throw out of the pool', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  manager.closes.push('throw', 'fail')
  ;(await pool.acquire()).destroy()
  ;(await pool.acquire()).destroy()
  await settle()
  expect(pool.state()).toMatchObject({ closing: 0, connections: 0 })
})

test('generic-pool: close does not hang on a connect that hangs', async () => {
  const { pool, manager } = make({ minIdle: 1 })
  manager.always.connect = 'never'
  pool.acquire().catch(() => {})
  expect(await pool.close()).toEqual({ closed: 0, abandoned: 0 })
})

test('tarn: a connection that arrives late and whose close rejects is no unhandled rejection', async () => {
  const { pool, manager, clock } = make({ connectTimeoutMs: 100 })
  const late = Promise.withResolvers<void>()
  manager.connects.push(late.promise)
  manager.closes.push('fail')
  pool.acquire().catch(() => {})
  await clock.advance(100)
  late.resolve()
  await settle()
  expect(manager.calls.close).toBe(1)
})

test('tarn: the waiters learn of a close immediately, not after all leases are back', async () => {
  const { pool } = make({ maxSize: 1 })
  await pool.acquire()
  const waiting = pool.acquire().catch((error: Error) => error.name)
  void pool.close()
  expect(await waiting).toBe('PoolClosedError')
})

test('tarn: a stranger cannot be released into the pool: there is nothing but the lease to release', async () => {
  const { pool } = make()
  expect('release' in pool).toBe(false)
})

test('lightning-pool: callers that timed out keep no place in the queue', async () => {
  const { pool, clock } = make({ maxSize: 1, maxWaiting: 2 })
  const lease = await pool.acquire()
  for (let round = 0; round < 5; round++) {
    const late = [pool.acquire({ timeoutMs: 10 }), pool.acquire({ timeoutMs: 10 })].map((each) =>
      each.catch(() => {}),
    )
    await clock.advance(10)
    await Promise.all(late)
  }
  const waiting = pool.acquire()
  lease.release()
  await waiting
})

test('lightning-pool: close with a deadline closes what is held', async () => {
  const { pool, manager, clock } = make({ maxSize: 2 })
  await Promise.all([pool.acquire(), pool.acquire()])
  const closing = pool.close({ timeoutMs: 100 })
  await clock.advance(100)
  expect(await closing).toEqual({ closed: 0, abandoned: 2 })
  expect(manager.open).toBe(0)
})

test('lightning-pool: minIdle never lifts the pool above maxSize', async () => {
  const { pool, manager } = make({ maxSize: 3, minIdle: 2 })
  await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()])
  await settle()
  expect(manager.mostOpen).toBe(3)
})

test('lightning-pool: a second release during a reset resets nothing twice', async () => {
  let resets = 0
  const { pool } = make({ afterRelease: async () => void resets++ })
  const lease = await pool.acquire()
  lease.release()
  lease.release()
  await settle()
  expect(resets).toBe(1)
})

test('lightning-pool: no retry goes on after close', async () => {
  const { pool, manager, clock } = make()
  manager.always.connect = 'fail'
  pool.acquire().catch(() => {})
  await settle()
  await pool.close()
  const { connect } = manager.calls
  await clock.advance(60_000)
  expect(manager.calls.connect).toBe(connect)
  expect(clock.timers).toBe(0)
})

test('sequelize-pool: a hasBroken or isValid that throws neither throws out of the pool nor orphans a waiter', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, validationBypassMs: 0 })
  const lease = await pool.acquire()
  const waiting = pool.acquire()
  const hasBroken = manager.hasBroken.bind(manager)
  manager.hasBroken = () => {
    manager.hasBroken = hasBroken
    throw new Error('hasBroken')
  }
  lease.release()
  await clock.advance(100)
  expect((await waiting).connection.id).toBe(2)
})

test('sequelize-pool: a close that rejects in a sweep is no unhandled rejection', async () => {
  const { pool, manager, clock } = make({ idleTimeoutMs: 100, reapIntervalMs: 50 })
  ;(await pool.acquire()).release()
  manager.closes.push('fail')
  await clock.advance(200)
  expect(pool.state()).toMatchObject({ connections: 0, closing: 0 })
})

test('pg-pool, mysql2: a caller that waits keeps the process alive; an idle pool does not', async () => {
  const { pool, clock } = make({ maxSize: 1, minIdle: 1 })
  await settle()
  expect(clock.refTimers).toBe(0)
  await pool.acquire()
  pool.acquire().catch(() => {})
  expect(clock.refTimers).toBe(1)
})

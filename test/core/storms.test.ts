// Promises 9 to 13 where a server misbehaves: no storm of attempts, nobody waits in vain, nobody waits for a silent check.
import { createConnection, createServer, type AddressInfo } from 'node:net'

import { expect, test } from 'vitest'

import { type ConnectContext, explain, Pool } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle } from '../../src/testing/index.ts'
import { make } from './exact-pool.ts'

/** A server that accepts, and hangs up a millisecond later. */
class HangingUp extends ScriptedManager {
  later: (task: () => void) => void = () => {}

  override async connect(context: ConnectContext): Promise<ScriptedConnection> {
    const connection = await super.connect(context)
    this.later(() => {
      connection.broken = true
      context.lost(new Error('hung up'))
    })
    return connection
  }
}

test('promise 12: a server that accepts and hangs up is probed by the backoff, and reported', async () => {
  const manager = new HangingUp()
  const { pool, clock, errors } = make({ minIdle: 3, maxSize: 10 }, manager)
  manager.later = (task) => void clock.setTimeout(task, 1)
  await clock.advance(10_000)
  // No wait is shorter than 50 ms; the first three began together.
  expect(manager.calls.connect).toBeLessThanOrEqual(3 + 10_000 / 50)
  expect(manager.calls.connect).toBeGreaterThan(20)
  expect(errors.at(-1)).toMatchObject({ code: 'CONNECT_FAILED', cause: new Error('hung up') })
  const { condition, severity, text } = explain(pool)
  expect([condition, severity]).toEqual(['cannotConnect', 'problem'])
  expect(text).toContain('connecting fails (hung up)')
})

test('promise 12: a hook that rejects each fresh connection is no storm, and is named to the caller', async () => {
  for (const answer of [() => false, async () => false, () => Promise.reject(new Error('no'))]) {
    const { pool, manager, clock } = make({ maxSize: 5, beforeAcquire: answer, acquireTimeoutMs: 5_000 })
    const failed = expect(pool.acquire()).rejects.toMatchObject({
      code: 'ACQUIRE_TIMEOUT',
      cause: expect.objectContaining({
        code: 'HOOK_FAILED',
        message: expect.stringContaining('hook beforeAcquire'),
      }),
    })
    await clock.advance(5_000)
    await failed
    expect(manager.calls.connect).toBeLessThanOrEqual(1 + 5_000 / 50)
    expect(explain(pool).text).toContain('hook beforeAcquire')
  }
})

test('promise 12: refusals leave the event loop to others, also where the manager answers synchronously', async () => {
  const manager = {
    connect: async () => ({}),
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  }
  const pool = new Pool(manager, { maxSize: 1, beforeAcquire: () => false, acquireTimeoutMs: 150 })
  const failed = pool.acquire().catch((error: { code: string }) => error.code)
  let hasRung = false
  setTimeout(() => (hasRung = true), 1)
  expect(await failed).toBe('ACQUIRE_TIMEOUT')
  expect(hasRung).toBe(true)
  expect(pool.state().statistics.closed.hook).toBeLessThanOrEqual(4)
  await pool.close()
})

test('promise 12: once a connection has served, the loss of others is no outage', async () => {
  const { pool, manager, clock } = make({ maxSize: 3 })
  const lease = await pool.acquire()
  lease.connection.broken = true
  lease.release()
  const probed = pool.acquire()
  await clock.advance(100)
  ;(await probed).release()
  expect(pool.look().connectError).toBeUndefined()
  const all = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  expect(manager.calls.connect).toBe(4)
  for (const each of all) each.release()
})

test('promise 13: 200 callers at 50 per second against a closed port all reject, with a median below 5 ms', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const manager = {
    connect: () =>
      new Promise<object>((resolve, reject) => {
        const socket = createConnection(port, '127.0.0.1', () => resolve(socket))
        socket.once('error', reject)
      }),
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  }
  const pool = new Pool(manager, { retryConnect: false, maxSize: 10 })
  const waits: number[] = []
  const told: Promise<unknown>[] = []
  await new Promise<void>((resolve) => {
    const interval = setInterval(() => {
      const startedAt = performance.now()
      told.push(
        pool.acquire().catch((error: { cause: { code: string } }) => {
          waits.push(performance.now() - startedAt)
          return error.cause.code
        }),
      )
      if (told.length < 200) return
      clearInterval(interval)
      resolve()
    }, 20)
  })
  expect(new Set(await Promise.all(told))).toEqual(new Set(['ECONNREFUSED']))
  expect(waits.toSorted((a, b) => a - b)[100]).toBeLessThan(5)
  await pool.close()
})

test('promise 9: a silent check is raced by a new connection after 250 ms, or a quarter of the time', async () => {
  for (const [timeoutMs, servedAtMs] of [
    [30_000, 250],
    [400, 100],
  ] as const) {
    const { pool, manager, clock } = make({ maxSize: 2, validationBypassMs: 0 })
    ;(await pool.acquire()).release()
    manager.always.isValid = 'never'
    const waiting = pool.acquire({ timeoutMs })
    await clock.advance(servedAtMs - 1)
    expect(manager.calls.connect).toBe(1)
    await clock.advance(1)
    expect((await waiting).connection.id).toBe(2)
  }
})

test('promise 9: however many idle connections are silent, they cost a caller one silence', async () => {
  const { pool, manager, clock } = make({ maxSize: 30, validationBypassMs: 100 })
  const leases = await Promise.all(Array.from({ length: 20 }, () => pool.acquire()))
  for (const lease of leases) lease.release()
  await clock.advance(1_000)
  manager.always.isValid = 'never'
  const waiting = pool.acquire({ timeoutMs: 3_000 })
  await clock.advance(250)
  expect((await waiting).connection.id).toBe(21)
  expect(manager.calls.isValid).toBe(20)
})

test('promise 9: without room a check takes half of the time that is left, and the caller is served all the same', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, validationBypassMs: 0, validationTimeoutMs: 5_000 })
  ;(await pool.acquire()).release()
  manager.checks.push('never')
  const waiting = pool.acquire({ timeoutMs: 4_000 })
  await clock.advance(1_999)
  expect(pool.state().waiting).toBe(1)
  await clock.advance(1)
  expect((await waiting).connection.id).toBe(2)
})

test('promise 2: a caller that waits for a check gets the connection that is returned in the meantime', async () => {
  for (const options of [undefined, { timeoutMs: 20_000 }]) {
    const { pool, manager, clock } = make({ maxSize: 2, validationBypassMs: 100 })
    const [held, other] = [await pool.acquire(), await pool.acquire()]
    other.release()
    await clock.advance(200)
    manager.checks.push('never')
    const waiting = pool.acquire(options)
    await settle()
    expect(manager.calls.isValid).toBe(1)
    held.release()
    await settle()
    expect(pool.state().waiting).toBe(0)
    expect((await waiting).connection.id).toBe(1)
  }
})

test('keepaliveMs: due from the start of the last check or use, however long a check takes', async () => {
  const { pool, manager, clock } = make({
    maxSize: 1,
    keepaliveMs: 100,
    idleTimeoutMs: Infinity,
    reapIntervalMs: 1e9,
  })
  let checks = 0
  manager.isValid = () => {
    checks++
    return new Promise((resolve) => void clock.setTimeout(() => resolve(true), 10))
  }
  ;(await pool.acquire()).release()
  await clock.advance(10_050)
  expect(checks).toBe(100)
})

test('keepaliveMs: a few at a time, each in its interval, and no caller counts on a connection that is being checked', async () => {
  const { pool, manager, clock } = make({ maxSize: 42, keepaliveMs: 1_000, validationBypassMs: 5_000 })
  const leases = await Promise.all(Array.from({ length: 40 }, () => pool.acquire()))
  for (const lease of leases) lease.release()
  let [running, most] = [0, 0]
  const checked = new Set<number>()
  manager.isValid = async (connection: ScriptedConnection) => {
    checked.add(connection.id)
    most = Math.max(most, ++running)
    await new Promise<void>((resolve) => void clock.setTimeout(resolve, 10))
    running--
    return true
  }
  await clock.advance(1_200)
  expect([most, checked.size]).toEqual([5, 40])
  const silent = make({ maxSize: 2, keepaliveMs: 100 })
  ;(await silent.pool.acquire()).release()
  silent.manager.always.isValid = 'never'
  await silent.clock.advance(100)
  const next = silent.pool.acquire()
  await settle()
  expect((await next).connection.id).toBe(2)
})

test('clear closes what was there when it was called, also where connect and close answer synchronously', async () => {
  let opened = 0
  const manager = {
    connect: async () => ({ id: ++opened }),
    isValid: () => true,
    hasBroken: () => false,
    close() {},
  }
  const pool = new Pool(manager, { minIdle: 1, maxSize: 3 })
  await settle()
  pool.clear()
  await settle()
  expect([opened, pool.state().idle, pool.state().statistics.closed.cleared]).toEqual([2, 1, 1])
  await pool.close()
})

test('clear with overMs spreads the replacement evenly, and no caller is without a connection', async () => {
  const { pool, clock, manager } = make({ maxSize: 8, minIdle: 4, maxLifetimeMs: Infinity })
  await settle()
  const held = await pool.acquire()
  await settle()
  expect(pool.state().connections).toBe(5)
  pool.clear({ overMs: 1_000 })
  expect(pool.state()).toMatchObject({ generation: 1, connections: 5 })
  const closedAt: number[] = []
  for (let time = 100; time <= 1_000; time += 100) {
    await clock.advance(100)
    closedAt.push(pool.state().statistics.closed.cleared)
    expect(pool.state().idle).toBeGreaterThanOrEqual(3)
  }
  expect(closedAt.at(-1)).toBe(4)
  expect(new Set(closedAt).size).toBeGreaterThanOrEqual(4)
  // A leased one is closed at its return.
  held.release()
  await settle()
  expect(pool.state().statistics.closed.cleared).toBe(5)
  expect(manager.connections.filter(({ id, open }) => open && id <= 5)).toEqual([])
})

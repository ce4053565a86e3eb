import { expect, test, vi } from 'vitest'

import { isPoolError, Pool } from '../../src/index.ts'
import { nextDelay } from '../../src/core/connections/backoff.ts'
import { ScriptedManager, type ScriptedConnection, settle } from '../../src/testing/index.ts'
import { make } from './exact-pool.ts'

test('promise 10: a hung connect fails after connectTimeoutMs, its slot is freed, its late connection closed', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  const late = Promise.withResolvers<void>()
  manager.connects.push(late.promise)
  const waiting = pool.acquire()
  await clock.advance(9_999)
  expect(manager.signals[0]?.aborted).toBe(false)
  await clock.advance(200)
  expect(manager.signals[0]?.aborted).toBe(true)
  expect((await waiting).connection.id).toBe(2)
  late.resolve()
  await settle()
  expect(manager.calls.close).toBe(1)
  expect(manager.open).toBe(1)
})

test('promise 10: a connect that never settles costs the pool nothing but its time', async () => {
  const { pool, manager, clock } = make({ maxSize: 2 })
  manager.connects.push('never', 'never', 'never', 'never')
  const waits = [0, 1, 2].map(() => pool.acquire({ timeoutMs: 60_000 }))
  await clock.advance(32_000)
  const leases = [await waits[0]!, await waits[1]!]
  expect(pool.state()).toMatchObject({ inUse: 2, opening: 0, waiting: 1 })
  leases[0]!.release()
  await waits[2]
})

test('promise 11: a throw, a rejection, undefined and a hang are all just failures', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1, connectTimeoutMs: 1_000 })
  manager.connects.push('throw', 'fail', 'undefined', 'never')
  const waiting = pool.acquire()
  await clock.advance(5_000)
  expect((await waiting).connection.id).toBe(5)
  expect(pool.state().statistics.connects).toEqual({ opened: 1, failed: 4 })
  expect(errors).toHaveLength(4)
  expect(errors.every(isPoolError)).toBe(true)
})

test('promise 11: hooks, checks, closes and listeners that fail in any way lose nothing', async () => {
  for (const failure of [
    () => Promise.reject(new Error('no')),
    () => {
      throw new Error('no')
    },
    () => new Promise<never>(() => {}),
  ]) {
    let isOn = false
    const hook = (): Promise<never> | undefined => (isOn ? failure() : undefined)
    const { pool, manager, clock } = make({
      maxSize: 2,
      validationBypassMs: 0,
      beforeAcquire: hook,
      afterRelease: hook,
      beforeClose: hook,
      afterConnect: hook as () => Promise<void>,
      onError: failure,
    })
    const one = await pool.acquire()
    isOn = true
    one.release()
    const waits = Array.from({ length: 4 }, () => pool.acquire({ timeoutMs: 600_000 }))
    manager.checks.push('fail', 'throw', 'never')
    manager.closes.push('fail', 'throw', 'never')
    await clock.advance(20_000)
    isOn = false
    for (const waiting of waits) {
      await clock.advance(30_000)
      ;(await waiting).release()
    }
    await settle()
    expect(pool.state()).toMatchObject({ inUse: 0, waiting: 0, opening: 0, closing: 0 })
  }
})

test('promise 12: after a failure there is one probe at a time until one succeeds', async () => {
  const { pool, manager, clock } = make({ maxSize: 10 })
  manager.always.connect = 'fail'
  const waits = Array.from({ length: 10 }, () => pool.acquire({ timeoutMs: 60_000 }))
  await settle()
  expect(manager.calls.connect).toBe(10)
  await clock.advance(2_000)
  const probes = manager.calls.connect - 10
  expect(probes).toBeGreaterThan(5)
  expect(probes).toBeLessThan(40)
  manager.always.connect = 'ok'
  const opened = manager.calls.connect
  await clock.advance(100)
  expect(manager.calls.connect - opened).toBe(10)
  for (const lease of await Promise.all(waits)) lease.release()
  expect(pool.state().idle).toBe(10)
})

test('promise 12: the wait between attempts is jittered, grows with the outage and stays within its limits', () => {
  const limits = { minMs: 50, maxMs: 5_000 }
  let last = 50
  const seen = new Set<number>()
  for (let outage = 0; outage < 600_000; outage += last) {
    last = nextDelay(limits, last, outage, Math.random)
    seen.add(last)
    expect(last).toBeGreaterThanOrEqual(50)
    expect(last).toBeLessThanOrEqual(Math.min(5_000, Math.max(75, outage * 0.025)))
  }
  expect(seen.size).toBeGreaterThan(20)
  expect(nextDelay(limits, 5_000, 600_000, () => 1)).toBe(5_000)
  expect(nextDelay({ minMs: 10, maxMs: 10 }, 10, 1_000, () => 1)).toBe(10)
})

test('promise 13: a fatal error reaches the head waiter immediately, with its cause', async () => {
  const { pool, manager } = make({ maxSize: 1, name: 'orders' })
  manager.always.connect = 'fail'
  manager.fatal = true
  await expect(pool.acquire()).rejects.toMatchObject({
    name: 'ConnectError',
    code: 'CONNECT_FAILED',
    pool: 'orders',
    cause: new Error('connect 1 failed'),
  })
  expect(pool.state().statistics.acquires).toMatchObject({ refused: 1, pending: 0 })
})

test('promise 13: with retryConnect false one failure rejects all waiters, and whoever comes while it is fresh', async () => {
  const { pool, manager, clock, errors } = make({ maxSize: 1, retryConnect: false })
  const connectError = { name: 'ConnectError', cause: new Error('connect 1 failed') }
  manager.connects.push('fail')
  const waiting = [pool.acquire(), pool.acquire({ timeoutMs: 5 }), pool.acquire({ priority: 1 })]
  for (const each of waiting) await expect(each).rejects.toMatchObject(connectError)
  await clock.advance(49)
  await expect(pool.acquire()).rejects.toMatchObject(connectError)
  expect(manager.calls.connect).toBe(1)
  expect(errors).toEqual([])
  // A later one starts the next probe itself: a server that is up again serves the first caller that asks.
  await clock.advance(1)
  ;(await pool.acquire()).release()
  expect(manager.calls.connect).toBe(2)
  expect(pool.state().statistics.acquires).toMatchObject({ refused: 4, waited: 1, pending: 0 })
})

test('promise 13: after a final error there is one probe at a time, and all waiters share its outcome', async () => {
  const { pool, manager, clock } = make({ maxSize: 5, retryConnect: false })
  manager.connects.push('fail')
  await expect(pool.acquire()).rejects.toMatchObject({ name: 'ConnectError' })
  await clock.advance(60)
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  const waiting = [pool.acquire(), pool.acquire(), pool.acquire()]
  await settle()
  expect(manager.calls.connect).toBe(2)
  gate.reject(new Error('still down'))
  for (const each of waiting) await expect(each).rejects.toMatchObject({ cause: new Error('still down') })
  expect(manager.calls.connect).toBe(2)
})

test('promise 13: a final error spares as many of the first in the queue as connections are open', async () => {
  const { pool, manager } = make({ maxSize: 3, retryConnect: false })
  const held = [await pool.acquire(), await pool.acquire()]
  manager.connects.push('fail')
  const told: string[] = []
  const waiting = ['a', 'b', 'c', 'd'].map((name) =>
    pool.acquire().then(
      (lease) => {
        told.push(`${name} served`)
        lease.release()
      },
      (error: Error) => told.push(`${name} ${error.name}`),
    ),
  )
  await settle()
  expect(told).toEqual(['c ConnectError', 'd ConnectError'])
  // Nor is one who comes now and would be third.
  await expect(pool.acquire()).rejects.toMatchObject({ name: 'ConnectError' })
  for (const lease of held) lease.release()
  await Promise.all(waiting)
  expect(told.slice(2)).toEqual(['a served', 'b served'])
})

test('a timeout while connects fail carries the last connect error as its cause', async () => {
  const { pool, manager, clock } = make({ acquireTimeoutMs: 1_000 })
  manager.always.connect = 'fail'
  const failed = expect(pool.acquire()).rejects.toMatchObject({
    phase: 'connect',
    cause: expect.objectContaining({ message: expect.stringMatching(/connect \d+ failed/) }),
  })
  await clock.advance(1_000)
  await failed
})

test('promise 21: lost removes an idle connection immediately, and a leased one when it is returned', async () => {
  const { pool, manager, clock } = make({ minIdle: 1, maxSize: 2 })
  await settle()
  manager.connections[0]!.lost(new Error('reset'))
  expect(pool.state().idle).toBe(0)
  await clock.advance(100)
  expect(pool.state().statistics.closed.lost).toBe(1)
  const lease = await pool.acquire()
  lease.connection.lost()
  lease.connection.lost()
  expect(pool.state().inUse).toBe(1)
  lease.release()
  await settle()
  expect(pool.state().statistics.closed.lost).toBe(2)
})

test('promise 21: a connection lost before it was handed over is never handed out', async () => {
  const { pool, manager, clock } = make({ maxSize: 1 })
  const connect = manager.connect.bind(manager)
  let first = true
  manager.connect = (context) => {
    if (first) context.lost()
    first = false
    return connect(context)
  }
  const waiting = pool.acquire()
  await clock.advance(100)
  expect((await waiting).connection.id).toBe(2)
  expect(pool.state().statistics.closed.lost).toBe(1)
})

test('promise 24: afterConnect runs once per connection, and its throw is a connect failure', async () => {
  const afterConnect = vi.fn<(connection: ScriptedConnection) => void>()
  afterConnect.mockImplementationOnce(() => {
    throw new Error('no')
  })
  const { pool, manager, clock } = make({ maxSize: 1, afterConnect })
  const waiting = pool.acquire()
  await clock.advance(500)
  const lease = await waiting
  expect(lease.connection.id).toBe(2)
  expect(manager.open).toBe(1)
  lease.release()
  ;(await pool.acquire()).release()
  expect(afterConnect).toHaveBeenCalledTimes(2)
  expect(pool.state().statistics.connects).toEqual({ opened: 1, failed: 1 })
})

test('promise 24: beforeAcquire false or a throw closes the connection and takes the next; beforeClose comes before close', async () => {
  const beforeAcquire = vi.fn<() => boolean>().mockReturnValueOnce(false)
  beforeAcquire.mockImplementationOnce(() => {
    throw new Error('no')
  })
  beforeAcquire.mockReturnValue(true)
  const order: string[] = []
  const { pool, manager, clock } = make({
    maxSize: 1,
    beforeAcquire,
    beforeClose: (_, reason) => void order.push(`${reason} ${manager.calls.close}`),
  })
  const waiting = pool.acquire()
  await clock.advance(300)
  expect((await waiting).connection.id).toBe(3)
  expect(order).toEqual(['hook 0', 'hook 1'])
})

test('Pool.open waits for minIdle connections', async () => {
  const manager = new ScriptedManager()
  await using pool = await Pool.open(manager, { minIdle: 3 })
  expect(pool.state().idle).toBe(3)
})

test('Pool.open that fails closes its pool and rejects with ConnectError or AcquireTimeoutError', async () => {
  const manager = new ScriptedManager()
  manager.always.connect = 'fail'
  await expect(Pool.open(manager, { minIdle: 1, retryConnect: false })).rejects.toMatchObject({
    name: 'ConnectError',
  })
  await expect(Pool.open(manager, { minIdle: 1, acquireTimeoutMs: 100 })).rejects.toMatchObject({
    name: 'AcquireTimeoutError',
    phase: 'connect',
    cause: expect.any(Error),
  })
  const { connect } = manager.calls
  await settle()
  expect(manager.calls.connect).toBe(connect)
})

test('dedicated opens a connection that the pool neither counts nor keeps', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  await pool.acquire()
  const connection = await pool.dedicated()
  expect(connection.id).toBe(2)
  expect(pool.state().connections).toBe(1)
  manager.connects.push('fail')
  await expect(pool.dedicated()).rejects.toMatchObject({ name: 'ConnectError' })
  const controller = new AbortController()
  const late = Promise.withResolvers<void>()
  manager.connects.push(late.promise)
  const cancelled = expect(pool.dedicated({ signal: controller.signal })).rejects.toThrow('aborted')
  controller.abort()
  await cancelled
  late.resolve()
  await settle()
  expect(manager.open).toBe(2)
  await expect(pool.dedicated({ signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
})

test('add adopts a connection, rejects a broken one, one too many, and one that it has', async () => {
  const { pool, manager } = make({ maxSize: 2 })
  manager.always.connect = 'fail'
  const connection = (id: number): ScriptedConnection => ({
    id,
    broken: false,
    invalid: false,
    open: true,
    lost: () => {},
  })
  const waiting = pool.acquire()
  expect(pool.add({ ...connection(7), broken: true })).toBe('broken')
  await settle()
  const mine = connection(8)
  expect(pool.add(mine)).toBe('added')
  expect((await waiting).connection.id).toBe(8)
  expect(() => pool.add(mine)).toThrow(/connection must be an open connection that the pool does not have/)
  expect(() => pool.add(undefined as never)).toThrow(/\(got undefined\)/)
  expect(pool.add(connection(9))).toBe('added')
  expect(pool.add(connection(10))).toBe('full')
  expect(pool.state().statistics).toMatchObject({ added: 2 })
})

import { AsyncLocalStorage } from 'node:async_hooks'

import { expect, test } from 'vitest'

import { Pool, type PoolOptions, type PoolState } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'

function make(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const pool = new Pool(manager, { clock, ...options })
  return { manager, clock, pool }
}

test('promise 1: waiters are served first come, first served, and no later caller overtakes', async () => {
  const { pool } = make({ maxSize: 1 })
  const held = await pool.acquire()
  const order: number[] = []
  const waits = [0, 1, 2].map(async (n) => {
    const lease = await pool.acquire()
    order.push(n)
    lease.release()
  })
  held.release()
  expect(pool.tryAcquire()).toBeUndefined()
  await Promise.all(waits)
  expect(order).toEqual([0, 1, 2])
})

test('promise 1: a lower priority number is served first, in order within it', async () => {
  const { pool } = make({ maxSize: 1 })
  const held = await pool.acquire()
  const order: string[] = []
  const waits = [
    ['normal 1', 0],
    ['low', 5],
    ['high', -1],
    ['normal 2', 0],
  ].map(async ([name, priority]) => {
    const lease = await pool.acquire({ priority: priority as number })
    order.push(name as string)
    lease.release()
  })
  held.release()
  await Promise.all(waits)
  expect(order).toEqual(['high', 'normal 1', 'normal 2', 'low'])
})

test('promise 1: with checks under way a later caller does not overtake an earlier one', async () => {
  const { pool, manager, clock } = make({ maxSize: 2, validationBypassMs: 100 })
  const [a, b] = [await pool.acquire(), await pool.acquire()]
  a.release()
  await clock.advance(200)
  b.release()
  manager.checks.push('never')
  const order: string[] = []
  const first = pool.acquire().then((lease) => order.push(`first on ${lease.connection.id}`))
  const second = pool.acquire().then((lease) => order.push(`second on ${lease.connection.id}`))
  await first
  expect(order).toEqual(['first on 2'])
  expect(pool.state()).toMatchObject({ idle: 0, waiting: 0 })
  await clock.advance(5_000)
  await second
})

test('promise 2: a returned connection and a finished connect race for the head waiter', async () => {
  const { pool, manager } = make({ maxSize: 2 })
  const held = await pool.acquire()
  manager.connects.push('never')
  const waiting = pool.acquire()
  await settle()
  expect(pool.state()).toMatchObject({ opening: 1, waiting: 1 })
  held.release()
  expect((await waiting).connection.id).toBe(1)
})

test('promise 3: never more connections or attempts than the limits, nor more than are needed', async () => {
  const { pool, manager } = make({ maxSize: 5, maxConnecting: 2 })
  let mostOpening = 0
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise, gate.promise)
  const waits = Array.from({ length: 50 }, async () => {
    const lease = await pool.acquire()
    mostOpening = Math.max(mostOpening, pool.state().opening)
    lease.release()
  })
  expect(pool.state().opening).toBe(2)
  gate.resolve()
  await Promise.all(waits)
  expect(mostOpening).toBeLessThanOrEqual(2)
  await settle()
  expect(manager.mostOpen).toBeLessThanOrEqual(5)
})

test('promise 3: 50 concurrent requests over a slow connect do not open 50 connections', async () => {
  const { pool, manager } = make({ maxSize: 50, minIdle: 1, maxConnecting: 2 })
  await settle()
  const slow = Promise.withResolvers<void>()
  manager.always.connect = slow.promise
  await Promise.all(Array.from({ length: 50 }, () => pool.run(async () => await settle())))
  slow.resolve()
  await settle()
  expect(manager.calls.connect).toBeLessThanOrEqual(3)
})

test('promise 3: nor do they where nothing limits the concurrent attempts, from nothing or from a few', async () => {
  for (const minIdle of [0, 5]) {
    const clock = new VirtualClock()
    const after = (ms: number) => new Promise<void>((resolve) => void clock.setTimeout(resolve, ms))
    let opened = 0
    const manager = {
      connect: () => (++opened > minIdle ? after(150) : after(0)).then(() => ({})),
      isValid: () => true,
      hasBroken: () => false,
      close() {},
    }
    const pool = await Promise.all([Pool.open(manager, { maxSize: 50, minIdle, clock }), clock.advance(1)])
    const served = Promise.all(Array.from({ length: 50 }, () => pool[0].run(() => after(2))))
    expect(pool[0].state().opening).toBe(10)
    await clock.advance(400)
    await served
    expect(opened).toBe(minIdle === 0 ? 20 : 15)
  }
})

test('promise 3: as many attempts may run concurrently as are open already, or ten', async () => {
  const { pool, manager } = make({ maxSize: 100 })
  const tooMany: PoolState[] = []
  const look = (): void => {
    const state = pool.state()
    if (state.opening > Math.max(10, state.connections)) tooMany.push(state)
  }
  const leases = Array.from({ length: 100 }, () => pool.acquire().then(look))
  expect(pool.state().opening).toBe(10)
  await Promise.all(leases)
  expect(manager.calls.connect).toBe(100)
  expect(tooMany).toEqual([])
})

test('promise 3: an attempt whose demand has gone is not started', async () => {
  const { pool, manager } = make({ maxSize: 3, maxConnecting: 1 })
  const held = await pool.acquire()
  manager.connects.push('never')
  const waits = [pool.acquire(), pool.acquire()]
  held.release()
  ;(await waits[0])!.release()
  ;(await waits[1])!.release()
  await settle()
  expect(manager.calls.connect).toBe(2)
})

test('promise 4: the deadline is absolute, and names what the caller waited for', async () => {
  const { pool, clock, manager } = make({ maxSize: 1, acquireTimeoutMs: 100 })
  manager.connects.push('never')
  const connecting = pool.acquire()
  const failed = expect(connecting).rejects.toMatchObject({
    name: 'AcquireTimeoutError',
    code: 'ACQUIRE_TIMEOUT',
    phase: 'connect',
    timeoutMs: 100,
  })
  await clock.advance(99)
  expect(pool.state().waiting).toBe(1)
  await clock.advance(1)
  await failed
  await clock.advance(10_000)
  const held = await pool.acquire()
  const queued = expect(pool.acquire()).rejects.toMatchObject({ phase: 'queue' })
  const own = expect(pool.acquire({ timeoutMs: 50 })).rejects.toMatchObject({ phase: 'queue', timeoutMs: 50 })
  await clock.advance(100)
  await Promise.all([queued, own])
  held.release()
  expect(pool.state().statistics.acquires).toMatchObject({ timedOut: 3, pending: 0 })
})

test('promise 4: the message says what to do, with the numbers of the moment', async () => {
  const { pool, clock } = make({ maxSize: 1, name: 'orders' })
  await pool.acquire()
  const waiting = expect(pool.acquire()).rejects.toThrow(
    /acquire timed out after 30000 ms in the queue of pool 'orders' \(1 of 1 in use, 1 waiting, 0 opening\)\. Raise maxSize/,
  )
  await clock.advance(30_000)
  await waiting
})

test('promise 4: deadlines that differ each come in time, with one timer for all', async () => {
  const { pool, clock } = make({ maxSize: 1 })
  await pool.acquire()
  const ended: number[] = []
  const times = [500, 100, 300, 200, 400, Infinity]
  for (const timeoutMs of times) pool.acquire({ timeoutMs }).catch(() => ended.push(clock.now() - 1_000_000))
  expect(clock.refTimers).toBe(1)
  expect(clock.timers).toBe(1)
  await clock.advance(1_000)
  expect(ended).toEqual([100, 200, 300, 400, 500])
})

test('promise 4: an abort rejects immediately with the reason and leaves no listener behind', async () => {
  const { pool } = make({ maxSize: 1 })
  const held = await pool.acquire()
  const controller = new AbortController()
  let listeners = 0
  const { signal } = controller
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = ((...args: Parameters<typeof add>) => (listeners++, add(...args))) as typeof add
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => (
    listeners--,
    remove(...args)
  )) as typeof remove
  const served = pool.acquire({ signal })
  const aborted = Array.from({ length: 100 }, () => pool.acquire({ signal }))
  expect(listeners).toBe(1)
  held.release()
  const lease = await served
  const reason = new Error('no longer wanted')
  controller.abort(reason)
  for (const waiting of aborted) await expect(waiting).rejects.toBe(reason)
  expect(listeners).toBe(0)
  await expect(pool.acquire({ signal })).rejects.toBe(reason)
  expect(pool.state()).toMatchObject({ waiting: 0, inUse: 1 })
  expect(pool.state().statistics.acquires).toMatchObject({ started: 103, aborted: 101 })
  lease.release()
})

test('promise 4: a signal by way of a proxy, the target of whose events is another, is received too', async () => {
  const { pool } = make({ maxSize: 1 })
  const lease = await pool.acquire()
  const controller = new AbortController()
  const signal = new Proxy(controller.signal, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const waiting = [pool.acquire({ signal }), pool.acquire({ signal })]
  controller.abort('why')
  for (const each of waiting) await expect(each).rejects.toBe('why')
  lease.release()
})

test('promise 5: cancelling an acquire neither cancels nor loses the connect', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  const gate = Promise.withResolvers<void>()
  manager.connects.push(gate.promise)
  const controller = new AbortController()
  const cancelled = expect(pool.acquire({ signal: controller.signal })).rejects.toThrow('aborted')
  controller.abort()
  await cancelled
  expect(manager.signals[0]?.aborted).toBe(false)
  const next = pool.acquire()
  gate.resolve()
  expect((await next).connection.id).toBe(1)
})

test('promise 6: a caller cancelled during a check never sends an unchecked connection back as good', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.checks.push('never')
  const controller = new AbortController()
  const cancelled = expect(pool.acquire({ signal: controller.signal })).rejects.toThrow('aborted')
  controller.abort()
  await cancelled
  expect(pool.state()).toMatchObject({ idle: 0, inUse: 1 })
  expect(pool.tryAcquire()).toBeUndefined()
  await clock.advance(5_000)
  expect(pool.state()).toMatchObject({ connections: 0 })
  expect(pool.state().statistics.closed.invalid).toBe(1)
})

test('promise 7: when a check fails, the caller takes the next connection or keeps its place at the head', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  manager.checks.push('fail')
  const order: number[] = []
  const waits = [0, 1].map(async (n) => {
    const lease = await pool.acquire()
    order.push(n)
    lease.release()
  })
  await Promise.all(waits)
  expect(order).toEqual([0, 1])
  expect(manager.calls.connect).toBe(2)
})

test('promise 8: at checkout come generation, lifetime, hasBroken, isValid and beforeAcquire, in this order', async () => {
  const calls: string[] = []
  const manager = new ScriptedManager()
  const { hasBroken, isValid } = manager
  manager.hasBroken = function (connection) {
    calls.push('hasBroken')
    return hasBroken.call(manager, connection)
  }
  manager.isValid = function (connection) {
    calls.push('isValid')
    return isValid.call(manager, connection)
  }
  const clock = new VirtualClock(undefined, 1_000_000)
  const beforeAcquire = () => void calls.push('beforeAcquire')
  const pool = new Pool(manager, { clock, validationBypassMs: 0, beforeAcquire })
  ;(await pool.acquire()).release()
  calls.length = 0
  await pool.acquire()
  expect(calls).toEqual(['hasBroken', 'isValid', 'hasBroken', 'beforeAcquire', 'hasBroken'])
  const old = make({ maxLifetimeMs: 1_000, validationBypassMs: 0 })
  ;(await old.pool.acquire()).release()
  await old.clock.advance(2_000)
  const asked: number[] = []
  old.manager.hasBroken = ({ id }) => asked.push(id) < 0
  await old.pool.acquire()
  expect(new Set(asked)).toEqual(new Set([2]))
  expect(old.manager.calls.isValid).toBe(0)
  expect(old.pool.state().statistics.closed.lifetime).toBe(1)
})

test('promise 9: when one idle connection fails its check, the others are checked immediately', async () => {
  const { pool, manager, clock } = make({ maxSize: 5, validationBypassMs: 100 })
  const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()))
  for (const lease of leases) lease.release()
  await clock.advance(200)
  for (const connection of manager.connections) connection.invalid = true
  const lease = await pool.acquire()
  expect(lease.connection.id).toBe(6)
  expect(manager.calls.isValid).toBe(5)
  expect(pool.state().statistics.closed.invalid).toBe(5)
})

test('promise 9: where a check is not even answered, the caller gets a new connection in the meantime', async () => {
  const { pool, manager, clock } = make({ maxSize: 5, validationBypassMs: 100 })
  const leases = await Promise.all(Array.from({ length: 3 }, () => pool.acquire()))
  for (const lease of leases) lease.release()
  await clock.advance(200)
  manager.always.isValid = 'never'
  const waiting = pool.acquire()
  await clock.advance(5_000)
  expect((await waiting).connection.id).toBe(4)
})

test('validation is skipped for a connection used a moment ago, and for a fresh one', async () => {
  const { pool, manager, clock } = make()
  ;(await pool.acquire()).release()
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(0)
  await clock.advance(500)
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(1)
})

test('validationBypassMs 0 checks a connection that is handed from one caller to the next', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0 })
  const lease = await pool.acquire()
  const next = pool.acquire()
  lease.release()
  await next
  expect(manager.calls.isValid).toBe(1)
})

test('testOnCheckOut false never asks isValid', async () => {
  const { pool, manager, clock } = make({ testOnCheckOut: false, validationBypassMs: 0 })
  ;(await pool.acquire()).release()
  await clock.advance(60_000)
  ;(await pool.acquire()).release()
  expect(manager.calls.isValid).toBe(0)
})

test("queueStrategy: 'fifo' hands out the longest idle connection, 'lifo' the last used", async () => {
  for (const [queueStrategy, id] of [
    ['fifo', 1],
    ['lifo', 3],
  ] as const) {
    const { pool } = make({ queueStrategy, maxSize: 3 })
    const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
    for (const lease of leases) lease.release()
    expect((await pool.acquire()).connection.id).toBe(id)
  }
})

test('maxWaiting rejects one more waiter immediately, and a cancelled one gives its place back', async () => {
  const { pool } = make({ maxSize: 1, maxWaiting: 1 })
  const lease = await pool.acquire()
  const controller = new AbortController()
  const first = expect(pool.acquire({ signal: controller.signal })).rejects.toThrow()
  await expect(pool.acquire()).rejects.toMatchObject({ name: 'QueueFullError', code: 'QUEUE_FULL' })
  controller.abort()
  await first
  const second = pool.acquire()
  lease.release()
  await second
})

test('a caller whose idle connection is being checked does not count against maxWaiting', async () => {
  const { pool } = make({ maxSize: 1, maxWaiting: 0, minIdle: 1, validationBypassMs: 0 })
  await settle()
  await pool.acquire()
})

test('promise 14: connect runs in the context of the pool, and callers keep their own', async () => {
  const storage = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  const manager = new ScriptedManager()
  const connect = manager.connect.bind(manager)
  manager.connect = (context) => {
    seen.push(storage.getStore())
    return connect(context)
  }
  const pool = storage.run('pool', () => new Pool(manager, { maxSize: 1 }))
  await storage.run('caller', async () => {
    const lease = await pool.acquire()
    expect(storage.getStore()).toBe('caller')
    const waiting = storage.run('waiter', () => pool.run(() => storage.getStore()))
    lease.destroy()
    expect(await waiting).toBe('waiter')
  })
  expect(seen).toEqual(['pool', 'pool'])
  await pool.close()
})

test('tryAcquire gives an idle connection now, or nothing; it is not counted', async () => {
  const { pool, manager } = make({ maxSize: 1 })
  expect(pool.tryAcquire()).toBeUndefined()
  expect(manager.calls.connect).toBe(0)
  ;(await pool.acquire()).release()
  const lease = pool.tryAcquire()
  expect(lease?.connection.id).toBe(1)
  expect(pool.tryAcquire()).toBeUndefined()
  lease?.release()
  manager.connections[0]!.broken = true
  expect(pool.tryAcquire()).toBeUndefined()
  expect(pool.state().statistics.acquires.started).toBe(1)
  expect(pool.state().statistics.closed.broken).toBe(1)
})

test('tryAcquire honours a synchronous beforeAcquire and gives nothing for one that waits', async () => {
  const answers: (boolean | Promise<boolean>)[] = []
  const { pool } = make({ maxSize: 1, beforeAcquire: () => answers.shift() ?? true })
  ;(await pool.acquire()).release()
  const lease = pool.tryAcquire()
  expect(lease).toBeDefined()
  lease?.release()
  answers.push(Promise.resolve(true))
  expect(pool.tryAcquire()).toBeUndefined()
  await settle()
  expect(pool.state().idle).toBe(1)
  answers.push(false)
  expect(pool.tryAcquire()).toBeUndefined()
  expect(pool.state().statistics.closed.hook).toBe(1)
})

test('tryAcquire asks one connection whose hook waits, and not all that are idle', async () => {
  let asked = 0
  const { pool } = make({ maxSize: 2, beforeAcquire: async () => void asked++ })
  const leases = [await pool.acquire(), await pool.acquire()]
  for (const lease of leases) lease.release()
  asked = 0
  expect(pool.tryAcquire()).toBeUndefined()
  expect(asked).toBe(1)
})

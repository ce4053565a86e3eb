import { channel } from 'node:diagnostics_channel'

import { expect, test, vi } from 'vitest'

import { CHANNELS } from '../../src/index.ts'
import { settle } from '../../src/testing/index.ts'
import { collectGarbage } from './collect-garbage.ts'
import { make } from './exact-pool.ts'

test('run gives the connection back whatever its function does, and passes its error through untouched', async () => {
  const { pool } = make({ maxSize: 1 })
  const error = { not: 'even an Error' }
  await expect(
    pool.run(() => {
      throw error
    }),
  ).rejects.toBe(error)
  await expect(pool.run(() => Promise.reject(error))).rejects.toBe(error)
  expect(await pool.run(() => 5)).toBe(5)
  expect(pool.state()).toMatchObject({ inUse: 0, idle: 1 })
})

test('run passes the error of the work to the manager', async () => {
  const { pool, manager } = make()
  const hasBroken = vi.spyOn(manager, 'hasBroken')
  const error = new Error('work')
  await expect(pool.run(() => Promise.reject(error))).rejects.toBe(error)
  expect(hasBroken).toHaveBeenLastCalledWith(expect.anything(), error)
})

test('run with retries runs again on a fresh connection only when its connection broke', async () => {
  const { pool, manager, clock } = make({ maxSize: 3 })
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  for (const lease of leases) lease.release()
  const seen: number[] = []
  const result = await pool.run(
    (connection) => {
      seen.push(connection.id)
      if (seen.length > 1) return 'done'
      // The server died: the others are dead too, but nobody knows it yet.
      for (const each of manager.connections) each.invalid = true
      connection.broken = true
      throw new Error('lost')
    },
    { retries: 1 },
  )
  expect(result).toBe('done')
  expect(seen).toEqual([1, 4])
  let runs = 0
  await expect(
    pool.run(
      () => {
        runs++
        throw new Error('my own')
      },
      { retries: 5 },
    ),
  ).rejects.toThrow('my own')
  expect(runs).toBe(1)
  const failed = expect(
    pool.run(
      (connection) => {
        runs++
        connection.broken = true
        throw new Error('each time')
      },
      { retries: 2 },
    ),
  ).rejects.toThrow('each time')
  // Fresh ones that break at their first use: each retry waits for its turn.
  await settle()
  expect(runs).toBeLessThan(4)
  await clock.advance(500)
  await failed
  expect(runs).toBe(4)
})

test('a retried run does not take a connection that was merely handed back', async () => {
  const { pool, manager } = make({ maxSize: 2 })
  const other = await pool.acquire()
  const seen: number[] = []
  const retried = pool.run(
    (connection) => {
      seen.push(connection.id)
      if (seen.length > 1) return
      connection.broken = true
      manager.always.connect = 'never'
      throw new Error('lost')
    },
    { retries: 1 },
  )
  await settle()
  expect(pool.state().waiting).toBe(1)
  manager.checks.push('ok')
  other.release()
  await retried
  expect(manager.calls.isValid).toBe(1)
  expect(seen).toEqual([2, 1])
})

test('overload: callers are rejected with the reason while the queue is standing', async () => {
  const { pool, clock } = make({ maxSize: 1, name: undefined, overload: { targetMs: 50, intervalMs: 1_000 } })
  const results: string[] = []
  let message = ''
  let lease = await pool.acquire()
  // 100 arrivals a second meet 5 services a second.
  for (let time = 0; time < 6_000; time += 10) {
    pool.acquire().then(
      (got) => {
        lease = got
        results.push('served')
      },
      (error: Error) => {
        message = error.message
        results.push(error.name)
      },
    )
    await clock.advance(10)
    if (time % 200 === 190) lease.release()
    await settle()
  }
  const { waitMs, acquires } = pool.state().statistics
  expect(results.filter((result) => result === 'served').length).toBeGreaterThan(20)
  expect(results).toContain('OverloadedError')
  expect(acquires.refused).toBeGreaterThan(100)
  expect(waitMs.p50).toBeLessThan(2_000)
  expect(message).toMatch(
    /acquire rejected after \d+ ms: pool 'pool-\d+' is overloaded .*overload\.targetMs.*overload\.intervalMs/,
  )
})

test('overload: a pool in which nothing moves at all sheds too', async () => {
  const { pool, clock } = make({ maxSize: 1, overload: { targetMs: 50, intervalMs: 1_000 } })
  await pool.acquire()
  const waiting = expect(pool.acquire()).rejects.toMatchObject({
    name: 'OverloadedError',
    code: 'OVERLOADED',
  })
  await clock.advance(5_000)
  await waiting
})

test('overload: a burst that drains in time sheds no caller', async () => {
  const { pool, clock } = make({ maxSize: 1, overload: { targetMs: 50, intervalMs: 1_000 } })
  for (let burst = 0; burst < 5; burst++) {
    const waits = Array.from({ length: 20 }, () => pool.run(() => {}))
    await clock.advance(700)
    await Promise.all(waits)
  }
  expect(pool.state().statistics.acquires.refused).toBe(0)
})

test('leakThresholdMs reports a lease that is held longer, once, with the stack of its acquire', async () => {
  const { pool, clock, errors } = make({ leakThresholdMs: 1_000 })
  async function createOrder() {
    return await pool.acquire()
  }
  const leaks: unknown[] = []
  const listen = (event: unknown): void => void leaks.push(event)
  channel(CHANNELS.leak).subscribe(listen)
  const lease = await createOrder()
  const short = await pool.acquire()
  await clock.advance(500)
  short.release()
  await clock.advance(5_000)
  channel(CHANNELS.leak).unsubscribe(listen)
  lease.release()
  expect(errors).toEqual([
    expect.objectContaining({ code: 'LEASE_LEAKED', stack: expect.stringContaining('createOrder') }),
  ])
  expect(leaks).toEqual([
    expect.objectContaining({ connection: 1, heldMs: 1_000, stack: expect.stringContaining('createOrder') }),
  ])
})

test('reclaimAbandoned gives the slot of a collected lease back, and closes its connection', async () => {
  expect(collectGarbage).toBeDefined()
  const { pool, manager, errors } = make({ maxSize: 1, reclaimAbandoned: true })
  await (async () => void (await pool.acquire()))()
  const next = pool.acquire()
  let got: unknown
  void next.then((lease) => (got = lease))
  for (let turn = 0; turn < 50 && got === undefined; turn++) {
    collectGarbage?.()
    await settle()
  }
  expect((await next).connection.id).toBe(2)
  expect(manager.open).toBe(1)
  expect(errors).toEqual([expect.objectContaining({ code: 'LEASE_ABANDONED' })])
})

test('every lease and connection is published on the channels, also a connection handed from one caller to the next', async () => {
  const events: string[] = []
  const names = Object.values(CHANNELS)
  const listen = (event: unknown, name: string | symbol): void => {
    const { connection, reason, pool } = event as { connection?: number; reason?: string; pool: string }
    if (pool === 'told')
      events.push([String(name).slice(7), connection, reason].filter((part) => part !== undefined).join(' '))
  }
  for (const name of names) channel(name).subscribe(listen)
  const { pool, manager, clock } = make({ maxSize: 1, name: 'told', maxWaiting: 2, acquireTimeoutMs: 100 })
  const lease = await pool.acquire()
  const next = pool.acquire()
  const late = pool.acquire().catch(() => {})
  await pool.acquire().catch(() => {})
  lease.release()
  await clock.advance(100)
  await late
  ;(await next).destroy()
  manager.connects.push('fail')
  const failed = pool.acquire().catch(() => {})
  await clock.advance(1)
  await pool.close()
  await failed
  for (const name of names) channel(name).unsubscribe(listen)
  expect(events.slice(0, 9)).toEqual([
    'change',
    'open 1',
    'acquire 1',
    'refuse',
    'release 1',
    'acquire 1',
    'timeout',
    'release 1',
    'close 1 destroyed',
  ])
  expect(events).toContain('open:error')
})

test('a retrying caller goes before callers that have not been served yet, in the order of the retries', async () => {
  const { pool, manager, clock } = make({ maxSize: 2 })
  const order: string[] = []
  const breaks = Promise.withResolvers<void>()
  const retrying = ['a', 'b'].map((name) => {
    let runs = 0
    return pool.run(
      async (connection) => {
        if (++runs > 1) return void order.push(name)
        await breaks.promise
        connection.broken = true
        throw new Error('broken')
      },
      { retries: 1 },
    )
  })
  await settle()
  const waiting = ['c', 'd', 'e'].map((name) => pool.run(() => void order.push(name)))
  const urgent = pool.run(() => void order.push('urgent'), { priority: -1 })
  breaks.resolve()
  await clock.advance(200)
  await Promise.all([...retrying, ...waiting, urgent])
  expect(order).toEqual(['urgent', 'a', 'b', 'c', 'd', 'e'])
  expect(manager.mostOpen).toBe(2)
})

test.skipIf(collectGarbage === undefined)(
  'a pool keeps nothing of a caller who waited and was served',
  async () => {
    const { pool } = make({ maxSize: 1 })
    const leases: WeakRef<object>[] = []
    for (let n = 0; n < 50; n++) {
      const holder = await pool.acquire()
      const waiting = pool.acquire().then((lease) => {
        leases.push(new WeakRef(lease))
        lease.release()
      })
      holder.release()
      await waiting
    }
    for (let n = 0; n < 20; n++) {
      await settle()
      collectGarbage?.()
    }
    // A few may stand on a stack or in a register still.
    expect(leases.filter((lease) => lease.deref() !== undefined).length).toBeLessThan(10)
  },
)

test.skipIf(collectGarbage === undefined)(
  'a pool keeps no signal that no caller waits on any more, whether its caller was served or gave up',
  async () => {
    const { pool } = make({ maxSize: 1 })
    const wait = async (isServed: boolean): Promise<WeakRef<AbortSignal>> => {
      const holder = await pool.acquire()
      const controller = new AbortController()
      const waiting = pool.acquire({ signal: controller.signal }).then(
        (lease) => lease.release(),
        () => {},
      )
      if (!isServed) controller.abort()
      holder.release()
      await waiting
      return new WeakRef(controller.signal)
    }
    const signals: WeakRef<AbortSignal>[] = []
    for (let n = 0; n < 200; n++) signals.push(await wait(n % 2 === 0))
    for (let n = 0; n < 20; n++) {
      await settle()
      collectGarbage?.()
    }
    // A few may stand on a stack or in a register still.
    expect(signals.filter((signal) => signal.deref() !== undefined).length).toBeLessThan(20)
    expect(pool.state().waiting).toBe(0)
  },
)

import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, tracingChannel } from 'node:diagnostics_channel'

import { afterEach, expect, test } from 'vitest'

import {
  type AcquireTrace,
  CHANNELS,
  livePools,
  type OpenTrace,
  Pool,
  type PoolOptions,
  TRACING_CHANNELS,
} from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'

function make(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const pool = new Pool(manager, { clock, ...options })
  return { manager, clock, pool }
}

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

// What a tracing channel tells of one pool, as words.
function trace<T extends { poolId: number }>(name: string, poolId: () => number) {
  const told: [string, T][] = []
  const listen =
    (what: string) =>
    (message: unknown): void => {
      const context = message as T
      if (context.poolId === poolId()) told.push([what, { ...context }])
    }
  const subscribers = {
    start: listen('start'),
    end: listen('end'),
    asyncStart: listen('asyncStart'),
    asyncEnd: listen('asyncEnd'),
    error: listen('error'),
  }
  tracingChannel(name).subscribe(subscribers)
  cleanups.push(() => tracingChannel(name).unsubscribe(subscribers))
  return told
}

// What the plain channels tell of one pool.
function listen(pool: string) {
  const told: [string, Record<string, unknown>][] = []
  for (const name of Object.values(CHANNELS)) {
    const hear = (message: unknown): void => {
      const { pool: from, poolId: _, ...rest } = message as { pool: string; poolId: number }
      if (from === pool) told.push([name.slice('cenote:'.length), rest])
    }
    channel(name).subscribe(hear)
    cleanups.push(() => channel(name).unsubscribe(hear))
  }
  return told
}

test('an acquire is traced from its call to its lease, direct or after waiting, and one that fails to its error', async () => {
  const { pool, clock } = make({ maxSize: 1, name: 'traced', acquireTimeoutMs: 50 })
  const told = trace<AcquireTrace>(TRACING_CHANNELS.acquire, () => pool.look().poolId)
  const first = await pool.acquire()
  const second = pool.acquire()
  await clock.advance(20)
  first.release()
  const lease = await second
  const late = pool.acquire().catch(() => {})
  await clock.advance(50)
  await late
  lease.release()
  ;(await pool.acquire()).release()
  const pairs = told.map(([what, { waiting, connection, waitMs, error }]) => [
    what,
    { waiting, connection, waitMs, error },
  ])
  const none = { connection: undefined, waitMs: undefined, error: undefined }
  const after = (what: string, waiting: number, waitMs: number) => [
    what,
    { waiting, connection: 1, waitMs, error: undefined },
  ]
  expect(pairs.slice(0, 4)).toEqual([
    ['start', { waiting: 0, ...none }],
    ['end', { waiting: 0, ...none }],
    after('asyncStart', 0, 0),
    after('asyncEnd', 0, 0),
  ])
  expect(pairs).toContainEqual(after('asyncEnd', 0, 20))
  expect(pairs.filter(([what]) => what === 'start')).toHaveLength(4)
  expect(pairs.filter(([what]) => what === 'asyncEnd')).toHaveLength(4)
})

test('an acquire that times out, and a connect that fails, are traced with the name of their error', async () => {
  const { pool, manager, clock } = make({ maxSize: 1, acquireTimeoutMs: 500 })
  const acquires = trace<AcquireTrace>(TRACING_CHANNELS.acquire, () => pool.look().poolId)
  const opens = trace<OpenTrace>(TRACING_CHANNELS.open, () => pool.look().poolId)
  manager.connects.push(
    Promise.reject(Object.assign(new Error('secret host'), { code: 'ECONNREFUSED' })),
    'never',
  )
  const failed = pool.acquire().catch(() => {})
  await clock.advance(500)
  await failed
  await pool.close()
  await settle()
  expect(acquires.map(([what, { error }]) => [what, error])).toEqual([
    ['start', undefined],
    ['end', undefined],
    ['error', 'AcquireTimeoutError'],
    ['asyncStart', 'AcquireTimeoutError'],
    ['asyncEnd', 'AcquireTimeoutError'],
  ])
  const ends = opens.filter(([what]) => what === 'asyncEnd')
  expect(ends.map(([, { connection, error }]) => [connection, error])).toEqual([
    [1, 'Error ECONNREFUSED'],
    [2, 'AbandonedError'],
  ])
  expect(JSON.stringify(opens)).not.toContain('secret')
})

test('a tracer that binds a store to start sees it while the acquire begins, and the caller keeps its own', async () => {
  const { pool } = make({ maxSize: 1 })
  const store = new AsyncLocalStorage<string>()
  const channel = tracingChannel(TRACING_CHANNELS.acquire)
  channel.start.bindStore(store, () => 'span')
  const seen: unknown[] = []
  const subscribers = { asyncEnd: () => seen.push(store.getStore()) } as never
  channel.subscribe(subscribers)
  cleanups.push(() => {
    channel.start.unbindStore(store)
    channel.unsubscribe(subscribers)
  })
  await store.run('request', async () => {
    using lease = await pool.acquire()
    seen.push(store.getStore(), lease.connection.id)
  })
  expect(seen).toEqual(['span', 'request', 1])
})

test('without listeners no payload is built, and the promise of a direct acquire is the pool’s own', async () => {
  const { pool } = make({ maxSize: 1 })
  // Bun has no such property.
  const none = process.versions['bun'] === undefined ? false : undefined
  expect(tracingChannel(TRACING_CHANNELS.acquire).hasSubscribers).toBe(none)
  for (const name of Object.values(CHANNELS)) expect(channel(name).hasSubscribers, name).toBe(false)
  using lease = await pool.acquire()
  expect(lease.connection.id).toBe(1)
})

test('checks, closes, aborts and changes of a pool are published, each with its numbers', async () => {
  const told = listen('changed')
  const { pool, manager, clock } = make({ name: 'changed', maxSize: 2, validationBypassMs: 0 })
  const lease = await pool.acquire()
  await clock.advance(30)
  const controller = new AbortController()
  pool.pause()
  const waits = pool.acquire({ signal: controller.signal }).catch(() => {})
  await clock.advance(5)
  controller.abort()
  await waits
  pool.resume()
  lease.release()
  ;(await pool.acquire()).release()
  manager.checks.push('fail')
  ;(await pool.acquire()).release()
  await pool.resize({ maxSize: 1 })
  pool.clear()
  await pool.close()
  expect(told).toContainEqual(['abort', { waitMs: 5 }])
  expect(told).toContainEqual(['check', { connection: 1, passed: true, checkMs: 0 }])
  expect(told).toContainEqual(['check', { connection: 1, passed: false, checkMs: 0 }])
  expect(told).toContainEqual(['close', { connection: 1, reason: 'invalid', ageMs: 35 }])
  expect(told).toContainEqual(['closed', { connection: 1, closeMs: 0 }])
  expect(
    told.filter(([name]) => name === 'change').map(([, change]) => [change['what'], change['maxSize']]),
  ).toEqual([
    ['made', 2],
    ['paused', 2],
    ['resumed', 2],
    ['resized', 1],
    ['cleared', 1],
    ['closing', 1],
    ['closed', 1],
  ])
})

test('each connection is published as opened once and closed once, and each lease as acquired once and released once', async () => {
  const told = listen('paired')
  const { pool, clock } = make({ name: 'paired', maxSize: 3 })
  pool.add({ id: 99, broken: false, invalid: false, open: true, lost: () => {} })
  const waits = Array.from({ length: 20 }, (_, index) =>
    pool.run(() => new Promise((resolve) => clock.setTimeout(() => resolve(undefined), 5 + index))),
  )
  pool.tryAcquire()?.release()
  await clock.advance(500)
  await Promise.all(waits)
  await pool.close()
  const numbers = (name: string): number[] =>
    told
      .filter(([each]) => each === name)
      .map(([, { connection }]) => connection as number)
      .toSorted((a, b) => a - b)
  expect(numbers('open')).toEqual(numbers('close'))
  expect(numbers('open')).toEqual(numbers('closed'))
  expect(numbers('acquire')).toEqual(numbers('release'))
  expect(numbers('acquire').length).toBeGreaterThanOrEqual(20)
})

test('two pools of one name are distinguished by their number', async () => {
  const [one, other] = [make({ name: 'same' }), make({ name: 'same' })]
  expect(one.pool.look().poolId).not.toBe(other.pool.look().poolId)
  const ids = new Set<number>()
  const hear = (message: unknown): void => void ids.add((message as { poolId: number }).poolId)
  channel(CHANNELS.acquire).subscribe(hear)
  cleanups.push(() => channel(CHANNELS.acquire).unsubscribe(hear))
  ;(await one.pool.acquire()).release()
  ;(await other.pool.acquire()).release()
  expect([...ids]).toEqual([one.pool.look().poolId, other.pool.look().poolId])
})

test('livePools lists every pool until it is closed', async () => {
  const { pool } = make()
  const { pool: second } = make()
  expect(livePools()).toEqual(expect.arrayContaining([pool, second]))
  await pool.close()
  expect(livePools()).not.toContain(pool)
  expect(livePools()).toContain(second)
  await second.close()
})

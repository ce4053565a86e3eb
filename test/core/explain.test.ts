import { inspect, stripVTControlCharacters } from 'node:util'

import { expect, test } from 'vitest'

import { explain, formatState, Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'

function make(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock(undefined, 1_000_000)
  const pool = new Pool(manager, { clock, name: 'orders', ...options })
  const wait = (): void => void pool.acquire().catch(() => {})
  return { manager, clock, pool, wait }
}

test('a pool that serves is healthy', async () => {
  const { pool } = make()
  using _ = await pool.acquire()
  expect(explain(pool)).toEqual({
    condition: 'healthy',
    severity: 'ok',
    text: 'all is well: 1 of 10 in use, no caller waits.',
    holders: [{ by: undefined, connections: 1, longestMs: 0 }],
  })
})

test('a lease beyond its leak threshold is never called well, also below a second', async () => {
  const { pool, clock } = make({ leakThresholdMs: 100 })
  using _ = await pool.acquire()
  await clock.advance(99)
  expect(explain(pool).condition).toBe('healthy')
  await clock.advance(1)
  const { condition, text } = explain(pool)
  expect(condition).toBe('held')
  expect(text).not.toContain('all is well')
  expect(text).toMatch(/held for 100 ms by .*explain\.test\.ts/)
})

test('held connections: the text has their time, their holders and the waiting callers', async () => {
  const { pool, clock, wait } = make({ maxSize: 2, leakThresholdMs: 1_000_000 })
  // Named and awaited: on Bun a tail call leaves no frame, and that of an async arrow function has no name.
  async function createOrder() {
    return await pool.acquire()
  }
  await createOrder()
  await createOrder()
  await clock.advance(1_000)
  wait()
  await clock.advance(3_000)
  const { condition, severity, text, holders } = explain(pool)
  expect([condition, severity]).toEqual(['held', 'problem'])
  expect(holders).toEqual([
    {
      by: expect.stringMatching(/^createOrder \(explain\.test\.ts:\d+\)$/),
      connections: 2,
      longestMs: 4_000,
    },
  ])
  expect(text).toMatch(
    /^all 2 connections have been held for at least 4 s by createOrder \(explain\.test\.ts:\d+\); 1 caller waits, the first for 3 s: a slow query or a missing release\.$/,
  )
})

test('a holder stays known after its leak was reported; holderOf is called for a holder that the pool does not know', async () => {
  const reported = make({ maxSize: 1, leakThresholdMs: 100 })
  await reported.pool.acquire()
  await reported.clock.advance(60_000)
  expect(explain(reported.pool)).toMatchObject({ condition: 'held', severity: 'notice' })
  expect(explain(reported.pool).text).toContain('explain.test.ts')
  const unknown = make({ maxSize: 1 })
  await unknown.pool.acquire()
  await unknown.clock.advance(60_000)
  expect(explain(unknown.pool).text).toContain('set leakThresholdMs to see the holder')
  expect(explain(unknown.pool, { holderOf: (connection) => `job ${connection}` }).text).toContain('by job 1')
})

test('the holder that holds too long is named, not the holder of the most connections', async () => {
  const { pool, clock, wait } = make({ maxSize: 3, leakThresholdMs: 1_000_000 })
  async function forgotten() {
    return await pool.acquire()
  }
  async function usual() {
    return await pool.acquire()
  }
  await forgotten()
  await clock.advance(2_000)
  await usual()
  await usual()
  wait()
  expect(explain(pool).text).toMatch(
    /^1 connection has been held for more than 1 s, the longest for 2 s by forgotten \(explain/,
  )
})

test('one and many are distinguished, and what is under way comes before what is in use', async () => {
  const { pool, clock, wait } = make({ maxSize: 1 })
  await pool.acquire()
  wait()
  expect(explain(pool).text).toMatch(/^the only connection is in use, each for a short time/)
  await clock.advance(2_000)
  wait()
  expect(explain(pool)).toMatchObject({ condition: 'held', severity: 'problem' })
  expect(explain(pool).text).toMatch(/^the only connection has been held for at least 2 s.*; 2 callers wait/)

  const many = make({
    maxSize: 2,
    afterRelease: () => new Promise<void>(() => {}),
    validationTimeoutMs: 60_000,
  })
  const leases = [await many.pool.acquire(), await many.pool.acquire()]
  for (const lease of leases) lease.release()
  many.wait()
  expect(explain(many.pool).text).toContain('2 connections are being reset after their return')

  const closing = make({ maxSize: 2, closeTimeoutMs: 60_000 })
  closing.manager.always.close = 'never'
  for (const lease of [await closing.pool.acquire(), await closing.pool.acquire()]) lease.destroy()
  closing.wait()
  expect(explain(closing.pool).text).toMatch(/^2 slots are taken/)
  closing.pool.pause()
  expect(explain(closing.pool).text).toMatch(/1 caller waits/)
})

test('an outage while connections are still open is less of a problem, and an error may be anything', async () => {
  const { pool, manager, clock } = make({ maxSize: 3 })
  using _ = await pool.acquire()
  manager.always.connect = 'fail'
  await clock.advance(1)
  void pool.resize({ minIdle: 1 })
  await clock.advance(20)
  expect(explain(pool)).toMatchObject({ condition: 'cannotConnect', severity: 'notice' })
  expect(explain(pool).text).toMatch(/1 connection is still open, no caller waits/)
  for (const [thrown, text] of [
    ['a text', 'a text'],
    [Object.assign(new Error(''), { code: 'ECONNRESET' }), 'Error ECONNRESET'],
    [new Error('x'.repeat(500)), `${'x'.repeat(200)}…`],
  ] as const) {
    const other = make()
    const failure = Promise.reject(thrown)
    failure.catch(() => {})
    other.manager.connects.push(failure)
    other.wait()
    await other.clock.advance(1)
    expect(explain(other.pool).text).toContain(`(${text})`)
  }
})

test('a long time is written in minutes', async () => {
  const { pool, clock } = make()
  await pool.acquire()
  await clock.advance(200_000)
  expect(explain(pool).text).toContain('held for 3 min 20 s')
})

test('formatState of a pool in trouble has the waiting callers, the closed connections with reasons, and a bar that fits', async () => {
  const { pool, wait, clock } = make({ maxSize: 400 })
  ;(await pool.acquire()).destroy()
  pool.pause()
  wait()
  await clock.advance(50)
  const text = formatState(pool, { colour: false })
  expect(text).toContain('1 waiting, the first for 50 ms')
  expect(text).toContain('1 closed (destroyed 1)')
  expect(text).toContain('problem  the pool is paused')
  expect(text.split('\n')[0]?.match(/\[.*\]/)?.[0]).toHaveLength(42)
})

test('more work than connections is distinguished from connections that are not returned', async () => {
  const { pool, wait } = make({ maxSize: 1 })
  await pool.acquire()
  wait()
  expect(explain(pool)).toMatchObject({ condition: 'busy', severity: 'notice' })
  expect(explain(pool).text).toMatch(/more work than connections. Raise maxSize/)
})

test('a server that cannot be reached: why, how many wait, when the next attempt is; never a password', async () => {
  const { pool, manager, clock, wait } = make()
  manager.connects.push(Promise.reject(new Error('connect to\npostgres://app:hunter2@db:5432 failed')))
  manager.always.connect = 'never'
  wait()
  await clock.advance(1)
  const { condition, severity, text } = explain(pool)
  expect([condition, severity]).toEqual(['cannotConnect', 'problem'])
  expect(text).toMatch(/connect to postgres:\/\/\*\*\*@db:5432 failed/)
  expect(text).toMatch(
    /no connection is open, 1 caller waits, the first for 1 ms; the next attempt is in \d+ ms/,
  )
  expect(text).not.toContain('hunter2')
  await clock.advance(5_000)
  expect(explain(pool).text).toContain('an attempt is running')
})

test('slow connects, checks, resets and closes each have their own word', async () => {
  const opening = make({ maxSize: 1 })
  opening.manager.always.connect = 'never'
  opening.wait()
  await opening.clock.advance(2_000)
  expect(explain(opening.pool)).toMatchObject({ condition: 'connecting', severity: 'problem' })

  const checking = make({ maxSize: 1, validationBypassMs: 0 })
  ;(await checking.pool.acquire()).release()
  checking.manager.always.isValid = 'never'
  checking.wait()
  checking.wait()
  expect(explain(checking.pool).condition).toBe('checking')

  const resetting = make({ maxSize: 1, afterRelease: () => new Promise<void>(() => {}) })
  ;(await resetting.pool.acquire()).release()
  resetting.wait()
  expect(explain(resetting.pool).condition).toBe('resetting')

  const closing = make({ maxSize: 1 })
  closing.manager.always.close = 'never'
  ;(await closing.pool.acquire()).destroy()
  closing.wait()
  expect(explain(closing.pool)).toMatchObject({ condition: 'closing', severity: 'problem' })
})

test('paused, shrinking and closed pools say so', async () => {
  const { pool, wait } = make({ maxSize: 2 })
  const [one, two] = [await pool.acquire(), await pool.acquire()]
  pool.pause()
  expect(explain(pool)).toMatchObject({ condition: 'paused', severity: 'notice' })
  wait()
  expect(explain(pool)).toMatchObject({ condition: 'paused', severity: 'problem' })
  pool.resume()
  void pool.resize({ maxSize: 1 })
  expect(explain(pool)).toMatchObject({ condition: 'shrinking' })
  const closed = pool.close()
  expect(explain(pool).text).toBe('the pool is closed: close() waits for 2 leases.')
  one.release()
  two.release()
  await closed
  expect(explain(pool)).toMatchObject({ condition: 'closed', severity: 'ok' })
})

test('formatState prints a few lines, with and without colour, and console.log of a pool one', async () => {
  const { pool, clock } = make({ maxSize: 4, minIdle: 2, leakThresholdMs: 1_000 })
  await clock.advance(1)
  async function work() {
    return await pool.acquire()
  }
  await work()
  await clock.advance(5_000)
  const text = formatState(pool, { colour: false })
  const lines = text.split('\n')
  expect(lines[0]).toBe('orders [#--.] 1 in use, 2 idle, 0 opening, 0 closing, of 4')
  expect(lines[1]).toBe('  queue  0 waiting; waits p50 0 ms, p99 0 ms, longest 0 ms')
  expect(lines[2]).toBe('  ended  1 served, 0 timed out, 0 aborted, 0 refused')
  expect(lines[3]).toBe('  server 3 opened, 0 failed, 0 closed')
  expect(lines[4]).toMatch(/^ {2}held {3}1 by work \(explain\.test\.ts:\d+\), the longest for 5 s$/)
  expect(lines[5]).toMatch(
    /^ {2}notice {2}1 of 4 in use, no caller waits, but a connection has been held for 5 s by work \(explain/,
  )
  const painted = formatState(pool, { colour: true })
  expect(painted).not.toBe(text)
  expect(stripVTControlCharacters(painted)).toBe(text)
  expect(inspect(pool)).toBe("Pool 'orders' (1 of 4 in use, 0 waiting, 0 opening, 2 idle)")
})

// What the sweeps do, to the millisecond.
import { expect, test } from 'vitest'

import { make } from './exact-pool.ts'

test('a replacement is opened two sweeps ahead, but not before half of the lifetime', async () => {
  const options = { maxSize: 2, minIdle: 1, lifetimeJitter: 0, maxLifetimeMs: 1_000, idleTimeoutMs: 60_000 }
  const opened = async (reapIntervalMs: number, ...times: number[]): Promise<number[]> => {
    const { manager, clock } = make({ ...options, reapIntervalMs })
    const counts: number[] = []
    let now = 0
    for (const time of times) {
      await clock.advance(time - now)
      now = time
      counts.push(manager.calls.connect)
    }
    return counts
  }
  // Half of the lifetime comes later than two sweeps ahead.
  expect(await opened(450, 449, 899, 900)).toEqual([1, 1, 2])
  // Two sweeps ahead come later.
  expect(await opened(200, 599, 600)).toEqual([1, 2])
  // At the very millisecond.
  expect(await opened(500, 499, 500)).toEqual([1, 2])
})

test('a sweep closes a connection whose lifetime or idle time ends in the same millisecond', async () => {
  for (const [options, reason] of [
    [{ maxLifetimeMs: 1_000, idleTimeoutMs: 60_000 }, 'lifetime'],
    [{ maxLifetimeMs: 60_000, idleTimeoutMs: 1_000 }, 'idle'],
  ] as const) {
    const { pool, clock } = make({ lifetimeJitter: 0, reapIntervalMs: 500, ...options })
    ;(await pool.acquire()).release()
    await clock.advance(999)
    expect(pool.state()).toMatchObject({ idle: 1 })
    await clock.advance(1)
    expect(pool.state()).toMatchObject({ idle: 0, statistics: { closed: { [reason]: 1 } } })
    // Nothing is left to sweep: the last timer is the deadline's, which is left where it was.
    await clock.advance(1_000)
    expect(clock.timers).toBe(1)
  }
})

test('a sweep that closes many leaves as many as minIdle', async () => {
  const { pool, clock } = make({ maxSize: 4, minIdle: 2, reapIntervalMs: 500, idleTimeoutMs: 500 })
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire()])
  for (const lease of leases) lease.release()
  await clock.advance(500)
  expect(pool.state()).toMatchObject({ idle: 2 })
})

test('a connection is kept alive once an interval, and not when it was used within it', async () => {
  const { pool, manager, clock } = make({
    maxSize: 2,
    keepaliveMs: 100,
    reapIntervalMs: 50,
    idleTimeoutMs: 60_000,
  })
  const [first, second] = [await pool.acquire(), await pool.acquire()]
  first.release()
  await clock.advance(80)
  second.release()
  const checks: number[] = []
  for (let sweep = 0; sweep < 5; sweep++) {
    await clock.advance(sweep === 0 ? 20 : 50)
    checks.push(manager.calls.isValid)
  }
  // Sweeps at 100, 150, 200, 250, 300: the first since 0 and then since its check; the second since 80.
  expect(checks).toEqual([1, 1, 3, 3, 5])
})

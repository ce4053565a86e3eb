import { afterEach, expect, test, vi } from 'vitest'

import { systemClock } from '../../src/core/contract/clock.ts'
import { Pool } from '../../src/index.ts'

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

test('a timer rings once, and one that was cleared does not', async () => {
  const rung: string[] = []
  const cleared = systemClock.setTimeout(() => rung.push('cleared'), 1)
  const done = Promise.withResolvers<void>()
  systemClock.setTimeout(() => (rung.push('rings'), done.resolve()), 2)
  systemClock.clearTimeout(cleared)
  await done.promise
  expect(rung).toEqual(['rings'])
})

test('a pool keeps the time of fake timers, also of ones that came after it was loaded', async () => {
  const real = systemClock.now()
  vi.useFakeTimers({ now: 0 })
  const before = systemClock.now()
  expect(before).toBe(performance.now())
  const pool = new Pool({
    connect: () => new Promise<object>(() => {}),
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  })
  const outcome = expect(pool.acquire({ timeoutMs: 60_000 })).rejects.toMatchObject({
    name: 'AcquireTimeoutError',
    timeoutMs: 60_000,
  })
  await vi.advanceTimersByTimeAsync(60_000)
  await outcome
  expect(systemClock.now()).toBe(before + 60_000)
  await pool.close({ timeoutMs: 0 })
  vi.useRealTimers()
  expect(systemClock.now() - real).toBeLessThan(60_000)
  expect(systemClock.now()).toBeGreaterThanOrEqual(real)
})

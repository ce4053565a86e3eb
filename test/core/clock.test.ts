import { afterEach, expect, test, vi } from 'vitest'

import { systemClock } from '../../src/core/clock.ts'
import { Pool } from '../../src/index.ts'

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('the coarse hand moves with each turn of the event loop, and after 64 readings within one', async () => {
  await turn()
  let time = 0
  const exact = vi.spyOn(performance, 'now').mockImplementation(() => ++time)
  const immediates = vi.spyOn(globalThis, 'setImmediate')
  const readings = (count: number): number[] =>
    Array.from({ length: count }, () => systemClock.recent?.() as number)
  expect(new Set(readings(65))).toEqual(new Set([1]))
  expect(new Set(readings(65))).toEqual(new Set([2]))
  expect([exact.mock.calls.length, immediates.mock.calls.length]).toEqual([2, 1])
  for (const next of [3, 4]) {
    await turn()
    expect(readings(2)).toEqual([next, next])
  }
  // One for each turn in which it was read, and two of this test.
  expect(immediates.mock.calls.length).toBe(1 + 2 + 2)
  expect(systemClock.now()).toBe(5)
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

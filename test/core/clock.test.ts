import { afterEach, expect, test, vi } from 'vitest'

import { systemClock } from '../../src/core/clock.ts'

afterEach(() => vi.restoreAllMocks())

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

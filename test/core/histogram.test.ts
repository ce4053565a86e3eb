import { expect, test } from 'vitest'

import { Histogram } from '../../src/core/runtime/histogram.ts'

const percentile = (...durations: number[]): number => {
  const histogram = new Histogram()
  for (const each of durations) histogram.record(each)
  // One that is longer than all, so that the edge of the bucket shows and not the maximum.
  histogram.record(1e12)
  return histogram.percentiles([0.5])[0] as number
}

test.each([
  [0, 0.001],
  [0.03, 0.031],
  [0.031, 0.032],
  [0.032, 0.033],
  [0.063, 0.064],
  [0.064, 0.066],
  [1, 1.008],
  [1_000, 1_015.808],
  [2 ** 31 / 1_000, (2 ** 31 * 33) / 32 / 1_000],
  [2 ** 32 / 1_000, (2 ** 32 * 33) / 32 / 1_000],
  [1e8, 100_931_731.456],
])('a wait of %d ms is told as %d', (durationMs, edge) => {
  expect(percentile(durationMs)).toBeCloseTo(edge, 6)
})

test('the maximum is exact, in whatever order values come', () => {
  const histogram = new Histogram()
  expect(histogram.percentiles([0.5, 1])).toEqual([0, 0])
  histogram.record(7.123)
  histogram.record(3)
  expect(histogram.maxMs).toBe(7.123)
  expect(histogram.totalMs).toBeCloseTo(10.123)
  expect(histogram.percentiles([0, 1])[1]).toBe(7.123)
  histogram.record(2 ** 45)
  expect(histogram.percentiles([1])[0]).toBeLessThanOrEqual(2 ** 45)
  expect(histogram.percentiles([1])[0]).toBeGreaterThan(2 ** 40 / 1_000)
})

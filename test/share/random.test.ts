import { expect, test } from 'vitest'

import { Life } from './life.ts'

// CENOTE_RUNS=100000 npx vitest run test/share/random.test.ts simulates many more lives; CENOTE_SEED repeats one.
const RUNS = Number(process.env['CENOTE_RUNS'] ?? 80)
const given = process.env['CENOTE_SEED']
// Without CENOTE_RUNS the same lives each time.
const isLong = process.env['CENOTE_RUNS'] !== undefined
const first = given === undefined ? (isLong ? Math.trunc(Math.random() * 2 ** 31) : 1) : Number(given)

test(`random lives of shares keep S1 to S7 (seeds from ${first})`, { timeout: 24 * 3_600_000 }, async () => {
  const failed: string[] = []
  for (let seed = first; seed < first + (given === undefined ? RUNS : 1); seed++) {
    await new Life(seed).live(60).catch((error: unknown) => failed.push(`seed ${seed}: ${String(error)}`))
    if (failed.length > 3) break
  }
  expect(failed).toEqual([])
})

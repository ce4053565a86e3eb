// A guard against slow paths that is deaf to noise: bytes for each operation, and the best of many short rounds beside a bare array's best, in one process.
import { spawnSync } from 'node:child_process'

import { expect, test } from 'vitest'

import { CASE_NAMES } from '../../bench/micro/cases.ts'

const GUARD = `
import { Pool } from './src/index.ts'
const manager = { connect: async () => ({}), isValid: () => true, hasBroken: () => false, close: () => {} }
const pool = new Pool(manager, { maxSize: 10 })
const free = [{}]
const ours = async (n) => { for (let i = 0; i < n; i++) (await pool.acquire()).release() }
const bare = async (n) => { for (let i = 0; i < n; i++) free.push(await Promise.resolve(free.pop())) }
await ours(50_000); await bare(50_000)
const best = { ours: Infinity, bare: Infinity }
for (let round = 0; round < 60; round++) {
  for (const [name, work] of [['ours', ours], ['bare', bare]]) {
    const startedAt = performance.now()
    await work(2_000)
    best[name] = Math.min(best[name], performance.now() - startedAt)
  }
}
// Between two collections of garbage the heap only grows: the least growth of many short rounds is what was allocated.
let bytes = Infinity
for (let round = 0; round < 60; round++) {
  gc({ type: 'minor' })
  const before = process.memoryUsage().heapUsed
  await ours(500)
  const grown = process.memoryUsage().heapUsed - before
  if (grown > 0) bytes = Math.min(bytes, grown / 500)
}
const waits = Array.from({ length: 20_000 })
const held = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()))
gc()
const before = process.memoryUsage().heapUsed
for (let n = 0; n < waits.length; n++) waits[n] = pool.acquire()
gc()
const perWaiter = (process.memoryUsage().heapUsed - before) / waits.length
const errors = Array.from({ length: 20_000 })
const late = new Pool(manager, { maxSize: 1, acquireTimeoutMs: 100 })
let last = await late.acquire()
await Promise.all(errors.map((_, n) => late.acquire().catch((error) => void (errors[n] = error))))
gc()
const withErrors = process.memoryUsage().heapUsed
const seen = errors.every((error) => error.code === 'ACQUIRE_TIMEOUT')
errors.length = 0
gc()
const perTimeout = (withErrors - process.memoryUsage().heapUsed) / 20_000
const withNone = process.memoryUsage().heapUsed
for (let priority = 1; priority <= 20_000; priority++) {
  const next = late.acquire({ priority })
  last.release()
  last = await next
}
gc()
const perPriority = (process.memoryUsage().heapUsed - withNone) / 20_000
console.log(JSON.stringify({ ratio: best.ours / best.bare, bytes, perWaiter, perTimeout, perPriority, seen, held: [held, last].length }))
process.exit()
`

test('a checkout allocates no more than it does, and costs no more next to a bare array', () => {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', GUARD],
    { encoding: 'utf8', timeout: 60_000 },
  )
  expect(stderr).toBe('')
  const { seen, ...figures } = JSON.parse(stdout) as Record<string, number | boolean>
  const { ratio, bytes, perWaiter, perTimeout, perPriority } = figures
  console.log(figures)
  expect(seen).toBe(true)
  expect(bytes).toBeLessThan(350)
  expect(perWaiter).toBeLessThan(390)
  // The error of each: its text is one for all.
  expect(perTimeout).toBeLessThan(200)
  // Of a priority that nobody waits with any more nothing is kept.
  expect(perPriority).toBeLessThan(20)
  expect(ratio).toBeLessThan(6)
}, 70_000)

test('the benchmark runs each case and names what it does not know', () => {
  const bench = (...argv: string[]) =>
    spawnSync(process.execPath, ['bench/micro/main.ts', ...argv], { encoding: 'utf8', timeout: 60_000 })
  const { stdout } = bench('--case', 'run', '--rounds', '1', '--json')
  expect(JSON.parse(stdout)).toMatchObject({ figures: { run: { cenote: { median: expect.any(Number) } } } })
  const { status, stderr } = bench('--case', 'fast')
  expect([status, stderr]).toEqual([
    2,
    `cenote bench: --case must be one of ${CASE_NAMES.join(', ')} (got 'fast'). See --help\n`,
  ])
}, 70_000)

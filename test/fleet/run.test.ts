import { spawnSync } from 'node:child_process'

import { expect, test } from 'vitest'

import { mostIn2 } from '../../bench/fleet/run.ts'

// Against a hang only. Two dozen processes begin in a run of 24 s: on a busy machine that takes longer than the load.
const GUARD_MS = 200_000

const fleet = (...argv: string[]) =>
  spawnSync(process.execPath, ['bench/fleet/main.ts', ...argv], { encoding: 'utf8', timeout: GUARD_MS })

// Redis is the installed one, started for the run.
const hasRedis = process.env['CI'] === 'true' || spawnSync('redis-server', ['--version']).status === 0

// Too short to say how much of the budget is used between the faults: that needs the whole run.
test.each(hasRedis ? ['redis', 'postgres'] : ['postgres'])(
  'real processes with faults, the roster in %s: no caller sees an error, the server never more than the budget',
  (store) => {
    const { stdout, stderr } = fleet('--seconds', '24', '--store', store, '--json')
    expect(stderr).toBe('')
    const { results } = JSON.parse(stdout) as {
      results: { errors: object; mostBackends: number; served: number; faults: unknown[] }[]
    }
    const [run] = results
    expect(run?.errors).toEqual({})
    expect(run?.mostBackends, stdout).toBeLessThanOrEqual(30)
    expect(run?.served).toBeGreaterThan(5_000)
    expect(run?.faults.length).toBeGreaterThanOrEqual(3)
  },
  GUARD_MS + 10_000,
)

test('a backend that is ending is not one too many, and one that stays is', () => {
  expect(mostIn2([])).toBe(0)
  expect(mostIn2([30, 31, 30])).toBe(30)
  expect(mostIn2([30, 31, 32, 30])).toBe(31)
})

test('a wrong argument is named, with what is allowed', () => {
  const { status, stderr } = fleet('--store', 'etcd')
  expect([status, stderr]).toEqual([
    2,
    "cenote fleet: --store must be one of redis, postgres (got 'etcd'). See --help\n",
  ])
})

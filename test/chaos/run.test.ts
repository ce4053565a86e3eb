import { spawnSync } from 'node:child_process'

import { expect, test } from 'vitest'

const chaos = (...argv: string[]) =>
  spawnSync(process.execPath, ['bench/chaos/main.ts', ...argv], { encoding: 'utf8', timeout: 100_000 })

test('with retries no caller sees an error, nothing hangs and nothing is left at the server', () => {
  const { stdout } = chaos('--seconds', '25', '--json')
  const { seed, pools } = JSON.parse(stdout) as { seed: number; pools: Record<string, unknown> }
  expect([seed, pools['cenote with retries']]).toEqual([
    seed,
    expect.objectContaining({ errors: 0, hung: 0, unhandled: 0, leaked: 0, closed: true }),
  ])
  expect(Object.keys(pools)).toContain('pg-pool')
}, 110_000)

test('a wrong argument is named, with what is allowed', () => {
  const { status, stderr } = chaos('--seconds', '5')
  expect([status, stderr]).toEqual([
    2,
    "cenote chaos: --seconds must be an integer from 10 to 3600 (got '5'). See --help\n",
  ])
})

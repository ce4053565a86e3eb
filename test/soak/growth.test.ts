import { spawnSync } from 'node:child_process'

import { expect, inject, test } from 'vitest'

import { grown, type Sample } from '../../bench/soak/growth.ts'

const MIB = 2 ** 20
const samples = (each: (n: number) => Partial<Sample>): Sample[] =>
  Array.from({ length: 60 }, (_, n) => ({
    atMs: n * 1_000,
    heap: 14 * MIB + (n % 3) * 300_000,
    external: 9 * MIB,
    handles: 20 + (n % 7),
    listeners: n % 3,
    ...each(n),
  }))

test('what comes and goes has not grown, nor has what a start needs', () => {
  expect(grown(samples(() => ({})))).toEqual([])
  expect(grown(samples((n) => ({ heap: n < 20 ? n * MIB : 20 * MIB })))).toEqual([])
})

test('continued growth is reported, however slow it is', () => {
  expect(grown(samples((n) => ({ heap: 14 * MIB + n * 100_000 })))).toEqual([
    expect.stringMatching(/^heap grew from \d+ to \d+: the limit is 1500000 more$/),
  ])
  expect(grown(samples((n) => ({ external: n * MIB })))).toHaveLength(1)
  expect(grown(samples((n) => ({ handles: 3 * n })))).toHaveLength(1)
  expect(grown(samples((n) => ({ listeners: n })))).toEqual([
    expect.stringMatching(/^listeners grew/),
    expect.stringMatching(/^59 listeners on one signal/),
  ])
})

test('a run that was too short reports nothing', () => {
  expect(grown(samples(() => ({})).slice(0, 4))).toEqual(['only 4 samples: too few to tell'])
})

test.skipIf(inject('postgresUrl') === '')(
  'pools that work hard for a quarter of a minute leave nothing',
  () => {
    const { status, stdout } = spawnSync(
      process.execPath,
      ['--expose-gc', 'bench/soak/main.ts', '--seconds', '15'],
      { encoding: 'utf8', timeout: 60_000, env: { ...process.env, CENOTE_PG_URL: inject('postgresUrl') } },
    )
    expect([status, stdout]).toEqual([0, expect.stringContaining('all is flat')])
  },
  70_000,
)

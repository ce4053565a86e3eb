import { spawnSync } from 'node:child_process'

import { expect, inject, test } from 'vitest'

import type { FleetResult } from '../../bench/group/fleet-run.ts'

const url = inject('postgresUrl')

test.skipIf(url === '')(
  'groups of two processes share one budget: no backend above it, no error, and the busy process gets what the idle one leaves',
  () => {
    const argv = ['bench/group/main.ts', '--processes', '2', '--seconds', '6', '--url', url, '--json']
    const { stdout, status } = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 60_000 })
    const result = JSON.parse(stdout) as FleetResult
    expect([status, result]).toEqual([0, expect.objectContaining({ errors: [], hanging: 0 })])
    expect(result.mostBackends).toBeLessThanOrEqual(result.budget)
    expect(result.largestShare).toBeGreaterThan(result.budget / 2)
  },
  70_000,
)

import { expect, test } from 'vitest'

import { type Columns, columnsOf, worseThanPeers } from '../../chaos/columns.ts'
import type { ContenderName } from '../../chaos/contenders.ts'
import { FAULTS, schedule } from '../../chaos/faults.ts'
import type { Request } from '../../chaos/messages.ts'
import { Random } from '../../sim/random.ts'

const served = (from: number, to: number, tookMs = 12): Request[] =>
  Array.from({ length: (to - from) / 10 }, (_, n) => ({ at: from + n * 10, tookMs, error: undefined }))
const failed = (from: number, to: number): Request[] =>
  served(from, to).map((request) => ({ ...request, error: `no port ${request.at}` }))
const outcome = (requests: Request[]) => ({ requests, hung: 0, unhandled: 0, closed: true })

test('full service is when requests are served in time again, not the first that is', () => {
  const faults = [{ name: 'stop', beganAt: 1_000, endedAt: 3_000 }]
  const requests = [
    ...served(0, 1_000),
    ...failed(1_000, 3_200),
    ...served(3_200, 3_300),
    ...served(3_300, 4_000, 900),
    ...served(4_000, 8_000),
  ]
  const columns = columnsOf(outcome(requests), faults, 0)
  expect(columns).toMatchObject({
    requests: 800,
    errors: 220,
    longestMs: 900,
    recoveriesMs: [1_000],
    messages: { 'no port …': 220 },
  })
  expect(columnsOf(outcome(served(0, 8_000)), faults, 0).recoveriesMs).toEqual([0])
  expect(columnsOf(outcome(failed(0, 8_000)), faults, 0).recoveriesMs).toEqual([4_990])
})

test('each fault has its own time until the next', () => {
  const faults = [
    { name: 'a', beganAt: 1_000, endedAt: 1_000 },
    { name: 'b', beganAt: 3_000, endedAt: 3_000 },
  ]
  const requests = [
    ...served(0, 1_000),
    ...failed(1_000, 1_500),
    ...served(1_500, 3_000),
    ...failed(3_000, 5_000),
  ]
  expect(columnsOf(outcome(requests), faults, 0)).toMatchObject({
    recoveriesMs: [500, 1_990],
    medianRecoveryMs: 1_990,
    worstRecoveryMs: 1_990,
  })
})

test('what is worse than a peer is named, with both figures', () => {
  const good: Columns = { ...columnsOf(outcome(served(0, 1_000)), [], 0), longestMs: 100 }
  const table = (ours: Partial<Columns>, theirs: Partial<Columns> = {}) =>
    worseThanPeers(
      new Map<ContenderName, Columns>([
        ['cenote with retries', { ...good, ...ours }],
        ['cenote', { ...good, errors: 9 }],
        ['tarn', { ...good, ...theirs }],
      ]),
    )
  expect(table({})).toEqual([])
  expect(table({ longestMs: 300 })).toEqual([])
  expect(table({ longestMs: 400 })).toEqual(['longestMs: 400, tarn has 100'])
  expect(table({ leaked: 1 }, { leaked: 2 })).toEqual([])
  expect(table({ leaked: 1, unhandled: 1 })).toEqual(['unhandled: 1, tarn has 0', 'leaked: 1, tarn has 0'])
  expect(table({ errors: 1 }, { errors: 5 })).toEqual(['cenote with retries: 1 errors: allowed are none'])
  expect(table({ closed: false })).toEqual(['cenote with retries: close did not end'])
  expect(worseThanPeers(new Map())).toEqual(['cenote with retries did not run'])
})

test('a schedule has every fault once before any comes again, and at least one', () => {
  const random = new Random(1)
  const chosen = schedule(150, 5_000, () => random.next())
  expect(new Set(chosen.slice(0, FAULTS.length)).size).toBe(FAULTS.length)
  expect(chosen.length).toBeGreaterThan(FAULTS.length)
  expect(schedule(1, 5_000, () => random.next())).toHaveLength(1)
})

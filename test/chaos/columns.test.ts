import { expect, test } from 'vitest'

import { type Columns, columnsOf, judge } from '../../bench/chaos/columns.ts'
import type { ContenderName } from '../../bench/chaos/contenders.ts'
import { FAULTS, schedule } from '../../bench/chaos/faults.ts'
import type { Request } from '../../bench/chaos/messages.ts'
import { Random } from '../simulation/random.ts'

const served = (from: number, to: number, tookMs = 12): Request[] =>
  Array.from({ length: (to - from) / 10 }, (_, n) => ({ at: from + n * 10, tookMs, error: undefined }))
const failed = (from: number, to: number): Request[] =>
  served(from, to).map((request) => ({ ...request, error: `no port ${request.at}` }))
const outcome = (requests: Request[]) => ({ requests, hung: 0, unhandled: 0, closed: true })

const none = { leaked: 0, atServer: 0 }

test('full service is when requests are served in time again, not the first that is', () => {
  const faults = [{ name: 'stop', beganAt: 1_000, endedAt: 3_000 }]
  const requests = [
    ...served(0, 1_000),
    ...failed(1_000, 3_200),
    ...served(3_200, 3_300),
    ...served(3_300, 4_000, 900),
    ...served(4_000, 8_000),
  ]
  const columns = columnsOf(outcome(requests), faults, none)
  expect(columns).toMatchObject({
    requests: 800,
    errors: 220,
    longestMs: 900,
    recoveriesMs: [1_000],
    messages: { 'no port …': 220 },
  })
  expect(columnsOf(outcome(served(0, 8_000)), faults, none).recoveriesMs).toEqual([0])
  expect(columnsOf(outcome(failed(0, 8_000)), faults, none).recoveriesMs).toEqual([4_990])
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
  expect(columnsOf(outcome(requests), faults, none)).toMatchObject({
    recoveriesMs: [500, 1_990],
    medianRecoveryMs: 1_990,
    worstRecoveryMs: 1_990,
  })
})

const stops = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ name: 'stop', beganAt: n * 1_000, endedAt: n * 1_000 }))
const good: Columns = { ...columnsOf(outcome(served(0, 1_000)), [], none), longestMs: 100 }
const judged = (ours: Partial<Columns>, theirs: Partial<Columns> = {}, repeats = 0) =>
  judge(
    new Map<ContenderName, Columns>([
      ['cenote with retries', { ...good, ...ours }],
      ['cenote', { ...good, errors: 9 }],
      ['tarn', { ...good, ...theirs }],
    ]),
    stops(repeats),
  )

test('each rule that the row with retries breaks is named', () => {
  expect(judged({})).toEqual({
    worse: [],
    notMeasured: [],
    text: 'verdict: no rule broken, no peer better',
  })
  const named = (ours: Partial<Columns>) => judged(ours).worse
  expect(named({ errors: 1 })).toEqual(['cenote with retries: errors must be 0 (got 1)'])
  expect(named({ leaked: 1, unhandled: 1 })).toEqual([
    'cenote with retries: unhandled must be 0 (got 1)',
    'cenote with retries: leaked must be 0 (got 1)',
  ])
  expect(named({ closed: false })).toEqual(['cenote with retries: close did not end'])
  expect(named({ atServer: 10 })).toEqual([])
  expect(named({ atServer: 11 })).toEqual([
    'cenote with retries: statements at the server must be at most 10 (got 11)',
  ])
  expect(named({ longestMs: 10_400 })).toEqual([
    'cenote with retries: the longest wait must be at most 10000 ms (got 10400)',
  ])
  expect(judge(new Map(), []).worse).toEqual(['cenote with retries did not run'])
})

test('recoveries are compared by the medians of three repeats, and fewer are named as not measured', () => {
  const slow = { recoveriesMs: [2_700, 2_700, 2_700] }
  expect(judged(slow, { recoveriesMs: [2_700, 0, 2_600] }, 3).worse).toEqual([])
  expect(judged(slow, { recoveriesMs: [0, 0, 2_700] }, 3)).toMatchObject({
    worse: ["recovery after 'stop': 2700 ms, tarn has 0 ms"],
    text: "verdict: recovery after 'stop': 2700 ms, tarn has 0 ms",
  })
  expect(judged({ recoveriesMs: [200, 200, 200] }, { recoveriesMs: [0, 0, 0] }, 3).worse).toEqual([])
  expect(judged(slow, { recoveriesMs: [0, 0] }, 2)).toEqual({
    worse: [],
    notMeasured: ["recovery after 'stop' (2 of 3 repeats)"],
    text: "verdict: no rule broken, no peer better; not measured: recovery after 'stop' (2 of 3 repeats)",
  })
})

test('in a run with a share its rules are judged too, and only its recovery is compared', () => {
  const shared = (ours: Partial<Columns>, exclusive: Partial<Columns> = {}) =>
    judge(
      new Map<ContenderName, Columns>([
        ['cenote with retries', { ...good, ...exclusive }],
        ['cenote share with retries', { ...good, ...ours }],
        ['postgres.js', { ...good, recoveriesMs: [0, 0, 0] }],
      ]),
      stops(3),
    ).worse
  const slow = { recoveriesMs: [2_700, 2_700, 2_700] }
  expect(shared({}, slow)).toEqual([])
  expect(shared(slow)).toEqual([
    "cenote share with retries, recovery after 'stop': 2700 ms, postgres.js has 0 ms",
  ])
  expect(shared({ errors: 1 })).toEqual(['cenote share with retries: errors must be 0 (got 1)'])
  // It has no limit of a statement.
  expect(shared({ longestMs: 20_000 })).toEqual([])
})

test('a schedule has every fault once before any comes again, and at least one', () => {
  const random = new Random(1)
  const chosen = schedule(150, 5_000, () => random.next())
  expect(new Set(chosen.slice(0, FAULTS.length)).size).toBe(FAULTS.length)
  expect(chosen.length).toBeGreaterThan(FAULTS.length)
  expect(schedule(1, 5_000, () => random.next())).toHaveLength(1)
})

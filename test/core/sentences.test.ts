// Every sentence of explain and every line of formatState, word for word, from a pool that is described rather than made.
import { afterEach, describe, expect, test, vi } from 'vitest'

import { duration, explain } from '../../src/core/inspection/explain.ts'
import { formatState } from '../../src/core/inspection/format-state.ts'
import type { ConnectionInsight, InsightSource, PoolInsight } from '../../src/core/inspection/insight.ts'
import { Pool } from '../../src/index.ts'
import { ScriptedManager, VirtualClock } from '../../src/testing/index.ts'

const model = new Pool(new ScriptedManager(), { clock: new VirtualClock(), maxSize: 2 }).look()

afterEach(() => void vi.unstubAllEnvs())

type Doing = ConnectionInsight['doing']
type Overrides = Partial<Omit<PoolInsight, 'state'>> & { state?: Partial<PoolInsight['state']> }

const each = (doing: Doing, fields: Partial<ConnectionInsight> = {}): ConnectionInsight => ({
  connection: 1,
  doing,
  ageMs: 0,
  uses: 0,
  heldMs: 0,
  stack: undefined,
  ...fields,
})
const held = (...times: number[]): ConnectionInsight[] =>
  times.map((heldMs, n) => each('leased', { connection: n + 1, heldMs }))

function pool({ state, ...insight }: Overrides = {}): InsightSource {
  return {
    options: { name: 'orders', maxSize: 2, validationTimeoutMs: 5_000, closeTimeoutMs: 7_000 },
    look: () => ({ ...model, ...insight, state: { ...model.state, ...state } }),
  }
}

const one = { waiting: 1, headWaitMs: 1_000 }
const two = { waiting: 2, headWaitMs: 1_001 }
const error = new Error('connect   to pg://u:p@h\n  failed')
const ADVICE = 'Check the server, its address, its limit of connections and the credentials.'
const UNKNOWN = '(set leakThresholdMs to see the holder)'

const CASES: readonly [
  name: string,
  insight: Overrides,
  condition: string,
  severity: string,
  text: string,
][] = [
  ['closed', { state: { closed: true } }, 'closed', 'ok', 'the pool is closed.'],
  [
    'closed with a lease out',
    { state: { closed: true }, connections: held(0) },
    'closed',
    'notice',
    'the pool is closed: close() waits for 1 lease.',
  ],
  [
    'closed with leases out',
    { state: { closed: true }, connections: held(0, 0) },
    'closed',
    'notice',
    'the pool is closed: close() waits for 2 leases.',
  ],
  [
    'paused',
    { state: { paused: true } },
    'paused',
    'notice',
    'the pool is paused, no caller waits: call resume().',
  ],
  [
    'paused with callers',
    { state: { paused: true, ...two } },
    'paused',
    'problem',
    'the pool is paused, 2 callers wait, the first for 1 s: call resume().',
  ],
  [
    'no server',
    { connectError: error, retryInMs: 20 },
    'cannotConnect',
    'problem',
    `connecting fails (connect to pg://***@h failed), no connection is open, no caller waits; the next attempt is in 20 ms. ${ADVICE}`,
  ],
  [
    'no server, but connections',
    { connectError: error, state: { connections: 2 } },
    'cannotConnect',
    'notice',
    `connecting fails (connect to pg://***@h failed), 2 connections are still open, no caller waits; an attempt is running. ${ADVICE}`,
  ],
  [
    'no server, a connection and a caller',
    { connectError: error, state: { connections: 1, ...one } },
    'cannotConnect',
    'problem',
    `connecting fails (connect to pg://***@h failed), 1 connection is still open, 1 caller waits, the first for 1 s; an attempt is running. ${ADVICE}`,
  ],
  [
    'a message of just the length that is shown',
    { connectError: 'x'.repeat(200) },
    'cannotConnect',
    'problem',
    `connecting fails (${'x'.repeat(200)}), no connection is open, no caller waits; an attempt is running. ${ADVICE}`,
  ],
  [
    'shrinking',
    { connections: held(0, 0, 0), state: { ...one, maxSize: 1 } },
    'shrinking',
    'notice',
    '3 connections are open or closing, above maxSize 1 that was lowered from 2; 1 caller waits, the first for 1 s: nothing is handed out until the surplus is released.',
  ],
  [
    'one closing',
    { connections: [each('closing'), ...held(0)], state: one },
    'closing',
    'problem',
    "1 slot is taken by connections whose close has not settled (it may take closeTimeoutMs, 7 s); 1 caller waits, the first for 1 s. Find out what the manager's close waits for.",
  ],
  [
    'one closing, but more are opened and held',
    { connections: [each('closing'), ...held(0, 0)], state: { ...one, maxSize: 3 } },
    'busy',
    'notice',
    'all 2 connections are in use, each for a short time (the longest is held for 0 ms), but 1 caller waits, the first for 1 s: more work than connections. Raise maxSize if the server can sustain it, or send fewer requests.',
  ],
  [
    'one closing of which others are checked',
    { connections: [each('closing'), each('checking'), each('checking')], state: { ...two, maxSize: 3 } },
    'checking',
    'notice',
    '2 connections are being checked (a check may take validationTimeoutMs, 5 s); 2 callers wait, the first for 1 s. If this lasts, the server or a hook is slow.',
  ],
  [
    'one checked',
    { connections: [each('checking')], state: one },
    'checking',
    'notice',
    '1 connection is being checked (a check may take validationTimeoutMs, 5 s); 1 caller waits, the first for 1 s. If this lasts, the server or a hook is slow.',
  ],
  [
    'one reset',
    { connections: [each('returning')], state: one },
    'resetting',
    'notice',
    "1 connection is being reset after its return; 1 caller waits, the first for 1 s. Check afterRelease, and the manager's reset.",
  ],
  [
    'two reset',
    { connections: [each('returning'), each('returning')], state: one },
    'resetting',
    'notice',
    "2 connections are being reset after their return; 1 caller waits, the first for 1 s. Check afterRelease, and the manager's reset.",
  ],
  [
    'one opened',
    { connections: [each('opening', { ageMs: 1_000 })], state: one },
    'connecting',
    'notice',
    '1 connection is being opened, the first for 1 s; 1 caller waits, the first for 1 s.',
  ],
  [
    'two opened, slowly',
    { connections: [each('opening', { ageMs: 10 }), each('opening', { ageMs: 1_100 })], state: one },
    'connecting',
    'problem',
    '2 connections are being opened, the first for 1.1 s; 1 caller waits, the first for 1 s. The server is slow to accept connections: keep some ready with minIdle.',
  ],
  [
    'all held',
    { connections: held(1_000, 2_000), state: one },
    'held',
    'problem',
    `all 2 connections have been held for at least 1 s ${UNKNOWN}; 1 caller waits, the first for 1 s: a slow query or a missing release.`,
  ],
  [
    'some held',
    { connections: held(0, 1_000), state: one },
    'held',
    'notice',
    `1 connection has been held for more than 1 s, the longest for 1 s ${UNKNOWN}; 1 caller waits, the first for 1 s: a slow query or a missing release.`,
  ],
  [
    'two of three held',
    { connections: held(0, 1_000, 3_000), state: { ...one, maxSize: 3 } },
    'held',
    'notice',
    `2 connections have been held for more than 1 s, the longest for 3 s ${UNKNOWN}; 1 caller waits, the first for 1 s: a slow query or a missing release.`,
  ],
  [
    'the only one busy',
    { connections: held(999), state: two },
    'busy',
    'problem',
    'the only connection is in use, each for a short time (the longest is held for 999 ms), but 2 callers wait, the first for 1 s: more work than connections. Raise maxSize if the server can sustain it, or send fewer requests.',
  ],
  [
    'healthy',
    { connections: held(29_999), state: { maxSize: 10 } },
    'healthy',
    'ok',
    'all is well: 1 of 10 in use, no caller waits.',
  ],
  [
    'held, and no caller waits',
    { connections: held(30_000) },
    'held',
    'notice',
    `1 of 2 in use, no caller waits, but a connection has been held for 30 s ${UNKNOWN}: a slow query or a missing release.`,
  ],
]

describe('what explain says', () => {
  test.each(CASES)('%s', (_, insight, condition, severity, text) => {
    expect(explain(pool(insight))).toMatchObject({ condition, severity, text })
  })

  test('whoever holds most is named first, then whoever holds for longest', () => {
    const names = ['a', 'b', 'b', 'c', 'd', 'd', 'd']
    const connections = names.map((_, n) =>
      each('leased', { connection: n, heldMs: [5, 1, 2, 9, 1, 1, 1][n] as number }),
    )
    const { holders } = explain(pool({ connections, state: { maxSize: 9 } }), {
      holderOf: (connection) => names[connection],
    })
    expect(holders).toEqual([
      { by: 'd', connections: 3, longestMs: 1 },
      { by: 'b', connections: 2, longestMs: 2 },
      { by: 'c', connections: 1, longestMs: 9 },
      { by: 'a', connections: 1, longestMs: 5 },
    ])
  })

  test('a single holder of all connections is distinguished from one of several', () => {
    const says = (holderOf: (connection: number) => string | undefined): string =>
      explain(pool({ connections: held(2_000, 2_000), state: one }), { holderOf }).text
    expect(says(() => 'job')).toMatch(/for at least 2 s by job; 1 caller/)
    expect(says((connection) => `job ${connection}`)).toMatch(/for at least 2 s, 1 by job 1; 1 caller/)
    expect(says((connection) => (connection === 1 ? undefined : 'job'))).toMatch(
      /for at least 2 s, 1 by job; 1/,
    )
  })

  test.each([
    [999, '999 ms'],
    [1_000, '1 s'],
    [59_900, '59.9 s'],
    [60_000, '1 min 0 s'],
    [200_000, '3 min 20 s'],
  ])('%i ms', (ms, text) => expect(duration(ms)).toBe(text))
})

describe('what formatState writes', () => {
  const statistics = {
    ...model.state.statistics,
    acquires: { started: 20, direct: 3, waited: 4, timedOut: 1, aborted: 2, refused: 5, pending: 5 },
    waitMs: { total: 30, max: 12.4, p50: 1, p95: 5, p99: 7 },
    connects: { opened: 9, failed: 6 },
    closed: { ...model.state.statistics.closed, idle: 2, lifetime: 3 },
  }
  const holderOf = (connection: number): string | undefined =>
    connection === 1 ? undefined : `job ${connection}`

  test('all of it', () => {
    const connections = held(10, 20, 30, 40, 50)
    const state = { maxSize: 10, inUse: 3, idle: 2, opening: 1, closing: 2, ...two, statistics }
    expect(formatState(pool({ connections, state }), { colour: false, holderOf })).toBe(
      `orders [###--~~~..] 3 in use, 2 idle, 1 opening, 2 closing, of 10
  queue  2 waiting, the first for 1 s; waits p50 1 ms, p99 7 ms, longest 12 ms
  ended  7 served, 1 timed out, 2 aborted, 5 refused
  server 9 opened, 6 failed, 5 closed (lifetime 3, idle 2)
  held   1 by job 5, the longest for 50 ms
  held   1 by job 4, the longest for 40 ms
  held   1 by job 3, the longest for 30 ms
  problem  all 5 connections are in use, each for a short time (the longest is held for 50 ms), but 2 callers wait, the first for 1 s: more work than connections. Raise maxSize if the server can sustain it, or send fewer requests.`,
    )
  })

  test('the bar is never wider than 40 signs, also of a pool that shrinks', () => {
    const barOf = (state: NonNullable<Overrides['state']>): string =>
      formatState(pool({ state }), { colour: false })
        .split('\n')[0]
        ?.match(/\[.*\]/)?.[0] ?? ''
    expect(barOf({ maxSize: 4, inUse: 2, idle: 3, opening: 1, closing: 1 })).toBe('[##---~~]')
    expect(barOf({ maxSize: 80, inUse: 20, idle: 20, opening: 10, closing: 10 })).toBe(
      `[${'#'.repeat(10)}${'-'.repeat(10)}${'~'.repeat(10)}${'.'.repeat(10)}]`,
    )
  })

  test('in colour: what is in use bold, what comes and goes yellow, what is free dim', () => {
    const state = { maxSize: 4, inUse: 1, idle: 1, opening: 1, closing: 0 }
    const [first] = formatState(pool({ state }), { colour: true }).split('\n')
    expect(first).toContain('[\u001B[1m#\u001B[22m-\u001B[33m~\u001B[39m\u001B[2m.\u001B[22m]')
  })

  test('as the terminal has it, where nothing is said', () => {
    vi.stubEnv('NO_COLOR', undefined)
    vi.stubEnv('FORCE_COLOR', '1')
    expect(formatState(pool())).toContain('\u001B[')
    vi.stubEnv('FORCE_COLOR', '0')
    expect(formatState(pool())).not.toContain('\u001B[')
  })
})

// Every error of a pool, word for word: what happened, in numbers, and what to do; and every rule for what is given to it.
import { expect, test } from 'vitest'

import { checkArguments, duration, flag, pair, show, text, whole } from '../../src/core/contract/rules.ts'
import {
  AcquireTimeoutError,
  isPoolError,
  LeaseReleasedError,
  OverloadedError,
  Pool,
  PoolClosedError,
  PoolError,
  PoolOptionsError,
  type PoolState,
  QueueFullError,
} from '../../src/index.ts'
import { ScriptedManager, VirtualClock } from '../../src/testing/index.ts'

const calm = new Pool(new ScriptedManager(), { clock: new VirtualClock(), maxSize: 5 }).state()
const busy: PoolState = { ...calm, inUse: 4, waiting: 7, opening: 1 }
const details = { pool: 'orders', state: busy }

// Made within the test: what runs while this file is loaded, no mutant of the errors can change.
test.each<[make: () => PoolError, message: string]>([
  [
    () => new AcquireTimeoutError('queue', 50, details),
    "acquire timed out after 50 ms in the queue of pool 'orders' (4 of 5 in use, 7 waiting, 1 opening). Raise maxSize, release connections sooner, or find a lease that is never released (leakThresholdMs)",
  ],
  [
    () => new AcquireTimeoutError('connect', 50, details),
    "acquire timed out after 50 ms waiting for pool 'orders' to connect (4 of 5 in use, 7 waiting, 1 opening). No attempt has settled yet. Check that the server is up and reachable",
  ],
  [
    () => new AcquireTimeoutError('connect', 50, { ...details, cause: new Error('refused') }),
    "acquire timed out after 50 ms waiting for pool 'orders' to connect (4 of 5 in use, 7 waiting, 1 opening). The last attempt failed: refused. Check that the server is up and reachable",
  ],
  [
    () => new AcquireTimeoutError('check', 50, { pool: 'orders', state: { ...busy, idle: 2, closing: 3 } }),
    "acquire timed out after 50 ms waiting for pool 'orders' to check a connection (4 of 5 in use, 7 waiting, 1 opening, 2 idle, 3 closing). isValid got no answer from the server. Check the network and the server's load, or lower validationTimeoutMs",
  ],
  [
    () => new AcquireTimeoutError('hook', 50, { pool: 'orders' }),
    "acquire timed out after 50 ms waiting for the hook beforeAcquire of pool 'orders' (state unknown). Make the hook faster",
  ],
  [
    () => new AcquireTimeoutError('queue', 50, { pool: 'orders', state: { ...busy, paused: true } }),
    "acquire timed out after 50 ms while pool 'orders' was paused (4 of 5 in use, 7 waiting, 1 opening, paused). Call resume(), or pause for less time",
  ],
  [() => new PoolClosedError(details), "pool 'orders' is closed. Acquire before close(), or open a new pool"],
  [
    () => new QueueFullError(7, details),
    "acquire rejected: 7 callers (maxWaiting) already wait for pool 'orders' (4 of 5 in use, 7 waiting, 1 opening). Raise maxWaiting or maxSize, or send fewer requests",
  ],
  [
    () => new OverloadedError(61.7, { targetMs: 20, intervalMs: 100 }, details),
    "acquire rejected after 62 ms: pool 'orders' is overloaded (4 of 5 in use, 7 waiting, 1 opening). No caller got a connection within 20 ms (overload.targetMs) for 100 ms (overload.intervalMs). Release connections sooner, raise maxSize, send fewer requests, or raise overload.targetMs",
  ],
  [
    () =>
      new OverloadedError(
        61.7,
        { targetMs: 20, intervalMs: 100 },
        { ...details, cause: new Error('refused') },
      ),
    "acquire rejected after 62 ms: pool 'orders' is overloaded (4 of 5 in use, 7 waiting, 1 opening). No caller got a connection within 20 ms (overload.targetMs) for 100 ms (overload.intervalMs). The last connect attempt failed: refused",
  ],
  [
    () => new LeaseReleasedError(details),
    "lease of pool 'orders' was used after release. Acquire a new lease",
  ],
  [() => new PoolOptionsError('orders', 'maxSize', 0, 'maxSize is 0'), 'maxSize is 0'],
])('error %#: %s', (make, message) => {
  const error = make()
  expect(error.message).toBe(message)
  expect(error.pool).toBe('orders')
  expect(isPoolError(error)).toBe(true)
  // An error without a cause has none, not even undefined.
  expect(Object.hasOwn(error, 'cause')).toBe(message.includes('failed: refused'))
})

test('what is no error of a pool is not taken for one', () => {
  expect([null, undefined, 7, 'text', {}, new Error('x')].map(isPoolError)).toEqual(Array(6).fill(false))
})

test('rules accept what they say and nothing else', () => {
  const accepted = (rule: { accepts(value: unknown): boolean }, ...values: unknown[]): boolean[] =>
    values.map((value) => rule.accepts(value))
  const yes = (...values: unknown[]) => values.map(() => true)
  const no = (...values: unknown[]) => values.map(() => false)
  const never = [NaN, -1, '5', 5n, null, {}, true, -Infinity]
  expect(accepted(whole(1, 'finite'), 1, 2, 2 ** 53 - 1)).toEqual(yes(1, 2, 3))
  expect(accepted(whole(1, 'finite'), 0, 1.5, 2 ** 53, Infinity, ...never)).toEqual(no(1, 2, 3, 4, ...never))
  expect(accepted(whole(0, 'or Infinity'), 0, 7, Infinity)).toEqual(yes(1, 2, 3))
  expect(accepted(whole(0, 'or Infinity'), 1.5, ...never)).toEqual(no(1, ...never))
  expect(accepted(duration('from 0', 'finite'), 0, 0.5, 1e9)).toEqual(yes(1, 2, 3))
  expect(accepted(duration('from 0', 'finite'), Infinity, ...never)).toEqual(no(1, ...never))
  expect(accepted(duration('above 0', 'or Infinity'), 0.5, Infinity)).toEqual(yes(1, 2))
  expect(accepted(duration('above 0', 'or Infinity'), 0, ...never)).toEqual(no(1, ...never))
  expect(accepted(text, 'x', ' ')).toEqual(yes(1, 2))
  expect(accepted(text, '', 7, null)).toEqual(no(1, 2, 3))
  expect(accepted(flag, true, false)).toEqual(yes(1, 2))
  expect(accepted(flag, 0, 'true', null)).toEqual(no(1, 2, 3))
  const ordered = pair('minMs', 'maxMs', 'ordered')
  expect(accepted(ordered, { minMs: 1, maxMs: 2 }, { minMs: 2, maxMs: 2 })).toEqual(yes(1, 2))
  const wrong = [null, undefined, 7, { minMs: 2, maxMs: 1 }, { minMs: 1 }, { minMs: 1, maxMs: 2, more: 3 }]
  expect(accepted(ordered, ...wrong, { minMs: 0, maxMs: 1 }, { minMs: 1, maxMs: Infinity })).toEqual(
    no(...wrong, 1, 2),
  )
  expect(accepted(pair('a', 'b', 'any order'), { a: 2, b: 1 }, { a: 1, b: 2 })).toEqual(yes(1, 2))
  expect(
    [whole(1, 'finite'), whole(0, 'or Infinity'), ordered, pair('a', 'b', 'any order')].map(
      ({ allowed }) => allowed,
    ),
  ).toEqual([
    'an integer >= 1',
    'an integer >= 0, or Infinity',
    '{ minMs, maxMs }, each a number of milliseconds > 0, minMs <= maxMs, without other keys',
    '{ a, b }, each a number of milliseconds > 0, without other keys',
  ])
  expect(duration('from 0', 'or Infinity').allowed).toBe('a number of milliseconds >= 0, or Infinity')
})

test('a value is shown as it was written, as far as it can be', () => {
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  expect(
    ['a', 7, 7n, null, undefined, Symbol('s'), () => {}, { a: [1] }, cycle, { a: 7n }].map(show),
  ).toEqual([
    "'a'",
    '7',
    '7',
    'null',
    'undefined',
    'Symbol(s)',
    'a function',
    '{"a":[1]}',
    'an object',
    'an object',
  ])
})

test.each([
  ['MAXSIZE', 'maxSize'],
  ['maxSizes', 'maxSize'],
  ['axSize', 'maxSize'],
  ['maxUse', 'maxUses'],
  ['idle', 'minIdle'],
  ['waiting', 'maxWaiting'],
  // One letter less from the first, two changes from the second.
  ['sizab', 'siab'],
  ['sizd', 'sizc'],
])('%s is taken for a slip of %s', (key, meant) => {
  const known = ['maxSize', 'minIdle', 'maxUses', 'maxWaiting', 'sizc', 'siab']
  const rules = Object.fromEntries(known.map((name) => [name, flag]))
  expect(() => checkArguments('options', { [key]: true }, rules, 'orders')).toThrow(
    `${key} must be one of the options: did you mean ${meant}? The names are maxSize, minIdle, maxUses, maxWaiting, sizc, siab`,
  )
})

test('arguments that are no object are named; an undefined one is not given', () => {
  for (const given of [null, undefined, 7, 'text'])
    expect(() => checkArguments('options', given, {}, 'orders')).toThrow(
      `options must be an object (got ${show(given)})`,
    )
  expect(checkArguments('options', { on: true, off: undefined }, { on: flag, off: flag }, 'orders')).toEqual({
    on: true,
  })
  expect(() => checkArguments('options', { on: 1 }, { on: flag }, 'orders')).toThrow(
    'on must be true or false (got 1)',
  )
})

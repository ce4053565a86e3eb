// What is told, and to whom: payloads on the channels, failures, what can be looked up.
import { channel } from 'node:diagnostics_channel'

import { expect, test, vi } from 'vitest'

import { Turns } from '../../src/core/turns.ts'
import { Events, nameAndCode } from '../../src/core/telemetry/events.ts'
import { nextPoolId } from '../../src/core/inspection/live-pools.ts'
import { isTraced } from '../../src/core/telemetry/tracing.ts'
import { CHANNELS, livePools, Pool } from '../../src/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { collectGarbage } from './collect-garbage.ts'
import { heard, make } from './exact-pool.ts'

const events = (): Events => new Events('told', 7, new Turns(() => {}))

const TOLD: Readonly<
  Record<keyof typeof CHANNELS, readonly [tell: (events: Events) => void, payload: object]>
> = {
  acquire: [(events) => events.acquired(1, 2), { connection: 1, waitMs: 2 }],
  release: [(events) => events.released(1, 7), { connection: 1, heldMs: 7 }],
  open: [(events) => events.opened(1, 2), { connection: 1, connectMs: 2 }],
  openError: [
    (events) => events.openFailed(Object.assign(new RangeError('secret'), { code: 'E' }), true),
    { error: 'RangeError E', isFatal: true },
  ],
  check: [(events) => events.checked(1, true, 2), { connection: 1, passed: true, checkMs: 2 }],
  close: [(events) => events.closing(1, 'idle', 2), { connection: 1, reason: 'idle', ageMs: 2 }],
  closed: [(events) => events.closed(1, 2), { connection: 1, closeMs: 2 }],
  timeout: [(events) => events.timedOut('hook', 2), { phase: 'hook', waitMs: 2 }],
  abort: [(events) => events.aborted(2), { waitMs: 2 }],
  refuse: [(events) => events.refused('queueFull'), { why: 'queueFull' }],
  leak: [(events) => events.leaked(1, 2, 'stack'), { connection: 1, heldMs: 2, stack: 'stack' }],
  change: [
    (events) => events.changed('resized', { maxSize: 2, minIdle: 1 }),
    { what: 'resized', maxSize: 2, minIdle: 1 },
  ],
  error: [(events) => events.failed(new RangeError('secret')), { error: 'RangeError' }],
}

test.each(Object.keys(TOLD) as (keyof typeof CHANNELS)[])(
  '%s: a payload is made only when there is a listener, and names the pool',
  (name) => {
    const [tell, payload] = TOLD[name]
    const source = channel(CHANNELS[name])
    const publish = vi.spyOn(source, 'publish')
    tell(events())
    expect(publish).not.toHaveBeenCalled()
    publish.mockRestore()
    const messages: unknown[] = []
    const listen = (message: unknown): void => void messages.push(message)
    source.subscribe(listen)
    tell(events())
    source.unsubscribe(listen)
    expect(messages).toEqual([{ pool: 'told', poolId: 7, ...payload }])
  },
)

test('an error is reported by its name, and by its code if it has one', () => {
  const withCode = (code: unknown): Error => Object.assign(new TypeError('secret'), { code })
  expect([withCode('E1'), withCode(''), withCode(7), 'text', null, { code: 'E2' }].map(nameAndCode)).toEqual([
    'TypeError E1',
    'TypeError',
    'TypeError',
    'string',
    'object',
    'object E2',
  ])
})

test('without onError, a failure that belongs to no caller is published on its channel', async () => {
  const { pool, manager } = make({ maxSize: 1, validationBypassMs: 0, onError: undefined })
  ;(await pool.acquire()).release()
  const failures = heard('error')
  manager.checks.push('fail')
  ;(await pool.acquire()).release()
  expect(failures).toEqual([{ error: 'PoolError' }])
})

test('ages and how long a lease is held can be looked up', async () => {
  const { pool, manager, clock } = make({ maxSize: 3 })
  const [held, other] = [await pool.acquire(), await pool.acquire()]
  await clock.advance(100)
  other.release()
  manager.connects.push('never')
  await clock.advance(20)
  const second = await pool.acquire()
  pool.acquire().catch(() => {})
  await clock.advance(3)
  second.release()
  const third = pool.acquire().catch(() => {})
  expect(
    pool.look().connections.map(({ connection, doing, ageMs, heldMs }) => [connection, doing, ageMs, heldMs]),
  ).toEqual([
    [1, 'leased', 123, 123],
    [2, 'leased', 123, 0],
    [3, 'opening', 3, 0],
  ])
  held.release()
  await third
  const { pool: calm, clock: later } = make({ maxSize: 1 })
  ;(await calm.acquire()).release()
  await later.advance(5)
  expect(calm.look().connections).toMatchObject([{ doing: 'idle', heldMs: 0 }])
})

test('pools have numbers of their own, and one that was collected is in no list', async () => {
  expect(nextPoolId()).toBe(nextPoolId() - 1)
  const { pools } = (globalThis as unknown as Record<symbol, { pools: Set<unknown> }>)[
    Symbol.for('cenote.pools')
  ] as { pools: Set<unknown> }
  const gone = { deref: () => undefined }
  pools.add(gone)
  expect(livePools().every((each) => each instanceof Pool)).toBe(true)
  pools.delete(gone)
  if (collectGarbage === undefined) return
  const before = pools.size
  for (let n = 0; n < 20; n++) void new Pool(new ScriptedManager(), { clock: new VirtualClock() }).state()
  for (let turn = 0; turn < 50 && pools.size > before; turn++) {
    collectGarbage()
    await settle()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(pools.size - before).toBeLessThan(20)
})

test('a tracing channel of a runtime without its sum has subscribers when one of its events has', () => {
  const traced = (hasSubscribers: boolean | undefined, ends = false): boolean => {
    const none = { hasSubscribers: false }
    const events = {
      start: none,
      end: { hasSubscribers: ends },
      asyncStart: none,
      asyncEnd: none,
      error: none,
    }
    return isTraced({ hasSubscribers, ...events } as never)
  }
  expect([traced(true), traced(false, true), traced(undefined), traced(undefined, true)]).toEqual([
    true,
    false,
    false,
    true,
  ])
})

import { expect, test } from 'vitest'

import { type ConnectionInsight, Pool } from '../../src/index.ts'
import { Lanes } from '../../src/inspector/lanes.ts'
import { KEEP_MS, TICK_MS } from '../../src/inspector/protocol.ts'
import { Recording } from '../../src/inspector/recording.ts'
import { Ring } from '../../src/inspector/ring.ts'
import { subjectOf } from '../../src/inspector/subject.ts'
import { WaitSample } from '../../src/inspector/waits.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { make } from '../group/make-group.ts'

const doing = (connection: number, what: ConnectionInsight['doing'], heldMs = 0): ConnectionInsight => ({
  connection,
  doing: what,
  heldMs,
  ageMs: 0,
  uses: 0,
  stack: undefined,
})

test('a ring keeps the last ones in their order', () => {
  const ring = new Ring<number>(3)
  expect([...ring]).toEqual([])
  for (const item of [1, 2]) ring.push(item)
  expect([...ring]).toEqual([1, 2])
  for (const item of [3, 4, 5]) ring.push(item)
  expect([...ring]).toEqual([3, 4, 5])
})

test('a lane is reused when its connection has gone: the number of lanes is the largest number of concurrent connections', () => {
  const lanes = new Lanes()
  expect(lanes.tick([doing(1, 'idle'), doing(2, 'opening'), doing(3, 'closing')], 250)).toEqual({
    lanes: 'aox',
    ids: [1, 2, 3],
  })
  expect(lanes.tick([doing(2, 'checking'), doing(3, 'closing')], 250)).toEqual({
    lanes: '.kx',
    ids: [0, 2, 3],
  })
  expect(lanes.tick([doing(2, 'returning'), doing(9, 'opening')], 250)).toEqual({ lanes: 'or', ids: [9, 2] })
  for (let churn = 10; churn < 10_000; churn++) lanes.tick([doing(churn, 'idle')], 250)
  expect(lanes.tick([doing(1, 'idle')], 250).lanes).toHaveLength(1)
})

test('a lane shows the leased part of the tick, ended leases and the present one together', () => {
  const lanes = new Lanes()
  const first = lanes.tick([doing(1, 'idle'), doing(2, 'leased', 5_000)], 100)
  expect(first.lanes).toBe('aJ')
  lanes.released(1, 30, 90)
  lanes.released(1, 10_000, 20)
  // That of a connection that is not known is nobody's.
  lanes.released(7, 30, 90)
  const second = lanes.tick([doing(1, 'idle'), doing(2, 'leased', 25)], 100)
  expect(second.lanes).toBe('fC')
  expect(second.ids).toBe(first.ids)
  expect(lanes.tick([doing(1, 'idle'), doing(2, 'idle')], 100).lanes).toBe('aa')
})

test('percentiles of the waits of a tick: exact for few, an even sample of very many', () => {
  const waits = new WaitSample()
  expect(waits.take()).toEqual({ p50: 0, p95: 0, p99: 0, max: 0 })
  for (let wait = 1; wait <= 100; wait++) waits.add(wait)
  expect(waits.take()).toEqual({ p50: 50, p95: 95, p99: 99, max: 100 })
  for (let wait = 1; wait <= 100_000; wait++) waits.add(wait)
  const many = waits.take()
  expect(many.max).toBe(100_000)
  expect(Math.abs(many.p50 - 50_000)).toBeLessThan(8_000)
})

test('five minutes are remembered and no more, and failures and leaks are bounded too', async () => {
  const clock = new VirtualClock()
  const pool = new Pool(new ScriptedManager(), { clock, maxSize: 2 })
  const recording = new Recording(subjectOf(pool), 0)
  const ticks = (KEEP_MS / TICK_MS) * 3
  const lease = await pool.acquire()
  for (let tick = 1; tick <= ticks; tick++) {
    recording.connectFailed(`Error ${tick}`, tick)
    recording.leaked({ at: tick, connection: 1, heldMs: 1, stack: 'here' })
    recording.tick(tick * TICK_MS, tick * TICK_MS, () => undefined, true)
  }
  const frames = recording.history()
  expect(frames).toHaveLength(KEEP_MS / TICK_MS)
  expect(frames[0]?.ids).toEqual([1])
  expect(frames.slice(1).every(({ ids }) => ids === undefined)).toBe(true)
  const { leaks, connectFailures } = recording.card()
  expect(leaks).toHaveLength(50)
  expect(connectFailures).toHaveLength(20)
  expect(connectFailures[0]?.error).toBe(`Error ${ticks}`)
  lease.release()
})

test('a group is shown as one pool of all its keys, with 20 of them, however many it has', async () => {
  const { group, clock } = make({ total: 2, forgetAfterMs: 60_000 })
  for (let n = 0; n < 10_000; n++) await group.run(`key-${n}`, () => {})
  const held = [await group.acquire('a'), await group.acquire('b')]
  const callers = ['x', 'y', 'y'].map((key) => group.run(key, () => {}))
  await settle()
  await clock.advance(70)
  const recording = new Recording(subjectOf(group), 0)
  const frame = recording.tick(250, 250, () => undefined, true)
  expect(frame).toMatchObject({
    inUse: 2,
    idle: 0,
    waiting: 3,
    headWaitMs: 70,
    maxSize: 2,
    held: [],
    lanes: '',
  })
  expect(frame.keys).toHaveLength(20)
  expect(frame.keys?.slice(0, 2)).toEqual([
    { key: 'x', rank: 1, slots: 0, waiting: 1, headWaitMs: 70 },
    { key: 'y', rank: 2, slots: 0, waiting: 2, headWaitMs: 70 },
  ])
  expect(frame.keys?.slice(2, 4).map(({ key, slots }) => [key, slots])).toEqual([
    ['a', 1],
    ['b', 1],
  ])
  expect(frame.diagnosis).toEqual({
    severity: 'notice',
    text: '2 keys wait for a slot: 2 of 2 in use by 2 keys, first is x, with 1 caller. Raise total, or release connections sooner.',
  })
  await clock.advance(1_000)
  expect(recording.tick(500, 500, () => undefined, true).diagnosis.severity).toBe('problem')
  for (const lease of held) lease.release()
  await clock.advance(1_000)
  await Promise.all(callers)
  const last = recording.tick(750, 750, () => undefined, true)
  expect(last.acquired).toBe(3)
  expect(last.diagnosis.severity).toBe('ok')
})

import { expect, test } from 'vitest'

import { joinFleet, MemoryStore } from '../../src/fleet/index.ts'
import { Pool } from '../../src/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { PoolGroup } from '../../src/group/index.ts'
import { make } from './make-group.ts'

test('explain says what a key waits for, and where it stands', async () => {
  const { group, clock, managerOf } = make({ total: 2, perKey: (key) => (key === 'c' ? 1 : 2) })
  expect(group.explain('acme')).toBe('key acme has neither connections nor callers.')
  const held = [await group.acquire('a'), await group.acquire('c')]
  expect(group.explain('a')).toBe('no caller of key a waits: it has 1 of 2 slots.')
  const waiting = ['x', 'y', 'acme', 'c'].map((key) => group.run(key, () => {}))
  await settle()
  expect(group.explain('acme')).toBe(
    'key acme waits for a slot: 2 of 2 in use by 2 keys, acme is third. Raise total, or release connections sooner.',
  )
  expect(group.explain('c')).toBe('key c waits for a release: it has all 1 slots that it may have (perKey).')
  expect(group.look().keys.map(({ key, rank }) => [key, rank])).toEqual([
    ['x', 1],
    ['y', 2],
    ['acme', 3],
    ['a', 0],
    ['c', 0],
  ])
  for (const lease of held) lease.release()
  await Promise.all(waiting)
  managerOf('dead').always.connect = 'fail'
  const dead = group.run('dead', () => {}, { timeoutMs: 10 }).catch(() => {})
  await settle()
  expect(group.explain('dead')).toContain('key dead cannot connect (connect 1 failed)')
  await clock.advance(10)
  await dead
})

test('a group joins a fleet: its total is the share of the member', async () => {
  const clock = new VirtualClock()
  const store = new MemoryStore()
  const group = new PoolGroup(() => new ScriptedManager(), { total: 20, clock })
  const pool = new Pool(new ScriptedManager(), { maxSize: 20, clock })
  const options = { store, budget: 10, floor: 2, leaseMs: 1_000 }
  const [one, other] = [await joinFleet(group, options), await joinFleet(pool, options)]
  expect([group.state().total, pool.state().maxSize]).toEqual([2, 2])
  await expect(joinFleet(group, options)).rejects.toThrow('member of no other fleet')
  const work = Array.from({ length: 12 }, (_, index) =>
    group.run(`key-${index % 6}`, () => new Promise<void>((resolve) => void clock.setTimeout(resolve, 900))),
  )
  await clock.advance(800)
  expect(one.share).toBe(8)
  expect(group.state().total).toBe(8)
  expect(group.state().taken).toBeLessThanOrEqual(8)
  await clock.advance(10_000)
  await Promise.all(work)
  const closing = Promise.all([group.close(), pool.close(), one.leave(), other.leave()])
  await clock.advance(10_000)
  await closing
  expect(clock.timers).toBe(0)
})

// One suite for every store: what applyBeat promises must hold on a real server too, with its clock and its atomicity.
import { spawnSync } from 'node:child_process'

import fc from 'fast-check'
import { Cluster, Redis } from 'ioredis'
import pg from 'pg'
import { createClient, createCluster } from 'redis'
import { afterAll, describe, expect, inject, test } from 'vitest'

import { startRedis } from '../../servers/redis.ts'
import {
  applyBeat,
  type Beat,
  type BeatAnswer,
  type FleetStore,
  MemoryStore,
  PostgresStore,
  RedisStore,
  type Roster,
} from '../../src/fleet/index.ts'

const redisUrl = inject('redisUrl')
const postgresUrl = inject('postgresUrl')
const run = `test-${process.pid}-${Date.now()}`
const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends) await end()
})

interface Candidate {
  readonly name: string
  readonly isThere: boolean
  /** Whether a roster that is missing is a new fleet. */
  readonly isDurable: boolean
  make(): Promise<FleetStore>
}

const candidates: Candidate[] = [
  { name: 'MemoryStore', isThere: true, isDurable: true, make: async () => new MemoryStore() },
  {
    name: 'RedisStore with redis',
    isThere: redisUrl !== '',
    isDurable: false,
    make: async () => {
      const client = createClient({ url: redisUrl })
      await client.connect()
      ends.push(async () => {
        for (const key of await client.keys(`cenote:fleet:{${run}*`)) await client.del(key)
        await client.close()
      })
      return new RedisStore(client)
    },
  },
  {
    name: 'RedisStore with ioredis',
    isThere: redisUrl !== '',
    isDurable: false,
    make: async () => {
      const client = new Redis(redisUrl)
      ends.push(() => client.quit())
      return new RedisStore(client)
    },
  },
  {
    name: 'PostgresStore',
    isThere: postgresUrl !== '',
    isDurable: true,
    make: async () => {
      const pool = new pg.Pool({ connectionString: postgresUrl, max: 5 })
      const table = `cenote_fleets_test_${process.pid}`
      ends.push(async () => {
        await pool.query(`drop table if exists ${table}`)
        await pool.end()
      })
      return new PostgresStore(pool, { table })
    },
  },
]

let fleets = 0
let sequence = 0
const beatOf = (id: string, more: Partial<Beat> = {}): Beat => ({
  protocol: 1,
  id,
  sequence: ++sequence,
  budget: 10,
  leaseMs: 60_000,
  floor: 1,
  weight: 1,
  demand: 0,
  held: 0,
  wanted: 1,
  ...more,
})
const shareOf = (answer: BeatAnswer): number => (answer.refused === undefined ? answer.share : Number.NaN)
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.each(candidates)('$name', ({ name, isThere, isDurable, make }) => {
  let made: Promise<FleetStore> | undefined
  const store = (): Promise<FleetStore> => (made ??= make())
  // A fleet whose roster is open: with a store that may lose data a first member has waited for its lease.
  const open = async (): Promise<string> => {
    const fleet = `${run}-${++fleets}`
    const pioneer = await store()
    await pioneer.beat(fleet, beatOf('pioneer', { leaseMs: 30 }))
    await later(35)
    await pioneer.leave(fleet, 'pioneer')
    return fleet
  }

  test.skipIf(!isThere)('no more is given out than is free, and what was given back is free', async () => {
    const it = await store()
    const fleet = await open()
    expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 7 })))).toBe(7)
    expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 7 })))).toBe(3)
    // It wants less, and still holds six.
    expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 2, held: 6 })))).toBe(6)
    expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 9, held: 3 })))).toBe(4)
    expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 2, held: 2 })))).toBe(2)
    const answer = await it.beat(
      fleet,
      beatOf('b', { wanted: 9, held: 4, demand: 12, weight: 2.5, floor: 3 }),
    )
    expect(answer).toMatchObject({ refused: undefined, share: 8 })
    expect(answer.refused === undefined && answer.members.toSorted((x, y) => (x.id < y.id ? -1 : 1))).toEqual(
      [
        { id: 'a', floor: 1, weight: 1, demand: 0, share: 2, isAbsent: false },
        { id: 'b', floor: 3, weight: 2.5, demand: 12, share: 8, isAbsent: false },
      ],
    )
    await it.leave(fleet, 'a')
    expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 10, held: 8 })))).toBe(10)
    await it.leave(fleet, 'nobody')
  })

  test.skipIf(!isThere)(
    'what a member holds is counted, and told not to fit when others have it too; what it only was given is not kept for it',
    async () => {
      const it = await store()
      const fleet = await open()
      const steps = [
        ['a', { wanted: 7 }, { share: 7, fits: true }],
        ['b', { wanted: 3 }, { share: 3, fits: true }],
        ['a', { held: 9, wanted: 2 }, { share: 9, fits: false }],
        ['b', { held: 3, wanted: 3 }, { share: 3, fits: false }],
        ['a', { held: 2, wanted: 9 }, { share: 7, fits: true }],
        ['b', { held: 0, wanted: 3 }, { share: 3, fits: true }],
      ] as const
      for (const [id, beat, answer] of steps)
        expect(await it.beat(fleet, beatOf(id, beat))).toMatchObject(answer)
    },
  )

  test.skipIf(!isThere)(
    'another budget, another protocol and too many floors are refused, and nothing is changed',
    async () => {
      const it = await store()
      const fleet = await open()
      await it.beat(fleet, beatOf('a', { floor: 6, wanted: 6 }))
      expect(await it.beat(fleet, beatOf('b', { budget: 20 }))).toEqual({ refused: 'budget', instead: 10 })
      expect(await it.beat(fleet, beatOf('b', { protocol: 2 }))).toEqual({ refused: 'protocol', instead: 1 })
      expect(await it.beat(fleet, beatOf('b', { floor: 5 }))).toEqual({ refused: 'floors', instead: 6 })
      const answer = await it.beat(fleet, beatOf('a', { floor: 6, wanted: 6, held: 6 }))
      expect(answer.refused === undefined && answer.members.map(({ id }) => id)).toEqual(['a'])
      // When all have left, the next may bring another budget.
      await it.leave(fleet, 'a')
      expect(shareOf(await it.beat(fleet, beatOf('b', { budget: 20, wanted: 20 })))).toBe(20)
    },
  )

  test.skipIf(!isThere)('a beat that arrives late, or twice, changes nothing', async () => {
    const it = await store()
    const fleet = await open()
    const late = beatOf('a', { wanted: 1 })
    expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 7 })))).toBe(7)
    expect(shareOf(await it.beat(fleet, late))).toBe(7)
    expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 9 })))).toBe(3)
  })

  test.skipIf(!isThere)(
    'after its lease a member has its floor, for ten leases; what it holds when it comes back is a fact',
    async () => {
      const it = await store()
      const fleet = await open()
      await it.beat(fleet, beatOf('a', { wanted: 8, floor: 2, leaseMs: 40 }))
      await later(60)
      const answer = await it.beat(fleet, beatOf('b', { wanted: 9 }))
      expect(answer).toMatchObject({ share: 8 })
      expect(answer.refused === undefined && answer.members.find(({ id }) => id === 'a')).toMatchObject({
        share: 2,
        isAbsent: true,
      })
      expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 2, held: 8, floor: 2, leaseMs: 40 })))).toBe(
        8,
      )
      expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 9, held: 8 })))).toBe(8)
      expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 2, held: 2, floor: 2, leaseMs: 40 })))).toBe(
        2,
      )
      await expect
        .poll(async () => shareOf(await it.beat(fleet, beatOf('b', { wanted: 10, held: 8 }))), {
          timeout: 5_000,
        })
        .toBe(10)
    },
  )

  test.skipIf(!isThere)(
    `a roster that is not there ${isDurable ? 'is a new fleet' : 'gives nothing out for one lease'}`,
    async () => {
      const it = await store()
      const fleet = `${run}-${++fleets}`
      const first = await it.beat(fleet, beatOf('a', { wanted: 5, leaseMs: 300 }))
      expect(shareOf(first)).toBe(isDurable ? 5 : 0)
      if (isDurable) return
      // One that had something before says so, and keeps it.
      expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 8, held: 6, leaseMs: 9_000 })))).toBe(6)
      await later(320)
      expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 5, leaseMs: 300 })))).toBe(4)
    },
  )

  test.skipIf(!isThere)('beats at one and the same time never give out more than there is', async () => {
    const it = await store()
    const fleet = await open()
    const beats = Array.from({ length: 12 }, (_, n) =>
      it.beat(fleet, beatOf(`m${n}`, { wanted: 4, budget: 20 })),
    )
    const settled = await Promise.all(beats)
    expect(settled.reduce((sum, answer) => sum + shareOf(answer), 0)).toBe(20)
  })

  test.skipIf(!isThere || name === 'MemoryStore')(
    'any beats, in any order, are answered as the rule has it',
    async () => {
      const it = await store()
      const ids = ['a', 'b', 'c', 'd']
      const step = fc.record({
        id: fc.constantFrom(...ids),
        leaves: fc.constantFrom(false, false, false, false, true),
        isLate: fc.constantFrom(false, false, false, true),
        budget: fc.constantFrom(10, 10, 10, 10, 12),
        protocol: fc.constantFrom(1, 1, 1, 1, 1, 2),
        floor: fc.integer({ min: 1, max: 4 }),
        weight: fc.constantFrom(0.1, 1, 2.5),
        demand: fc.integer({ min: 0, max: 1e7 }),
        held: fc.integer({ min: 0, max: 8 }),
        wanted: fc.integer({ min: 0, max: 12 }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
          const fleet = await open()
          let model: Roster | undefined = { protocol: 1, budget: 10, closedUntil: 0, members: {} }
          for (const { leaves, isLate, ...more } of steps) {
            if (leaves) {
              const { [more.id]: _, ...members } = model.members
              model = { ...model, members }
              await it.leave(fleet, more.id)
              continue
            }
            const beat = { ...beatOf(more.id, more), ...(isLate && { sequence: 0 }) }
            const { roster, answer }: { roster: Roster; answer: BeatAnswer } = applyBeat(model, beat, 1, true)
            model = roster
            expect(sorted(await it.beat(fleet, beat))).toEqual(sorted(answer))
          }
        }),
        { numRuns: 40 },
      )
    },
    60_000,
  )
})

function sorted(answer: BeatAnswer): unknown {
  if (answer.refused !== undefined) return answer
  return { ...answer, members: answer.members.toSorted((a, b) => (a.id < b.id ? -1 : 1)) }
}

// A cluster of its own: the installed Redis.
const hasRedis = process.env['CI'] === 'true' || spawnSync('redis-server', ['--version']).status === 0
test.skipIf(!hasRedis)('RedisStore on a cluster, with both clients: a fleet is in one slot', async () => {
  const server = await startRedis({
    flags: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'],
  })
  ends.push(() => server.destroy())
  const admin = createClient({ url: server.url })
  await admin.connect()
  await admin.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', '0', '16383'])
  await expect.poll(async () => await admin.sendCommand(['CLUSTER', 'INFO'])).toContain('cluster_state:ok')
  await admin.close()
  const { port, password } = new URL(server.url)
  const cluster = createCluster({ rootNodes: [{ url: server.url }], defaults: { password } })
  await cluster.connect()
  const ioredis = new Cluster([{ host: '127.0.0.1', port: Number(port) }], { redisOptions: { password } })
  ends.push(
    () => cluster.close(),
    () => ioredis.disconnect(),
  )
  for (const client of [cluster, ioredis]) {
    const store = new RedisStore(client)
    const first = await store.beat('orders', beatOf('a', { leaseMs: 30 }))
    expect(first.refused).toBeUndefined()
    await later(40)
    expect(shareOf(await store.beat('orders', beatOf('a', { wanted: 4 })))).toBe(4)
    await store.leave('orders', 'a')
  }
})

test('arguments that are wrong are named', () => {
  expect(() => new RedisStore({} as never)).toThrow('client is {}: allowed is a client of redis or ioredis')
  expect(() => new PostgresStore({} as never)).toThrow(
    'queries is {}: allowed is an object with query(text, values)',
  )
  expect(() => new PostgresStore({ query: () => Promise.reject() }, { table: 'x; drop table y' })).toThrow(
    "table is 'x; drop table y': allowed is a name of letters, digits and _, with or without its schema",
  )
})

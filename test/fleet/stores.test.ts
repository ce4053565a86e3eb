// One suite for every store: what applyBeat promises must hold on a real server too, with its clock and its atomicity.
import { spawnSync } from 'node:child_process'

import fc from 'fast-check'
import { Cluster, Redis } from 'ioredis'
import pg from 'pg'
import { createClient, createCluster } from 'redis'
import { afterAll, describe, expect, inject, test } from 'vitest'

import { startRedis } from '../servers/redis.ts'
import {
  applyBeat,
  type Beat,
  type BeatAnswer,
  type FleetStore,
  joinFleet,
  MemoryStore,
  PostgresStore,
  RedisStore,
  type Roster,
} from '../../src/fleet/index.ts'
import { Pool } from '../../src/index.ts'
import { ScriptedManager } from '../../src/testing/index.ts'

const hasRedis = process.env['CI'] === 'true' || spawnSync('redis-server', ['--version']).status === 0
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
        await pool.query(`drop function if exists ${table}_beat_1`)
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

  test.skipIf(!isThere)('no more is given out than is free, and what was released is free', async () => {
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
    'another budget, another protocol and too many floors are rejected, and nothing is changed',
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
    'after its lease a member has its floor, for ten leases; what it holds when it is returned is a fact',
    async () => {
      const it = await store()
      const fleet = await open()
      await it.beat(fleet, beatOf('a', { wanted: 8, floor: 2, leaseMs: 40 }))
      await later(60)
      // No member was heard for a lease: first the roster is closed, and each tells what it has.
      expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 9 })))).toBe(0)
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

  test.skipIf(!isThere)(
    'a roster whose members have all expired is closed for one lease: nothing is given out twice',
    async () => {
      const it = await store()
      const fleet = await open()
      await it.beat(fleet, beatOf('a', { wanted: 6, leaseMs: 200 }))
      await it.beat(fleet, beatOf('b', { wanted: 4, leaseMs: 200 }))
      await later(250)
      // They are alive: the store stood still, or its clock went ahead.
      expect(shareOf(await it.beat(fleet, beatOf('c', { wanted: 4, leaseMs: 200 })))).toBe(0)
      expect(shareOf(await it.beat(fleet, beatOf('b', { wanted: 9, held: 4, leaseMs: 9_000 })))).toBe(4)
      expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 9, held: 6, leaseMs: 9_000 })))).toBe(6)
      await later(220)
      expect(shareOf(await it.beat(fleet, beatOf('c', { wanted: 4, leaseMs: 9_000 })))).toBe(0)
      expect(shareOf(await it.beat(fleet, beatOf('a', { wanted: 1, held: 1, leaseMs: 9_000 })))).toBe(1)
      expect(shareOf(await it.beat(fleet, beatOf('c', { wanted: 4, leaseMs: 9_000 })))).toBe(4)
    },
  )

  test.skipIf(!isThere)(
    'the floor of an absent member goes to a new one after a lease more, when it is needed',
    async () => {
      const it = await store()
      const fleet = await open()
      const stays = () => it.beat(fleet, beatOf('stays', { floor: 4, wanted: 4, held: 4 }))
      await it.beat(fleet, beatOf('dead', { floor: 6, wanted: 6, leaseMs: 100 }))
      await stays()
      const fresh = () => it.beat(fleet, beatOf('fresh', { floor: 6, wanted: 6 }))
      expect(await fresh()).toEqual({ refused: 'floors', instead: 10 })
      await later(120)
      await stays()
      expect(await fresh()).toEqual({ refused: 'floors', instead: 10 })
      await later(120)
      await stays()
      expect(shareOf(await fresh())).toBe(6)
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

test.skipIf(postgresUrl === '')(
  'PostgresStore: a table that is dropped is created again, and so is the function',
  async () => {
    const pool = new pg.Pool({ connectionString: postgresUrl, max: 3 })
    const table = `cenote_fleets_dropped_${process.pid}`
    ends.push(async () => {
      await pool.query(`drop function if exists ${table}_beat_1`)
      await pool.query(`drop table if exists ${table}`)
      await pool.end()
    })
    const it = new PostgresStore(pool, { table })
    for (const drop of ['select', `drop table ${table}`, `drop function ${table}_beat_1`]) {
      await pool.query(drop)
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          new PostgresStore(pool, { table }).beat('x', beatOf(`m${n}`, { floor: 0 })),
        ),
      )
      expect(answers.map(shareOf).reduce((sum, each) => sum + each, 0)).toBe(10)
    }
    await pool.query(`drop table ${table}`)
    await it.leave('x', 'm0')
  },
)

test.skipIf(postgresUrl === '')(
  'PostgresStore: 500 members that join within a second are members within ten',
  async () => {
    const queries = new pg.Pool({ connectionString: postgresUrl, max: 4 })
    const table = `cenote_fleets_many_${process.pid}`
    const store = new PostgresStore(queries, { table })
    const pools = Array.from({ length: 500 }, (_, n) => new Pool(new ScriptedManager(), { name: `p${n}` }))
    ends.push(async () => {
      await Promise.all(pools.map((pool) => pool.close()))
      await queries.query(`drop function if exists ${table}_beat_1`)
      await queries.query(`drop table if exists ${table}`)
      await queries.end()
    })
    const startedAt = performance.now()
    const members = await Promise.all(
      pools.map(async (pool, n) => {
        await later(2 * n)
        return await joinFleet(pool, { store, budget: 1_000 })
      }),
    )
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    // And they stay, for longer than a lease.
    await later(6_000)
    expect(members.filter(({ isConnected }) => isConnected)).toHaveLength(500)
    expect(members.reduce((sum, { share }) => sum + share, 0)).toBeLessThanOrEqual(1_000)
  },
  60_000,
)

test('PostgresStore: a beat that is abandoned before its turn is not sent', async () => {
  const sent: string[][] = []
  const gates: (() => void)[] = []
  const queries = {
    query: async (_text: string, [, beats]: unknown[] = []) => {
      const ids = (JSON.parse(String(beats)) as Beat[]).map(({ id }) => id)
      sent.push(ids)
      await new Promise<void>((resolve) => gates.push(resolve))
      const answers = ids.map(() => ({ share: 1, fits: true }))
      return { rows: [{ answer: { answers, ids: ['a'], numbers: '1 1 0 1 0' } }] }
    },
  }
  const it = new PostgresStore(queries)
  const controller = new AbortController()
  const beats = ['a', 'b', 'c', 'd'].map((id) =>
    it.beat('x', beatOf(id), id === 'c' ? controller.signal : undefined),
  )
  controller.abort(new Error('too late'))
  await expect(beats[2]).rejects.toThrow('too late')
  while (sent.flat().length < 3) {
    gates.shift()?.()
    await later(1)
  }
  for (const open of gates) open()
  await Promise.all([beats[0], beats[1], beats[3]])
  expect(sent).toEqual([['a'], ['b'], ['d']])
})

// A server of its own, restarted from what it had on disk: its members have other shares by now.
test.skipIf(!hasRedis)(
  'RedisStore: after a restart from an old snapshot nothing is given out for one lease',
  async () => {
    const server = await startRedis()
    ends.push(() => server.destroy())
    const client = createClient({ url: server.url, socket: { reconnectStrategy: 20 } })
    client.on('error', () => {})
    await client.connect()
    ends.push(() => client.destroy())
    const it = new RedisStore(client)
    const leaseMs = 1_000
    await it.beat('x', beatOf('a', { leaseMs: 20 }))
    await later(25)
    expect(shareOf(await it.beat('x', beatOf('a', { wanted: 3, leaseMs })))).toBe(3)
    await it.beat('x', beatOf('b', { wanted: 1, leaseMs }))
    await client.sendCommand(['SAVE'])
    expect(shareOf(await it.beat('x', beatOf('b', { wanted: 7, held: 1, leaseMs })))).toBe(7)
    await server.stop()
    await server.start()
    await expect.poll(async () => await client.ping().catch(() => '')).toBe('PONG')
    // The snapshot is young: no lease has ended by it. Only the server is another one.
    expect(shareOf(await it.beat('x', beatOf('a', { wanted: 9, held: 3, leaseMs })))).toBe(3)
    expect(shareOf(await it.beat('x', beatOf('b', { wanted: 9, held: 7, leaseMs })))).toBe(7)
  },
  30_000,
)

// A cluster of its own: the installed Redis.
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
  expect(() => new RedisStore({} as never)).toThrow('client must be a client of redis or ioredis (got {})')
  expect(() => new PostgresStore({} as never)).toThrow(
    'queries must be an object with query(text, values) (got {})',
  )
  expect(() => new PostgresStore({ query: () => Promise.reject() }, { table: 'x; drop table y' })).toThrow(
    "table must be a name of at most 55 letters, digits and _, with or without its schema (got 'x; drop table y')",
  )
})

import { afterEach, expect, test } from 'vitest'

import {
  type Beat,
  type BeatAnswer,
  FleetError,
  type FleetStore,
  joinFleet,
  type FleetOptions,
  MemoryStore,
  type Membership,
} from '../../src/fleet/index.ts'
import { type Clock, type Lease, Pool, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'

const LEASE = 5_000
const BEAT = 1_000

/** A store that can be cut off, for some or for all. */
class Network implements FleetStore {
  readonly inner: FleetStore
  readonly beats: Beat[] = []
  /** Beats that are under way, in the mode 'keeps': each goes on when it is called. */
  readonly kept: (() => void)[] = []
  mode: 'open' | 'fails' | 'hangs' | 'loses answers' | 'keeps' = 'open'

  constructor(inner: FleetStore) {
    this.inner = inner
  }

  async beat(fleet: string, beat: Beat): Promise<BeatAnswer> {
    this.beats.push(beat)
    if (this.mode === 'fails') throw new Error('cut off')
    if (this.mode === 'hangs') return await new Promise(() => {})
    if (this.mode === 'keeps') await new Promise<void>((resolve) => this.kept.push(resolve))
    const answer = await this.inner.beat(fleet, beat)
    if (this.mode === 'loses answers') throw new Error('cut off')
    return answer
  }

  async leave(fleet: string, id: string): Promise<void> {
    if (this.mode !== 'open') throw new Error('cut off')
    await this.inner.leave(fleet, id)
  }
}

interface Process {
  readonly pool: Pool<ScriptedConnection>
  readonly manager: ScriptedManager
  readonly network: Network
  readonly membership: Membership
}

const made: Pool<ScriptedConnection>[] = []
afterEach(async () => {
  for (const pool of made.splice(0)) void pool.close({ timeoutMs: 0 })
})

function world(budget = 20) {
  const clock = new VirtualClock(undefined, 50_000)
  const store = new MemoryStore({ clock })
  const begin = async (
    options: Partial<FleetOptions> = {},
    poolOptions: PoolOptions<ScriptedConnection> = {},
  ): Promise<Process> => {
    const manager = new ScriptedManager()
    const pool = new Pool(manager, { clock, maxSize: 20, acquireTimeoutMs: Infinity, ...poolOptions })
    made.push(pool)
    const network = new Network(options.store ?? store)
    const joining = joinFleet(pool, { budget, leaseMs: LEASE, ...options, store: network })
    joining.catch(() => {})
    for (let n = 0; n < 80 && !(await isSettled(joining)); n++) await clock.advance(BEAT / 4)
    return { pool, manager, network, membership: await joining }
  }
  return { clock, store, begin }
}

async function isSettled(work: Promise<unknown>): Promise<boolean> {
  let settled = false
  const set = (): void => void (settled = true)
  work.then(set, set)
  await settle()
  return settled
}

/** So many callers that hold their connection until they are told. */
async function hold({ pool }: Process, count: number): Promise<Lease<ScriptedConnection>[]> {
  const leases: Lease<ScriptedConnection>[] = []
  for (let n = 0; n < count; n++)
    void pool.acquire().then(
      (lease) => leases.push(lease),
      () => {},
    )
  await settle()
  return leases
}
/** Two processes with a budget of ten; so many callers in the first. */
async function two(callers: number) {
  const { clock, begin } = world(10)
  const a = await begin()
  const b = await begin()
  await clock.advance(3 * BEAT)
  return { clock, begin, a, b, held: await hold(a, callers) }
}

const sharesOf = (processes: Process[]): number[] => processes.map(({ membership }) => membership.share)
const openIn = (processes: Process[]): number => processes.reduce((sum, { manager }) => sum + manager.open, 0)

test('the first member has the whole budget; the second has its floor within a beat, and half when it needs it', async () => {
  const { clock, begin } = world()
  const a = await begin()
  await clock.advance(BEAT)
  expect(a.membership.share).toBe(20)
  expect(a.pool.state().maxSize).toBe(20)
  await hold(a, 30)
  await clock.advance(BEAT)
  const startedAt = clock.now()
  const joining = begin({ floor: 3 })
  // What is leased is not taken away: the newcomer waits for what comes back.
  await clock.advance(2 * BEAT)
  expect(openIn([a])).toBe(20)
  await a.pool.close({ timeoutMs: 0 }).catch(() => {})
  const b = await joining
  expect(clock.now() - startedAt).toBeLessThan(8 * BEAT)
  expect(b.membership.share).toBeGreaterThanOrEqual(3)
})

test('idle capacity: a newcomer has its floor within one beat of the others, and a starving one its part within two', async () => {
  const { clock, begin } = world()
  const a = await begin()
  await clock.advance(BEAT)
  const startedAt = clock.now()
  const b = await begin({ floor: 2 })
  expect(clock.now() - startedAt).toBeLessThanOrEqual(1.5 * BEAT)
  await clock.advance(3 * BEAT)
  const starving = await hold(b, 15)
  await clock.advance(2.2 * BEAT)
  expect(b.membership.share).toBeGreaterThanOrEqual(15)
  expect(starving).toHaveLength(15)
  expect(sharesOf([a, b]).reduce((x, y) => x + y)).toBeLessThanOrEqual(20)
  expect(a.membership.members().map(({ isSelf }) => isSelf)).toHaveLength(2)
  expect(b.membership.members().find(({ isSelf }) => isSelf)).toMatchObject({
    id: b.membership.id,
    share: b.membership.share,
  })
})

test('a share goes to the next only when its holder has closed the surplus', async () => {
  const { clock, begin } = world(10)
  const a = await begin()
  await clock.advance(BEAT)
  const leases = await hold(a, 10)
  const joining = begin()
  await clock.advance(3 * BEAT)
  expect(await isSettled(joining)).toBe(false)
  expect(a.membership.share).toBeLessThan(10)
  leases[0]?.release()
  await clock.advance(BEAT)
  const b = await joining
  expect(b.membership.share).toBe(1)
  expect(openIn([a, b])).toBeLessThanOrEqual(10)
})

test('a pool that shrinks gets no second resize, and a pool with minIdle keeps what its share allows', async () => {
  const { clock, begin } = world(10)
  const a = await begin({}, { minIdle: 6, maxSize: 8 })
  await clock.advance(2 * BEAT)
  expect(a.pool.state()).toMatchObject({ maxSize: 10, minIdle: 6, connections: 6 })
  const b = await begin({ floor: 3 })
  await hold(b, 9)
  await clock.advance(4 * BEAT)
  expect(b.membership.share).toBe(9)
  expect(a.pool.state()).toMatchObject({ maxSize: 1, minIdle: 1, connections: 1 })
})

test('with the store gone checkouts go on: for its lease with the share, then with the floor, until it is back', async () => {
  const { clock, begin } = world()
  const errors: unknown[] = []
  const a = await begin({ floor: 2, onError: (error) => void errors.push(error) })
  await clock.advance(BEAT)
  for (const mode of ['fails', 'hangs'] as const) {
    a.network.mode = mode
    await clock.advance(2 * BEAT)
    expect([a.membership.share, a.membership.isConnected]).toEqual([20, true])
    ;(await a.pool.acquire()).release()
    await clock.advance(3 * BEAT)
    expect([a.membership.share, a.membership.isConnected]).toEqual([2, false])
    ;(await a.pool.acquire()).release()
    a.network.mode = 'open'
    await clock.advance(3 * BEAT)
    expect([a.membership.share, a.membership.isConnected]).toEqual([20, true])
  }
  expect(errors.map(String)).toContain('Error: cut off')
  expect(errors.map(String)).toContain('Error: the store did not answer in 1000 ms')
})

test('while the store is gone it gets one request per beat, and members do not come together', async () => {
  const clock = new VirtualClock(random(7), 50_000)
  const store = new MemoryStore({ clock })
  const network = new Network(store)
  const times: number[] = []
  for (let n = 0; n < 20; n++) {
    const pool = new Pool(new ScriptedManager(), { clock })
    made.push(pool)
    const joining = joinFleet(pool, { store: network, budget: 100, leaseMs: LEASE })
    await clock.advance(5)
    await joining
  }
  const beat = network.beat.bind(network)
  network.beat = async (fleet, one) => {
    times.push(clock.now())
    return await beat(fleet, one)
  }
  network.mode = 'fails'
  await clock.advance(20 * BEAT)
  expect(times.length).toBeLessThan(20 * 25)
  network.mode = 'open'
  times.length = 0
  await clock.advance(2 * BEAT)
  const perTenth = Map.groupBy(times, (at) => Math.floor(at / 200))
  expect(Math.max(...[...perTenth.values()].map(({ length }) => length))).toBeLessThan(15)
})

test('an answer that is lost gives nothing out twice', async () => {
  const { clock, a, b, held: wanting } = await two(9)
  a.network.mode = 'loses answers'
  for (let n = 0; n < 30; n++) {
    await clock.advance(BEAT / 5)
    expect(a.pool.state().maxSize + b.pool.state().maxSize).toBeLessThanOrEqual(10)
  }
  a.network.mode = 'open'
  await clock.advance(4 * BEAT)
  expect([wanting.length, ...sharesOf([a, b])]).toEqual([9, 9, 1])
})

test('each returned part of a surplus goes to members that are short, and does not wait for the last part', async () => {
  const { clock, a, b, held } = await two(30)
  await clock.advance(3 * BEAT)
  expect(sharesOf([a, b])).toEqual([9, 1])
  await hold(b, 30)
  await clock.advance(3 * BEAT)
  expect([...sharesOf([a, b]), openIn([a, b])]).toEqual([5, 1, 10])
  for (const open of [8, 7]) {
    held.pop()?.release()
    await clock.advance(BEAT / 2)
    expect(a.network.beats.at(-1)?.held).toBe(open)
  }
  await clock.advance(BEAT)
  expect([...sharesOf([a, b]), openIn([a, b])]).toEqual([5, 3, 10])
})

test.each([0, 0.25, 0.5, 0.75])('one that waits for its floor is short, too (phase %s)', async (phase) => {
  const { clock, begin, a, b, held } = await two(9)
  await clock.advance(3 * BEAT)
  expect(sharesOf([a, b])).toEqual([9, 1])
  const heard: (number | undefined)[] = []
  for (const at of [2, 2.5])
    clock.setTimeout(
      () => {
        held.pop()?.release()
        clock.setTimeout(() => heard.push(a.network.beats.at(-1)?.held), BEAT / 2)
      },
      (at + phase) * BEAT,
    )
  const c = await begin({ floor: 2 })
  await clock.advance(BEAT)
  expect(heard).toEqual([8, 7])
  expect(sharesOf([a, b, c])).toEqual([7, 1, 2])
})

test('one that leaves waits for a surplus that callers hold, also where its share is its floor already', async () => {
  const { clock, a, b, held } = await two(9)
  await clock.advance(3 * BEAT)
  a.network.mode = 'fails'
  await clock.advance(LEASE)
  expect([...sharesOf([a, b]), openIn([a])]).toEqual([1, 9, 9])
  a.network.mode = 'open'
  const leaving = a.membership.leave()
  await clock.advance(BEAT)
  expect(await isSettled(leaving)).toBe(false)
  for (const lease of held.splice(0)) lease.release()
  expect(await isSettled(leaving)).toBe(true)
})

test('a beat that was on its way when its lease ended does not take back what others have been given', async () => {
  const { clock, a, b, held } = await two(30)
  await clock.advance(3 * BEAT)
  expect(sharesOf([a, b])).toEqual([9, 1])
  const taken = await hold(b, 30)
  a.network.mode = 'fails'
  await clock.advance(LEASE + 2 * BEAT)
  expect(sharesOf([a, b])).toEqual([1, 9])
  a.network.mode = 'keeps'
  while (a.network.kept.length === 0) await clock.advance(BEAT / 20)
  expect(a.network.beats.at(-1)).toMatchObject({ held: 9, wanted: 1 })
  // Before it arrives, what it says is not so any more.
  for (const lease of held.splice(0, 8)) lease.release()
  await settle()
  expect(a.manager.open).toBe(1)
  a.network.mode = 'open'
  a.network.kept[0]?.()
  for (let n = 0; n < 10; n++) {
    await clock.advance(BEAT / 20)
    expect(openIn([a, b])).toBeLessThanOrEqual(10)
  }
  // It gets its half as anybody does: when it is given back.
  for (let n = 0; n < 100; n++) {
    for (const lease of [...held.splice(0), ...taken.splice(0)]) lease.release()
    await clock.advance(BEAT / 20)
    expect(openIn([a, b])).toBeLessThanOrEqual(10)
  }
  expect(sharesOf([a, b])).toEqual([5, 5])
})

test('a process that dies gives its share back when its lease ends, except for its floor, which is kept for ten leases', async () => {
  const { clock, store, begin } = world(10)
  const a = await begin()
  // One that beats no more: a kill -9.
  const dead: Beat = {
    protocol: 1,
    id: 'dead',
    sequence: 1,
    budget: 10,
    leaseMs: LEASE,
    floor: 2,
    weight: 1,
    demand: 9,
    held: 0,
    wanted: 2,
  }
  await clock.advance(2 * BEAT)
  await expect
    .poll(async () => {
      await clock.advance(BEAT / 2)
      const answer = await store.beat('default', { ...dead, sequence: clock.now(), wanted: 9, demand: 9 })
      return answer.refused === undefined && answer.share
    })
    .toBe(9)
  await hold(a, 9)
  await clock.advance(LEASE - BEAT)
  expect(a.membership.share).toBe(1)
  await clock.advance(3 * BEAT)
  expect(a.membership.share).toBe(8)
  expect(a.membership.members().find(({ id }) => id === 'dead')).toMatchObject({ isAbsent: true, share: 2 })
  await clock.advance(11 * LEASE)
  expect(a.membership.share).toBe(10)
})

test('one that stood still for longer than its lease shrinks before all else when it wakes, and its stale beats count for nothing', async () => {
  const clock = new VirtualClock(undefined, 50_000)
  const store = new MemoryStore({ clock })
  // A clock of its own: its timers stand still with its process, and its time has gone on when it wakes.
  const frozen = new VirtualClock(undefined, 9_000)
  let sleptMs = 0
  const own: Clock = {
    now: () => frozen.now() + sleptMs,
    random: () => 0.5,
    setTimeout: (callback, delayMs) => frozen.setTimeout(callback, delayMs),
    clearTimeout: (handle) => frozen.clearTimeout(handle as never),
  }
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { clock: own, maxSize: 20 })
  made.push(pool)
  const network = new Network(store)
  const membership = await joinFleet(pool, { store: network, budget: 10, floor: 2, leaseMs: LEASE })
  const both = async (ms: number): Promise<void> => {
    for (let n = 0; n < ms; n += 100) {
      await frozen.advance(100)
      await clock.advance(100)
    }
  }
  await both(BEAT)
  const leases = await hold({ pool } as Process, 10)
  await both(2 * BEAT)
  expect([leases.length, membership.share]).toEqual([10, 10])
  for (const lease of leases.splice(2)) lease.release()
  const stale = { ...(network.beats.at(-1) as Beat) }
  // It stands still: the other one gets all but its floor.
  await clock.advance(LEASE + BEAT)
  const other = await joinElsewhere(clock, store)
  await clock.advance(2 * BEAT)
  expect(other.share).toBe(8)
  // The worst overshoot: its share without its floor, 8, from the end of its lease until it wakes.
  expect(manager.open).toBe(10)
  // It wakes: the first thing is that it shrinks.
  sleptMs = LEASE + 3 * BEAT
  const beatsBefore = network.beats.length
  network.mode = 'hangs'
  await frozen.advance(BEAT / 5)
  expect([membership.share, manager.open]).toEqual([2, 2])
  expect(network.beats.slice(beatsBefore).every(({ wanted }) => wanted === 2)).toBe(true)
  // The beat that it had under way before it stood still arrives.
  await store.beat('default', stale)
  network.mode = 'open'
  await both(3 * BEAT)
  expect(membership.share + other.share).toBeLessThanOrEqual(10)
})

async function joinElsewhere(clock: VirtualClock, store: FleetStore): Promise<Membership> {
  const pool = new Pool(new ScriptedManager(), { clock })
  made.push(pool)
  const joining = joinFleet(pool, { store, budget: 10, leaseMs: LEASE })
  for (let n = 0; n < 20 && !(await isSettled(joining)); n++) await clock.advance(BEAT / 4)
  for (let n = 0; n < 9; n++) void pool.acquire().catch(() => {})
  return await joining
}

test('leave releases all; so does closing the pool', async () => {
  const { clock, begin } = world(10)
  const a = await begin()
  const b = await begin()
  const c = await begin()
  await clock.advance(2 * BEAT)
  await b.membership.leave()
  await b.membership.leave()
  expect(b.pool.state().maxSize).toBe(1)
  const closing = c.pool.close()
  await clock.advance(2 * BEAT)
  await closing
  await hold(a, 10)
  await clock.advance(2 * BEAT)
  expect(a.membership.members().map(({ id }) => id)).toEqual([a.membership.id])
  expect(a.membership.share).toBe(10)
  // Its work does not come back: leaving waits for one lease and goes.
  const leaving = a.membership[Symbol.asyncDispose]()
  await clock.advance(LEASE)
  await leaving
})

test('leaving while the pool closes waits for what is still leased, for one lease at most', async () => {
  const { clock, begin } = world(10)
  const a = await begin()
  const b = await begin()
  const [lease] = await hold(b, 1)
  void b.pool.close({ timeoutMs: 60_000 })
  const leaving = b.membership.leave()
  await clock.advance(2 * BEAT)
  expect(await isSettled(leaving)).toBe(false)
  lease?.release()
  await clock.advance(BEAT)
  expect(await isSettled(leaving)).toBe(true)
  await clock.advance(2 * BEAT)
  expect(a.membership.members()).toHaveLength(1)
  const c = await begin()
  await hold(c, 1)
  void c.pool.close({ timeoutMs: 60_000 })
  const stuck = c.membership.leave()
  await clock.advance(LEASE + BEAT)
  expect(await isSettled(stuck)).toBe(true)
})

test('a pool is in one fleet at a time', async () => {
  const { clock, store, begin } = world(10)
  const a = await begin()
  const again = (): Promise<Membership> =>
    joinFleet(a.pool, { store, budget: 10, leaseMs: LEASE, fleet: 'other' })
  await expect(again()).rejects.toMatchObject({
    name: 'PoolOptionsError',
    option: 'pool',
    message: expect.stringMatching(/^pool must be a member of no other fleet/),
  })
  await a.membership.leave()
  const joining = again()
  await clock.advance(BEAT)
  expect((await joining).share).toBe(10)
})

test('a beat that is under way when a member leaves does not bring it back', async () => {
  const { clock, begin } = world(10)
  const a = await begin()
  const b = await begin()
  await clock.advance(2 * BEAT)
  const gate = Promise.withResolvers<void>()
  const beat = b.network.beat.bind(b.network)
  b.network.beat = async (fleet, one) => {
    await gate.promise
    return await beat(fleet, one)
  }
  const beatsBefore = b.network.beats.length
  await clock.advance(1.2 * BEAT)
  const leaving = b.membership.leave()
  await settle()
  gate.resolve()
  await leaving
  expect(b.network.beats.length).toBe(beatsBefore + 1)
  await clock.advance(2 * BEAT)
  expect(a.membership.members().map(({ id }) => id)).toEqual([a.membership.id])
})

test('a rolling deploy: twice the processes never have more than the budget, and the old ones give way', async () => {
  const { clock, begin } = world(20)
  const old: Process[] = []
  for (let n = 0; n < 5; n++) old.push(await begin({ floor: 2 }))
  const first: Lease<ScriptedConnection>[] = []
  for (const each of old) first.push(...(await hold(each, 4)))
  await clock.advance(3 * BEAT)
  expect(openIn(old)).toBe(20)
  for (const lease of first) lease.release()
  // Their work comes and goes.
  const working = setWork(old)
  const fresh: Process[] = []
  for (let n = 0; n < 5; n++) {
    const joining = begin({ floor: 2 })
    for (let step = 0; step < 200 && !(await isSettled(joining)); step++) {
      await working()
      await clock.advance(BEAT / 10)
      expect(openIn([...old, ...fresh])).toBeLessThanOrEqual(20)
    }
    fresh.push(await joining)
  }
  for (const each of old) void each.pool.close({ timeoutMs: 100 })
  for (let step = 0; step < 40; step++) {
    await clock.advance(BEAT / 10)
    expect(openIn([...old, ...fresh])).toBeLessThanOrEqual(20)
  }
  for (const each of fresh) await hold(each, 4)
  await clock.advance(3 * BEAT)
  expect(sharesOf(fresh)).toEqual([4, 4, 4, 4, 4])
})

function setWork(processes: Process[]): () => Promise<void> {
  const held = processes.map(() => [] as Lease<ScriptedConnection>[])
  return async () => {
    for (const [n, { pool }] of processes.entries()) {
      for (const lease of held[n]?.splice(0) ?? []) lease.release()
      void pool.acquire().then(
        (lease) => held[n]?.push(lease),
        () => {},
      )
    }
    await settle()
  }
}

test('bad input: options by name, and what the fleet has instead', async () => {
  const { begin, store } = world(10)
  const pool = new Pool(new ScriptedManager(), { name: 'orders' })
  made.push(pool)
  const refused = async (options: object): Promise<string> =>
    await joinFleet(pool, { store, budget: 10, ...options }).then(
      () => 'joined',
      (error: Error) => `${error.name} ${error.message}`,
    )
  expect(await refused({ store: {} })).toBe(
    'PoolOptionsError store must be a MemoryStore, RedisStore or PostgresStore, or an object with beat and leave (got {})',
  )
  expect(await refused({ budget: 0 })).toBe('PoolOptionsError budget must be an integer >= 1 (got 0)')
  expect(await refused({ budget: undefined })).toBe(
    'PoolOptionsError budget must be an integer >= 1 (got undefined)',
  )
  expect(await refused({ floor: 11 })).toBe(
    'PoolOptionsError floor must be an integer from 1 to budget (10) (got 11)',
  )
  expect(await refused({ weight: -1 })).toBe('PoolOptionsError weight must be a finite number > 0 (got -1)')
  expect(await refused({ floors: 1 })).toMatch(
    /^PoolOptionsError floors must be one of the options of joinFleet: did you mean floor\?/,
  )
  await begin({ floor: 4 })
  expect(await refused({ budget: 12 })).toBe(
    "FleetError budget must be 10, as for all members of the fleet 'default' (got 12). To change it, let all of them leave, or name another fleet",
  )
  const old = new Network(store)
  old.beat = (fleet, beat) => store.beat(fleet, { ...beat, protocol: 0 })
  expect(await refused({ store: old })).toMatch(/^FleetError protocol must be 1, .* \(got 1\)/)
})

test('a floor that does not fit waits for three leases, and then the error names the floors', async () => {
  const { clock, begin } = world(10)
  await begin({ floor: 4 })
  const startedAt = clock.now()
  const joining = begin({ floor: 7 }).catch((error: FleetError) => `${error.code} ${error.message}`)
  await clock.advance(2.9 * LEASE)
  expect(await isSettled(joining)).toBe(false)
  expect(await joining).toBe(
    "FLEET_FLOORS floor must be at most 6 (got 7): the other floors of the fleet 'default' add up to 4 of its budget of 10",
  )
  expect(clock.now() - startedAt).toBeLessThan(3 * LEASE + 4 * BEAT)
})

test('a replacement waits for the floor of the member that left, and of the one that was killed, within its time', async () => {
  const { clock, store, begin } = world(10)
  await begin({ floor: 4 })
  const old = await begin({ floor: 6 })
  let replacing = begin({ floor: 6 })
  await clock.advance(BEAT)
  await old.pool.close()
  const { network } = await replacing
  // Killed: its beats end, and nothing says goodbye.
  network.mode = 'hangs'
  network.leave = () => new Promise(() => {})
  const killedAt = clock.now()
  replacing = begin({ floor: 6 })
  const replacement = await replacing
  expect(replacement.membership.share).toBeGreaterThanOrEqual(6)
  expect(clock.now() - killedAt).toBeLessThan(2.5 * LEASE)
  expect(await store.beat('default', { ...(network.beats.at(-1) as Beat), sequence: 1e9 })).toEqual({
    refused: 'floors',
    instead: 10,
  })
})

test('a crash loop of one process a second is never shut out', async () => {
  const { clock, begin } = world(14)
  await begin()
  for (let n = 0; n < 40; n++) {
    const startedAt = clock.now()
    const { membership, network } = await begin()
    expect(membership.share).toBeGreaterThanOrEqual(1)
    expect(clock.now() - startedAt).toBeLessThan(3 * LEASE)
    network.mode = 'hangs'
    await clock.advance(1_000)
  }
})

test('a resize by the program is undone at the next tick, to more and to less; a change of minIdle stays', async () => {
  const { clock, begin } = world(10)
  const a = await begin()
  const b = await begin()
  await hold(a, 30)
  await clock.advance(3 * BEAT)
  expect(sharesOf([a, b])).toEqual([9, 1])
  for (const maxSize of [60, 1]) {
    void a.pool.resize({ maxSize })
    await clock.advance(BEAT / 5)
    expect(a.pool.state().maxSize).toBe(9)
  }
  for (let n = 0; n < 20; n++) {
    await clock.advance(BEAT / 5)
    expect(sharesOf([a, b]).reduce((x, y) => x + y)).toBeLessThanOrEqual(10)
  }
  void b.pool.resize({ minIdle: 1 })
  await clock.advance(3 * BEAT)
  expect(b.pool.state()).toMatchObject({ maxSize: 1, minIdle: 1 })
})

test.each([0, 0.25, 0.5, 0.75])(
  'with a store that takes 200 ms a starving member is served within two beats and the round trips (phase %s)',
  async (phase) => {
    const { clock, begin, store } = world(20)
    const slow = async <T>(answer: () => Promise<T>): Promise<T> => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 100))
      const given = await answer()
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 100))
      return given
    }
    const network: FleetStore = {
      beat: (fleet, beat) => slow(() => store.beat(fleet, beat)),
      leave: (fleet, id) => slow(() => store.leave(fleet, id)),
    }
    const a = await begin({ store: network })
    const b = await begin({ store: network })
    await clock.advance((5 + phase) * BEAT)
    const rich = a.membership.share > b.membership.share ? [a, b] : [b, a]
    const starving = rich[1] as Process
    const startedAt = clock.now()
    const leases = await hold(starving, 15)
    while (leases.length < 15 && clock.now() - startedAt < 6 * BEAT) await clock.advance(BEAT / 20)
    expect(leases).toHaveLength(15)
    // Its beat, the beat of the rich one, that of the surplus that is closed, and its own again.
    expect(clock.now() - startedAt).toBeLessThanOrEqual(2 * BEAT + 4 * 200)
  },
)

test('a store that cannot be reached, and a fleet without room, are reported after three leases', async () => {
  const clock = new VirtualClock()
  const store = new Network(new MemoryStore({ clock }))
  store.mode = 'fails'
  const pool = new Pool(new ScriptedManager(), { clock })
  made.push(pool)
  const joining = joinFleet(pool, { store, budget: 10, leaseMs: LEASE }).catch((error: unknown) => error)
  await clock.advance(3 * LEASE + BEAT)
  const error = (await joining) as FleetError
  expect(error).toBeInstanceOf(FleetError)
  expect([error.code, String(error.cause)]).toEqual(['FLEET_STORE', 'Error: cut off'])
  store.mode = 'open'
  await store.beat('default', {
    protocol: 1,
    id: 'x',
    sequence: 1,
    budget: 10,
    leaseMs: 1e6,
    floor: 1,
    weight: 1,
    demand: 9,
    held: 0,
    wanted: 10,
  })
  const late = joinFleet(pool, { store, budget: 10, leaseMs: LEASE }).catch(
    (failure: FleetError) => failure.code,
  )
  await clock.advance(3 * LEASE + BEAT)
  expect(await late).toBe('FLEET_NO_ROOM')
})

test('two clocks that differ by hours do not matter: a lease is measured by the store', async () => {
  const store = new MemoryStore({ clock: new VirtualClock(undefined, 1) })
  const clocks = [new VirtualClock(undefined, 0), new VirtualClock(undefined, 36_000_000)]
  const shares: number[] = []
  for (const clock of clocks) {
    const pool = new Pool(new ScriptedManager(), { clock })
    made.push(pool)
    const joining = joinFleet(pool, { store, budget: 10, leaseMs: LEASE })
    for (let n = 0; n < 8; n++) for (const each of clocks) await each.advance(BEAT / 2)
    shares.push((await joining).share)
  }
  expect(shares.reduce((a, b) => a + b)).toBeLessThanOrEqual(20)
  expect(Math.min(...shares)).toBeGreaterThanOrEqual(1)
})

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 16_807) % 2_147_483_647
    return state / 2_147_483_647
  }
}

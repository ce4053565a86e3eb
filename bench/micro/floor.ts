// How near a pool can come to a bare array: the least code that still keeps the promises of a checkout, compared with the
// array and this pool, in turns in one process. Run it with --expose-gc.
import { bytesPerWaiter, loop, serve } from './cases.ts'
import { median } from './median.ts'
import { type BenchPool, makePool, Queue } from './pools.ts'

const ROUNDS = 25
// The global is a getter.
const time = performance

interface Connection {
  readonly isBroken: boolean
}

interface Slot {
  readonly connection: Connection
  readonly expiresAt: number
  lastUsedAt: number
  uses: number
}

// A lease is single-use: one that was given back twice must not free another borrower's connection.
class FloorLease {
  readonly pool: Floor
  slot: Slot | undefined

  constructor(pool: Floor, slot: Slot) {
    this.pool = pool
    this.slot = slot
  }

  release(): void {
    const { slot } = this
    if (slot === undefined) return
    this.slot = undefined
    this.pool.giveBack(slot)
  }
}

// Nothing that is expired, unchecked for too long or broken is handed out; each waiter has its deadline; how long each waited
// is known. No timers, signals, hooks, priorities, events or other statistics.
class Floor {
  readonly #idle: Slot[]
  // A queue of each and no object for a caller: it would be a quarter of what is kept of one.
  readonly #resolves: Queue<(lease: FloorLease) => void> = new Queue()
  // Never called here, but whoever may time out or be refused needs it.
  readonly #rejects: Queue<(reason: unknown) => void> = new Queue()
  readonly #queuedAts: Queue<number> = new Queue()
  waitedMs = 0
  readonly #hasBroken: (connection: Connection) => boolean

  constructor(hasBroken: (connection: Connection) => boolean, connections: readonly Connection[]) {
    this.#hasBroken = hasBroken
    const expiresAt = time.now() + 1e9
    this.#idle = connections.map((connection) => ({ connection, expiresAt, lastUsedAt: 0, uses: 0 }))
  }

  acquire(): Promise<FloorLease> {
    const now = time.now()
    const slot = this.#idle.pop()
    if (slot !== undefined && this.#isFit(slot, now) && now - slot.lastUsedAt < 1e9) {
      slot.uses++
      return Promise.resolve(new FloorLease(this, slot))
    }
    return new Promise((resolve, reject) => {
      this.#resolves.push(resolve)
      this.#rejects.push(reject)
      this.#queuedAts.push(now)
    })
  }

  giveBack(slot: Slot): void {
    const now = time.now()
    if (!this.#isFit(slot, now)) throw new Error('no connection breaks or expires here')
    slot.lastUsedAt = now
    const resolve = this.#resolves.shift()
    if (resolve === undefined) return void this.#idle.push(slot)
    this.#rejects.shift()
    this.waitedMs += now - (this.#queuedAts.shift() ?? now)
    slot.uses++
    resolve(new FloorLease(this, slot))
  }

  #isFit(slot: Slot, now: number): boolean {
    return slot.expiresAt > now && !this.#hasBroken(slot.connection)
  }
}

const connections = Array.from({ length: 10 }, () => ({ isBroken: false }))
const floor = new Floor((connection) => connection.isBroken, connections)
const pools: Readonly<Record<string, BenchPool<unknown>>> = {
  bare: await makePool('bare', 10),
  floor: { acquire: () => floor.acquire(), release: (lease) => (lease as FloorLease).release() },
  cenote: await makePool('cenote', 10),
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}
const cases: Readonly<Record<string, (it: BenchPool<unknown>) => Promise<number>>> = {
  'acquire + release, a connection idle': (it) => timed(() => loop(it, 20_000)),
  '1,000 callers on 10 connections': (it) =>
    timed(() => Promise.all(Array.from({ length: 1_000 }, () => loop(it, 20)))),
  '100,000 waiters served': (it) => serve(it, 100_000),
}

const table: Record<string, Record<string, string>> = {}
for (const [title, run] of Object.entries(cases)) {
  const times: Record<string, number[]> = { bare: [], floor: [], cenote: [] }
  for (let round = 0; round < ROUNDS + 5; round++) {
    for (const [name, it] of Object.entries(pools)) {
      const took = await run(it)
      if (round >= 5) times[name]?.push(took)
    }
  }
  const limit = median(times['bare'] ?? [])
  table[`${title}, compared with the array`] = Object.fromEntries(
    Object.entries(times).map(([name, each]) => [name, (median(each) / limit).toFixed(1)]),
  )
}

const bytes: Record<string, string> = {}
for (const [name, it] of Object.entries(pools)) {
  const holding = await Promise.all(connections.map(() => it.acquire()))
  bytes[name] = bytesPerWaiter(it).toFixed(0)
  if (holding.length !== 10) throw new Error('somebody was served')
}
table['heap for one caller that waits, bytes'] = bytes
console.table(table)
process.exit()

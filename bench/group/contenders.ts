import pg from 'pg'

import { PgManager } from '../../src/managers/pg/pg.ts'
import { PoolGroup } from '../../src/group/index.ts'

/** What every contender does: runs a statement as a role. */
export interface Contender {
  run(role: string, statement: string): Promise<unknown>
  close(): Promise<void>
}

/** Where a role connects to. */
export type TargetOf = (role: string) => string

export type ContenderName =
  | 'group'
  | 'group, forgetAfterMs 60,000'
  | 'LRU map of 10 pg.Pool with max 2'
  | 'guarded LRU of 20 pg.Pool with max 1'
  | 'one big pool that reconnects'

/** Each keeps at most 20 connections, as far as its author thought. */
export const CONTENDERS: Record<ContenderName, (targetOf: TargetOf) => Contender> = {
  group: (targetOf) => grouped(targetOf, 0),
  'group, forgetAfterMs 60,000': (targetOf) => grouped(targetOf, 60_000),
  'LRU map of 10 pg.Pool with max 2': (targetOf) => lru(targetOf, 10, 2, false),
  'guarded LRU of 20 pg.Pool with max 1': (targetOf) => lru(targetOf, 20, 1, true),
  'one big pool that reconnects': (targetOf) => new Reconnecting(targetOf, 20),
}

function grouped(targetOf: TargetOf, forgetAfterMs: number): Contender {
  const group = new PoolGroup((role) => new PgManager(targetOf(role)), { total: 20, forgetAfterMs })
  return {
    run: (role, statement) => group.run(role, (client) => client.query(statement)),
    close: async () => void (await group.close()),
  }
}

// As services write it: the least recently used pool is ended, or only one without callers.
function lru(targetOf: TargetOf, most: number, max: number, isGuarded: boolean): Contender {
  const pools = new Map<string, pg.Pool>()
  const isUnused = ({ waitingCount, totalCount, idleCount }: pg.Pool): boolean =>
    waitingCount === 0 && totalCount === idleCount
  const poolOf = (role: string): pg.Pool => {
    let pool = pools.get(role)
    if (pool === undefined) {
      pool = new pg.Pool({ connectionString: targetOf(role), max })
      pool.on('error', () => {})
    }
    pools.delete(role)
    pools.set(role, pool)
    for (const [other, candidate] of pools) {
      if (pools.size <= most) break
      if (other === role || (isGuarded && !isUnused(candidate))) continue
      pools.delete(other)
      candidate.end().catch(() => {})
    }
    return pool
  }
  return {
    run: (role, statement) => poolOf(role).query(statement),
    close: async () => {
      await Promise.race([
        Promise.all([...pools.values()].map((pool) => pool.end().catch(() => {}))),
        new Promise((resolve) => setTimeout(resolve, 2_000)),
      ])
    },
  }
}

interface Seat {
  role: string
  client: pg.Client | undefined
}

// One queue; a free connection of another role is closed and re-created.
class Reconnecting implements Contender {
  readonly #targetOf: TargetOf
  readonly #free: Seat[]
  readonly #waiting: { role: string; resolve: (seat: Seat) => void }[] = []

  constructor(targetOf: TargetOf, max: number) {
    this.#targetOf = targetOf
    this.#free = Array.from({ length: max }, () => ({ role: '', client: undefined }))
  }

  async run(role: string, statement: string): Promise<unknown> {
    const seat = await this.#take(role)
    try {
      if (seat.role !== role || seat.client === undefined) {
        await seat.client?.end()
        seat.client = undefined
        const client = new pg.Client(this.#targetOf(role))
        client.on('error', () => {})
        await client.connect()
        seat.client = client
        seat.role = role
      }
      return await seat.client.query(statement)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free.push(seat)
      else next.resolve(seat)
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#free.map(async ({ client }) => await client?.end()))
  }

  #take(role: string): Promise<Seat> {
    const own = this.#free.findIndex((seat) => seat.role === role)
    const [seat] = this.#free.splice(own === -1 ? 0 : own, 1)
    return seat === undefined
      ? new Promise((resolve) => void this.#waiting.push({ role, resolve }))
      : Promise.resolve(seat)
  }
}

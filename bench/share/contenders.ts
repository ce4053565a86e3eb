// One way to send statements: `send` sends one, and resolves with its answer.

import pg from 'pg'
import postgres from 'postgres'
import * as redis from 'redis'

import { Pool } from '../../dist/index.js'
import { PgManager } from 'cenote/pg'
import { RedisManager } from 'cenote/redis'
import { share } from 'cenote/share'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Contender {
  /** Sends one short statement, or one that takes 200 ms at the server. */
  send(isSlow: boolean): Promise<unknown>
  close(): Promise<unknown>
}

export type Open = (address: Address, connections: number, perConnection?: number) => Promise<Contender>

const SHORT = 'select 1'
const SLOW = 'select pg_sleep(0.2)'
const USER = { user: 'postgres', database: 'test' }

// Connections that callers have one at a time: the least that a pool can do.
class Exclusive<C> {
  readonly #free: C[]
  readonly #waiting: ((connection: C) => void)[] = []

  constructor(connections: C[]) {
    this.#free = [...connections]
  }

  async run<T>(work: (connection: C) => Promise<T>): Promise<T> {
    const connection = this.#free.pop() ?? (await new Promise<C>((resolve) => this.#waiting.push(resolve)))
    try {
      return await work(connection)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free.push(connection)
      else next(connection)
    }
  }
}

async function clients(address: Address, count: number, config: object = {}): Promise<pg.Client[]> {
  const opened = Array.from({ length: count }, () => new pg.Client({ ...address, ...USER, ...config }))
  await Promise.all(opened.map((client) => client.connect()))
  return opened
}

interface Corkable {
  readonly connection: { readonly stream: { cork(): void; uncork(): void } }
}

export const CONTENDERS: Readonly<Record<string, Open>> = {
  'exclusive pg': async (address, connections) => {
    const opened = await clients(address, connections)
    const free = new Exclusive(opened)
    return {
      send: (isSlow) => free.run((client) => client.query(isSlow ? SLOW : SHORT)),
      close: () => Promise.all(opened.map((client) => client.end())),
    }
  },
  'bare pipeline, corked': async (address, connections) => {
    const opened = await clients(address, connections, { pipeline: true })
    const lanes = opened.map((client) => ({ client, inFlight: 0, isCorked: false }))
    return {
      send: async (isSlow) => {
        let [lane] = lanes
        for (const each of lanes) if (each.inFlight < lane!.inFlight) lane = each
        const { client } = lane!
        if (!lane!.isCorked) {
          const { stream } = (client as unknown as Corkable).connection
          lane!.isCorked = true
          stream.cork()
          setImmediate(() => {
            lane!.isCorked = false
            stream.uncork()
          })
        }
        lane!.inFlight++
        try {
          return await client.query(isSlow ? SLOW : SHORT)
        } finally {
          lane!.inFlight--
        }
      },
      close: () => Promise.all(opened.map((client) => client.end())),
    }
  },
  'share of pg': async (address, connections, perConnection) => {
    const pool = new Pool(new PgManager({ ...address, ...USER }, { share: true }), { maxSize: connections })
    // All of the connections, whatever the number of callers.
    const db = share(pool, { connections, perConnection, depth: Math.min(4, perConnection ?? 4) })
    return {
      send: (isSlow) => db.run(({ query }) => query(isSlow ? SLOW : SHORT)),
      close: async () => {
        await db.close()
        await pool.close()
      },
    }
  },
  'postgres.js': async (address, connections) => {
    const sql = postgres({ ...address, ...USER, max: connections, fetch_types: false })
    return { send: (isSlow) => sql.unsafe(isSlow ? SLOW : SHORT), close: () => sql.end() }
  },
  'exclusive redis': async ({ host, port }, connections) => {
    const opened = await Promise.all(
      Array.from({ length: connections }, async () => {
        const client = redis.createClient({ socket: { host, port } })
        await client.connect()
        return client
      }),
    )
    const free = new Exclusive(opened)
    return {
      send: () => free.run((client) => client.get('cenote:bench')),
      close: () => Promise.all(opened.map((client) => client.close())),
    }
  },
  'share of redis': async ({ host, port }, connections) => {
    const pool = new Pool(new RedisManager({ socket: { host, port } }), { maxSize: connections })
    const db = share(pool)
    return {
      send: () => db.run((client) => client.get('cenote:bench')),
      close: async () => {
        await db.close()
        await pool.close()
      },
    }
  },
}

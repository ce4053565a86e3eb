import { EventEmitter } from 'node:events'

import genericPool from 'generic-pool'
import { createPool } from 'lightning-pool'
import PgPool from 'pg-pool'
import { Pool as SequelizePool } from 'sequelize-pool'
import { Pool as TarnPool } from 'tarn'

import { type Lease, Pool } from '../dist/index.js'

/** What a benchmark asks of a pool. `R`: what a caller holds. */
export interface BenchPool<R> {
  acquire(timeoutMs?: number): Promise<R>
  release(held: R): void
}

interface Connection {
  isBroken: boolean
}

const TIMEOUT_MS = 30_000

/** The pools that are compared: the limit, this one, and its peers. */
export const POOL_NAMES = [
  'bare',
  'cenote',
  'generic-pool',
  'tarn',
  'lightning-pool',
  'sequelize-pool',
  'pg-pool',
] as const
/** The name of one of them. */
export type PoolName = (typeof POOL_NAMES)[number]

/** How each is set up beside its size. */
export const SETTINGS: Readonly<Record<PoolName, string>> = {
  bare: 'a list of free connections and a list of resolvers: no health, no time, no statistics',
  cenote: 'defaults',
  'generic-pool': '`testOnBorrow` with a `validate` that looks at a flag, `acquireTimeoutMillis` 30,000',
  tarn: '`validate` that looks at a flag, `acquireTimeoutMillis` 30,000',
  'lightning-pool':
    '`validation` with a `validate` that looks at a flag, `acquireTimeoutMillis` 30,000, `maxQueue` without a limit',
  'sequelize-pool': '`validate` that looks at a flag, `acquireTimeoutMillis` 30,000',
  'pg-pool': 'a client that does nothing, `connectionTimeoutMillis` 30,000',
}

const create = async (): Promise<Connection> => ({ isBroken: false })
const destroy = async (): Promise<void> => {}
const validate = (connection: Connection): boolean => !connection.isBroken

/** Makes a pool of so many connections, all open and idle. */
export async function makePool(
  name: PoolName,
  size: number,
  timeoutMs: number = TIMEOUT_MS,
): Promise<BenchPool<unknown>> {
  const pool = MAKERS[name](size, timeoutMs)
  const held = await Promise.all(Array.from({ length: size }, () => pool.acquire()))
  for (const each of held) pool.release(each)
  return pool
}

const MAKERS: Readonly<Record<PoolName, (size: number, timeoutMs: number) => BenchPool<never>>> = {
  bare: (size) => {
    const free: Connection[] = Array.from({ length: size }, () => ({ isBroken: false }))
    const queue = new Queue<(connection: Connection) => void>()
    return {
      acquire: () => {
        const connection = free.pop()
        if (connection !== undefined) return Promise.resolve(connection)
        return new Promise((resolve) => queue.push(resolve))
      },
      release: (connection: Connection) => {
        const next = queue.shift()
        if (next === undefined) free.push(connection)
        else next(connection)
      },
    } as unknown as BenchPool<never>
  },
  cenote: (size, acquireTimeoutMs) => {
    const manager = {
      connect: create,
      isValid: validate,
      hasBroken: (connection: Connection) => connection.isBroken,
      close: () => {},
    }
    const pool = new Pool<Connection>(manager, { maxSize: size, maxConnecting: Infinity, acquireTimeoutMs })
    return {
      acquire: () => pool.acquire(),
      release: (lease: Lease<Connection>) => lease.release(),
    } as unknown as BenchPool<never>
  },
  'generic-pool': (size, acquireTimeoutMillis) => {
    const factory = { create, destroy, validate: async (connection: Connection) => validate(connection) }
    const pool = genericPool.createPool(factory, { max: size, acquireTimeoutMillis, testOnBorrow: true })
    return {
      acquire: () => pool.acquire(),
      release: (connection: Connection) => pool.release(connection),
    } as unknown as BenchPool<never>
  },
  tarn: (size, acquireTimeoutMillis) => {
    const pool = new TarnPool<Connection>({
      create,
      destroy,
      validate,
      min: 0,
      max: size,
      acquireTimeoutMillis,
    })
    return {
      acquire: () => pool.acquire().promise,
      release: (connection: Connection) => pool.release(connection),
    } as unknown as BenchPool<never>
  },
  'lightning-pool': (size, acquireTimeoutMillis) => {
    const factory = {
      create,
      destroy,
      validate: async (connection: Connection) => {
        if (!validate(connection)) throw new Error('broken')
      },
    }
    const limits = { max: size, maxQueue: Number.MAX_SAFE_INTEGER, acquireTimeoutMillis, validation: true }
    const pool = createPool<Connection>(factory, limits)
    return {
      acquire: () => pool.acquire(),
      release: (connection: Connection) => pool.release(connection),
    } as unknown as BenchPool<never>
  },
  'sequelize-pool': (size, acquireTimeoutMillis) => {
    const pool = new SequelizePool<Connection>({
      create,
      destroy,
      validate,
      min: 0,
      max: size,
      acquireTimeoutMillis,
    })
    return {
      acquire: () => pool.acquire(),
      release: (connection: Connection) => pool.release(connection),
    } as unknown as BenchPool<never>
  },
  'pg-pool': (size, connectionTimeoutMillis) => {
    class Client extends EventEmitter {
      readonly _queryable = true
      readonly _ending = false
      connect(done: () => void): void {
        queueMicrotask(done)
      }
      end(done?: () => void): void {
        done?.()
      }
    }
    const pool = new PgPool({ max: size, connectionTimeoutMillis, Client: Client as never } as never)
    return {
      acquire: () => pool.connect(),
      release: (client: { release(): void }) => client.release(),
    } as unknown as BenchPool<never>
  },
}

// A first-in first-out list whose both ends cost O(1): an array's shift would make the limit look worse than it is.
class Queue<T> {
  #items: (T | undefined)[] = []
  #head = 0

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    }
    return item
  }
}

import { EventEmitter } from 'node:events'

import genericPool from 'generic-pool'
import { createPool } from 'lightning-pool'
import PgPool from 'pg-pool'
import { Pool as SequelizePool } from 'sequelize-pool'
import { Pool as TarnPool } from 'tarn'

import { type ConnectionManager, type Lease, Pool } from '../../dist/index.js'

/** What a benchmark asks of a pool. `R`: what a caller holds. */
export interface BenchPool<R> {
  acquire(timeoutMs?: number): Promise<R>
  release(held: R): void
}

/** Where connections come from, for all pools the same. */
export interface Source<C> {
  create(): Promise<C>
  isBroken(connection: C): boolean
  destroy(connection: C): Promise<void>
  /** What this pool's own manager is made of; the default: the three above. */
  readonly manager?: ConnectionManager<C>
  /** What `pg-pool` makes its clients with. */
  readonly pgConfig?: object
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

/** The settings of each pool in addition to its size. */
export const SETTINGS: Readonly<Record<PoolName, string>> = {
  bare: 'a list of free connections and a list of resolvers: no health, no time, no statistics; an abort is a promise and a listener; `run` is an async function of five lines around acquire, try and release',
  cenote: 'defaults',
  'generic-pool': '`testOnBorrow` with a `validate` that reads a flag, `acquireTimeoutMillis` 30,000',
  tarn: '`validate` that reads a flag, `acquireTimeoutMillis` 30,000',
  'lightning-pool':
    '`validation` with a `validate` that reads a flag, `acquireTimeoutMillis` 30,000, `maxQueue` without a limit',
  'sequelize-pool': '`validate` that reads a flag, `acquireTimeoutMillis` 30,000',
  'pg-pool': 'a client that does nothing, `connectionTimeoutMillis` 30,000',
}

const IN_MEMORY: Source<Connection> = {
  create: async () => ({ isBroken: false }),
  isBroken: (connection) => connection.isBroken,
  destroy: async () => {},
}

/** Makes a pool of so many connections, all open and idle. */
export async function makePool(
  name: PoolName,
  size: number,
  timeoutMs: number = TIMEOUT_MS,
): Promise<BenchPool<unknown>> {
  return await makePoolOf(IN_MEMORY, name, size, timeoutMs)
}

/** Makes a pool of connections that are anything, so many of them open and idle. */
export async function makePoolOf<C extends object>(
  source: Source<C>,
  name: PoolName,
  size: number,
  timeoutMs: number = TIMEOUT_MS,
  open: number = size,
): Promise<BenchPool<unknown>> {
  const first = name === 'bare' ? await Promise.all(Array.from({ length: size }, () => source.create())) : []
  const pool = MAKERS[name](source as unknown as Source<never>, size, timeoutMs, first as never[])
  const held = await Promise.all(Array.from({ length: open }, () => pool.acquire()))
  for (const each of held) pool.release(each)
  return pool
}

/** The connection that a caller of this pool holds. */
export function connectionOf(name: PoolName, held: unknown): unknown {
  return name === 'cenote' ? (held as Lease<unknown>).connection : held
}

type Maker = (source: Source<object>, size: number, timeoutMs: number, first: object[]) => unknown

const MAKERS: Readonly<
  Record<
    PoolName,
    (source: Source<never>, size: number, timeoutMs: number, first: never[]) => BenchPool<never>
  >
> = {
  bare: (_source, _size, _timeoutMs, free: object[]) => {
    const queue = new Queue<(connection: object) => void>()
    return {
      acquire: () => {
        const connection = free.pop()
        if (connection !== undefined) return Promise.resolve(connection)
        return new Promise((resolve) => queue.push(resolve))
      },
      release: (connection: object) => {
        const next = queue.shift()
        if (next === undefined) free.push(connection)
        else next(connection)
      },
    }
  },
  cenote: ({ create, isBroken, destroy, manager }, size, acquireTimeoutMs) => {
    const own = {
      connect: create,
      isValid: (connection: object) => !isBroken(connection),
      hasBroken: isBroken,
      close: destroy,
    }
    const options = { maxSize: size, acquireTimeoutMs }
    const pool = new Pool<object>(manager ?? own, options)
    return { acquire: () => pool.acquire(), release: (lease: Lease<object>) => lease.release() }
  },
  'generic-pool': ({ create, isBroken, destroy }, max, acquireTimeoutMillis) => {
    const factory = { create, destroy, validate: async (connection: object) => !isBroken(connection) }
    const pool = genericPool.createPool(factory, { max, acquireTimeoutMillis, testOnBorrow: true })
    return { acquire: () => pool.acquire(), release: (connection: object) => pool.release(connection) }
  },
  tarn: ({ create, isBroken, destroy }, max, acquireTimeoutMillis) => {
    const validate = (connection: object): boolean => !isBroken(connection)
    const pool = new TarnPool<object>({ create, destroy, validate, min: 0, max, acquireTimeoutMillis })
    return {
      acquire: () => pool.acquire().promise,
      release: (connection: object) => pool.release(connection),
    }
  },
  'lightning-pool': ({ create, isBroken, destroy }, max, acquireTimeoutMillis) => {
    const validate = async (connection: object): Promise<void> => {
      if (isBroken(connection)) throw new Error('broken')
    }
    const limits = { max, maxQueue: Number.MAX_SAFE_INTEGER, acquireTimeoutMillis, validation: true }
    const pool = createPool<object>({ create, destroy, validate }, limits)
    return { acquire: () => pool.acquire(), release: (connection: object) => pool.release(connection) }
  },
  'sequelize-pool': ({ create, isBroken, destroy }, max, acquireTimeoutMillis) => {
    const validate = (connection: object): boolean => !isBroken(connection)
    const pool = new SequelizePool<object>({ create, destroy, validate, min: 0, max, acquireTimeoutMillis })
    return { acquire: () => pool.acquire(), release: (connection: object) => pool.release(connection) }
  },
  'pg-pool': ({ create, pgConfig }, max, connectionTimeoutMillis) => {
    class Client extends EventEmitter {
      readonly _queryable = true
      readonly _ending = false
      connect(done: (error?: unknown) => void): void {
        void this.#open(done)
      }
      async #open(done: (error?: unknown) => void): Promise<void> {
        try {
          await create()
        } catch (error) {
          return done(error)
        }
        done()
      }
      end(done?: () => void): void {
        done?.()
      }
    }
    const config = pgConfig ?? { Client }
    const pool = new PgPool({ max, connectionTimeoutMillis, ...config } as never)
    return {
      acquire: () => pool.connect(),
      release: (client: { release(): void }) => client.release(),
    }
  },
} satisfies Record<PoolName, Maker> as never

/** A first-in first-out list whose both ends cost O(1): an array's shift would make the limit look worse than it is. */
export class Queue<T> {
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

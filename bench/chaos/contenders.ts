import genericPool from 'generic-pool'
import { createPool } from 'lightning-pool'
import pg from 'pg'
import PgPool from 'pg-pool'
import postgres from 'postgres'
import { Pool as TarnPool } from 'tarn'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import { share } from '../../src/share/index.ts'

/** What sends a statement. */
export interface Sender {
  query(text: string): Promise<unknown>
}

/** A pool in the run, as its users would set it up. */
export interface Contender {
  /** One piece of work on one connection. Rejects with whatever its caller would see. */
  request(work: (client: Sender) => Promise<unknown>): Promise<unknown>
  close(): Promise<unknown>
}

/** The pools that are compared. */
export const CONTENDERS = [
  'cenote with retries',
  'cenote',
  'pg-pool',
  'generic-pool',
  'tarn',
  'lightning-pool',
] as const
/** What is compared with --share: many callers on one connection. */
export const SHARING = ['cenote with retries', 'cenote share with retries', 'postgres.js'] as const
/** One of the pools that are compared. */
export type ContenderName = (typeof CONTENDERS | typeof SHARING)[number]

/** Limits that are the same for all, where a pool has such a limit. */
export const LIMITS: Readonly<
  Record<'maxSize' | 'acquireTimeoutMs' | 'connectTimeoutMs' | 'queryTimeoutMs' | 'retries', number>
> = { maxSize: 10, acquireTimeoutMs: 10_000, connectTimeoutMs: 3_000, queryTimeoutMs: 3_000, retries: 5 }

// Connections that many callers use concurrently.
const SHARED = 4
const { maxSize, acquireTimeoutMs, connectTimeoutMs, queryTimeoutMs, retries } = LIMITS

/** The settings of each pool in addition to those limits, as its documentation advises. */
export const SETTINGS: Readonly<Record<ContenderName, string>> = {
  'cenote with retries': `defaults; \`run(work, { retries: ${retries} })\``,
  cenote: '`validationBypassMs: 0`: a query before each checkout, as with the two that do so; `run(work)`',
  'pg-pool': '`release(error)` after a failure; a listener for `error`',
  'generic-pool':
    '`testOnBorrow` with a query, `autostart`; `destroy` after a failure; a listener for `factoryCreateError`',
  tarn: '`validate` by a flag that the client’s `error` and `end` set, as Knex does; the flag is set after a failure',
  'lightning-pool': '`validation` with a query; `destroy` after a failure',
  'cenote share with retries': `\`share(pool, { connections: ${SHARED}, depth: 2 })\`; \`run(work, { retries: ${retries} })\``,
  'postgres.js': `\`max: ${SHARED}\`, \`connect_timeout: ${connectTimeoutMs / 1_000}\``,
}

/** Makes a pool on a database. It opens nothing yet. */
export function contender(name: ContenderName, connectionString: string): Contender {
  const config = { connectionString, query_timeout: queryTimeoutMs, keepAlive: true }
  switch (name) {
    case 'cenote':
      return cenote(config, 0, { validationBypassMs: 0 })
    case 'cenote with retries':
      return cenote(config, retries, {})
    case 'cenote share with retries':
      return shared(connectionString)
    case 'postgres.js':
      return postgresJs(connectionString)
    case 'pg-pool':
      return pgPool(config)
    case 'generic-pool':
      return generic(config)
    case 'tarn':
      return tarn(config)
    case 'lightning-pool':
      return lightning(config)
  }
}

type Config = pg.ClientConfig

function cenote(config: Config, times: number, more: PoolOptions<PgClient>): Contender {
  const pool = new Pool(new PgManager({ ...config }), {
    maxSize,
    acquireTimeoutMs,
    connectTimeoutMs,
    onError: () => {},
    ...more,
  })
  return {
    request: (work) => pool.run((client) => work(client), { retries: times }),
    close: () => pool.close(),
  }
}

function shared(connectionString: string): Contender {
  // A limit of one query would end the connection for all.
  const pool = new Pool(new PgManager({ connectionString, keepAlive: true }, { share: true }), {
    maxSize,
    acquireTimeoutMs,
    connectTimeoutMs,
    onError: () => {},
  })
  const db = share(pool, { connections: SHARED, depth: 2 })
  return {
    request: (work) => db.run((view) => work(view), { retries }),
    close: async () => {
      await db.close()
      await pool.close()
    },
  }
}

function postgresJs(connectionString: string): Contender {
  const sql = postgres(connectionString, {
    max: SHARED,
    connect_timeout: connectTimeoutMs / 1_000,
    fetch_types: false,
    onnotice: () => {},
  })
  return {
    request: (work) => work({ query: async (text) => await sql.unsafe(text) }),
    close: () => sql.end({ timeout: 5 }),
  }
}

function pgPool(config: Config): Contender {
  // One timeout for the wait and the connect: it has no other.
  const pool = new PgPool({ ...config, max: maxSize, connectionTimeoutMillis: acquireTimeoutMs })
  pool.on('error', () => {})
  return {
    request: async (work) => {
      const client = await pool.connect()
      return await finish(
        work(client),
        () => client.release(),
        () => client.release(true),
      )
    },
    close: () => pool.end(),
  }
}

function generic(config: Config): Contender {
  const pool = genericPool.createPool(factory(config), {
    max: maxSize,
    acquireTimeoutMillis: acquireTimeoutMs,
    testOnBorrow: true,
  })
  pool.on('factoryCreateError', () => {})
  pool.on('factoryDestroyError', () => {})
  return {
    request: async (work) => {
      const client = await pool.acquire()
      return await finish(
        work(client),
        () => pool.release(client),
        () => pool.destroy(client),
      )
    },
    close: async () => {
      await pool.drain()
      await pool.clear()
    },
  }
}

function tarn(config: Config): Contender {
  const broken = new WeakSet<pg.Client>()
  const { create, destroy } = factory(config, (client) => broken.add(client))
  const pool = new TarnPool<pg.Client>({
    create,
    destroy,
    validate: (client) => !broken.has(client),
    min: 0,
    max: maxSize,
    acquireTimeoutMillis: acquireTimeoutMs,
    createTimeoutMillis: connectTimeoutMs,
  })
  return {
    request: async (work) => {
      const client = await pool.acquire().promise
      return await finish(
        work(client),
        () => pool.release(client),
        () => {
          broken.add(client)
          pool.release(client)
        },
      )
    },
    close: () => pool.destroy(),
  }
}

function lightning(config: Config): Contender {
  const { create, destroy, validate } = factory(config)
  const pool = createPool<pg.Client>(
    {
      create,
      destroy,
      validate: async (client) => {
        if (!(await validate(client))) throw new Error('not valid')
      },
    },
    { max: maxSize, acquireTimeoutMillis: acquireTimeoutMs, validation: true },
  )
  return {
    request: async (work) => {
      const client = await pool.acquire()
      return await finish(
        work(client),
        () => pool.release(client),
        () => pool.destroy(client),
      )
    },
    close: async () => await pool.closeAsync(5_000),
  }
}

function factory(config: Config, onBroken: (client: pg.Client) => void = () => {}) {
  return {
    create: async (): Promise<pg.Client> => {
      const client = new pg.Client({ ...config, connectionTimeoutMillis: connectTimeoutMs })
      client.on('error', () => onBroken(client))
      client.on('end', () => onBroken(client))
      await client.connect()
      return client
    },
    destroy: async (client: pg.Client): Promise<void> => await client.end(),
    validate: async (client: pg.Client): Promise<boolean> => {
      try {
        await client.query('')
        return true
      } catch {
        return false
      }
    },
  }
}

async function finish<T>(work: Promise<T>, kept: () => unknown, dropped: () => unknown): Promise<T> {
  let result: T
  try {
    result = await work
  } catch (error) {
    dropped()
    throw error
  }
  kept()
  return result
}

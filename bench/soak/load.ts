import { setTimeout as delay } from 'node:timers/promises'

import { type ConnectionManager, Pool } from '../../src/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import type { Random } from '../../test/simulation/random.ts'

/** What a load has done so far. */
export interface Done {
  requests: number
  /** Failures that the load asks for: time-outs, aborts, connects that are refused, backends that are killed. */
  failures: number
}

interface Connection {
  isDead: boolean
}

const CALLERS = 64
// So many requests are made before others have a turn of the event loop.
const BATCH = 200

/**
 * All that can be done with a pool, as fast as it goes, on connections in memory of which some fail. Every acquire has the
 * signal `shared`; some have one of their own.
 */
export async function memoryLoad(random: Random, shared: AbortSignal, until: () => boolean): Promise<Done> {
  const done: Done = { requests: 0, failures: 0 }
  const manager: ConnectionManager<Connection> = {
    connect: async () => {
      if (random.chance(0.2)) throw new Error('refused')
      return { isDead: false }
    },
    isValid: ({ isDead }) => !isDead,
    hasBroken: ({ isDead }) => isDead,
    close: () => {},
  }
  const pool = new Pool(manager, {
    maxSize: 10,
    minIdle: 2,
    validationBypassMs: 0,
    maxUses: 1_000,
    maxLifetimeMs: 5_000,
    idleTimeoutMs: 1_000,
    connectBackoff: { minMs: 1, maxMs: 5 },
    onError: () => {},
  })
  const caller = async (): Promise<void> => {
    for (let n = 1; !until(); n++) {
      done.requests++
      await oneRequest(pool, random, shared).catch(() => done.failures++)
      if (n % BATCH === 0) await delay(0)
    }
  }
  const disturb = async (): Promise<void> => {
    while (!until()) {
      await delay(100)
      const what = random.whole(0, 2)
      if (what === 0) pool.clear()
      else if (what === 1) await pool.resize({ maxSize: random.whole(5, 10) })
      else await pauseShortly(pool)
    }
  }
  await Promise.all([...Array.from({ length: CALLERS }, caller), disturb()])
  await pool.close()
  return done
}

async function oneRequest(pool: Pool<Connection>, random: Random, shared: AbortSignal): Promise<void> {
  const fate = random.whole(0, 9)
  if (fate === 0) {
    const own = new AbortController()
    const waiting = pool.acquire({ signal: own.signal })
    own.abort(new Error('given up'))
    ;(await waiting).release()
    return
  }
  const lease = await pool.acquire({ signal: shared, timeoutMs: fate === 1 ? 1 : 5_000 })
  if (random.chance(0.3)) await delay(random.chance(0.1) ? 2 : 0)
  if (fate === 2) lease.destroy()
  else if (fate === 3) lease.connection.isDead = true
  lease.release()
}

async function pauseShortly(pool: Pool<Connection>): Promise<void> {
  pool.pause()
  await delay(5)
  pool.resume()
}

/** Queries on a real PostgreSQL, of whose backends some are killed. */
export async function postgresLoad(
  url: string,
  random: Random,
  shared: AbortSignal,
  until: () => boolean,
): Promise<Done> {
  const done: Done = { requests: 0, failures: 0 }
  const pool = new Pool<PgClient>(new PgManager(url), {
    maxSize: 5,
    maxLifetimeMs: 10_000,
    onError: () => {},
  })
  const caller = async (): Promise<void> => {
    while (!until()) {
      done.requests++
      await pool.run((client) => client.query('select 1'), { signal: shared }).catch(() => done.failures++)
      await delay(random.whole(0, 5))
    }
  }
  const killer = async (): Promise<void> => {
    while (!until()) {
      await delay(1_000)
      await pool
        .run((client) => client.query('select pg_terminate_backend(pg_backend_pid())'))
        .catch(() => done.failures++)
    }
  }
  await Promise.all([...Array.from({ length: 16 }, caller), killer()])
  await pool.close()
  return done
}

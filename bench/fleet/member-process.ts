// One process of a service: a pool, some callers, and a report ten times a second.
import { createClient } from 'redis'

import {
  FleetError,
  type FleetStore,
  joinFleet,
  type Membership,
  PostgresStore,
  RedisStore,
} from '../../src/fleet/index.ts'
import { Pool } from '../../src/index.ts'
import { inspect } from '../../src/inspector/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import type { Order, Report } from './messages.ts'

const REPORT_MS = 100
const WORK = 'select pg_sleep(0.01)'

let pool: Pool<PgClient>
let membership: Membership | undefined
let callers = 0
let wanted = 0
let tookMs: number[] = []
let errors: string[] = []
let storeErrors = 0

process.on('disconnect', () => process.exit())
process.on('message', (order: Order) => {
  if (order.do === 'start') void start(order)
  else if (order.do === 'work') work(order.callers)
  else void end()
})

async function start({
  inspect: isInspected,
  mode,
  name,
  url,
  redisUrl,
  budget,
  maxSize,
  leaseMs,
}: Order & { do: 'start' }): Promise<void> {
  pool = new Pool(new PgManager({ connectionString: url, application_name: name }), {
    name,
    maxSize,
    acquireTimeoutMs: 30_000,
    // What a service without retries would have: each failure is told to its caller.
    retryConnect: mode === 'fleet',
  })
  if (mode === 'fleet') {
    const store = redisUrl === undefined ? storeInPostgres() : await storeInRedis(redisUrl)
    const onError = (): number => storeErrors++
    // On a machine that is busy nobody may give way, or no beat be answered, within three short leases: a service tries again.
    for (let left = 5; membership === undefined; left--) {
      try {
        membership = await joinFleet(pool, { store, budget, leaseMs, onError })
      } catch (error) {
        if (left === 0 || !(error instanceof FleetError) || !/^FLEET_(NO_ROOM|STORE)$/.test(error.code))
          throw error
      }
    }
  }
  // The first message says that it is ready.
  process.send?.({ ready: isInspected ? (await inspect()).url : '' })
  setInterval(report, REPORT_MS)
}

// Before all requests, as a beat that waits behind them would come too late.
function storeInPostgres(): FleetStore {
  return new PostgresStore({
    query: (text, values) => pool.run((client) => client.query(text, values), { priority: -1 }),
  })
}

async function storeInRedis(url: string): Promise<FleetStore> {
  const client = createClient({ url, disableOfflineQueue: true, socket: { reconnectStrategy: 200 } })
  client.on('error', () => {})
  await client.connect()
  return new RedisStore(client)
}

function work(count: number): void {
  wanted = count
  for (; callers < wanted; callers++) void loop()
}

async function loop(): Promise<void> {
  while (callers <= wanted) {
    const startedAt = performance.now()
    try {
      await pool.run((client) => client.query(WORK))
      tookMs.push(performance.now() - startedAt)
    } catch (error) {
      errors.push(error instanceof Error ? error.message : String(error))
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  callers--
}

function report(): void {
  const { maxSize, inUse, waiting } = pool.state()
  const roster = membership?.members().length ?? 0
  process.send?.({ share: maxSize, inUse, waiting, tookMs, errors, storeErrors, roster } satisfies Report)
  tookMs = []
  errors = []
}

async function end(): Promise<void> {
  wanted = 0
  // As a service does that is told to stop: what is under way is finished.
  while (callers > 0) await new Promise((resolve) => setTimeout(resolve, 20))
  await pool.close({ timeoutMs: 1_000 })
  await membership?.leave()
  process.exit()
}

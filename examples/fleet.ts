// Two processes' worth of pools that share ten connections: `npm run build && node examples/fleet.ts`.
// In a service each process has one, and all have the same store: new RedisStore(client) or new PostgresStore(pgPool).
import { Pool } from 'cenote'
import { joinFleet, MemoryStore } from 'cenote/fleet'
import { PgManager } from 'cenote/pg'

const url = process.argv[2] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const store = new MemoryStore()
const begin = async (name: string) => {
  const pool = new Pool(new PgManager(url), { name, maxSize: 1 })
  return { pool, membership: await joinFleet(pool, { store, budget: 10, floor: 1, leaseMs: 500 }) }
}
const orders = await begin('orders')
const reports = await begin('reports')

// All the work is in one of them: after two beats so is the capacity.
const work = Array.from({ length: 40 }, () =>
  orders.pool.run((client) => client.query('select pg_sleep(0.05)')),
)
await new Promise((resolve) => setTimeout(resolve, 400))
console.log(`orders has ${orders.membership.share} of 10, reports has ${reports.membership.share}`)
await Promise.all(work)

for (const { pool, membership } of [orders, reports]) {
  await pool.close()
  await membership.leave()
}

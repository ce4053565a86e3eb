// Twelve tenants share four connections: `npm run build && node examples/group.ts`.
// In a service the factory returns the manager of the tenant's own database; here all have the same one.
import { PoolGroup } from 'cenote/group'
import { PgManager } from 'cenote/pg'

const url = process.argv[2] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
await using group = new PoolGroup(
  (tenant) => new PgManager({ connectionString: url, application_name: tenant }),
  { total: 4, turnMs: 20 },
)

let most = 0
const served = new Map<string, number>()
const work = Array.from({ length: 60 }, async (_, index) => {
  const tenant = `tenant-${index % 12}`
  await group.run(tenant, (client) => client.query('select pg_sleep(0.002)'))
  most = Math.max(most, group.state().taken)
  served.set(tenant, (served.get(tenant) ?? 0) + 1)
})
console.log(group.explain('tenant-11').split('. ')[0])
await Promise.all(work)
console.log(
  `${served.size} tenants, each served ${new Set(served.values()).size === 1 ? '5 times' : 'unevenly'}`,
)
console.log(`at most ${most} connections`)

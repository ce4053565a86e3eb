// node examples/pg.ts postgres://postgres@127.0.0.1:5432/postgres
import { Pool } from 'cenote'
import { cancellable, PgManager } from 'cenote/pg'
import pg from 'pg'

const url = process.argv[2] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
const manager = new PgManager(url, {
  driver: pg,
  onConnect: async (client) => void (await client.query("set statement_timeout = '30s'")),
})
await using pool = new Pool(manager, { maxSize: 5 })

const { rows } = await pool.run((client) => client.query<{ answer: number }>('select 40 + 2 as answer'))
console.log(`answer ${rows[0]?.answer}`)

// A transaction that is forgotten is rolled back when its connection is returned.
await pool.run((client) => client.query('begin'))
console.log(`${pool.state().statistics.connects.opened} connection opened`)

// A caller that gives up cancels its query on the server, and the connection serves the next.
const signal = AbortSignal.timeout(100)
const work = pool.run(
  cancellable(signal, (client) => client.query('select pg_sleep(60)')),
  { signal },
)
await work.catch((error: Error) => console.log(`gave up: ${error.name}`))

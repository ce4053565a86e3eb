// node examples/share.ts postgres://postgres@127.0.0.1:5432/postgres
import { Pool } from 'cenote'
import { PgManager } from 'cenote/pg'
import { share } from 'cenote/share'
import pg from 'pg'

const url = process.argv[2] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
await using pool = new Pool(new PgManager(url, { driver: pg, share: true }), { maxSize: 4 })
await using db = share(pool, { connections: 2 })

// Fifty callers, one connection: their statements go out in one write, and the answers arrive in order.
const answers = await Promise.all(
  Array.from({ length: 50 }, (_, n) =>
    db.run(async ({ query }) => (await query<{ n: number }>('select $1::int as n', [n])).rows[0]?.n),
  ),
)
console.log(`${new Set(answers).size} answers over ${pool.state().connections} connection`)

// What needs a connection of its own is not sent. A transaction takes an exclusive lease of the same pool.
await db.run(({ query }) => query('begin')).catch((error: Error) => console.log(error.name))
await pool.run(async (client) => {
  await client.query('begin')
  await client.query('rollback')
})

// A lost connection is one event: every caller learns the cause, and `retries` runs the work again.
const { rows } = await db.run(({ query }) => query<{ pid: number }>('select pg_backend_pid() as pid'))
const slow = db
  .run(({ query }) => query('select pg_sleep(60)'))
  .catch((error: { code: string; cause: { code: string } }) => console.log(error.code, error.cause.code))
const retried = db.run(({ query }) => query<{ answer: number }>('select 42 as answer'), { retries: 1 })
await pool.run((client) => client.query('select pg_terminate_backend($1)', [rows[0]?.pid]))
await slow
console.log(`answer ${(await retried).rows[0]?.answer}`)

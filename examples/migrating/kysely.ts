// A program that uses Kysely over pg-pool. docs/migrating.md names the line that changes.
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Pool } from 'pg'

interface Database {
  items: { name: string; stock: number }
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 5 })
const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })

const total = await db.transaction().execute(async (trx) => {
  await sql`create temporary table items (name text, stock int) on commit drop`.execute(trx)
  await trx
    .insertInto('items')
    .values([
      { name: 'nut', stock: 40 },
      { name: 'bolt', stock: 2 },
    ])
    .execute()
  const items = await trx.selectFrom('items').select('stock').execute()
  return items.reduce((sum, { stock }) => sum + stock, 0)
})
console.log(`total ${total}`)
await db.destroy()

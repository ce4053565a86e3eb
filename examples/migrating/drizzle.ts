// A program that uses Drizzle over pg-pool. docs/migrating.md names the line that changes.
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { integer, pgTable, text } from 'drizzle-orm/pg-core'
import { Pool } from 'pg'

const items = pgTable('items', { name: text().notNull(), stock: integer().notNull() })

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 5 })
const db = drizzle({ client: pool })

const total = await db.transaction(async (tx) => {
  await tx.execute(sql`create temporary table items (name text, stock int) on commit drop`)
  await tx.insert(items).values([
    { name: 'nut', stock: 40 },
    { name: 'bolt', stock: 2 },
  ])
  const all = await tx.select().from(items)
  return all.reduce((sum, { stock }) => sum + stock, 0)
})
console.log(`total ${total}`)
await pool.end()

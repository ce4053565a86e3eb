// A program that uses Knex with its own pool. docs/migrating.md names the lines that change.
import knex from 'knex'

const db = knex({ client: 'pg', connection: process.env.DATABASE_URL!, pool: { min: 0, max: 10 } })

const total = await db.transaction(async (trx) => {
  await trx.raw('create temporary table items (name text, stock int) on commit drop')
  await trx('items').insert([
    { name: 'nut', stock: 40 },
    { name: 'bolt', stock: 2 },
  ])
  const items: { stock: number }[] = await trx('items').select('stock')
  return items.reduce((sum, { stock }) => sum + stock, 0)
})
console.log(`total ${total}`)
await db.destroy()

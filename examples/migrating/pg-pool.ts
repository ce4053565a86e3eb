// A program that uses pg-pool. docs/migrating.md names the lines that change.
import { Pool, type PoolClient, type PoolConfig, type QueryResult } from 'pg'

interface Item {
  name: string
  stock: number
}

const config: PoolConfig = { connectionString: process.env.DATABASE_URL, max: 5, idleTimeoutMillis: 10_000 }
const pool = new Pool(config)
pool.on('error', (error: Error) => console.error(error.message))

async function inTransaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK')
    throw error
  } finally {
    client.release()
  }
}

const total = await inTransaction(async (client) => {
  await client.query('create temporary table items (name text, stock int) on commit drop')
  await client.query('insert into items values ($1, $2), ($3, $4)', ['nut', 40, 'bolt', 2])
  const result: QueryResult<Item> = await client.query<Item>('select name, stock from items')
  return result.rows.reduce((sum, { stock }) => sum + stock, 0)
})
console.log(`total ${total}`)

const { rows } = await pool.query<{ n: number }>({ text: 'select $1::int as n', values: [5] })
console.log(`n ${rows[0]?.n}, ${pool.totalCount} connection, ${pool.waitingCount} waiting`)
await pool.end()

// node examples/mariadb.ts mariadb://root@127.0.0.1:3306/test
import { Pool } from 'cenote'
import { MariadbManager } from 'cenote/mariadb'
import mariadb from 'mariadb'

const url = process.argv[2] ?? 'mariadb://root@127.0.0.1:3306/test'
const manager = new MariadbManager(url, { driver: mariadb, resetOnRelease: 'reset' })
await using pool = new Pool(manager, { maxSize: 5 })

const [row] = await pool.run((connection) =>
  connection.execute<{ sum: number }[]>('select cast(? + ? as int) as sum', [2, 3]),
)
console.log(`sum ${row?.sum}`)

// With 'reset' nothing of a caller's session is left to the next one.
await pool.run((connection) => connection.query('set @secret = 42'))
const [next] = await pool.run((connection) =>
  connection.query<{ secret: null }[]>('select @secret as secret'),
)
console.log(`the next caller sees ${next?.secret}`)

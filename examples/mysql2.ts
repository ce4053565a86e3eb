// node examples/mysql2.ts mysql://root@127.0.0.1:3306/test
import { Pool } from 'cenote'
import { Mysql2Manager } from 'cenote/mysql2'
import mysql, { type RowDataPacket } from 'mysql2/promise'

const url = process.argv[2] ?? 'mysql://root@127.0.0.1:3306/test'
const manager = new Mysql2Manager(url, {
  driver: mysql,
  onConnect: (connection) => connection.query("set time_zone = '+00:00'"),
})
await using pool = new Pool(manager, { maxSize: 5 })

const [rows] = await pool.run((connection) =>
  connection.execute<RowDataPacket[]>('select ? + ? as sum, @@time_zone as zone', [2, 3]),
)
console.log(`sum ${rows[0]?.['sum']} in ${rows[0]?.['zone']}`)

// Forgotten transactions are rolled back when the connection is returned.
await pool.run((connection) => connection.beginTransaction())
const { opened } = pool.state().statistics.connects
console.log(`${opened} connection opened`)

import mariadb, { type Connection as MariadbConnection } from 'mariadb'
import mysql, { type Connection } from 'mysql2/promise'
import { afterAll, describe, inject } from 'vitest'

import type { ConnectionManager } from '../../src/index.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { describeManager, type ManagerFaults } from '../../src/testing/index.ts'

const url = inject('mariadbUrl')

describe.skipIf(url === '')('managers of MySQL', async () => {
  if (url === '') return
  const { hostname: host, port: text, pathname } = new URL(url)
  const port = Number(text || 3306)
  const admin = await mysql.createConnection(url)
  // The server counts connections by user.
  const user = `cenote${process.pid}`
  const database = pathname.slice(1) || 'mysql'
  await admin.query(`create user '${user}'@'%' identified by 'right'`)
  await admin.query(`grant all on *.* to '${user}'@'%'`)
  afterAll(async () => {
    await admin.query(`drop user '${user}'@'%'`)
    await admin.end()
  })
  const config = (changes: object = {}) => ({ host, port, user, password: 'right', database, ...changes })
  const number = async (sql: string, values: unknown[]): Promise<number> => {
    const [rows] = await admin.query(sql, values)
    return Number((rows as { n: number }[])[0]?.n)
  }

  interface Driven<C> {
    readonly make: (config: object) => ConnectionManager<C>
    readonly query: (connection: C, sql: string) => Promise<unknown>
    readonly threadId: (connection: C) => number
  }
  const faults = <C>({ make, query, threadId }: Driven<C>): ManagerFaults<C> => ({
    server: { host, port },
    use: (connection) => query(connection, 'select 1'),
    kill: async (connection) => {
      const id = threadId(connection)
      await admin.query(`kill ${id}`)
      const isThere = 'select count(*) as n from information_schema.processlist where id = ?'
      while ((await number(isThere, [id])) > 0);
    },
    count: () => number('select count(*) as n from information_schema.processlist where user = ?', [user]),
    longWork: (connection) => query(connection, 'select sleep(30)'),
    fatal: {
      'a wrong password': () => make(config({ password: 'wrong' })),
      'a database that does not exist': () => make(config({ database: 'no such database' })),
    },
    dirty: {
      'an open transaction': {
        leave: (connection) => query(connection, 'start transaction'),
        isClean: (connection) =>
          query(connection, 'select @@in_transaction as it').then((rows) => {
            const [row] = rows as { it: number | bigint }[]
            return Number(row?.it) === 0
          }),
      },
      'a running query': {
        leave: (connection) => void query(connection, 'select sleep(30)').catch(() => {}),
        isClean: async (connection) => (await query(connection, 'select 1')) !== undefined,
      },
    },
  })

  const mysql2: Driven<Connection> = {
    make: (changed) => new Mysql2Manager(changed, { driver: mysql }),
    query: async (connection, sql) => (await connection.query(sql))[0],
    threadId: (connection) => connection.threadId,
  }
  describeManager<Connection>(
    'Mysql2Manager',
    (address) => mysql2.make(config({ ...address })),
    faults(mysql2),
  )

  const driven: Driven<MariadbConnection> = {
    make: (changed) => new MariadbManager(changed, { driver: mariadb }),
    query: (connection, sql) => connection.query<unknown>(sql),
    threadId: (connection) => Number(connection.threadId),
  }
  describeManager<MariadbConnection>(
    'MariadbManager',
    (address) => driven.make(config({ ...address })),
    faults(driven),
  )
})

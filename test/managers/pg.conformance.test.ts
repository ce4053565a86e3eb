import pg from 'pg'
import { afterAll, describe, inject } from 'vitest'

import type { PgClient } from '../../src/managers/pg/client.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { describeManager } from '../../src/testing/index.ts'

const url = inject('postgresUrl')

describe.skipIf(url === '')('PgManager', async () => {
  if (url === '') return
  const { hostname: host, port } = new URL(url)
  const server = { host, port: Number(port) }
  const name = `conformance ${process.pid}`
  const admin = new pg.Client({ connectionString: url })
  await admin.connect()
  afterAll(() => admin.end())

  const config = (changes: Readonly<Record<string, unknown>> = {}) => {
    const { username: user, password, pathname } = new URL(url)
    return { ...server, user, password, database: pathname.slice(1), application_name: name, ...changes }
  }
  describeManager<PgClient>('PgManager', (address) => new PgManager(config({ ...address })), {
    server,
    use: (client) => client.query('select 1'),
    kill: async ({ processID }) => {
      await admin.query('select pg_terminate_backend($1, 5000)', [processID])
    },
    count: async () => {
      const { rows } = await admin.query<{ n: number }>(
        'select count(*)::int as n from pg_stat_activity where application_name = $1',
        [name],
      )
      return rows[0]?.n ?? 0
    },
    longWork: (client) => client.query('select pg_sleep(30)'),
    fatal: {
      'a database that does not exist': () => new PgManager(config({ database: 'no such database' })),
      'a user that does not exist': () => new PgManager(config({ user: 'no such user' })),
    },
    dirty: {
      'an open transaction': {
        leave: (client) => client.query('begin'),
        isClean: async (client) => {
          const { rows } = await client.query<{ own: boolean }>('select now() = statement_timestamp() as own')
          return rows[0]?.own === true
        },
      },
      'a failed transaction': {
        leave: async (client) => {
          await client.query('begin')
          await client.query('no such statement').catch(() => {})
        },
        isClean: async (client) => (await client.query('select 1')).rowCount === 1,
      },
      'a running query': {
        leave: (client) => {
          client.query('select pg_sleep(30)').catch(() => {})
        },
        isClean: async (client) => (await client.query('select 1')).rowCount === 1,
      },
    },
  })
})

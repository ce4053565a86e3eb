import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import pg from 'pg'
import { describe, expect, inject, test } from 'vitest'

import { hasPgBouncer, startPgBouncer } from '../servers/pgbouncer.ts'
import { startPostgres } from '../servers/postgres.ts'
import { Pool } from '../../src/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import { COLUMNS, type Found, type SessionState, sessionTable, STATES } from './pg-session-state.ts'

const given = inject('postgresUrl')

async function next(
  url: string,
  reset: (typeof COLUMNS)[number]['reset'],
  state: SessionState,
  role: string,
) {
  await using pool = new Pool<PgClient>(new PgManager(url, { resetOnRelease: reset }), { maxSize: 1 })
  const before = await pool.run(async (client) => {
    await state.leave(client, role)
    return client
  })
  return await pool.run(async (client): Promise<Found> => {
    if (client !== before) return 'closed'
    const { rows } = await client.query<{ clean: boolean }>(`select ${state.isClean} as clean`)
    return rows[0]?.clean === true ? 'restored' : 'stays'
  })
}

// What the next holder finds, a row for each state and a cell for each column.
async function measure(url: string): Promise<Found[][]> {
  const role = `cenote_session_${process.pid}`
  const admin = new pg.Client(url)
  await admin.connect()
  await admin.query(`create role ${role}`)
  const bouncer = await startPgBouncer(url, { default_pool_size: 1 })
  try {
    const table: Found[][] = []
    for (const state of STATES) {
      const row: Found[] = []
      for (const { reset, behindPgBouncer } of COLUMNS) {
        row.push(await next(behindPgBouncer ? bouncer.url : url, reset, state, role))
        // What stays, stays on PgBouncer's connection.
        if (behindPgBouncer) await bouncer.admin('RECONNECT')
      }
      table.push(row)
    }
    return table
  } finally {
    await bouncer.destroy()
    await admin.query(`drop role ${role}`)
    await admin.end()
  }
}

describe.skipIf(process.env['CI'] !== 'true' && !hasPgBouncer())('session state at return', () => {
  const page = readFile(resolve(import.meta.dirname, '../../docs/managers.md'), 'utf8')

  test.skipIf(given === '')(
    'the table of docs/managers.md is what the PostgreSQL of this machine shows',
    async () => {
      expect(await page).toContain(sessionTable(await measure(given)))
    },
    120_000,
  )

  test('the table of docs/managers.md is what PostgreSQL 18 shows', async () => {
    const server = await startPostgres()
    try {
      expect(await page).toContain(sessionTable(await measure(server.url)))
    } finally {
      await server.destroy()
    }
  }, 120_000)
})

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { PoolGroup } from '../../src/group/index.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'

const ROLES = Array.from({ length: 12 }, (_, index) => `cenote_group_${index}`)
const url = inject('postgresUrl')
const admin = new pg.Client(url)

function urlOf(role: string): string {
  const own = new URL(url)
  own.username = role
  own.password = 'secret'
  return own.href
}

describe.skipIf(url === '')('groups over PostgreSQL', () => {
  beforeAll(async () => {
    await admin.connect()
    await admin.query(
      ROLES.map((role) => `drop role if exists ${role}; create role ${role} login password 'secret'`).join(
        ';',
      ),
    )
  })

  afterAll(async () => {
    await admin.query(ROLES.map((role) => `drop role if exists ${role}`).join(';'))
    await admin.end()
  })

  test('12 roles share 4 connections: each statement runs as its role, and the server never sees more', async () => {
    const group = new PoolGroup((user) => new PgManager(urlOf(user)), { total: 4, turnMs: 10 })
    let most = 0
    let isOver = false
    const count = async (): Promise<void> => {
      while (!isOver) {
        const { rows } = await admin.query<{ count: number }>(
          "select count(*)::int from pg_stat_activity where usename like 'cenote_group_%'",
        )
        most = Math.max(most, rows[0]!.count)
      }
    }
    const counting = count()
    const wrong: unknown[] = []
    const caller = async (number: number): Promise<void> => {
      for (let turn = 0; turn < 12; turn++) {
        const role = ROLES[(number * 5 + turn * turn) % ROLES.length] as string
        const { rows } = await group.run(role, (client) => client.query('select current_user as role'))
        if (rows[0].role !== role) wrong.push([role, rows[0].role])
      }
    }
    await Promise.all(Array.from({ length: 16 }, (_, number) => caller(number)))
    isOver = true
    await counting
    expect(wrong).toEqual([])
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(4)
    expect(group.state().statistics.acquires).toMatchObject({ started: 192, timedOut: 0, refused: 0 })
    await group.close()
  })

  test('a role that does not exist is rejected, and harms no other', async () => {
    const group = new PoolGroup((user) => new PgManager(urlOf(user)), { total: 2 })
    const [bad, good] = await Promise.allSettled([
      group.run('cenote_group_none', (client) => client.query('select 1')),
      group.run(ROLES[0] as string, (client) => client.query('select 1 as one')),
    ])
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'CONNECT_FAILED' } })
    expect(good.status).toBe('fulfilled')
    await group.close()
  })
})

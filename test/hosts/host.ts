import { setTimeout as delay } from 'node:timers/promises'

import mysql from 'mysql2/promise'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'

import { startMariadb } from '../servers/mariadb.ts'
import { startPostgres } from '../servers/postgres.ts'
import type { Pool } from '../../src/index.ts'

/** What runs statements: a host, or a transaction of it. */
export interface Runner {
  /** The first column of the first row, or undefined. */
  one(sql: string): Promise<unknown>
}

export interface Transaction extends Runner {
  /** A transaction inside this one: a savepoint. */
  nested(work: (inner: Runner) => Promise<unknown>): Promise<unknown>
}

/** A host under test, over a pool of `max` connections for which one waits at most `timeoutMs`. */
export interface Host extends Runner {
  transaction(work: (transaction: Transaction) => Promise<unknown>): Promise<unknown>
  /** Ends the host in its own way: its pool is closed after it. */
  close(): Promise<void>
  readonly core: Pick<Pool<unknown>, 'state'>
}

export interface HostCase {
  readonly server: 'postgres' | 'mariadb'
  open(url: string, options: { max: number; timeoutMs: number }): Promise<Host> | Host
  /** Whether this is how the host tells that there was no connection in time. */
  isTimeout(error: unknown): boolean
  /** When an idle connection that died leaves the pool. Default: 'at once'. */
  readonly seesLoss?: 'at once' | 'when used'
}

const SERVERS = {
  postgres: { key: 'postgresUrl', start: startPostgres, me: 'select pg_backend_pid()' },
  mariadb: { key: 'mariadbUrl', start: startMariadb, me: 'select connection_id()' },
} as const

/** What every host must do over a pool of cenote, on its real server. */
export function describeHost(
  name: string,
  { server, open, isTimeout, seesLoss = 'at once' }: HostCase,
): void {
  const { key, start, me } = SERVERS[server]
  const url = inject(key)
  // Other runs may use the same server.
  const table = `cenote_${name.replaceAll(/\W/g, '_').toLowerCase()}_${process.pid}`
  const hosts: Host[] = []
  const make = async (max = 2, timeoutMs = 5_000, where = url): Promise<Host> => {
    const host = await open(where, { max, timeoutMs })
    hosts.push(host)
    return host
  }
  // Two queries at once may well use the same connection, one after the other.
  const bothOf = async (host: Host): Promise<unknown[]> => {
    const ids: unknown[] = []
    await host.transaction(async (transaction) => {
      ids.push(await transaction.one(me), await host.one(me))
    })
    return ids
  }
  const count = (host: Runner): Promise<number> => host.one(`select count(*) from ${table}`).then(Number)

  describe.skipIf(url === '')(`${name} over a pool`, () => {
    beforeAll(() =>
      execute(url, [`drop table if exists ${table}`, `create table ${table} (n int primary key)`]),
    )
    afterAll(() => execute(url, [`drop table ${table}`]))
    afterEach(async () => {
      for (const host of hosts.splice(0)) await host.close().catch(() => {})
    })

    test('more queries than connections are all served, and none is left in use', async () => {
      const host = await make()
      const sums = await Promise.all(Array.from({ length: 20 }, (_, n) => host.one(`select ${n} + 1`)))
      expect(sums.map(Number)).toEqual(Array.from({ length: 20 }, (_, n) => n + 1))
      expect(host.core.state().connections).toBeLessThanOrEqual(2)
      await until(() => host.core.state().inUse === 0)
    })

    test('a transaction is on one connection, and its work is there after it', async () => {
      const host = await make()
      await execute(url, [`delete from ${table}`])
      await host.transaction(async (transaction) => {
        const mine = await transaction.one(me)
        await transaction.one(`insert into ${table} values (1)`)
        expect(await count(host)).toBe(0)
        expect(await host.one(me)).not.toEqual(mine)
        expect(await transaction.one(me)).toEqual(mine)
        expect(await count(transaction)).toBe(1)
      })
      expect(await count(host)).toBe(1)
    })

    test('an error inside a transaction undoes it, and the next caller is in none', async () => {
      const host = await make(1)
      await execute(url, [`delete from ${table}`])
      const own = new Error('my own')
      const thrown = host.transaction(async (transaction) => {
        await transaction.one(`insert into ${table} values (1)`)
        throw own
      })
      expect(await errorOf(thrown)).toBe(own)
      const failed = host.transaction(async (transaction) => {
        await transaction.one(`insert into ${table} values (2)`)
        await transaction.one('select nothing from nowhere')
      })
      expect(chainOf(await errorOf(failed))).toMatch(/nowhere/)
      expect(await count(host)).toBe(0)
      await host.one(`insert into ${table} values (3)`)
      expect(await countAlone(url, table)).toBe(1)
      await until(() => host.core.state().inUse === 0)
      expect(host.core.state().connections).toBe(1)
    })

    test('nested: what fails inside is undone alone', async () => {
      const host = await make(1)
      await execute(url, [`delete from ${table}`])
      await host.transaction(async (transaction) => {
        await transaction.one(`insert into ${table} values (1)`)
        const inner = transaction.nested(async (savepoint) => {
          await savepoint.one(`insert into ${table} values (2)`)
          throw new Error('inner')
        })
        await expect(inner).rejects.toThrow('inner')
        await transaction.nested((savepoint) => savepoint.one(`insert into ${table} values (3)`))
      })
      expect(Number(await host.one(`select sum(n) from ${table}`))).toBe(4)
    })

    test('exhausted: the host’s own error in time, and all is well after it', async () => {
      const host = await make(1, 500)
      const held = Promise.withResolvers<void>()
      const began = Promise.withResolvers<void>()
      const holder = host.transaction(async (transaction) => {
        await transaction.one('select 1')
        began.resolve()
        await held.promise
      })
      await began.promise
      const error = await errorOf(host.one('select 1'))
      held.resolve()
      await holder
      expect(isTimeout(error), String(error)).toBe(true)
      expect(Number(await host.one('select 1'))).toBe(1)
    })

    test('connections that the server kills: at most the statement under way fails', async () => {
      const host = await make(2)
      const ids = await bothOf(host)
      await killAll(server, url, ids)
      await gone(server, url, ids)
      if (seesLoss === 'at once') await until(() => host.core.state().connections === 0)
      expect(Number(await host.one('select 2'))).toBe(2)
      const killed = host.transaction(async (transaction) => {
        await killAll(server, url, [await transaction.one(me)])
        await transaction.one('select 1')
      })
      expect(await errorOf(killed)).toBeInstanceOf(Error)
      expect(Number(await host.one('select 3'))).toBe(3)
      await until(() => host.core.state().inUse === 0)
    })

    test('the server stops and starts again: nothing of the old one is handed out', async () => {
      const own = await start()
      try {
        const host = await make(2, 5_000, own.url)
        await bothOf(host)
        await own.stop()
        expect(await errorOf(host.one('select 1'))).toBeInstanceOf(Error)
        await own.start()
        // A server may be back within the 50 ms in which callers share the last failure.
        await until(() =>
          host.one('select 0').then(
            () => true,
            (error: unknown) => {
              expect(chainOf(error)).toContain('ECONNREFUSED')
              return false
            },
          ),
        )
        for (const n of [1, 2, 3]) expect(Number(await host.one(`select ${n}`))).toBe(n)
        await host.close()
      } finally {
        await own.destroy()
      }
    }, 60_000)

    test('await using: at the end of the block no connection is left', async () => {
      let ids: unknown[]
      {
        const host = await make(2)
        await using _end = { [Symbol.asyncDispose]: () => host.close() }
        ids = await bothOf(host)
      }
      expect(hosts.at(-1)?.core.state()).toMatchObject({ connections: 0, closed: true })
      await gone(server, url, ids)
    })
  })
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.unreachable('it resolved'),
    (error: unknown) => error,
  )
}

function chainOf(error: unknown): string {
  return error instanceof Error ? `${error.message} ${chainOf(error.cause)}` : ''
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('it did not come to hold within 5 s')
    await delay(5)
  }
}

/** Runs statements on a connection of our own; the rows of the last one. */
export async function execute(
  url: string,
  statements: readonly string[],
): Promise<Record<string, unknown>[]> {
  let rows: Record<string, unknown>[] = []
  if (url.startsWith('postgres')) {
    const client = new pg.Client(url)
    client.on('error', () => {})
    await client.connect()
    for (const statement of statements) ({ rows } = await client.query(statement))
    await client.end()
  } else {
    const connection = await mysql.createConnection(url)
    for (const statement of statements) {
      const [result] = await connection.query(statement)
      rows = Array.isArray(result) ? (result as Record<string, unknown>[]) : []
    }
    await connection.end()
  }
  return rows
}

async function countAlone(url: string, table: string): Promise<number> {
  const [row] = await execute(url, [`select count(*) as n from ${table}`])
  return Number(row?.['n'])
}

async function killAll(server: keyof typeof SERVERS, url: string, ids: readonly unknown[]): Promise<void> {
  const each = ids.map((id) =>
    server === 'postgres' ? `select pg_terminate_backend(${String(id)})` : `kill ${String(id)}`,
  )
  await execute(url, each)
}

async function gone(server: keyof typeof SERVERS, url: string, ids: readonly unknown[]): Promise<void> {
  const [list, id] =
    server === 'postgres' ? ['pg_stat_activity', 'pid'] : ['information_schema.processlist', 'id']
  await until(async () => {
    const [row] = await execute(url, [`select count(*) as n from ${list} where ${id} in (${ids.join(',')})`])
    return Number(row?.['n']) === 0
  })
}

import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { hasHaproxy, type PrivateHaproxy, startHaproxy } from '../servers/haproxy.ts'
import { hasPgBouncer, type PrivatePgBouncer, startPgBouncer } from '../servers/pgbouncer.ts'
import { type PrivatePostgres, startPostgres } from '../servers/postgres.ts'
import { ConnectError, Pool, type PoolOptions } from '../../src/index.ts'
import { cancellable, type PgClient, PgManager } from '../../src/managers/pg/pg.ts'

const mustRun = process.env['CI'] === 'true'
const pools: Pool<PgClient>[] = []
const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
  for (const end of ends.splice(0).toReversed()) await end()
})
const make = (url: string, options: PoolOptions<PgClient> = {}, config: object = {}): Pool<PgClient> => {
  const manager = new PgManager({ connectionString: url, ...config })
  const backoff = { minMs: 10, maxMs: 100 }
  const pool = new Pool<PgClient>(manager, { maxSize: 2, connectBackoff: backoff, ...options })
  pools.push(pool)
  return pool
}
const answer = (client: PgClient): Promise<unknown> => client.query('select 1')
const failure = async (work: Promise<unknown>): Promise<Error & { code?: string }> =>
  await work.then(
    () => expect.unreachable('it succeeded'),
    (error: Error) => error,
  )

const counted = async (bouncer: PrivatePgBouncer, column: string): Promise<number> => {
  const { rows } = await bouncer.admin('SHOW POOLS')
  return Number(rows.find(({ database }) => database === 'postgres')?.[column])
}

let server: PrivatePostgres
beforeAll(async () => {
  server = await startPostgres({ flags: ['-c', 'max_connections=40'] })
})
afterAll(() => server.destroy())

test.each([
  ['SASL authentication failed', true],
  ['password authentication failed', true],
  ['"trust" authentication failed', true],
  ['no such user: x', true],
  ['no such database: x', true],
  ['database "x" does not exist', true],
  ['unsupported startup parameter: options', true],
  ['SSL required', true],
  ['no more connections allowed (max_client_conn)', false],
  ['query_wait_timeout', false],
  ['client_login_timeout (server down)', false],
  ['database removed', false],
  ['server login has been failing, try again later (server_login_retry)', false],
  ['server login has been failing, cached error: password authentication failed', false],
  ['pooler is shut down', false],
])('of PgBouncer, the connect error %j is fatal: %j', (message, isFatal) => {
  const error = Object.assign(new Error(message), { code: '08P01', severity: 'FATAL' })
  expect(new PgManager('postgres://x').isFatal(error)).toBe(isFatal)
})

describe.skipIf(!mustRun && !hasPgBouncer())('behind PgBouncer', () => {
  const bounced = async (
    settings: Readonly<Record<string, string | number>> = {},
    target = server,
  ): Promise<PrivatePgBouncer> => {
    const bouncer = await startPgBouncer(target.url, settings)
    ends.push(() => bouncer.destroy())
    return bouncer
  }

  test('a wrong password, user or database is fatal', async () => {
    const { url } = await bounced({ auth_type: 'scram-sha-256' })
    for (const [part, value] of [
      ['password', 'wrong'],
      ['username', 'nobody'],
      ['pathname', '/nowhere'],
    ] as const) {
      const wrong = new URL(url)
      wrong[part] = value
      expect(await failure(make(wrong.href).acquire())).toBeInstanceOf(ConnectError)
    }
  })

  test('max_client_conn is retried, and served when there is room', async () => {
    const { url } = await bounced({ max_client_conn: 1 })
    const holder = await make(url).acquire()
    const refused = Promise.withResolvers<unknown>()
    const pool = make(url, { onError: refused.resolve })
    const waiting = pool.run(answer)
    expect(await refused.promise).toMatchObject({ cause: { code: '08P01' } })
    holder.destroy()
    await waiting
  })

  test('query_wait_timeout costs the connection, and one retry serves the caller', async () => {
    const { url } = await bounced({ default_pool_size: 1, query_wait_timeout: 1 })
    const holder = new pg.Client(url)
    await holder.connect()
    await holder.query('begin')
    const pool = make(url)
    let runs = 0
    await pool.run(
      async (client) => {
        if (runs++ > 0) await holder.query('commit')
        await answer(client)
      },
      { retries: 1 },
    )
    expect(runs).toBe(2)
    await holder.end()
  })

  test('a session that the pooler ends for want of a server costs one retry, and the next ones are failed connects', async () => {
    const own = await startPostgres()
    ends.push(() => own.destroy())
    const { url } = await bounced({ server_login_retry: 1, query_wait_timeout: 1 }, own)
    await make(url).run(answer)
    await own.stop()
    await failure(make(url).run(answer))
    const pool = make(url, { maxSize: 1 })
    const errors: string[] = []
    const work = async (client: PgClient): Promise<void> => {
      await answer(client).catch((error: Error) => {
        errors.push(error.message)
        throw error
      })
    }
    const waiting = pool.run(work, { retries: 1 })
    await expect.poll(() => pool.state().statistics.connects.failed).toBeGreaterThan(2)
    await own.start()
    await waiting
    expect(errors).toEqual([expect.stringContaining('server_login_retry')])
  })

  test.each(['session', 'transaction'])(
    'KILL in %s mode: idle connections are lost, work is retried',
    async (mode) => {
      const bouncer = await bounced({ pool_mode: mode })
      const pool = make(bouncer.url)
      const [first, second] = await Promise.all([pool.acquire(), pool.acquire()])
      await Promise.all([answer(first.connection), answer(second.connection)])
      first.release()
      second.release()
      await bouncer.admin('KILL postgres')
      await bouncer.admin('RESUME postgres')
      await expect.poll(() => pool.state().statistics.closed.lost).toBe(2)
      let runs = 0
      await pool.run(
        async (client) => {
          if (runs++ === 0) {
            const work = failure(client.query('select pg_sleep(20)'))
            await expect.poll(() => counted(bouncer, 'sv_active')).toBe(1)
            await bouncer.admin('KILL postgres')
            await bouncer.admin('RESUME postgres')
            throw await work
          }
          await answer(client)
        },
        { retries: 1 },
      )
      expect(runs).toBe(2)
    },
  )

  test('PAUSE makes callers wait, and RESUME serves them', async () => {
    const bouncer = await bounced()
    const pool = make(bouncer.url)
    await pool.run(answer)
    await bouncer.admin('PAUSE postgres')
    const works = [pool.run(answer), pool.run(answer)]
    await expect.poll(() => counted(bouncer, 'cl_waiting')).toBeGreaterThan(0)
    await bouncer.admin('RESUME postgres')
    await Promise.all(works)
  })

  test('a restart of PgBouncer is a loss that one retry covers', async () => {
    const bouncer = await bounced()
    const pool = make(bouncer.url)
    await pool.run(answer)
    await bouncer.stop()
    await expect.poll(() => pool.state().connections).toBe(0)
    expect(await failure(pool.run(answer, { timeoutMs: 300 }))).toMatchObject({ name: 'AcquireTimeoutError' })
    await bouncer.start()
    await pool.run(answer, { retries: 1 })
  })

  test('a PostgreSQL that is down behind PgBouncer breaks the connection, and callers are served after server_login_retry', async () => {
    const own = await startPostgres()
    ends.push(() => own.destroy())
    const { url } = await bounced({ server_login_retry: 1, query_wait_timeout: 2 }, own)
    const pool = make(url)
    await pool.run(answer)
    await own.stop()
    const error = await failure(pool.run(answer))
    expect(error.message).toMatch(/query_wait_timeout|server_login_retry/)
    await expect.poll(() => pool.state().connections).toBe(0)
    await own.start()
    const served = async (): Promise<boolean> =>
      await pool.run(answer, { retries: 2 }).then(
        () => true,
        () => false,
      )
    await expect.poll(served, { timeout: 40_000 }).toBe(true)
  }, 60_000)

  test('cancelling settles although the statement waits for a server connection that never comes', async () => {
    const { url } = await bounced({ default_pool_size: 1 })
    const holder = new pg.Client(url)
    await holder.connect()
    await holder.query('begin')
    const pool = make(url)
    const controller = new AbortController()
    const work = pool.run(cancellable(controller.signal, answer))
    await expect.poll(() => pool.state().inUse).toBe(1)
    controller.abort('stop')
    await expect(work).rejects.toBe('stop')
    await expect.poll(() => pool.state().inUse).toBe(0)
    await holder.end()
  })

  test.each(['session', 'transaction'])(
    'in %s mode the server never runs more statements than maxSize, although callers give up after 200 ms',
    async (mode) => {
      const { url } = await bounced({ pool_mode: mode, default_pool_size: 20 })
      const admin = new pg.Client(server.url)
      await admin.connect()
      const pool = make(url, {}, { query_timeout: 200 })
      let isOver = false
      const seen = new Map<string, { from: number; to: number }>()
      const watching = (async () => {
        while (!isOver) {
          const { rows } = await admin.query<{ statement: string }>(
            "select pid || ' ' || query_start as statement from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'",
          )
          const now = performance.now()
          for (const { statement } of rows)
            seen.set(statement, { from: seen.get(statement)?.from ?? now, to: now })
        }
      })()
      await Promise.all(
        Array.from({ length: 12 }, () => failure(pool.run((client) => client.query('select pg_sleep(20)')))),
      )
      isOver = true
      await watching
      await admin.end()
      // A cancelled statement counts as active until its backend reports its end, which takes a moment on a busy machine.
      const statements = [...seen.values()].map(({ from, to }) => ({ from, to: to - 500 }))
      const running = statements.map(
        ({ from }) => statements.filter((s) => s.from <= from && from <= s.to).length,
      )
      expect(seen.size).toBeGreaterThan(2)
      expect(Math.max(...running)).toBeLessThanOrEqual(2)
    },
  )
})

describe.skipIf(!mustRun && !hasHaproxy())('behind HAProxy', () => {
  let other: PrivatePostgres
  let proxy: PrivateHaproxy
  const portOf = (url: string): number => Number(new URL(url).port)
  const behind = (): string => {
    const url = new URL(other.url)
    url.port = String(proxy.port)
    return url.href
  }
  beforeAll(async () => {
    other = await startPostgres()
    proxy = await startHaproxy([portOf(other.url)])
  })
  afterAll(async () => {
    await proxy.destroy()
    await other.destroy()
  })

  test('a restart of the server behind it costs retries, and afterwards all are served', async () => {
    const pool = make(behind())
    await pool.run(answer)
    await other.stop()
    expect(await failure(pool.run(answer, { timeoutMs: 500 }))).not.toBeInstanceOf(ConnectError)
    await other.start()
    const served = async (): Promise<boolean> =>
      await pool.run(answer, { retries: 2 }).then(
        () => true,
        () => false,
      )
    await expect.poll(served, { timeout: 15_000 }).toBe(true)
  })

  test('a restart of HAProxy is a loss that one retry covers', async () => {
    const pool = make(behind())
    await pool.run(answer)
    await proxy.stop()
    await proxy.start()
    await pool.run(answer, { retries: 1 })
  })

  test('a statement is cancelled through it', async () => {
    const pool = make(behind())
    const controller = new AbortController()
    const work = pool.run(
      cancellable(controller.signal, (client) => {
        setImmediate(() => controller.abort('stop'))
        return client.query('select pg_sleep(20)')
      }),
    )
    await expect(work).rejects.toBe('stop')
    await pool.run(answer)
    expect(pool.state().statistics.connects.opened).toBe(1)
  })
})

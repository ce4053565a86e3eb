import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { type PostgresPair, startPostgresPair } from '../servers/postgres-pair.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import { type PgClient, PgManager, type PgManagerOptions } from '../../src/managers/pg/pg.ts'
import { candidates } from '../../src/managers/pg/hosts.ts'
import { TcpProxy, VirtualClock } from '../../src/testing/index.ts'

let pair: PostgresPair
beforeAll(async () => {
  pair = await startPostgresPair()
  if (pair.kind === 'flag') console.warn('no pg_basebackup found: a read-only server stands for the standby')
})
afterAll(() => pair?.destroy())

const pools: Pool<PgClient>[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})
type Config = ConstructorParameters<typeof PgManager>[0]
const make = (config: Config, managerOptions: PgManagerOptions = {}, options: PoolOptions<PgClient> = {}) => {
  const manager = new PgManager(config, managerOptions)
  const pool = new Pool(manager, { maxSize: 1, connectBackoff: { minMs: 5, maxMs: 50 }, ...options })
  pools.push(pool)
  return pool
}
const urlOf = (hosts: readonly { host: string; port: number }[], query = '') => {
  const authority = hosts.map(({ host, port }) => `${host}:${port}`).join(',')
  return `postgres://${pair.user}:${pair.password}@${authority}/postgres${query}`
}
// Which of the pair a pool's next connection is to.
const portOf = (pool: Pool<PgClient>) => pool.run((client) => Promise.resolve(client.port))
const nowhere = { host: '127.0.0.1', port: 1 }

describe('which host', () => {
  test.each(['read-write', 'primary', 'any'])(
    '%s takes the first that fits, through a dead host',
    async (attrs) => {
      if (pair.kind === 'flag' && attrs === 'primary') return
      const { primary, standby } = pair
      const query = `?target_session_attrs=${attrs}`
      expect(await portOf(make(urlOf([nowhere, primary, standby], query)))).toBe(primary.port)
      const expected = attrs === 'any' ? standby.port : primary.port
      expect(await portOf(make(urlOf([standby, nowhere, primary], query)))).toBe(expected)
    },
  )

  test.each(['read-only', 'standby', 'prefer-standby'] as const)(
    '%s goes past the primary',
    async (attrs) => {
      if (pair.kind === 'flag' && attrs !== 'read-only') return
      const { primary, standby } = pair
      const config = { user: pair.user, password: pair.password, database: 'postgres' }
      const pool = make(config, { hosts: [primary, nowhere, standby], targetSessionAttrs: attrs })
      expect(await portOf(pool)).toBe(standby.port)
    },
  )

  test('prefer-standby is content with a primary, and leaves no second connection open', async () => {
    const { primary } = pair
    const pool = make(urlOf([primary, primary, nowhere]), { targetSessionAttrs: 'prefer-standby' })
    const backends = () =>
      pool.run(async (client) => {
        const count = "select count(*)::int as n from pg_stat_activity where backend_type = 'client backend'"
        return (await client.query<{ n: number }>(count)).rows[0]?.n
      })
    await expect.poll(backends).toBe(1)
    expect(await portOf(pool)).toBe(primary.port)
  })

  test('shuffled uses every host that fits, ordered only the first', async () => {
    const { primary, standby } = pair
    for (const [hostOrder, expected] of [
      ['shuffled', 2],
      ['ordered', 1],
    ] as const) {
      const pool = make(urlOf([primary, standby]), { hostOrder }, { maxUses: 1 })
      const seen = new Set<number | undefined>()
      for (let i = 0; i < 30; i++) seen.add(await portOf(pool))
      expect(seen.size).toBe(expected)
    }
  })

  test('one error lists what each host answered; the attempt is retried, for a failover may be on its way', async () => {
    const { primary } = pair
    const url = urlOf([nowhere, primary])
    const clock = new VirtualClock()
    const pool = make(url, { targetSessionAttrs: 'read-only' }, { acquireTimeoutMs: 300, clock })
    const outcome = pool.acquire().catch((caught: unknown) => caught)
    await expect.poll(() => pool.state().statistics.connects.failed).toBe(1)
    await clock.advance(300)
    const error = (await outcome) as Error & { cause: Error }
    expect(error.name).toBe('AcquireTimeoutError')
    expect(error.cause).toMatchObject({
      name: 'PgHostsError',
      message:
        `no host is 'read-only': 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1; ` +
        `127.0.0.1:${primary.port}: is read-write`,
    })
  })

  test('a connect error is fatal only if it is fatal for every host', async () => {
    const { primary, standby } = pair
    const wrong = (hosts: { host: string; port: number }[]) =>
      urlOf(hosts).replace('/postgres', '/no_such_database')
    const outcome = (url: string, acquireTimeoutMs: number) =>
      make(url, {}, { acquireTimeoutMs })
        .acquire()
        .catch((error: Error) => error.name)
    // The first comes at once, on a busy machine too.
    expect(await outcome(wrong([primary, standby]), 10_000)).toBe('ConnectError')
    expect(await outcome(wrong([primary, nowhere]), 300)).toBe('AcquireTimeoutError')
  })

  test('a host that says FATAL does not make the next one a lost connection', async () => {
    const { primary } = pair
    const admin = new pg.Client(urlOf([primary]))
    await admin.connect()
    await admin.query("create role limited login superuser connection limit 0 password 'x'")
    await admin.query('alter role limited nosuperuser')
    try {
      const limited = urlOf([primary]).replace(/\/\/[^@]*@/, '//limited:x@')
      let attempts = 0
      // The first of the two attempts is that of the role that may not connect.
      class Limited extends pg.Client {
        constructor(config: pg.ClientConfig) {
          super(attempts++ === 0 ? { ...config, connectionString: limited } : config)
        }
      }
      const pool = make(urlOf([primary, primary]), { driver: { Client: Limited as never } })
      await pool.run((client) => client.query('select 1'))
      await pool.run((client) => client.query('select 1'))
      expect(attempts).toBe(2)
      expect(pool.state().statistics).toMatchObject({ connects: { opened: 1 }, closed: { lost: 0 } })
    } finally {
      await admin.query('drop role limited')
      await admin.end()
    }
  })

  test('a host that accepts and says nothing is left after hostTimeoutMs, also when it falls silent at the question', async () => {
    const { primary } = pair
    await using proxy = await TcpProxy.start(primary)
    const url = urlOf([proxy, primary], '?target_session_attrs=read-write')
    proxy.blackhole()
    expect(await portOf(make(url, { hostTimeoutMs: 60 }))).toBe(primary.port)
    await proxy.heal()
    // Connected and ready, it hears nothing more.
    class Silent extends pg.Client {
      constructor(config: pg.ClientConfig) {
        super(config)
        this.once('connect', () => this.port === proxy.port && proxy.blackhole())
      }
    }
    const pool = make(url, { hostTimeoutMs: 60, driver: { Client: Silent as never } })
    expect(await portOf(pool)).toBe(primary.port)
    expect(proxy.connections).toBe(0)
    expect(pool.state().statistics.closed.lost).toBe(0)
  })

  test('giving up stops at the host that is being tried', async () => {
    await using proxy = await TcpProxy.start(pair.primary)
    proxy.blackhole()
    const reason = new Error('enough')
    const controller = new AbortController()
    const manager = new PgManager(urlOf([proxy, pair.primary]), { hostTimeoutMs: 10_000 })
    const connecting = manager.connect({ signal: controller.signal, lost: () => {} })
    await expect.poll(() => proxy.connections).toBe(1)
    controller.abort(reason)
    await expect(connecting).rejects.toBe(reason)
    await expect.poll(() => proxy.connections).toBe(0)
  })
})

describe('a role that changes', () => {
  test('a write that a demoted server rejects breaks its connection, and a retried run goes elsewhere', async () => {
    const { primary } = pair
    const pool = make(urlOf([primary]), { targetSessionAttrs: 'read-write' })
    let runs = 0
    await pool.run(
      async (client) => {
        if (++runs === 1) await client.query('set default_transaction_read_only = on')
        await client.query('create temp table if not exists demoted (n int)')
        await client.query('create table written (n int)')
        await client.query('drop table written')
      },
      { retries: 1 },
    )
    expect(runs).toBe(2)
    expect(pool.state().statistics.closed.broken).toBe(1)
    const any = make(urlOf([primary]))
    const write = any.run((client) => client.query('begin read only; create table x (n int)'))
    await expect(write).rejects.toMatchObject({ code: '25006' })
    expect(any.state().statistics.closed.broken).toBe(0)
  })

  test('the check of a connection asks for the role', async () => {
    const { primary, standby } = pair
    const pool = make(
      urlOf([primary, standby], '?target_session_attrs=read-write'),
      {},
      { validationBypassMs: 0 },
    )
    await pool.run((client) => client.query('set default_transaction_read_only = on'))
    expect(await portOf(pool)).toBe(primary.port)
    expect(pool.state().statistics.closed.invalid).toBe(1)
  })
})

describe('the config', () => {
  test('a config function is called for every connect, so that a password can rotate', async () => {
    const { primary } = pair
    const urls = [urlOf([nowhere]), urlOf([primary]), urlOf([primary])]
    let calls = 0
    const pool = make(async () => urls[calls++] as string, {}, { maxUses: 1 })
    expect(await portOf(pool)).toBe(primary.port)
    expect(await portOf(pool)).toBe(primary.port)
    await expect.poll(() => calls).toBe(3)
  })

  test('a function that fails is a connect failure, one that gives nonsense a fatal one', async () => {
    const failing = make(() => Promise.reject(new Error('the vault is sealed')), {}, { retryConnect: false })
    await expect(failing.acquire()).rejects.toMatchObject({
      name: 'ConnectError',
      message: expect.stringContaining('the vault is sealed'),
    })
    await expect(make(() => 5 as never).acquire()).rejects.toThrow('config must be a connection string')
    await expect(make(() => urlOf([nowhere], '?target_session_attrs=main')).acquire()).rejects.toThrow(
      "target_session_attrs of the connection string must be one of 'any', 'primary'",
    )
  })

  test('onConnect sets the session up before first use, and again after DISCARD ALL', async () => {
    const pool = make(urlOf([pair.primary]), {
      resetOnRelease: 'discard all',
      onConnect: async (client) => void (await client.query("set application_name = 'orders'")),
    })
    for (let i = 0; i < 2; i++) {
      const { rows } = await pool.run((client) => client.query('show application_name'))
      expect(rows).toEqual([{ application_name: 'orders' }])
    }
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test.each([
    ['rejects', async () => Promise.reject(new Error('no such setting')), 'no such setting'],
    [
      'leaves a transaction open',
      async (client: PgClient) => void (await client.query('begin')),
      'left a transaction',
    ],
    [
      'waits for nothing',
      (client: PgClient) => void client.query('select 1').catch(() => {}),
      'did not wait for',
    ],
  ])('an onConnect that %s is a connect failure that leaves no socket', async (_, onConnect, message) => {
    await using proxy = await TcpProxy.start(pair.primary)
    const pool = make(urlOf([proxy]), { onConnect }, { retryConnect: false })
    await expect(pool.acquire()).rejects.toMatchObject({
      name: 'ConnectError',
      message: expect.stringContaining(message),
    })
    await expect.poll(() => proxy.connections).toBe(0)
  })

  test('hosts are read as libpq reads them', () => {
    const read = (connectionString: string, options = {}) =>
      candidates({ connectionString }, options).hosts.map(({ name, config }) => [
        name,
        config.connectionString,
      ])
    expect(read('postgres://u:p@h1:1,h2/d?x=1&target_session_attrs=any')).toEqual([
      ['h1:1', 'postgres://u:p@h1:1/d?x=1'],
      ['h2:5432', 'postgres://u:p@h2:5432/d?x=1'],
    ])
    expect(read('postgresql://[::1]:7,%2Fvar%2Frun/d')).toEqual([
      ['[::1]:7', 'postgresql://[::1]:7/d'],
      ['/var/run:5432', 'postgresql://%2Fvar%2Frun:5432/d'],
    ])
    expect(read('postgres://u@/d?host=a,b&port=1,2')).toEqual([
      ['a:1', 'postgres://u@a:1/d'],
      ['b:2', 'postgres://u@b:2/d'],
    ])
    expect(read('postgres:///d?host=a,b&port=9').map(([name]) => name)).toEqual(['a:9', 'b:9'])
    expect(read('postgres://u@old/d', { hosts: [{ host: 'new', port: 3 }] })).toEqual([
      ['new:3', 'postgres://u@new:3/d'],
    ])
    expect(candidates({ connectionString: 'postgres://a/d?load_balance_hosts=random' }, {}).order).toBe(
      'shuffled',
    )
    const single = { connectionString: 'postgres://u@h/d' }
    expect(candidates(single, {}).hosts).toEqual([{ name: 'h:5432', config: single }])
    expect(() => read('postgres://h1:x,h2/d')).toThrow(
      "the port of 'h1:x' must be an integer from 1 to 65535 (got 'x')",
    )
    expect(() => read('socket:/x', { hosts: [{ host: 'h' }] })).toThrow(
      'hosts needs a connection string that begins',
    )
  })

  test('wrong options are rejected by name', () => {
    const wrong = (options: unknown) => () => new PgManager('postgres://x', options as never)
    expect(wrong({ targetSessionAttrs: 'main' })).toThrow(
      "targetSessionAttrs must be one of 'any', 'primary'",
    )
    expect(wrong({ hostOrder: 'random' })).toThrow(
      "hostOrder must be one of 'ordered', 'shuffled' (got 'random')",
    )
    expect(wrong({ hostTimeoutMs: 0 })).toThrow(
      'hostTimeoutMs must be a number of milliseconds > 0, or Infinity (got 0)',
    )
    expect(wrong({ hosts: [] })).toThrow('hosts must be a list of { host, port? } that is not empty (got [])')
    expect(wrong({ hosts: ['h'] })).toThrow('(got ["h"])')
    expect(wrong({ onConnect: 'x' })).toThrow("onConnect must be a function (got 'x')")
  })
})

// The last of the file: there is no way back from it.
test('a failover finds the new primary', async () => {
  if (pair.kind === 'flag') return
  const { primary, standby } = pair
  const url = urlOf([primary, standby])
  const pool = make(url, { targetSessionAttrs: 'primary' }, { maxSize: 3, validationBypassMs: 0 })
  const readers = make(
    url,
    { targetSessionAttrs: 'standby' },
    { validationBypassMs: 0, acquireTimeoutMs: 3_000 },
  )
  expect([await portOf(pool), await portOf(readers)]).toEqual([primary.port, standby.port])
  const reader = await readers.acquire()
  await pair.stopPrimary()
  const waiting = Promise.all([1, 2, 3, 4].map(() => portOf(pool)))
  // The pool has met the standby, which is no primary yet, and goes on asking.
  await expect.poll(() => pool.state().statistics.connects.failed).toBeGreaterThan(1)
  await pair.promote()
  expect(await waiting).toEqual([standby.port, standby.port, standby.port, standby.port])
  await pool.run((client) => client.query('create table after_failover (n int)'))
  // What was a standby's connection is a primary's by now, and no longer handed out.
  reader.release()
  await expect(readers.acquire()).rejects.toMatchObject({
    cause: { message: expect.stringContaining(`127.0.0.1:${standby.port}: is a primary`) },
  })
  expect(readers.state().statistics.closed.invalid).toBe(1)
})

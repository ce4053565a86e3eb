import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'
import { generate } from 'selfsigned'
import { afterEach, describe, expect, inject, test } from 'vitest'

import { startPostgres } from '../servers/postgres.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import type { PgClient, PgConfig } from '../../src/managers/pg/client.ts'
import { cancellable, PgManager } from '../../src/managers/pg/pg.ts'
import { TcpProxy } from '../../src/testing/index.ts'

const url = inject('postgresUrl')
const pools: Pool<PgClient>[] = []
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})
const make = (options: PoolOptions<PgClient> = {}, config: string | PgConfig = url) => {
  const pool = new Pool<PgClient>(new PgManager(config), { maxSize: 1, ...options })
  pools.push(pool)
  return pool
}
const running = (pool: Pool<PgClient>, what: string) =>
  pool.run(async (client) => {
    const query = "select count(*)::int as n from pg_stat_activity where state = 'active' and query = $1"
    return (await client.query<{ n: number }>(query, [what])).rows[0]?.n
  })

describe.skipIf(url === '')('cancellable on a real PostgreSQL', () => {
  test('the server stops, the caller gets the reason, and the connection serves the next', async () => {
    const [pool, watcher] = [make(), make()]
    const before = await pool.run((client) => Promise.resolve(client.processID))
    const query = `select pg_sleep(60) as "${crypto.randomUUID()}"`
    const controller = new AbortController()
    const reason = new Error('the caller has left')
    const work = pool.run(
      cancellable(controller.signal, (client) => client.query(query)),
      { signal: controller.signal },
    )
    await expect.poll(() => running(watcher, query), { interval: 5 }).toBe(1)
    controller.abort(reason)
    await expect(work).rejects.toBe(reason)
    expect(await running(watcher, query)).toBe(0)
    expect(await pool.run((client) => Promise.resolve(client.processID))).toBe(before)
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('in a transaction: it is rolled back, and the next caller sees nothing of it', async () => {
    const pool = make()
    const controller = new AbortController()
    const work = pool.run(
      cancellable(controller.signal, async (client) => {
        await client.query('begin')
        await client.query('create temp table half_done (n int)')
        setImmediate(() => controller.abort())
        await client.query('select pg_sleep(60)')
      }),
    )
    await expect(work).rejects.toMatchObject({ name: 'AbortError' })
    const next = pool.run((client) => client.query('select * from half_done'))
    await expect(next).rejects.toMatchObject({ code: '42P01' })
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('many rounds with aborts at any moment: some are cancelled, and never a later query of another caller', async () => {
    const seed = Number(process.env['CENOTE_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
    let state = seed
    // A linear congruential generator: any even spread of moments will do.
    const random = (): number => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
    const pool = make({ maxSize: 2 })
    // A request takes a connection of its own: what one costs here decides which queries it can still meet.
    const beganAt = performance.now()
    for (let n = 0; n < 5; n++) {
      const client = new pg.Client(url)
      await client.connect()
      await client.end()
    }
    const requestMs = (performance.now() - beganAt) / 5
    const counts = { cancelled: 0, finished: 0, later: 0 }
    const round = async (): Promise<void> => {
      const controller = new AbortController()
      const seconds = (3 * random() * requestMs) / 1_000
      const work = pool.run(
        cancellable(controller.signal, (client) => client.query('select pg_sleep($1)', [seconds])),
      )
      const aborted = sleep(1.5 * random() * requestMs).then(() => controller.abort('stop'))
      await work.then(
        () => counts.finished++,
        (error: unknown) => {
          expect(error, `seed ${seed}`).toBe('stop')
          counts.cancelled++
        },
      )
      // The next borrower of the same connection, at once.
      await pool.run((client) => client.query('select pg_sleep(0.002)'))
      counts.later++
      await aborted
    }
    const worker = async (): Promise<void> => {
      for (let n = 0; n < 150; n++) await round()
    }
    await Promise.all([worker(), worker()])
    expect(counts.later, `seed ${seed}`).toBe(counts.cancelled + counts.finished)
    expect(
      Math.min(counts.cancelled, counts.finished),
      `seed ${seed}, a request in ${requestMs} ms: ${JSON.stringify(counts)}`,
    ).toBeGreaterThan(10)
    expect(pool.state().statistics.connects.opened, `seed ${seed}`).toBe(2)
  })

  test('a request that cannot be sent costs the connection: no caller waits for the query, no caller inherits it', async () => {
    const real = new URL(url)
    await using proxy = await TcpProxy.start({ host: real.hostname, port: Number(real.port || 5432) })
    real.port = String(proxy.port)
    const pool = make({ connectBackoff: { minMs: 5, maxMs: 10 } }, real.href)
    const first = await pool.run((client) => client.query('select 1').then(() => client.processID))
    const controller = new AbortController()
    const work = pool.run(cancellable(controller.signal, (client) => client.query('select pg_sleep(2)')))
    await expect.poll(() => pool.state().inUse).toBe(1)
    proxy.refuse()
    setImmediate(() => controller.abort('stop'))
    await expect(work).rejects.toBe('stop')
    await proxy.heal()
    expect(await pool.run((client) => Promise.resolve(client.processID))).not.toBe(first)
  })

  test('what is not a running query is not cancelled: idle work, an abort before, an abort after', async () => {
    const pool = make()
    const signal = AbortSignal.abort('before')
    let runs = 0
    await expect(pool.run(cancellable(signal, () => runs++))).rejects.toBe('before')
    expect(runs).toBe(0)
    const controller = new AbortController()
    const result = await pool.run(
      cancellable(controller.signal, async (client) => {
        controller.abort('between two queries')
        return (await client.query<{ n: number }>('select 7 as n')).rows[0]?.n
      }),
    )
    expect(result).toBe(7)
    const late = new AbortController()
    expect(await pool.run(cancellable(late.signal, () => 'value'))).toBe('value')
    late.abort()
    const failing = new AbortController()
    const own = new Error('of the work itself')
    await expect(
      pool.run(cancellable(failing.signal, () => (failing.abort('stop'), Promise.reject(own)))),
    ).rejects.toBe(own)
    expect(pool.state().statistics.connects.opened).toBe(1)
  })
})

test('a client that uses TLS cancels over TLS, and checks the certificate there too', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-tls-'))
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
    ],
  })
  const files = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') }
  await writeFile(files.key, key, { mode: 0o600 })
  await writeFile(files.cert, cert)
  if (process.getuid?.() === 0) {
    // Root runs PostgreSQL as this user, who has to own the key.
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'postgres'])))
    for (const file of [folder, files.key]) await chown(file, uid as number, gid as number)
  }
  const flags = ['ssl=on', `ssl_key_file=${files.key}`, `ssl_cert_file=${files.cert}`].flatMap((flag) => [
    '-c',
    flag,
  ])
  const server = await startPostgres({ flags })
  try {
    for (const sslnegotiation of ['postgres', 'direct']) {
      const pool = make({}, { connectionString: server.url, ssl: { ca: cert }, sslnegotiation })
      const controller = new AbortController()
      const work = pool.run(
        cancellable(controller.signal, async (client) => {
          const { rows } = await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
          expect(rows).toEqual([{ ssl: true }])
          setImmediate(() => controller.abort('stop'))
          await client.query('select pg_sleep(60)')
        }),
      )
      await expect(work).rejects.toBe('stop')
      await pool.run((client) => client.query('select pg_sleep(0.01)'))
      expect(pool.state().statistics.connects.opened).toBe(1)
      await pool.close()
    }
    const untrusting = make({}, { connectionString: server.url, ssl: true })
    await expect(untrusting.acquire()).rejects.toMatchObject({ name: 'ConnectError' })
  } finally {
    await Promise.all(pools.splice(0).map((pool) => pool.close()))
    await server.destroy()
    await rm(folder, { recursive: true })
  }
})

// A client with a query running, whose server is ours: it keeps the requests and closes their connections when told.
async function scripted(keys: { processID: number | null; secretKey: number | null }) {
  const requests: Socket[] = []
  const heard: string[] = []
  const server = createServer((socket) => {
    requests.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => heard.push(chunk.toString('hex')))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const query = Promise.withResolvers<string>()
  const client = {
    host: '127.0.0.1',
    port,
    ...keys,
    _activeQuery: {},
    connection: {
      on: () => {},
      removeListener: () => {},
      stream: { destroy: () => query.reject(new Error('destroyed')) },
    },
  }
  const controller = new AbortController()
  let isSettled = false
  const work = cancellable(
    controller.signal,
    () => query.promise,
  )(client as never)
    .catch((error: unknown) => error)
    .finally(() => (isSettled = true))
  return { client, controller, heard, query, requests, server, work, isSettled: () => isSettled }
}
const turns = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

test.each(['cancelled', 'finished'])(
  'work that is %s does not settle before the server has closed the connection of the request',
  async (end) => {
    const { controller, heard, query, requests, server, work, isSettled } = await scripted({
      processID: 258,
      secretKey: -2,
    })
    controller.abort('stop')
    await expect.poll(() => heard, { interval: 2 }).toEqual(['0000001004d2162e00000102fffffffe'])
    if (end === 'finished') query.resolve('result')
    else query.reject(Object.assign(new Error('canceling statement'), { code: '57014' }))
    await turns()
    expect(isSettled()).toBe(false)
    requests[0]?.end()
    expect(await work).toBe(end === 'finished' ? 'result' : 'stop')
    expect(requests).toHaveLength(1)
    server.close()
  },
)

test('a request that overtook its query is sent again while that query runs, but not to the next one', async () => {
  const { client, controller, heard, query, requests, server, work } = await scripted({
    processID: 1,
    secretKey: 1,
  })
  controller.abort('stop')
  await expect.poll(() => heard.length, { interval: 2 }).toBe(1)
  requests[0]?.end()
  await expect.poll(() => heard.length, { interval: 2 }).toBe(2)
  // The work goes on with another query, a ROLLBACK perhaps.
  const another = {}
  let looks = 0
  Object.defineProperty(client, '_activeQuery', { get: () => ++looks && another })
  requests[1]?.end()
  await expect.poll(() => looks, { interval: 2 }).toBeGreaterThan(0)
  query.resolve('rolled back')
  // The work would wait for a third request, whose connection nobody closes.
  expect(await work).toBe('rolled back')
  expect(heard).toHaveLength(2)
  server.close()
})

test('where it cannot be known what became of the request, the connection is destroyed', async () => {
  const reset = await scripted({ processID: 1, secretKey: 1 })
  reset.controller.abort('stop')
  await expect.poll(() => reset.heard.length, { interval: 2 }).toBe(1)
  reset.requests[0]?.resetAndDestroy()
  expect(await reset.work).toBe('stop')
  reset.server.close()
  const keyless = await scripted({ processID: null, secretKey: null })
  keyless.controller.abort('stop')
  expect(await keyless.work).toBe('stop')
  expect(keyless.requests).toHaveLength(0)
  keyless.server.close()
})

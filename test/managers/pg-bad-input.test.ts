import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

import { generate } from 'selfsigned'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'

import { type PrivatePostgres, startPostgres } from '../servers/postgres.ts'
import { ConnectError, Pool } from '../../src/index.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'

let server: PrivatePostgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.destroy())

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

// What the caller of an acquire sees: a fatal error at once, or after its deadline what the retries failed with.
async function seen(manager: PgManager): Promise<{ isFatal: boolean; text: string; tookMs: number }> {
  const pool = new Pool(manager, { acquireTimeoutMs: 1_500, connectTimeoutMs: 1_000 })
  cleanups.push(() => pool.close({ timeoutMs: 0 }))
  const startedAt = performance.now()
  const error = await pool.acquire().then(
    () => expect.unreachable('it connected'),
    (thrown: Error) => thrown,
  )
  return {
    isFatal: error instanceof ConnectError,
    text: `${error.message} ${String((error.cause as Error | undefined)?.message)}`,
    tookMs: performance.now() - startedAt,
  }
}

async function listen(serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    serve(socket)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  cleanups.push(
    () => listener.close(),
    () => sockets.forEach((socket) => socket.destroy()),
  )
  return (listener.address() as AddressInfo).port
}

// A PostgreSQL as far as the answer to the request for TLS.
async function startTls(notAfterDate: Date): Promise<{ port: number; ca: string }> {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date('2020-01-01'),
    notAfterDate,
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
    ],
  })
  const port = await listen((socket) => {
    socket.once('data', () => {
      socket.write('S')
      new TLSSocket(socket, { isServer: true, key, cert }).on('error', () => {})
    })
  })
  return { port, ca: cert }
}

test('a wrong password, a user and a database that do not exist: fatal, immediately', async () => {
  const url = new URL(server.url)
  const changed = (change: (changing: URL) => void): PgManager => {
    const changing = new URL(url)
    change(changing)
    return new PgManager(String(changing))
  }
  for (const [manager, text] of [
    [changed((changing) => (changing.password = 'wrong')), 'password authentication failed'],
    [changed((changing) => (changing.username = 'nobody')), 'password authentication failed'],
    [changed((changing) => (changing.pathname = '/nowhere')), 'database "nowhere" does not exist'],
    [changed((changing) => (changing.password = '')), 'password must be a string'],
  ] as const) {
    const outcome = await seen(manager)
    expect(outcome).toMatchObject({ isFatal: true, text: expect.stringContaining(text) })
    expect(outcome.text).not.toContain('wrong@')
    expect(outcome.tookMs).toBeLessThan(1_000)
  }
})

test('a port without a server, and an unknown host name: retried until the deadline, and then said', async () => {
  expect(await seen(new PgManager('postgres://u:p@127.0.0.1:1/x'))).toMatchObject({
    isFatal: false,
    text: expect.stringContaining('ECONNREFUSED'),
  })
  expect(await seen(new PgManager('postgres://u:p@no-such-host.invalid/x'))).toMatchObject({
    isFatal: false,
    text: expect.stringContaining('no-such-host.invalid'),
  })
})

test('a port that is none is rejected immediately', async () => {
  expect(await seen(new PgManager({ host: '127.0.0.1', port: 99_999 }))).toMatchObject({ isFatal: true })
})

test.skipIf(inject('mariadbUrl') === '')('a MariaDB: no PostgreSQL, and no hang', async () => {
  const { port } = new URL(inject('mariadbUrl'))
  const outcome = await seen(new PgManager(`postgres://u:p@127.0.0.1:${port || 3306}/x`))
  expect(outcome.tookMs).toBeLessThan(2_500)
})

test('a server of another protocol that says nothing: its attempt ends in time', async () => {
  const port = await listen(() => {})
  const outcome = await seen(new PgManager(`postgres://u:p@127.0.0.1:${port}/x`))
  expect(outcome).toMatchObject({
    isFatal: false,
    text: expect.stringContaining('connect took longer than 1000 ms'),
  })
})

test('an expired certificate and an untrusted one are fatal, and a server without TLS is too', async () => {
  const expired = await startTls(new Date('2021-01-01'))
  const tls = (port: number, ssl: object): PgManager =>
    new PgManager({ host: 'localhost', port, user: 'u', password: 'p', ssl } as never)
  expect(await seen(tls(expired.port, { ca: expired.ca }))).toMatchObject({
    isFatal: true,
    text: expect.stringContaining('certificate has expired'),
  })
  const unknown = await startTls(new Date('2099-01-01'))
  expect(await seen(tls(unknown.port, {}))).toMatchObject({
    isFatal: true,
    // Bun writes it without the hyphen.
    text: expect.stringContaining(
      `self${process.versions['bun'] === undefined ? '-' : ' '}signed certificate`,
    ),
  })
  const { port } = new URL(server.url)
  expect(await seen(tls(Number(port), {}))).toMatchObject({
    isFatal: true,
    text: expect.stringContaining('does not support SSL'),
  })
})

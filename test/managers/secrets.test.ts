import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { inspect } from 'node:util'

import fc from 'fast-check'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'

import {
  CHANNELS,
  type ConnectionManager,
  explain,
  formatState,
  Pool,
  TRACING_CHANNELS,
} from '../../src/index.ts'
import { inspect as openInspector } from '../../src/inspector/index.ts'
import { AmqpChannelManager, AmqpConnectionManager } from '../../src/managers/amqplib/amqplib.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { NetManager } from '../../src/managers/net/net.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { IoredisManager } from '../../src/managers/redis/ioredis.ts'
import { RedisManager } from '../../src/managers/redis/redis.ts'

const HOSTILE = [
  'hunter2',
  'hunter2@home',
  'hunter2/home?a#b',
  'hun%74er2%',
  `hunter2'"\`\\`,
  'hünter2 – geheim',
  'x',
  '7',
]

type Make = (config: never) => ConnectionManager<never>
const any = (make: (config: never) => unknown): Make => make as Make
const DRIVERS: Readonly<Record<string, { readonly make: Make; readonly scheme: string }>> = {
  pg: { make: any((config) => new PgManager(config)), scheme: 'postgres' },
  mysql2: { make: any((config) => new Mysql2Manager(config)), scheme: 'mysql' },
  mariadb: { make: any((config) => new MariadbManager(config)), scheme: 'mariadb' },
  redis: { make: any((config) => new RedisManager(config)), scheme: 'redis' },
  ioredis: { make: any((config) => new IoredisManager(config)), scheme: 'redis' },
  amqplib: { make: any((config) => new AmqpConnectionManager(config)), scheme: 'amqp' },
  channels: { make: any((config) => new AmqpChannelManager(config)), scheme: 'amqp' },
}

// Every way in which a driver takes a password. Some of the URLs are malformed: the password is not escaped.
function configsOf(driver: string, password: string, port: number): readonly unknown[] {
  const { scheme } = DRIVERS[driver] as { scheme: string }
  const escaped = `${scheme}://app:${encodeURIComponent(password)}@127.0.0.1:${port}/0`
  const raw = `${scheme}://app:${password}@127.0.0.1:${port}/0`
  const query = `${scheme}://127.0.0.1:${port}/0?user=app&password=${encodeURIComponent(password)}`
  const login = { host: '127.0.0.1', port, user: 'app', password, database: 'nosuch' }
  const byObject: Readonly<Record<string, readonly unknown[]>> = {
    pg: [login, { ...login, password: () => password }, { connectionString: raw }],
    mysql2: [login, { uri: raw }, { ...login, ssl: { passphrase: password, key: password } }],
    mariadb: [login],
    redis: [{ url: raw }, { socket: { host: '127.0.0.1', port }, username: 'app', password }],
    ioredis: [
      { host: '127.0.0.1', port, username: 'app', password, db: 0 },
      { host: '127.0.0.1', port, password },
    ],
    amqplib: [{ hostname: '127.0.0.1', port, username: 'app', password }],
    channels: [{ hostname: '127.0.0.1', port, username: 'app', password }],
  }
  const all = [escaped, raw, query, ...(byObject[driver] ?? [])]
  return [...all, () => raw, () => Promise.reject(new Error(`cannot use ${raw}`))]
}

const NAMES = [
  ...Object.values(CHANNELS),
  ...Object.values(TRACING_CHANNELS).flatMap((name) => [`tracing:${name}:end`, `tracing:${name}:asyncEnd`]),
]

/** Runs work, and returns what was published meanwhile. */
async function publishedDuring(work: () => Promise<unknown>): Promise<string> {
  const published: string[] = []
  const onMessage = (message: unknown): void => void published.push(inspect(message, { depth: 6 }))
  for (const name of NAMES) subscribe(name, onMessage)
  await work().finally(() => {
    for (const name of NAMES) unsubscribe(name, onMessage)
  })
  return published.join('\n')
}

let turn = 0

/** All that a program can see of a pool whose connects fail, except the channels. */
async function outputsOf(make: () => ConnectionManager<never>, isInspected = false): Promise<string> {
  const seen: string[] = []
  const see = (value: unknown): void => void seen.push(inspect(value, { depth: 6 }), String(value))
  let manager
  try {
    manager = make()
  } catch (error) {
    see(error)
    return seen.join('\n')
  }
  see(manager.server)
  turn++
  // A client of node-redis costs 10 ms: one attempt each.
  const connectBackoff = { minMs: 100, maxMs: 100 }
  for (const retryConnect of isInspected ? [true, false] : [turn % 2 === 0]) {
    const limits = { acquireTimeoutMs: 30, connectTimeoutMs: 20, connectBackoff, retryConnect }
    const pool = new Pool(manager, { ...limits, onError: see })
    await Promise.all([
      pool.acquire().catch(see),
      pool.dedicated({ signal: AbortSignal.timeout(30) }).catch(see),
    ])
    for (const each of [explain(pool), formatState(pool), pool, pool.look()]) see(each)
    if (isInspected) see(await pageOf(pool))
    await pool.close({ timeoutMs: 0 })
  }
  return seen.join('\n')
}

async function pageOf(pool: Pool<never>): Promise<string> {
  const inspector = await openInspector({ pools: [pool] })
  const reader = (await fetch(`${inspector.url}events`)).body?.getReader()
  const text = new TextDecoder().decode((await reader?.read())?.value)
  await reader?.cancel()
  await inspector.close()
  return text
}

// Where a text shows a secret. A short one is a part of many words: it counts where a password stands.
function leaksOf(text: string, password: string): string[] {
  const parts = [password, ...password.split(/[/?#@:]/)].filter((part) => part.length >= 4)
  const spelled = parts.flatMap((part) => [part, encodeURIComponent(part), JSON.stringify(part).slice(1, -1)])
  const places =
    password.length >= 4
      ? spelled
      : [`:${password}@`, `'${password}'`, `"${password}"`, `password=${password}`, `password: ${password}`]
  return places
    .filter((place) => text.includes(place))
    .map((place) => text.slice(Math.max(0, text.indexOf(place) - 80), text.indexOf(place) + 80))
}

const servers: Server[] = []
const sockets = new Set<Socket>()
async function listen(serve: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    serve(socket)
  })
  servers.push(server.listen(0, '127.0.0.1'))
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

let silent: number
let echo: number
beforeAll(async () => {
  silent = await listen(() => {})
  // Says what it was sent, in the words of each protocol; a login in PostgreSQL's clear text first.
  echo = await listen((socket) =>
    socket.on('data', (data) => {
      const text = data.toString('latin1')
      if (text.startsWith('*'))
        socket.write(`-ERR unknown command, args: ${text.replaceAll(/\s+/g, ' ')}\r\n`)
      else if (text.startsWith('p')) socket.end(postgresError(`no ${data.subarray(5, -1).toString()} here`))
      else socket.write(Uint8Array.of(0x52, 0, 0, 0, 8, 0, 0, 0, 3))
    }),
  )
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

function postgresError(message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0C28000\0M${message}\0D${message}\0\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

const realPorts: Readonly<Record<string, number | undefined>> = {
  mysql2: portOf(inject('mariadbUrl')),
  mariadb: portOf(inject('mariadbUrl')),
  redis: portOf(inject('redisUrl')),
  ioredis: portOf(inject('redisUrl')),
  amqplib: portOf(inject('amqpUrl')),
}

function portOf(url: string): number | undefined {
  return url === '' ? undefined : Number(new URL(url).port)
}

test.for(Object.keys(DRIVERS))('no output holds a password, whatever fails: %s', async (driver) => {
  const { make } = DRIVERS[driver] as { make: Make }
  const ports = [1, silent, echo, realPorts[driver]].filter((port) => port !== undefined)
  const leaks: string[] = []
  const published = await publishedDuring(async () => {
    for (const port of ports) {
      const ofPort = HOSTILE.flatMap((password) =>
        configsOf(driver, password, port).map(async (config, index) => {
          const outputs = await outputsOf(() => make(config as never), index === 0 && password === HOSTILE[1])
          leaks.push(...leaksOf(outputs, password).map((leak) => `${password} in ${leak}`))
        }),
      )
      await Promise.all(ofPort)
    }
  })
  expect([...leaks, ...HOSTILE.flatMap((password) => leaksOf(published, password))]).toEqual([])
})

test('no output holds a passphrase of TLS', async () => {
  const config = { host: '127.0.0.1', port: silent, tls: { key: 'hunter2-key', passphrase: 'hunter2' } }
  const outputs = await outputsOf(() => new NetManager(config) as unknown as ConnectionManager<never>)
  expect(leaksOf(outputs, 'hunter2')).toEqual([])
})

test('no output holds what a manager of the user puts into its errors', async () => {
  const password = fc
    .array(fc.constantFrom('@', '/', '%', "'", '"', '\\', ':', '?', '#', 'q', '9'), {
      minLength: 1,
      maxLength: 6,
    })
    .map((parts) => `hunt${parts.join('')}er`)
  const text = fc.constantFrom<(password: string) => string>(
    (secret) => `connect to postgres://app:${secret}@db:5432/x failed`,
    (secret) => `host=db user=app password=${secret.replaceAll(/['"]/g, '')}`,
    (secret) => `bad config {"user":"app","password":${JSON.stringify(secret)}}`,
    (secret) => `bad config ${inspect({ password: secret })}`,
    (secret) => `redis://db:6379?password=${encodeURIComponent(secret)}`,
    (secret) => `unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'app' '${secret}'`,
    (secret) => `sent AUTH '${secret}'`,
  )
  await fc.assert(
    fc.asyncProperty(password, text, async (secret, said) => {
      const failure = Object.assign(new Error(said(secret)), { input: said(secret), cause: said(secret) })
      const manager = {
        connect: () => Promise.reject(failure),
        isValid: () => true,
        hasBroken: () => false,
        close() {},
      }
      expect(leaksOf(await outputsOf(() => manager, true), secret)).toEqual([])
    }),
    { numRuns: 40 },
  )
})

test('a config in an error is not changed, and the code of an error stays', async () => {
  const config = { password: 'hunter2', url: 'x://a:hunter2@h' }
  const failure = Object.assign(new Error('failed'), { config, code: 'ECONNREFUSED' })
  const manager = {
    connect: () => Promise.reject(failure),
    isValid: () => true,
    hasBroken: () => false,
    close() {},
  }
  await using pool = new Pool(manager, { retryConnect: false })
  const error = (await pool.acquire().catch((thrown: unknown) => thrown)) as Error
  expect(error.cause).toBe(failure)
  expect(failure).toMatchObject({ code: 'ECONNREFUSED', config: { password: '***', url: 'x://***@h' } })
  expect(config).toEqual({ password: 'hunter2', url: 'x://a:hunter2@h' })
})

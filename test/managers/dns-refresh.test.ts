import dns from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'

import { afterEach, expect, inject, test, vi } from 'vitest'

import { type ConnectionManager, Pool } from '../../src/index.ts'
import { DnsRefresh } from '../../src/managers/dns-refresh.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { IoredisManager } from '../../src/managers/redis/ioredis.ts'
import { RedisManager } from '../../src/managers/redis/redis.ts'

const { lookup } = dns
const addresses = new Map<string, readonly string[] | Error>()
// The resolver of these tests: the names in the map, and the real one for all others.
function resolveNames(): void {
  vi.spyOn(dns, 'lookup').mockImplementation(((...given: unknown[]) => {
    const [name, options] = given as [string, { all?: boolean }]
    const done = given.at(-1) as (...of: unknown[]) => void
    const found = addresses.get(name)
    if (found === undefined) return Reflect.apply(lookup, dns, given)
    if (found instanceof Error) return done(found)
    const list = found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    if (options.all === true) done(null, list)
    else done(null, list[0]?.address, list[0]?.family)
  }) as never)
}
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  addresses.clear()
})

test('a connection is drained once when its name no longer has its address, and the others stay', () => {
  vi.useFakeTimers()
  resolveNames()
  addresses.set('db.test', ['10.0.0.1', '10.0.0.2'])
  const refresh = new DnsRefresh(1_000)
  const drained: string[] = []
  refresh.watch('db.test', ['10.0.0.1'], ({ message }) => drained.push(message))
  refresh.watch('db.test', ['::ffff:10.0.0.2'], ({ message }) => drained.push(message))
  vi.advanceTimersByTime(1_000)
  expect(drained).toEqual([])
  addresses.set('db.test', ['10.0.0.2', '10.0.0.3'])
  vi.advanceTimersByTime(3_000)
  expect(drained).toEqual(['db.test no longer has the address 10.0.0.1'])
})

test('a lookup that fails or gives no address drains nothing', () => {
  vi.useFakeTimers()
  resolveNames()
  const refresh = new DnsRefresh(1_000)
  refresh.watch('db.test', ['10.0.0.1'], () => expect.unreachable())
  for (const found of [new Error('SERVFAIL'), []]) {
    addresses.set('db.test', found)
    vi.advanceTimersByTime(1_000)
  }
  expect(dns.lookup).toHaveBeenCalledTimes(2)
})

test('the timer runs only while a connection with a name is watched', () => {
  vi.useFakeTimers()
  const refresh = new DnsRefresh(1_000)
  refresh.watch('127.0.0.1', ['127.0.0.1'], () => {})
  refresh.watch('/run/postgresql', ['127.0.0.1'], () => {})
  new DnsRefresh(Infinity).watch('db.test', ['10.0.0.1'], () => {})
  expect(vi.getTimerCount()).toBe(0)
  const [first, second] = [1, 2].map(() => refresh.watch('db.test', ['10.0.0.1'], () => {}))
  expect(vi.getTimerCount()).toBe(1)
  first?.()
  first?.()
  expect(vi.getTimerCount()).toBe(1)
  second?.()
  expect(vi.getTimerCount()).toBe(0)
})

test('a connection to one of several addresses is drained when its name has none of them', () => {
  vi.useFakeTimers()
  resolveNames()
  const refresh = new DnsRefresh(1_000)
  const drained: string[] = []
  refresh.watch('db.test', ['10.0.0.1', '10.0.0.2'], ({ message }) => drained.push(message))
  addresses.set('db.test', ['10.0.0.2', '10.0.0.3'])
  vi.advanceTimersByTime(1_000)
  expect(drained).toEqual([])
  addresses.set('db.test', ['10.0.0.3'])
  vi.advanceTimersByTime(1_000)
  expect(drained).toEqual(['db.test no longer has the address 10.0.0.1 or 10.0.0.2'])
})

interface Kind {
  readonly url: string
  readonly manager: (url: string) => ConnectionManager<object>
  readonly isAnswering: (connection: never) => Promise<unknown>
}
const asManager = (manager: unknown): ConnectionManager<object> => manager as ConnectionManager<object>
const options = { dnsRefreshMs: 20 }
const query = (connection: { query(text: string): Promise<unknown> }) => connection.query('select 1')
const ping = (connection: { ping(): Promise<unknown> }) => connection.ping()
const KINDS: Readonly<Record<string, Kind>> = {
  PgManager: {
    url: inject('postgresUrl'),
    manager: (url) => asManager(new PgManager(url, options)),
    isAnswering: query,
  },
  Mysql2Manager: {
    url: inject('mariadbUrl'),
    manager: (url) => asManager(new Mysql2Manager(url, options)),
    isAnswering: query,
  },
  MariadbManager: {
    url: inject('mariadbUrl'),
    manager: (url) => asManager(new MariadbManager(url, options)),
    isAnswering: query,
  },
  RedisManager: {
    url: inject('redisUrl'),
    manager: (url) => asManager(new RedisManager(url, options)),
    isAnswering: ping,
  },
  IoredisManager: {
    url: inject('redisUrl'),
    manager: (url) => asManager(new IoredisManager(url, options)),
    isAnswering: ping,
  },
}

test.for(Object.keys(KINDS))(
  '%s: an idle connection to an old address is closed immediately, a leased one at return',
  async (name, { skip }) => {
    const { url, manager, isAnswering } = KINDS[name] as Kind
    skip(url === '', 'no server')
    // A relay on every address of loopback: the server itself may listen on one only.
    const { hostname, port } = new URL(url)
    const relay = createServer((socket) => {
      const onward = connect(Number(port), hostname)
      socket.on('error', () => {}).on('close', () => onward.destroy())
      onward.on('error', () => {}).on('close', () => socket.destroy())
      socket.pipe(onward).pipe(socket)
    }).listen(0, '0.0.0.0')
    await once(relay, 'listening')
    resolveNames()
    addresses.set('db.test', ['127.0.0.1'])
    const there = new URL(url)
    there.hostname = 'db.test'
    there.port = String((relay.address() as AddressInfo).port)
    const closed: string[] = []
    const pool = new Pool(manager(there.href), {
      maxSize: 2,
      beforeClose: (_, reason) => void closed.push(reason),
    })
    const [idle, leased] = await Promise.all([pool.acquire(), pool.acquire()])
    idle.release()
    addresses.set('db.test', ['127.0.0.2'])
    await expect.poll(() => closed).toEqual(['lost'])
    await isAnswering(leased.connection as never)
    leased.release()
    await expect.poll(() => closed.length).toBe(2)
    // A new connection is to the new address, and stays.
    await pool.run((connection) => isAnswering(connection as never))
    expect(pool.state().connections).toBe(1)
    await pool.close()
    relay.close()
  },
)

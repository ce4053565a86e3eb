import * as redis from 'redis'
import { describe, expect, expectTypeOf, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { type RedisConnection, RedisManager } from '../../src/managers/redis/redis.ts'
import { describeRedis } from './redis-cases.ts'
import { missingDriver, runScript } from '../scripts.ts'

const url = inject('redisUrl')

describeRedis<ReturnType<typeof redis.createClient>>({
  name: 'RedisManager',
  manager: (target, options = {}) => {
    if (typeof target !== 'object') return new RedisManager(target, { ...options, driver: redis }) as never
    const { host, port, tls, ...rest } = target
    const socket = { host, port, ...(tls === undefined ? {} : { tls: true, ...tls }) }
    return new RedisManager({ ...rest, socket }, { ...(options as object), driver: redis }) as never
  },
  call: (connection, ...args) => connection.sendCommand(args),
  subscribe: (connection, channel) => connection.subscribe(channel, () => {}),
  transaction: async (connection, key, value) => {
    await connection.watch(key)
    return connection.multi().set(key, value).exec()
  },
})

describe.skipIf(url === '')('RedisManager and its driver', () => {
  test('the default driver is the installed redis', async () => {
    await using pool = new Pool(new RedisManager(url), { maxSize: 1 })
    const answer = await pool.run((connection) => {
      expectTypeOf(connection).toEqualTypeOf<ReturnType<typeof redis.createClient>>()
      return connection.sendCommand(['ECHO', 'here'])
    })
    expect(answer).toBe('here')
  })

  test("monitor and reset of the driver's own: the connection is closed", async () => {
    await using pool = new Pool(new RedisManager(url, { driver: redis }), { maxSize: 1 })
    await pool.run((connection) => connection.monitor(() => {}))
    await pool.run((connection) => connection.reset())
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    expect(pool.state().statistics.closed.hook).toBe(2)
  })

  test('a connection that its user closed is never handed on', async () => {
    await using pool = new Pool(new RedisManager(url, { driver: redis }), { maxSize: 1 })
    await pool.run((connection) => connection.close())
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    await pool.run((connection) => Promise.resolve(connection.destroy()))
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    expect(pool.state().statistics.connects.opened).toBe(3)
  })

  test('a process ends when its pool is closed', async () => {
    const printed = await runScript(`
      import { Pool } from 'SRC/index.ts'
      import { RedisManager } from 'SRC/managers/redis/redis.ts'
      const pool = new Pool(new RedisManager('${url}'), { minIdle: 2 })
      await pool.run((connection) => connection.sendCommand(['PING']))
      const { closed, abandoned } = await pool.close()
      console.log(closed > 0, abandoned)`)
    expect(printed).toBe('true 0')
  })
})

test('what is leased has the type of the driver, and a URL may be undefined for the compiler', () => {
  const make = (text: string | undefined) => new Pool(new RedisManager(text, { driver: redis }))
  expectTypeOf(make).returns.toEqualTypeOf<Pool<ReturnType<typeof redis.createClient>>>()
  const typed = (pool: Pool<RedisConnection>): Promise<string | null> => pool.run((client) => client.get('a'))
  expectTypeOf(typed).toBeFunction()
  expectTypeOf<ReturnType<typeof redis.createClient>>().toExtend<{ blPop: unknown; hGetAll: unknown }>()
})

test('where the driver is missing, one line says what to install, immediately', async () => {
  expect(await missingDriver('redis/redis.ts', "RedisManager('redis://127.0.0.1:1')")).toBe(
    "ConnectError: cenote/redis needs the package 'redis': npm install redis",
  )
})

test('a config that the driver cannot read is a fatal error', async () => {
  await using pool = new Pool(new RedisManager('redis://127.0.0.1:1/no-number', { driver: redis }))
  await expect(pool.acquire()).rejects.toMatchObject({ name: 'ConnectError', cause: expect.any(TypeError) })
})

test('fatal and retryable errors are distinguished', () => {
  const { isFatal } = RedisManager.prototype
  for (const message of [
    'WRONGPASS invalid username-password pair or user is disabled.',
    'NOAUTH Authentication required.',
    'NOPERM this user has no permissions',
    'DENIED Redis is running in protected mode',
    'ERR DB index is out of range',
  ])
    expect(isFatal(new Error(message))).toBe(true)
  for (const message of [
    'LOADING',
    'MASTERDOWN Link with MASTER is down',
    'ERR max number of clients reached',
  ])
    expect(isFatal(new Error(message))).toBe(false)
  for (const code of ['CERT_HAS_EXPIRED', 'NOT_REDIS', 'ERR_MODULE_NOT_FOUND'])
    expect(isFatal(Object.assign(new Error('x'), { code }))).toBe(true)
  for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'ECONNRESET', 'NO_ANSWER'])
    expect(isFatal(Object.assign(new Error('x'), { code }))).toBe(false)
  for (const nothing of [undefined, null, 'text', {}]) expect(isFatal(nothing)).toBe(false)
})

test('a driver that is none is rejected', () => {
  expect(() => new RedisManager('redis://x', { driver: {} as never })).toThrow(
    expect.objectContaining({ name: 'PoolOptionsError', option: 'driver' }),
  )
})

import { Redis } from 'ioredis'
import { describe, expect, expectTypeOf, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { IoredisManager } from '../../src/managers/redis/ioredis.ts'
import { describeRedis } from './redis-cases.ts'
import { missingDriver, runScript } from '../scripts.ts'

const url = inject('redisUrl')

describeRedis<Redis>({
  name: 'IoredisManager',
  manager: (target, options = {}) => {
    if (typeof target !== 'object') return new IoredisManager(target, { ...options, driver: Redis })
    const { database, name, ...rest } = target
    const config = {
      ...rest,
      ...(database === undefined ? {} : { db: database }),
      ...(name === undefined ? {} : { connectionName: name }),
    }
    return new IoredisManager(config, { ...options, driver: Redis })
  },
  call: (connection, name, ...args) => connection.call(name as string, ...args),
  subscribe: (connection, channel) => connection.subscribe(channel),
  transaction: async (connection, key, value) => {
    await connection.watch(key)
    return connection.multi().set(key, value).exec()
  },
})

describe.skipIf(url === '')('IoredisManager and its driver', () => {
  test('the default driver is the installed ioredis', async () => {
    await using pool = new Pool(new IoredisManager(url), { maxSize: 1 })
    const answer = await pool.run((connection) => {
      expectTypeOf(connection).toEqualTypeOf<Redis>()
      return connection.call('ECHO', 'here')
    })
    expect(answer).toBe('here')
  })

  test('what is leased has the type of the driver', () => {
    expectTypeOf(new Pool(new IoredisManager(url, { driver: Redis }))).toEqualTypeOf<Pool<Redis>>()
    const make = (text: string | undefined) => new Pool(new IoredisManager(text))
    expectTypeOf(make).returns.toEqualTypeOf<Pool<Redis>>()
  })

  test('listeners for messages are not left to the next borrower', async () => {
    await using pool = new Pool(new IoredisManager(url, { driver: Redis }), { maxSize: 1 })
    await pool.run(async (connection) => {
      connection.on('message', () => {})
      await connection.subscribe('cenote:here')
      await connection.unsubscribe('cenote:here')
    })
    await pool.run(async (connection) => {
      expect(connection.listenerCount('message')).toBe(0)
      await connection.subscribe('cenote:here')
      await connection.unsubscribe('cenote:here')
    })
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    expect(pool.state().statistics.connects.opened).toBe(2)
  })

  test('a connection that its user ended is never handed on', async () => {
    await using pool = new Pool(new IoredisManager(url, { driver: Redis }), { maxSize: 1 })
    await pool.run((connection) => connection.quit())
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    await pool.run((connection) => Promise.resolve(connection.disconnect()))
    expect(await pool.run((connection) => connection.ping())).toBe('PONG')
    expect(pool.state().statistics.connects.opened).toBe(3)
  })

  test('a process ends when its pool is closed', async () => {
    const printed = await runScript(`
      import { Pool } from 'SRC/index.ts'
      import { IoredisManager } from 'SRC/managers/redis/ioredis.ts'
      const pool = new Pool(new IoredisManager('${url}'), { minIdle: 2 })
      await pool.run((connection) => connection.call('PING'))
      const { closed, abandoned } = await pool.close()
      console.log(closed > 0, abandoned)`)
    expect(printed).toBe('true 0')
  })
})

test('where the driver is missing, one line says what to install, immediately', async () => {
  expect(await missingDriver('redis/ioredis.ts', "IoredisManager('redis://127.0.0.1:1')")).toBe(
    "ConnectError: cenote/ioredis needs the package 'ioredis': npm install ioredis",
  )
})

test('a driver that is none is rejected', () => {
  expect(() => new IoredisManager('redis://x', { driver: {} as never })).toThrow(
    expect.objectContaining({ name: 'PoolOptionsError', option: 'driver' }),
  )
})

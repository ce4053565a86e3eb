import { Redis } from 'ioredis'
import * as redis from 'redis'
import { describe, expect, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { IoredisManager } from '../../src/managers/redis/ioredis.ts'
import { RedisManager } from '../../src/managers/redis/redis.ts'
import { share } from '../../src/share/index.ts'

const url = inject('redisUrl')
const key = `cenote:share:${process.pid}`

describe.skipIf(url === '')('a share of RedisManager', () => {
  test('many callers use one client, with typed commands and sendCommand', async () => {
    await using pool = new Pool(new RedisManager(url, { driver: redis }))
    await using db = share(pool)
    await db.run((view) => view.set(key, 'x'))
    const values = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        db.run<unknown>((view) => (n % 2 === 0 ? view.get(key) : view.sendCommand(['GET', key]))),
      ),
    )
    expect(new Set(values)).toEqual(new Set(['x']))
    expect(pool.state().connections).toBe(1)
    await db.run((view) => view.del(key))
  })

  test('what needs a connection of its own is rejected, and is not sent', async () => {
    await using pool = new Pool(new RedisManager(url, { driver: redis }))
    await using db = share(pool)
    const refused = [
      () => db.run((view) => view.sendCommand(['multi'])),
      () => db.run((view) => view.sendCommand(['BLPOP', key, '1'])),
      () => db.run((view) => view.blPop(key, 1)),
      () => db.run((view) => view.BLPOP(key, 1)),
      () => db.run((view) => view.xRead({ key, id: '$' }, { BLOCK: 10 })),
      () => db.run((view) => view.clientTracking(true)),
      () => db.run((view) => view.subscribe('x', () => {})),
      () => db.run((view) => (view as unknown as { watch(name: string): Promise<unknown> }).watch(key)),
      () => db.run((view) => (view as unknown as { select(n: number): Promise<unknown> }).select(1)),
    ]
    for (const work of refused) await expect(work()).rejects.toMatchObject({ code: 'SHARE_REFUSED' })
    expect(await db.run((view) => Promise.resolve(Reflect.get(view, 'duplicate')))).toBeUndefined()
  })
})

describe.skipIf(url === '')('a share of IoredisManager', () => {
  test('many callers use one client, with typed commands and call', async () => {
    await using pool = new Pool(new IoredisManager(url, { driver: Redis }))
    await using db = share(pool)
    await db.run((view) => view.set(key, 'y'))
    const values = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        db.run((view) => (n % 2 === 0 ? view.get(key) : view.call('GET', key))),
      ),
    )
    expect(new Set(values)).toEqual(new Set(['y']))
    expect(pool.state().connections).toBe(1)
    await db.run((view) => view.del(key))
  })

  test('what needs a connection of its own is rejected, and is not sent', async () => {
    await using pool = new Pool(new IoredisManager(url, { driver: Redis }))
    await using db = share(pool)
    const refused = [
      () => db.run((view) => view.call('multi')),
      () => db.run((view) => view.call('BLPOP', key, '1')),
      () => db.run((view) => view.blpop(key, 1)),
      () => db.run((view) => view.xread('BLOCK', 10, 'STREAMS', key, '$')),
      () => db.run((view) => view.client('TRACKING', 'ON')),
      () => db.run((view) => view.subscribe('x')),
    ]
    for (const work of refused) await expect(work()).rejects.toMatchObject({ code: 'SHARE_REFUSED' })
  })

  test('the error of one command stays with its caller, and a lost client is one event', async () => {
    await using pool = new Pool(new IoredisManager(url, { driver: Redis }))
    await using db = share(pool)
    await expect(db.run((view) => view.call('NONSENSE'))).rejects.toThrow(/unknown command/)
    const id = Number(await db.run((view) => view.client('ID')))
    const retried = Promise.all([1, 2, 3].map(() => db.run((view) => view.echo('here'), { retries: 2 })))
    await pool.run((client) => client.client('KILL', 'ID', id))
    expect(await retried).toEqual(['here', 'here', 'here'])
  })
})

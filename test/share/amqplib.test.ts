import amqplib from 'amqplib'
import { describe, expect, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { AmqpConnectionManager } from '../../src/managers/amqplib/amqplib.ts'
import { share } from '../../src/share/index.ts'

const url = inject('amqpUrl')

describe.skipIf(url === '')('a share of AmqpConnectionManager', () => {
  test('each caller has channels of its own, which are closed when its run has settled', async () => {
    await using pool = new Pool(new AmqpConnectionManager(url, { driver: amqplib }))
    await using db = share(pool, { connections: 1 })
    const queue = `cenote-share-${process.pid}`
    const counts = await Promise.all(
      [1, 2, 3].map(() =>
        db.run(async (view) => {
          const channel = await view.confirmChannel()
          await channel.assertQueue(queue, { durable: false, autoDelete: false, expires: 60_000 })
          channel.sendToQueue(queue, Buffer.from('x'))
          await channel.waitForConfirms()
          return channel
        }),
      ),
    )
    expect(pool.state().connections).toBe(1)
    while (db.state().taken > 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await expect(Promise.resolve().then(() => counts[0]!.checkQueue(queue))).rejects.toThrow(/Channel clos/)
    const { messageCount } = await db.run(async (view) => (await view.channel()).deleteQueue(queue))
    expect(messageCount).toBe(3)
  })

  test('an error that closes the channel of one caller concerns no other', async () => {
    await using pool = new Pool(new AmqpConnectionManager(url, { driver: amqplib }))
    await using db = share(pool, { connections: 1 })
    const [bad, good] = await Promise.allSettled([
      db.run(async (view) => (await view.channel()).checkQueue('cenote-there-is-none')),
      db.run(async (view) => (await view.channel()).assertQueue('', { exclusive: true })),
    ])
    expect([bad.status, good.status]).toEqual(['rejected', 'fulfilled'])
    while (db.state().taken > 0) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(pool.state().connections).toBe(1)
  })

  test('a view that is used later is rejected', async () => {
    await using pool = new Pool(new AmqpConnectionManager(url, { driver: amqplib }))
    await using db = share(pool)
    const view = await db.run((each) => [each])
    await expect(Promise.resolve().then(() => view[0]!.channel())).rejects.toMatchObject({
      code: 'LEASE_RELEASED',
    })
  })
})

import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

import amqplib, { type Channel, type ChannelModel, type ConfirmChannel } from 'amqplib'
import { generate } from 'selfsigned'
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, inject, test, vi } from 'vitest'

import { freePort } from '../servers/free-port.ts'
import { type PrivateRabbitmq, startRabbitmq } from '../servers/rabbitmq.ts'
import { type ConnectionManager, Pool, type PoolOptions } from '../../src/index.ts'
import { AmqpChannelManager, AmqpConnectionManager } from '../../src/managers/amqplib/amqplib.ts'
import { describeManager, TcpProxy } from '../../src/testing/index.ts'
import { missingDriver, runScript } from '../scripts.ts'

const url = inject('amqpUrl')
const queue = `cenote-${process.pid}-${Math.trunc(Math.random() * 1e9)}`
const temporary = { durable: false, autoDelete: false, expires: 60_000 }
const targetOf = (text: string) => {
  const { hostname, port, username, password } = new URL(text)
  return {
    hostname,
    port: Number(port || 5672),
    username: username || 'guest',
    password: password || 'guest',
  }
}
const connections = (config: object | string = url) => new AmqpConnectionManager(config, { driver: amqplib })
const channels = (config: object | string = url) =>
  new AmqpChannelManager<Channel>(config, { driver: amqplib })

const pools: { close(options: { timeoutMs: number }): Promise<unknown> }[] = []
const make = <C>(manager: ConnectionManager<C>, options: PoolOptions<C> = {}): Pool<C> => {
  const pool = new Pool(manager, options)
  pools.push(pool)
  return pool
}
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
})
const failure = async (
  promise: Promise<unknown>,
): Promise<{ name: string; cause: Error & { code?: string } }> =>
  promise.then(
    () => expect.unreachable('it did not fail'),
    (error: unknown) => error as never,
  )
/** The connection beneath a channel, or a connection itself. */
const wireOf = (subject: Channel | ChannelModel): object => Reflect.get(subject, 'connection') as object
const clientPort = (subject: Channel | ChannelModel): number =>
  (Reflect.get(wireOf(subject), 'stream') as Socket).localPort ?? 0

describe.skipIf(url === '')('managers of RabbitMQ on a server of its own', () => {
  if (url === '') return
  let own: PrivateRabbitmq
  beforeAll(async () => {
    own = await startRabbitmq()
    const channel = await (await amqplib.connect(own.url)).createChannel()
    await channel.assertQueue(queue, temporary)
    await (wireOf(channel) as ChannelModel & { close(): void }).close()
  }, 120_000)
  afterAll(() => own.destroy(), 60_000)
  const withAddress = (address?: { host: string; port: number }) => ({
    ...targetOf(own.url),
    ...(address === undefined ? {} : { hostname: address.host, port: address.port }),
  })
  // The private server has its port only when the suite runs, the suite wants it before.
  const server = {
    host: '127.0.0.1',
    get port() {
      return own.port
    },
  }
  const fatal = (manager: (config: object) => ConnectionManager<never>) => ({
    'a wrong password': () => manager({ ...targetOf(own.url), password: 'wrong' }),
    'a vhost that does not exist': () => manager({ ...targetOf(own.url), vhost: 'nowhere' }),
  })

  describeManager<ChannelModel>('AmqpConnectionManager', (address) => connections(withAddress(address)), {
    server,
    timeoutMs: 10_000,
    use: async (connection) => (await connection.createChannel()).close(),
    kill: (connection) => own.closeConnection(clientPort(connection)),
    count: () => own.count('connections'),
    fatal: fatal(connections as never),
    dirty: {
      'a channel left open': {
        leave: (connection) => connection.createChannel(),
        isClean: async () => (await own.count('channels')) === 0,
      },
      'an exclusive queue': {
        leave: async (connection) =>
          (await connection.createChannel()).assertQueue(`${queue}-mine`, { exclusive: true }),
        isClean: async (connection) => {
          const channel = await connection.createChannel()
          channel.on('error', () => {})
          return channel.checkQueue(`${queue}-mine`).then(
            () => false,
            () => true,
          )
        },
      },
    },
  })

  let taken = false
  const isEmptied = async (channel: Channel): Promise<boolean> => {
    // The message that the previous holder took is back, and no consumer takes it again.
    const message = await channel.get(queue)
    if ((message !== false) !== taken) return false
    if (message !== false) channel.ack(message)
    taken = false
    return (await channel.checkQueue(queue)).consumerCount === 0
  }
  describeManager<Channel>('AmqpChannelManager', (address) => channels(withAddress(address)), {
    server,
    timeoutMs: 10_000,
    use: (channel) => channel.checkQueue(queue),
    // The server closes a channel after an error.
    kill: async (channel) => {
      await channel.checkQueue('no such queue').catch(() => {})
    },
    count: () => own.count('channels'),
    fatal: fatal(channels as never),
    dirty: {
      'an unacknowledged message': {
        leave: async (channel) => {
          channel.sendToQueue(queue, Buffer.from('x'))
          await vi.waitUntil(() => channel.get(queue))
          taken = true
        },
        isClean: isEmptied,
      },
      'a consumer': {
        leave: async (channel) => {
          channel.sendToQueue(queue, Buffer.from('x'))
          const received = Promise.withResolvers<void>()
          await channel.consume(queue, () => received.resolve())
          await received.promise
          taken = true
        },
        isClean: isEmptied,
      },
      'a cancelled consumer with an unacknowledged message': {
        leave: async (channel) => {
          channel.sendToQueue(queue, Buffer.from('x'))
          const { promise, resolve } = Promise.withResolvers<void>()
          const { consumerTag } = await channel.consume(queue, () => resolve())
          await promise
          await channel.cancel(consumerTag)
          taken = true
        },
        isClean: isEmptied,
      },
      'a prefetch': {
        leave: (channel) => channel.prefetch(1, true),
        isClean: async (channel) => {
          for (let index = 0; index < 3; index++) channel.sendToQueue(queue, Buffer.from('x'))
          let count = 0
          const { consumerTag } = await channel.consume(queue, () => void count++)
          await vi.waitUntil(() => count > 1, { timeout: 1_000 }).catch(() => {})
          await channel.cancel(consumerTag)
          channel.nackAll(false)
          await channel.purgeQueue(queue)
          return count > 1
        },
      },
      'an answer that is still to come': {
        leave: (channel) => {
          channel.checkQueue('no such queue').catch(() => {})
        },
        isClean: async (channel) => (await channel.checkQueue(queue)).queue === queue,
      },
      'a listener for returned messages': {
        leave: (channel) => channel.on('return', () => {}),
        isClean: (channel) => channel.listenerCount('return') === 0,
      },
    },
  })

  test('concurrent connects share one connection; what is acknowledged keeps its channel', async () => {
    const pool = make(channels(own.url), { maxSize: 5 })
    const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()))
    expect(new Set(leases.map(({ connection }) => wireOf(connection))).size).toBe(1)
    expect(await own.count('connections')).toBe(1)
    for (const lease of leases) lease.release()
    for (let index = 0; index < 5; index++)
      await pool.run(async (channel) => {
        channel.sendToQueue(queue, Buffer.from('x'))
        await expect.poll(() => channel.get(queue, { noAck: true })).toBeTruthy()
        channel.sendToQueue(queue, Buffer.from('x'))
        const { promise, resolve } = Promise.withResolvers<void>()
        const { consumerTag } = await channel.consume(queue, (message) => {
          if (message !== null) channel.ack(message)
          resolve()
        })
        await promise
        await channel.cancel(consumerTag)
      })
    expect(pool.state().statistics.connects.opened).toBe(5)
    await pool.close()
    await expect.poll(() => own.count('connections')).toBe(0)
  })

  test('a connection that dies loses all its channels immediately, and is replaced by one', async () => {
    const pool = make(channels(own.url), { maxSize: 6, connectBackoff: { minMs: 5, maxMs: 20 } })
    const leases = await Promise.all(Array.from({ length: 6 }, () => pool.acquire()))
    const dead = wireOf(leases[0]!.connection)
    for (const lease of leases.slice(1)) lease.release()
    await own.closeConnection(clientPort(leases[0]!.connection))
    await expect.poll(() => pool.state().connections).toBe(1)
    leases[0]!.release()
    const fresh = await Promise.all(Array.from({ length: 6 }, () => pool.acquire()))
    const wires = new Set(fresh.map(({ connection }) => wireOf(connection)))
    expect([wires.size, wires.has(dead), await own.count('connections')]).toEqual([1, false, 1])
    for (const lease of fresh) lease.release()
  })

  test('a channel that is closed by the server for an error takes no other with it', async () => {
    const pool = make(channels(own.url), { maxSize: 2 })
    const [bad, good] = await Promise.all([pool.acquire(), pool.acquire()])
    await expect(bad.connection.checkQueue('no such queue')).rejects.toMatchObject({ code: 404 })
    await expect(good.connection.assertQueue(queue, { ...temporary, expires: 1_000 })).rejects.toMatchObject({
      code: 406,
    })
    bad.release()
    good.release()
    expect((await pool.run((channel) => channel.checkQueue(queue))).queue).toBe(queue)
    expect(pool.state().statistics.closed.lost + pool.state().statistics.closed.broken).toBe(2)
  })

  test('channelMax: one more channel is rejected with a clear error, and waits for the open channels', async () => {
    const pool = make(channels(`${own.url}?channelMax=2`), {
      maxSize: 3,
      connectBackoff: { minMs: 5, maxMs: 20 },
    })
    const leases = await Promise.all([pool.acquire(), pool.acquire()])
    const third = pool.acquire({ timeoutMs: 5_000 })
    await expect.poll(() => pool.state().statistics.connects.failed).toBeGreaterThan(0)
    leases[0]?.release()
    ;(await third).release()
    leases[1]?.release()
    const full = make(channels(`${own.url}?channelMax=1`), { maxSize: 2, retryConnect: false })
    const only = await full.acquire()
    // It waits: the open connection may be returned.
    const { cause } = await failure(full.acquire({ timeoutMs: 500 }))
    expect(cause).toMatchObject({ code: 'CHANNEL_MAX' })
    expect(cause.message).toContain('all 1 channels')
    only.release()
  })

  test('confirm: what was published is confirmed before the next borrower gets the channel', async () => {
    const manager = new AmqpChannelManager<ConfirmChannel>(own.url, { driver: amqplib, confirm: true })
    const pool = make(manager, { maxSize: 1 })
    let confirmed = 0
    await pool.run((channel) => {
      for (let index = 0; index < 50; index++)
        channel.publish('', queue, Buffer.from('x'), {}, (error) => void (error ?? confirmed++))
      return Promise.resolve()
    })
    await pool.run((channel) => {
      expect(confirmed).toBe(50)
      return channel.purgeQueue(queue)
    })
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('onConnect: its prefetch stays, an error of it fails the connect', async () => {
    const manager = new AmqpChannelManager<Channel>(own.url, {
      driver: amqplib,
      onConnect: (channel) => channel.prefetch(7),
    })
    const pool = make(manager, { maxSize: 1 })
    await pool.run((channel) => channel.checkQueue(queue))
    await pool.run((channel) => channel.checkQueue(queue))
    expect(pool.state().statistics.connects.opened).toBe(1)
    const failing = new AmqpChannelManager<Channel>(own.url, {
      driver: amqplib,
      onConnect: (channel) => channel.checkQueue('no such queue'),
    })
    expect((await failure(make(failing, { retryConnect: false }).acquire())).cause).toMatchObject({
      code: 404,
    })
    const failingConnection = new AmqpConnectionManager<ChannelModel>(own.url, {
      driver: amqplib,
      onConnect: () => Promise.reject(new Error('not mine')),
    })
    const { cause } = await failure(make(failingConnection, { retryConnect: false }).acquire())
    expect(cause.message).toBe('not mine')
  })

  test('onConnect that hangs: what was opened for it is closed, and what is leased stays', async () => {
    let isFirst = true
    const manager = new AmqpChannelManager<Channel>(own.url, {
      driver: amqplib,
      onConnect: () => {
        const hang = isFirst ? undefined : new Promise(() => {})
        isFirst = false
        return hang
      },
    })
    const pool = make(manager, { maxSize: 2, connectTimeoutMs: 200, retryConnect: false })
    const lease = await pool.acquire()
    await failure(pool.acquire({ timeoutMs: 500 }))
    await expect.poll(() => own.count('channels')).toBe(1)
    expect((await lease.connection.checkQueue(queue)).queue).toBe(queue)
    lease.release()
    const hanging = new AmqpConnectionManager(own.url, {
      driver: amqplib,
      onConnect: () => new Promise(() => {}),
    })
    const controller = new AbortController()
    const attempt = hanging.connect({ signal: controller.signal, lost: () => {} })
    await expect.poll(() => own.count('connections')).toBe(2)
    controller.abort(new Error('given up'))
    await expect(attempt).rejects.toThrow('given up')
    await expect.poll(() => own.count('connections')).toBe(1)
  })

  test('a connection that the server has blocked stays in use, and is not checked', async () => {
    const pool = make(connections(own.url), { maxSize: 1, validationBypassMs: 0 })
    const connection = await pool.run((one) => Promise.resolve(one))
    const blocked = new Promise((resolve) => connection.once('blocked', resolve))
    const unblocked = new Promise((resolve) => connection.once('unblocked', resolve))
    await own.evaluate('rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})')
    try {
      await pool.run(async (one) => {
        const channel = await one.createChannel()
        channel.sendToQueue(queue, Buffer.from('x'))
        await blocked
        // Its close would be answered only after the alarm.
        expect(await connections(own.url).isValid(one, new AbortController().signal)).toBe(true)
        await own.evaluate('rabbit_alarm:clear_alarm({resource_limit, memory, node()})')
        await unblocked
        await channel.purgeQueue(queue)
        await channel.close()
      })
    } finally {
      await own.evaluate('rabbit_alarm:clear_alarm({resource_limit, memory, node()})')
    }
    expect(pool.state().statistics.connects.opened).toBe(1)
  })

  test('channels: while the connection is blocked, a new channel is opened immediately on another one', async () => {
    const pool = make(channels(own.url), { maxSize: 3, connectTimeoutMs: 60_000 })
    const first = await pool.acquire()
    const wire = wireOf(first.connection) as ChannelModel & { blocked: boolean }
    await own.evaluate('rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})')
    try {
      // The channel that is being opened when the connection is blocked moves, too.
      first.connection.sendToQueue(queue, Buffer.from('x'))
      const leases = [await pool.acquire()]
      await expect.poll(() => wire.blocked).toBe(true)
      leases.push(await pool.acquire())
      for (const { connection } of leases) {
        expect(wireOf(connection)).not.toBe(wire)
        expect((await connection.checkQueue(queue)).queue).toBe(queue)
      }
      expect(await own.count('connections')).toBe(2)
      for (const lease of leases) lease.release()
    } finally {
      await own.evaluate('rabbit_alarm:clear_alarm({resource_limit, memory, node()})')
    }
    await expect.poll(() => wire.blocked).toBe(false)
    await first.connection.purgeQueue(queue)
    first.release()
    expect(pool.state().statistics.connects).toEqual({ opened: 3, failed: 0 })
  })

  test('a connection that is blocked with channels left open is closed, not waited for', async () => {
    const pool = make(connections(own.url), { maxSize: 1 })
    await own.evaluate('rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})')
    try {
      await pool.run(async (connection) => {
        const blocked = new Promise((resolve) => connection.once('blocked', resolve))
        const channel = await connection.createChannel()
        channel.sendToQueue(queue, Buffer.from('x'))
        await blocked
      })
      await expect.poll(() => pool.state().statistics.closed.hook).toBe(1)
      await pool.run(async (connection) => (await connection.createChannel()).checkQueue(queue))
    } finally {
      await own.evaluate('rabbit_alarm:clear_alarm({resource_limit, memory, node()})')
    }
    const cleaner = make(channels(own.url), { maxSize: 1 })
    await cleaner.run((channel) => channel.purgeQueue(queue))
  })

  test("a channel that the server closed: later calls and unconfirmed messages get the server's reason", async () => {
    const manager = new AmqpChannelManager(own.url, { driver: amqplib, confirm: true })
    const pool = make(manager, { maxSize: 1 })
    const reason = {
      message: expect.stringContaining(
        "404 (NOT-FOUND) with message \"NOT_FOUND - no exchange 'cenote-none'",
      ),
      code: 404,
      cause: expect.objectContaining({ code: 404 }),
    }
    const lease = await pool.acquire()
    const { connection: channel } = lease
    const closed = new Promise((resolve) => channel.once('close', resolve))
    const confirmed = new Promise((resolve) =>
      channel.publish('cenote-none', 'x', Buffer.from('x'), {}, (error: unknown) => resolve(error)),
    )
    // Waits behind the publish, and so is not the call that the server answers with the close.
    const pending = channel.checkQueue(queue)
    await expect(pending).rejects.toMatchObject({ message: expect.stringContaining('404') })
    await closed
    expect(await confirmed).toMatchObject(reason)
    await expect(channel.waitForConfirms()).rejects.toMatchObject(reason)
    await expect(channel.assertQueue('', { exclusive: true })).rejects.toMatchObject(reason)
    expect(() => channel.publish('', queue, Buffer.from('x'))).toThrow(expect.objectContaining(reason))
    lease.release()
    const after = make(channels(own.url), { maxSize: 1 })
    await after.run((fresh) => fresh.checkQueue(queue))
  })

  test("a connection that the server closed: calls on its channels get the server's reason, and so does lost", async () => {
    const manager = channels(own.url)
    const lost = Promise.withResolvers<unknown>()
    const channel = await manager.connect({ signal: new AbortController().signal, lost: lost.resolve })
    const closed = new Promise((resolve) => channel.once('close', resolve))
    await own.closeConnection(clientPort(channel))
    await closed
    const reason = { message: expect.stringContaining('closed by a test') }
    await expect(channel.checkQueue(queue)).rejects.toMatchObject(reason)
    expect(await lost.promise).toMatchObject(reason)
    await manager.close(channel)
  })

  test('unref lets the process end while every channel is idle, and ref undoes it', async () => {
    const keepsAlive = (subject: object): boolean[] => {
      const { stream, heartbeater } = wireOf(subject as Channel) as unknown as {
        stream: { _handle: NodeJS.Timeout }
        heartbeater: { sendTimer: NodeJS.Timeout; recvTimer: NodeJS.Timeout }
      }
      return [stream._handle.hasRef(), heartbeater.sendTimer.hasRef(), heartbeater.recvTimer.hasRef()]
    }
    const [yes, no] = [
      [true, true, true],
      [false, false, false],
    ]
    const context = { signal: new AbortController().signal, lost: () => {} }
    const single = connections(own.url)
    const connection = await single.connect(context)
    expect(keepsAlive(connection)).toEqual(yes)
    single.unref(connection)
    expect(keepsAlive(connection)).toEqual(no)
    single.ref(connection)
    expect(keepsAlive(connection)).toEqual(yes)
    await single.close(connection)
    const manager = channels(own.url)
    const [one, two] = [await manager.connect(context), await manager.connect(context)]
    manager.unref(one)
    expect(keepsAlive(one)).toEqual(yes)
    manager.unref(two)
    manager.unref(two)
    expect(keepsAlive(one)).toEqual(no)
    manager.ref(two)
    expect(keepsAlive(one)).toEqual(yes)
    await manager.close(two)
    expect(keepsAlive(one)).toEqual(no)
    await manager.close(one)
  })

  test('a server without heartbeats is left, which detects a dead network', async () => {
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: own.port })
    try {
      const lost = Promise.withResolvers<unknown>()
      const manager = connections(`amqp://guest:guest@${proxy.host}:${proxy.port}?heartbeat=1`)
      const connection = await manager.connect({ signal: new AbortController().signal, lost: lost.resolve })
      proxy.blackhole()
      expect(String(await lost.promise)).toContain('Heartbeat timeout')
      expect(manager.hasBroken(connection)).toBe(true)
      await manager.close(connection)
    } finally {
      await proxy.close()
    }
  })

  test('channels: a server that is suspended costs a caller its deadline, and is used again when it is resumed', async () => {
    const pool = make(channels(own.url), {
      maxSize: 2,
      validationBypassMs: 0,
      validationTimeoutMs: 100,
      connectTimeoutMs: 500,
      connectBackoff: { minMs: 10, maxMs: 50 },
    })
    await pool.run((channel) => channel.checkQueue(queue))
    own.suspend()
    try {
      expect(await failure(pool.acquire({ timeoutMs: 900 }))).toMatchObject({ name: 'AcquireTimeoutError' })
    } finally {
      own.resume()
    }
    expect((await pool.run((channel) => channel.checkQueue(queue))).queue).toBe(queue)
  })

  test('channels: a connection that does not answer gets no more of them, though others of its channels are leased', async () => {
    const proxy = await TcpProxy.start({ host: '127.0.0.1', port: own.port })
    try {
      const pool = make(channels(withAddress(proxy)), {
        maxSize: 2,
        connectTimeoutMs: 200,
        connectBackoff: { minMs: 10, maxMs: 50 },
      })
      const lease = await pool.acquire()
      proxy.blackhole()
      expect(await failure(pool.acquire({ timeoutMs: 400 }))).toMatchObject({ name: 'AcquireTimeoutError' })
      // What is leased stays on the dead connection; the next comes over a new one.
      await proxy.heal()
      const next = await pool.acquire({ timeoutMs: 5_000 })
      expect(wireOf(next.connection)).not.toBe(wireOf(lease.connection))
      next.release()
      lease.destroy()
    } finally {
      await proxy.close()
    }
  })

  test('a restart: channels are gone immediately, and callers are served when it is back', async () => {
    const pool = make(channels(own.url), { maxSize: 3, connectBackoff: { minMs: 20, maxMs: 200 } })
    const leases = await Promise.all([pool.acquire(), pool.acquire()])
    for (const lease of leases) lease.release()
    await own.stop()
    await expect.poll(() => pool.state().connections).toBe(0)
    const waiting = pool.run((channel) => channel.assertQueue(queue, temporary), { timeoutMs: 90_000 })
    await own.start()
    expect((await waiting).queue).toBe(queue)
    expect(await own.count('connections')).toBe(1)
  }, 120_000)
})

describe.skipIf(url === '')('managers of RabbitMQ and mistakes', () => {
  if (url === '') return
  test('wrong password, wrong vhost: one clear error each, immediately', async () => {
    const target = targetOf(url)
    const at = `${target.hostname}:${target.port} refused the `
    for (const manager of [connections, channels]) {
      const denied = await failure(make(manager({ ...target, password: 'wrong' }) as never).acquire())
      expect([denied.name, denied.cause.code]).toEqual(['ConnectError', 'AMQP_REFUSED'])
      expect(denied.cause.message).toContain(`${at}connection: ACCESS_REFUSED - Login was refused`)
      const nowhere = await failure(make(manager({ ...target, vhost: 'nowhere' }) as never).acquire())
      expect([nowhere.name, nowhere.cause.code]).toEqual(['ConnectError', 'AMQP_REFUSED'])
      expect(nowhere.cause.message).toContain(`${at}vhost 'nowhere': it does not exist, `)
    }
  })

  test('a host that does not exist, and a port without a server: a retry may help', async () => {
    for (const target of [
      { hostname: 'no-such-host.invalid', port: 5672 },
      { hostname: '127.0.0.1', port: await freePort() },
    ]) {
      const { cause } = await failure(make(connections(target), { retryConnect: false }).acquire())
      expect(cause.code).toMatch(/ENOTFOUND|EAI_AGAIN|ECONNREFUSED/)
      expect(connections(target).isFatal(cause)).toBe(false)
    }
  })

  test('another program listens there', async () => {
    for (const greeting of ['HTTP/1.1 400 Bad Request\r\n\r\n', '-ERR unknown command\r\n']) {
      const server = createServer((socket) => {
        socket.on('error', () => {})
        socket.resume()
        socket.end(greeting)
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const { cause } = await failure(
        make(connections({ hostname: '127.0.0.1', port }), { retryConnect: false }).acquire(),
      )
      expect(cause.code).toMatch(/NOT_AMQP|NO_ANSWER/)
      expect(cause.message).toContain(`127.0.0.1:${port} `)
      await new Promise((resolve) => server.close(resolve))
    }
  })

  test.skipIf(inject('redisUrl') === '')('Redis, which waits for more', async () => {
    const { hostname, port } = new URL(inject('redisUrl'))
    const { cause } = await failure(
      make(connections({ hostname, port: Number(port || 6379) }), { retryConnect: false }).acquire(),
    )
    expect(cause.message).toContain('accepted the connection but has not answered within 5000 ms')
  })

  test('a certificate that has expired is rejected, immediately', async () => {
    const made = await generate([{ name: 'commonName', value: 'localhost' }], {
      notBeforeDate: new Date('2020-01-01'),
      notAfterDate: new Date('2020-02-01'),
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
    })
    const server = createTlsServer({ key: made.private, cert: made.cert }, (socket) =>
      socket.on('error', () => {}),
    )
    server.on('tlsClientError', () => {})
    await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
    const { port } = server.address() as AddressInfo
    const manager = new AmqpConnectionManager(`amqps://localhost:${port}`, {
      driver: amqplib,
      socketOptions: { ca: made.cert },
    })
    const { name, cause } = await failure(make(manager).acquire())
    expect([name, cause.code]).toEqual(['ConnectError', 'CERT_HAS_EXPIRED'])
    await new Promise((resolve) => server.close(resolve))
  })

  test('the default driver is the installed amqplib', async () => {
    const pool = make(new AmqpChannelManager(url), { maxSize: 1 })
    await pool.run(async (channel) => {
      expectTypeOf(channel).toEqualTypeOf<Channel>()
      await channel.checkExchange('amq.topic')
    })
  })

  test('what is leased has the type of the driver', () => {
    expectTypeOf(new Pool(new AmqpConnectionManager(url, { driver: amqplib }))).toEqualTypeOf<
      Pool<ChannelModel>
    >()
    const make = (text: string | undefined) => new Pool(new AmqpChannelManager(text, { driver: amqplib }))
    expectTypeOf(make).returns.toEqualTypeOf<Pool<Channel>>()
    expectTypeOf(new Pool(new AmqpChannelManager(url, { driver: amqplib, confirm: true }))).toEqualTypeOf<
      Pool<ConfirmChannel>
    >()
    expectTypeOf(new Pool(new AmqpConnectionManager(url))).toEqualTypeOf<Pool<ChannelModel>>()
  })

  test('a process ends when its pools are closed', async () => {
    const printed = await runScript(`
      import { Pool } from 'SRC/index.ts'
      import { AmqpChannelManager, AmqpConnectionManager } from 'SRC/managers/amqplib/amqplib.ts'
      for (const manager of [new AmqpChannelManager('${url}'), new AmqpConnectionManager('${url}')]) {
        const pool = new Pool(manager, { minIdle: 2 })
        await pool.run(async () => {})
        const { closed, abandoned } = await pool.close()
        console.log(closed > 0, abandoned)
      }`)
    expect(printed).toBe('true 0\ntrue 0')
  })
})

test('where the driver is missing, one line says what to install, immediately', async () => {
  for (const manager of ['AmqpChannelManager', 'AmqpConnectionManager'])
    expect(await missingDriver('amqplib/amqplib.ts', `${manager}('amqp://127.0.0.1:1')`)).toBe(
      "ConnectError: cenote/amqplib needs the package 'amqplib': npm install amqplib",
    )
})

test('a wrong config is rejected in the constructor, without its password', () => {
  for (const Manager of [AmqpChannelManager, AmqpConnectionManager]) {
    expect(() => new Manager(5 as never)).toThrow('config must be an amqp:// URL, an object for')
    expect(() => new Manager(undefined)).toThrow('(got undefined)')
    for (const text of ['redis://u:secret@x', 'amqp://u:secret@ x', '']) {
      const attempt = (): unknown => new Manager(text)
      expect(attempt).toThrow('config must be a URL of the form amqp://')
      expect(attempt).not.toThrow('secret')
    }
  }
})

test('a wrong option is rejected by name', () => {
  for (const Manager of [AmqpChannelManager, AmqpConnectionManager])
    for (const [option, value] of [
      ['drivr', amqplib],
      ['driver', {}],
      ['onConnect', 'x'],
      ['socketOptions', 5],
    ] as const)
      expect(() => new Manager('amqp://x', { [option]: value } as never)).toThrow(
        expect.objectContaining({ name: 'PoolOptionsError', option, value }),
      )
  expect(() => new AmqpChannelManager('amqp://x', { confirm: 1 as never })).toThrow(
    expect.objectContaining({ name: 'PoolOptionsError', option: 'confirm' }),
  )
})

test('a config may be a function; its failure is a connect failure that may be retried, a wrong result is fatal', async () => {
  const failing = new AmqpConnectionManager(() => Promise.reject(new TypeError('fetch failed')))
  const { cause } = await failure(make(failing, { retryConnect: false }).acquire())
  expect([cause.message, failing.isFatal(cause)]).toEqual(['fetch failed', false])
  const none = await failure(make(new AmqpConnectionManager((() => undefined) as never)).acquire())
  expect(none.cause.message).toContain('config must be an amqp:// URL')
})

test('a name with several addresses that all refuse: host, port and the first inner message', async () => {
  const port = await freePort()
  const manager = new AmqpConnectionManager(`amqp://mq.test:${port}`, {
    driver: amqplib,
    socketOptions: {
      lookup: (_: string, __: object, done: (error: null, found: object[]) => void) =>
        done(null, [
          { address: '127.0.0.1', family: 4 },
          { address: '127.0.0.2', family: 4 },
        ]),
    },
  })
  const { cause } = await failure(make(manager, { retryConnect: false }).acquire())
  expect(cause.message).toBe(
    `cannot connect to mq.test:${port}: connect ECONNREFUSED 127.0.0.1:${port} (and 1 more address)`,
  )
})

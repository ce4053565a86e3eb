import amqplib, { type Channel, type ChannelModel } from 'amqplib'
import { Redis } from 'ioredis'
import * as redis from 'redis'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { type PrivateRabbitmq, startRabbitmq } from '../../servers/rabbitmq.ts'
import { type PrivateRedis, startRedis } from '../../servers/redis.ts'
import { type ConnectionManager, Pool } from '../../src/index.ts'
import { AmqpChannelManager, AmqpConnectionManager } from '../../src/managers/amqplib.ts'
import { IoredisManager } from '../../src/managers/ioredis.ts'
import { RedisManager } from '../../src/managers/redis.ts'
import { TcpProxy } from '../../src/testing/index.ts'

/** A server of our own, whose connections can be ended by its own means. */
interface Faulty {
  readonly port: number
  killAll(): Promise<unknown>
  stop(): Promise<void>
  start(): Promise<void>
  suspend(): void
  resume(): void
  destroy(): Promise<void>
}

interface Driven {
  readonly name: string
  start(): Promise<Faulty>
  manager(port: number): ConnectionManager<never>
  use(connection: never): Promise<unknown>
}

interface Fault {
  readonly name: string
  strike(server: Faulty, proxy: TcpProxy): unknown
  /** Ends it, where it does not end by itself. */
  heal?(server: Faulty, proxy: TcpProxy): unknown
  /** What those see who were at work with a connection, and those who come while it lasts. */
  readonly working: 'an answer' | 'an error' | 'silence'
  readonly newcomers: 'an answer' | 'an error'
}

const SILENCE_MS = 500
const FAULTS: readonly Fault[] = [
  {
    name: 'killed by the server',
    strike: (server) => server.killAll(),
    working: 'an error',
    newcomers: 'an answer',
  },
  { name: 'cut', strike: (_, proxy) => proxy.cut(), working: 'an error', newcomers: 'an answer' },
  {
    name: 'cut, and refused for a while',
    strike: (_, proxy) => {
      proxy.refuse()
      proxy.cut()
    },
    heal: (_, proxy) => proxy.heal(),
    working: 'an error',
    newcomers: 'an error',
  },
  {
    name: 'a black hole',
    strike: (_, proxy) => proxy.blackhole(),
    heal: (_, proxy) => proxy.heal(),
    working: 'silence',
    newcomers: 'an error',
  },
  {
    name: 'half-open',
    strike: (_, proxy) => proxy.halfOpen(),
    heal: (_, proxy) => proxy.heal(),
    working: 'silence',
    newcomers: 'an answer',
  },
  {
    name: 'slow: 20 ms each way',
    strike: (_, proxy) => proxy.slow({ delayMs: 20 }),
    heal: (_, proxy) => proxy.heal(),
    working: 'an answer',
    newcomers: 'an answer',
  },
  {
    name: 'suspended (SIGSTOP)',
    strike: (server) => server.suspend(),
    heal: (server) => server.resume(),
    working: 'silence',
    newcomers: 'an error',
  },
  {
    name: 'restarted',
    strike: (server) => server.stop(),
    heal: (server) => server.start(),
    working: 'an error',
    newcomers: 'an error',
  },
]

const startFaultyRedis = async (): Promise<Faulty> => {
  const server: PrivateRedis = await startRedis()
  return {
    ...server,
    killAll: async () => {
      const admin = redis.createClient({ url: server.url })
      admin.on('error', () => {})
      await admin.connect()
      await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
      admin.destroy()
    },
  }
}
const startFaultyRabbitmq = async (): Promise<Faulty> => {
  const server: PrivateRabbitmq = await startRabbitmq()
  return {
    ...server,
    killAll: () =>
      server.evaluate(
        '[rabbit_networking:close_connection(C, "closed by a test") || C <- rabbit_networking:connections()]',
      ),
  }
}

const hasRedis = inject('redisUrl') !== ''
const hasRabbitmq = inject('amqpUrl') !== ''
const DRIVEN: readonly (Driven & { readonly isHere: boolean })[] = [
  {
    name: 'RedisManager',
    isHere: hasRedis,
    start: startFaultyRedis,
    manager: (port) => new RedisManager(`redis://:cenote@127.0.0.1:${port}`, { driver: redis }) as never,
    use: (client: redis.RedisClientType) => client.get('a'),
  },
  {
    name: 'IoredisManager',
    isHere: hasRedis,
    start: startFaultyRedis,
    manager: (port) => new IoredisManager(`redis://:cenote@127.0.0.1:${port}`, { driver: Redis }) as never,
    use: (client: Redis) => client.get('a'),
  },
  {
    name: 'AmqpConnectionManager',
    isHere: hasRabbitmq,
    start: startFaultyRabbitmq,
    manager: (port) =>
      new AmqpConnectionManager(`amqp://guest:guest@127.0.0.1:${port}`, { driver: amqplib }) as never,
    use: async (connection: ChannelModel) => (await connection.createChannel()).close(),
  },
  {
    name: 'AmqpChannelManager',
    isHere: hasRabbitmq,
    start: startFaultyRabbitmq,
    manager: (port) =>
      new AmqpChannelManager<Channel>(`amqp://guest:guest@127.0.0.1:${port}`, { driver: amqplib }) as never,
    use: (channel: Channel) => channel.checkExchange('amq.direct'),
  },
]

for (const { name, isHere, start, manager, use } of DRIVEN) {
  describe.skipIf(!isHere)(`${name}: which callers see what`, () => {
    let server: Faulty
    beforeAll(async () => {
      server = await start()
    }, 120_000)
    afterAll(() => server.destroy(), 60_000)

    test.each(FAULTS)(
      '$name: at work $working, newcomers $newcomers, afterwards all are served',
      async (fault) => {
        const proxy = await TcpProxy.start({ port: server.port })
        const pool = new Pool(manager(proxy.port), {
          maxSize: 4,
          validationBypassMs: 0,
          validationTimeoutMs: 300,
          connectTimeoutMs: 500,
          connectBackoff: { minMs: 10, maxMs: 100 },
        })
        try {
          const leases = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()))
          for (const lease of leases.slice(2)) lease.release()
          const atWork = leases.slice(0, 2)
          await fault.strike(server, proxy)
          const seen = await Promise.all(
            atWork.map(async (lease) => {
              const outcome = await outcomeOf(use(lease.connection))
              lease.release(outcome === 'an error' ? new Error('it failed') : undefined)
              return outcome
            }),
          )
          const newcomers = await Promise.all(
            Array.from({ length: 4 }, () => outcomeOf(pool.run(use, { timeoutMs: 2_000 }), Infinity)),
          )
          await fault.heal?.(server, proxy)
          const afterwards = await Promise.all(
            Array.from({ length: 8 }, () => outcomeOf(pool.run(use, { timeoutMs: 30_000 }), Infinity)),
          )
          expect({
            working: [...new Set(seen)],
            newcomers: [...new Set(newcomers)],
            afterwards: [...new Set(afterwards)],
          }).toEqual({
            working: [fault.working],
            newcomers: [fault.newcomers],
            afterwards: ['an answer'],
          })
          expect(pool.state().connections).toBeLessThanOrEqual(4)
        } finally {
          await pool.close({ timeoutMs: 500 })
          await proxy.close()
        }
      },
      90_000,
    )
  })
}

async function outcomeOf(work: Promise<unknown>, silenceMs = SILENCE_MS): Promise<Fault['working']> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<'silence'>((resolve) => {
    if (silenceMs < Infinity) timer = setTimeout(resolve, silenceMs, 'silence')
  })
  try {
    return await Promise.race([
      work.then(
        () => 'an answer' as const,
        () => 'an error' as const,
      ),
      silence,
    ])
  } finally {
    clearTimeout(timer)
  }
}

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import amqplib, { type Channel, type ChannelModel } from 'amqplib'
import { Redis } from 'ioredis'
import type { Connection as MariadbConnection } from 'mariadb'
import mysql from 'mysql2/promise'
import pg from 'pg'
import * as redis from 'redis'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { startMariadb } from '../servers/mariadb.ts'
import { startPostgres } from '../servers/postgres.ts'
import { type PrivateRabbitmq, startRabbitmq } from '../servers/rabbitmq.ts'
import { type PrivateRedis, startRedis } from '../servers/redis.ts'
import { type ConnectionManager, Pool } from '../../src/index.ts'
import { AmqpChannelManager, AmqpConnectionManager } from '../../src/managers/amqplib/amqplib.ts'
import { IoredisManager } from '../../src/managers/redis/ioredis.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import { RedisManager } from '../../src/managers/redis/redis.ts'
import { TcpProxy } from '../../src/testing/index.ts'
import { type Fault, type Faulty, FAULTS, faultTable, MANAGERS } from './fault-table.ts'

interface Driven {
  readonly name: (typeof MANAGERS)[number]
  start(): Promise<Faulty>
  manager(port: number): ConnectionManager<never>
  use(connection: never): Promise<unknown>
}

const SILENCE_MS = 500

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

const startFaultyPostgres = async (): Promise<Faulty> => {
  const server = await startPostgres()
  return {
    ...server,
    port: Number(new URL(server.url).port),
    killAll: async () => {
      const admin = new pg.Client({ connectionString: server.url })
      await admin.connect()
      await admin.query(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
      )
      await admin.end()
    },
  }
}
const startFaultyMariadb = async (): Promise<Faulty> => {
  const server = await startMariadb()
  return {
    ...server,
    killAll: async () => {
      const admin = await mysql.createConnection(server.url)
      const [rows] = await admin.query<mysql.RowDataPacket[]>(
        "select id from information_schema.processlist where id <> connection_id() and command <> 'Daemon'",
      )
      for (const { id } of rows) await admin.query(`kill ${id}`).catch(() => {})
      await admin.end()
    },
  }
}

const hasRedis = inject('redisUrl') !== ''
const hasRabbitmq = inject('amqpUrl') !== ''
const hasMariadb = inject('mariadbUrl') !== ''
const DRIVEN: readonly (Driven & { readonly isHere: boolean })[] = [
  {
    name: 'PgManager',
    isHere: true,
    start: startFaultyPostgres,
    manager: (port) =>
      new PgManager(`postgres://postgres:cenote@127.0.0.1:${port}/postgres`, { driver: pg }) as never,
    use: (client: PgClient) => client.query('select 1'),
  },
  {
    name: 'Mysql2Manager',
    isHere: hasMariadb,
    start: startFaultyMariadb,
    manager: (port) => new Mysql2Manager(`mysql://root:cenote@127.0.0.1:${port}/test`) as never,
    use: (connection: mysql.Connection) => connection.query('select 1'),
  },
  {
    name: 'MariadbManager',
    isHere: hasMariadb,
    start: startFaultyMariadb,
    manager: (port) => new MariadbManager(`mariadb://root:cenote@127.0.0.1:${port}/test`) as never,
    use: (connection: MariadbConnection) => connection.query('select 1'),
  },
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

test('the table of docs/managers.md is what is tested here, and every manager is put through it', async () => {
  expect(DRIVEN.map(({ name }) => name)).toEqual(MANAGERS)
  const page = await readFile(resolve(import.meta.dirname, '../../docs/managers.md'), 'utf8')
  expect(page).toContain(faultTable())
  for (const name of MANAGERS) expect(page).toContain(name)
})

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

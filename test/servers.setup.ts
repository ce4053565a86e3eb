import type { TestProject } from 'vitest/node'

import { findMariadb, startMariadb } from './servers/mariadb.ts'
import { findPostgres, startPostgres } from './servers/postgres.ts'
import { findRabbitmq, startRabbitmq } from './servers/rabbitmq.ts'
import { findRedis, startRedis } from './servers/redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Empty: there is none. */
    postgresUrl: string
    /** Empty: there is none. */
    mariadbUrl: string
    /** Empty: there is none. */
    redisUrl: string
    /** Empty: there is none. */
    amqpUrl: string
  }
}

type UrlKey = 'postgresUrl' | 'mariadbUrl' | 'redisUrl' | 'amqpUrl'

interface Server {
  readonly name: string
  readonly key: UrlKey
  readonly hint: string
  find(): Promise<string | undefined>
  start(): Promise<{ readonly url: string; destroy(): Promise<void> }>
}

const SERVERS: readonly Server[] = [
  {
    name: 'PostgreSQL',
    key: 'postgresUrl',
    hint: 'Set CENOTE_PG_URL, or start one on 127.0.0.1:5432.',
    find: findPostgres,
    start: startPostgres,
  },
  {
    name: 'MariaDB',
    key: 'mariadbUrl',
    hint: 'Set MARIADB_URL, start one on 127.0.0.1:3306, or install mariadb-server.',
    find: findMariadb,
    start: startMariadb,
  },
  {
    name: 'Redis',
    key: 'redisUrl',
    hint: 'Set REDIS_URL, start one on 127.0.0.1:6379, or install redis-server.',
    find: findRedis,
    start: startRedis,
  },
  {
    name: 'RabbitMQ',
    key: 'amqpUrl',
    hint: 'Set AMQP_URL, start one on 127.0.0.1:5672, or install rabbitmq-server.',
    find: findRabbitmq,
    start: startRabbitmq,
  },
]

/** Finds each server, or starts it, once for the whole run; says loudly what is missing. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const ends = await Promise.all(SERVERS.map((server) => provide(project, server)))
  return async () => {
    for (const end of ends) await end()
  }
}

async function provide(
  project: TestProject,
  { name, key, hint, find, start }: Server,
): Promise<() => Promise<void>> {
  const found = await find()
  if (found !== undefined) {
    project.provide(key, found)
    return async () => {}
  }
  try {
    const server = await start()
    project.provide(key, server.url)
    return () => server.destroy()
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    project.provide(key, '')
    return async () => {
      console.warn(`\nSKIPPED: every suite that needs ${name}. ${String(error)}\n${hint}\n`)
    }
  }
}

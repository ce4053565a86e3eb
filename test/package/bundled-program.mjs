// Bundled by bundles.test.ts and run from the bundle: a pool works, and each manager finds its driver.
import { once } from 'node:events'
import { createServer } from 'node:net'

import { ConnectError, Pool } from 'cenote'
import { AmqpConnectionManager } from 'cenote/amqplib'
import { createPool } from 'cenote/compat/generic-pool'
import { Pool as PgPool } from 'cenote/compat/pg-pool'
import { Pool as SequelizePool } from 'cenote/compat/sequelize-pool'
import { Pool as TarnPool } from 'cenote/compat/tarn'
import { joinFleet } from 'cenote/fleet'
import { inspect } from 'cenote/inspector'
import { IoredisManager } from 'cenote/ioredis'
import { PostgresPoolDialect } from 'cenote/kysely'
import { MariadbManager } from 'cenote/mariadb'
import { Mysql2Manager } from 'cenote/mysql2'
import { NetManager } from 'cenote/net'
import { instrument } from 'cenote/otel'
import { PgManager } from 'cenote/pg'
import { RedisManager } from 'cenote/redis'
import { SqliteManager } from 'cenote/sqlite'
import { describeManager, ScriptedManager } from 'cenote/testing'

async function main() {
  // A server that hangs up: a driver that was found reports that, and not that it is missing.
  const server = createServer((socket) => socket.destroy())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const at = `127.0.0.1:${server.address().port}`

  const outcomes = {}
  for (const [name, manager] of Object.entries({
    amqplib: new AmqpConnectionManager(`amqp://${at}`),
    ioredis: new IoredisManager(`redis://${at}`),
    mariadb: new MariadbManager(`mariadb://root@${at}/x`),
    mysql2: new Mysql2Manager(`mysql://root@${at}/x`),
    pg: new PgManager(`postgres://postgres@${at}/x`),
    redis: new RedisManager(`redis://${at}`),
  })) {
    const pool = new Pool(manager, { retryConnect: false, acquireTimeoutMs: 5_000 })
    outcomes[name] = await pool.acquire().then(
      () => 'connected',
      (error) => (error instanceof ConnectError ? String(error.cause?.message) : String(error)),
    )
    await pool.close()
  }
  const facade = new PgPool({ connectionString: `postgres://postgres@${at}/x` })
  outcomes.facade = await facade.query('select 1').catch((error) => error.message)
  await facade.end()
  server.close()

  const pool = new Pool(new ScriptedManager())
  outcomes.run = await pool.run(() => 'ran')
  await pool.close()
  const loaded = [createPool, SequelizePool, TarnPool, joinFleet, inspect, PostgresPoolDialect, NetManager]
  outcomes.loaded = [...loaded, instrument, SqliteManager, describeManager].every(
    (each) => typeof each === 'function',
  )
  console.log(JSON.stringify(outcomes))
  process.exit()
}

void main()

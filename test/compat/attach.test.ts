import { expect, inject, test } from 'vitest'

import { createPool } from '../../src/compat/mysql2.ts'
import { Pool } from '../../src/compat/pg-pool.ts'

const urls = { postgres: inject('postgresUrl'), mysql: inject('mariadbUrl') }

// What attachDatabasePool of @vercel/functions 3 looks for: by the pool's shape it decides which event to listen to and
// how long an idle connection lives.
function attach(pool: unknown, onRelease: () => void): number {
  const { options, config, on } = pool as {
    options?: { idleTimeoutMillis?: unknown }
    config?: { connectionConfig?: { idleTimeout?: number }; idleTimeout?: unknown }
    on?: (event: string, listener: () => void) => unknown
  }
  const isPg = options !== undefined && 'idleTimeoutMillis' in options
  const isMysql = config !== undefined && ('connectionConfig' in config || 'idleTimeout' in config)
  if (on === undefined || (!isPg && !isMysql)) throw new Error('Unsupported database pool type')
  on.call(pool, 'release', onRelease)
  if (isPg) return typeof options.idleTimeoutMillis === 'number' ? options.idleTimeoutMillis : 10_000
  return config?.connectionConfig?.idleTimeout ?? 60_000
}

test.skipIf(urls.postgres === '')(
  'attachDatabasePool accepts the pool of pg and sees every release',
  async () => {
    await using pool = new Pool({ connectionString: urls.postgres, idleTimeoutMillis: 5_000 })
    let released = 0
    expect(attach(pool, () => released++)).toBe(5_000)
    await pool.query('select 1')
    const client = await pool.connect()
    client.release()
    expect(released).toBe(2)
  },
)

test.skipIf(urls.mysql === '')(
  'attachDatabasePool accepts the pool of mysql2 and sees every release',
  async () => {
    await using pool = createPool({ uri: urls.mysql })
    let released = 0
    expect(attach(pool, () => released++)).toBe(60_000)
    await pool.promise().query('select 1')
    expect(released).toBe(1)
  },
)

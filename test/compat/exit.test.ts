import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { onSources, ROOT } from '../docs/run-blocks.ts'

const urls = { DATABASE_URL: inject('postgresUrl'), MYSQL_URL: inject('mariadbUrl') }
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(ROOT, 'test/compat/run-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** What a program prints that ends by itself within 5 s. */
async function run(name: string, code: string): Promise<string> {
  const file = join(folder, `${name}.ts`)
  await writeFile(file, onSources(code))
  const env = { ...process.env, ...urls }
  const { stdout } = await promisify(execFile)(process.execPath, [file], { env, timeout: 5_000 })
  return stdout.trim()
}

describe.skipIf(urls.DATABASE_URL === '' || urls.MYSQL_URL === '')('a process ends by itself', () => {
  test('with idle clients of pg-pool and allowExitOnIdle, also clients that min keeps', async () => {
    const code = `import { Pool } from 'cenote/compat/pg-pool'
const options = { connectionString: process.env['DATABASE_URL'], allowExitOnIdle: true, idleTimeoutMillis: 0 }
const pools = [new Pool({ ...options, min: 2 }), new Pool(options)]
for (const pool of pools) console.log((await pool.query('select 1 as n')).rows[0].n)`
    expect(await run('pg-exit', code)).toBe('1\n1')
  })

  test('and not before a query is done, whoever holds the client', async () => {
    const code = `import { Pool } from 'cenote/compat/pg-pool'
const pool = new Pool({ connectionString: process.env['DATABASE_URL'], allowExitOnIdle: true, max: 1 })
const client = await pool.connect()
const waiter = pool.query('select 2 as n')
await client.query('select pg_sleep(0.1)')
client.release()
console.log((await waiter).rows[0].n)`
    expect(await run('pg-busy', code)).toBe('2')
  })

  test('when the pool of mysql2 has ended, or its connections have been idle for too long', async () => {
    const code = `import { createPool } from 'cenote/compat/mysql2/promise'
const idle = createPool({ uri: process.env['MYSQL_URL']!, idleTimeout: 50, maxIdle: 1 })
await Promise.all([idle.query('select 1'), idle.query('select 1')])
const ended = createPool(process.env['MYSQL_URL']!)
await ended.query('select 1')
await ended.end()
console.log('done')`
    expect(await run('mysql-exit', code)).toBe('done')
  })

  test('with an idle pool of tarn, generic-pool or sequelize-pool', async () => {
    const code = `import { createPool } from 'cenote/compat/generic-pool'
import { Pool as SequelizePool } from 'cenote/compat/sequelize-pool'
import { Pool as TarnPool } from 'cenote/compat/tarn'
const things = { create: async () => ({}), destroy: async () => {}, validate: () => true, min: 1, max: 2 }
const tarn = new TarnPool<object>(things)
tarn.release(await tarn.acquire().promise)
const sequelize = new SequelizePool<object>(things)
sequelize.release(await sequelize.acquire())
const generic = createPool<object>({ create: things.create, destroy: things.destroy }, { min: 1, max: 2, evictionRunIntervalMillis: 10 })
await generic.release(await generic.acquire())
console.log('done')`
    expect(await run('others', code)).toBe('done')
  })
})

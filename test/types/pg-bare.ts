// Compiled by test/package/types.test.ts for a project that has not @types/pg.
import { Pool } from 'cenote'
import { cancellable, type PgClient, PgManager, transaction } from 'cenote/pg'

interface User {
  id: number
}

const pool = new Pool(new PgManager(process.env['DATABASE_URL']), { maxSize: 4 })
export const client: PgClient = (await pool.acquire()).connection
export const users: User[] = (await pool.run((c) => c.query<User>('select 1', [1]))).rows
export const answer: number = (await pool.run((c) => c.query('select 42 as answer'))).rows[0].answer
export const pid: number | null | undefined = await transaction(pool, (tx) => tx.processID)
// @ts-expect-error the client has no such method
await pool.run((c) => c.release())
// @ts-expect-error the driver's private fields are not part of its types
await pool.run((c) => c._txStatus)

interface Config {
  host: string
}
const config: Config = { host: 'localhost' }
new PgManager(config)
new PgManager({ host: 'localhost', anything: true })
const signal = AbortSignal.timeout(1)
await pool.run(
  cancellable(signal, (c) => c.query('')),
  { signal },
)

declare class Driver {
  connect(): Promise<this>
  query(text: string): Promise<{ rows: User[] }>
  end(): Promise<void>
}
// @ts-expect-error a driver without events cannot be watched
new PgManager('postgres://x', { driver: { Client: Driver } })

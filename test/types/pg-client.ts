// Compiled by test/package/types.test.ts for a project that has @types/pg.
import { Pool, type PoolOptions } from 'cenote'
import { cancellable, type PgClient, PgManager, type PgManagerOptions, transaction } from 'cenote/pg'
import pg from 'pg'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const isSame = <A, B>(same: Same<A, B>): void => void same

interface User {
  id: number
  name: string
}

const pool = new Pool(new PgManager(process.env['DATABASE_URL']))
isSame<typeof pool, Pool<pg.Client>>(true)
isSame<PgClient, pg.Client>(true)
isSame<typeof given, Pool<pg.Client>>(true)
const given = new Pool(new PgManager('postgres://x', { driver: pg }))
export const annotated: Pool<pg.Client> = new Pool(new PgManager({ host: 'localhost' }))
export const options: PoolOptions<PgClient> = {
  afterConnect: async (client) => void (await client.query('')),
}

class Own extends pg.Client {
  readonly mine = true
}
export const own: Pool<Own> = new Pool(new PgManager('postgres://x', { driver: { Client: Own } }))

export const users: User[] = (await pool.run((client) => client.query<User>('select 1', [1]))).rows
export const arrays: unknown[][] = (
  await pool.run((client) => client.query({ text: 'select 1', rowMode: 'array' }))
).rows
export const names: string[] = await pool.run(async (client) => {
  const result = await client.query('select 1')
  return [result.command, ...result.fields.map(({ name }) => name), client.escapeIdentifier('x')]
})
await pool.run(async (client) => {
  const query: pg.Query = client.query(new pg.Query('select 1'))
  query.on('row', (row) => console.log(row))
  client.on('notification', (message) => console.log(message.channel, message.payload))
})

const onBase = async (client: pg.ClientBase): Promise<number> => (await client.query<User>('')).rows.length
const onClient = async (client: pg.Client): Promise<void> => void (await client.query(''))
await pool.run((client) => onBase(client))
await pool.run(onClient)
const lease = await pool.acquire()
await onClient(lease.connection)

const config: pg.ClientConfig = { host: 'localhost', ssl: true, query_timeout: 1_000 }
new PgManager(config)
new PgManager(() => config)
new PgManager(async () => ({ ...config, password: await Promise.resolve('rotated') }))
// @ts-expect-error the driver has no such option
new PgManager({ hots: 'localhost' })
// @ts-expect-error a number is no config
new PgManager(5)
// @ts-expect-error the driver's private fields are not part of its types
await pool.run((client) => client._txStatus)

const settings: PgManagerOptions = { onConnect: async (client) => void (await client.query<User>('')) }
new PgManager('postgres://x', settings)

const signal = AbortSignal.timeout(1)
export const cancelled: pg.QueryResult<User> = await pool.run(
  cancellable(signal, (client) => client.query<User>('')),
  { signal },
)
export const user: User | undefined = await transaction(
  pool,
  async (tx) => {
    await onClient(tx)
    await tx.transaction((savepoint) => onBase(savepoint))
    return (await tx.query<User>('select 1')).rows[0]
  },
  { isolation: 'serializable', readOnly: true, retries: 2, signal, timeoutMs: 1_000 },
)
// @ts-expect-error no such level
void transaction(pool, () => 1, { isolation: 'snapshot' })

// oxlint-disable no-explicit-any, no-floating-promises -- as programs are written
// What programs write with the pool of pg, over the changed import: none of it may be a type error.
import pg, {
  type BindConfig,
  type Client,
  type ClientBase,
  type ClientConfig,
  type Connection,
  type ConnectionConfig,
  type CustomTypesConfig,
  type DatabaseError,
  type Defaults,
  type Events,
  type ExecuteConfig,
  type FieldDef,
  type MessageConfig,
  type Notification,
  Pool,
  type PoolClient,
  type PoolConfig,
  type PoolOptions,
  type Query,
  type QueryArrayConfig,
  type QueryArrayResult,
  type QueryConfig,
  type QueryConfigValues,
  type QueryParse,
  type QueryResult,
  type QueryResultBase,
  type QueryResultRow,
  type Result,
  type ResultBuilder,
  type Submittable,
  type TransactionStatus,
  type TypeOverrides,
} from 'cenote/compat/pg-pool'
import * as driver from 'pg'

interface City extends QueryResultRow {
  name: string
  people: number
}

const config: PoolConfig = {
  host: 'db.internal',
  port: 5432,
  database: 'atlas',
  user: 'reader',
  password: () => Promise.resolve('secret'),
  ssl: { rejectUnauthorized: true },
  max: 4,
  min: 1,
  idleTimeoutMillis: null,
  connectionTimeoutMillis: 500,
  allowExitOnIdle: true,
  maxUses: 100,
  maxLifetimeSeconds: 60,
  statement_timeout: 1_000,
  keepAlive: true,
  types: { getTypeParser: () => (text: string) => text },
  log: (...parts) => console.log(parts.length),
}
const pool: Pool = new Pool(config)
const other = new pg.Pool({ connectionString: 'postgres://reader@db.internal/atlas' })
const options: PoolOptions = pool.options
const limits: number = options.max + options.maxUses + options.maxLifetimeSeconds
const counts: number = pool.totalCount + pool.idleCount + pool.waitingCount + pool.expiredCount
const flags: boolean = pool.ending || pool.ended

export async function queries(): Promise<unknown> {
  const plain = await pool.query('select name from cities')
  const anything: unknown = plain.rows[0].whatever
  const typed: QueryResult<City> = await pool.query<City>('select * from cities where people > $1', [1_000])
  const total: number = typed.rows.reduce((sum, { people }) => sum + people, 0)
  const config: QueryConfig<[number]> = {
    name: 'big',
    text: 'select * from cities where people > $1',
    values: [5],
  }
  const named: City | undefined = (await pool.query<City, [number]>(config)).rows[0]
  const array: QueryArrayConfig<[string]> = { text: 'select $1', values: ['x'], rowMode: 'array' }
  const tuples: QueryArrayResult<[string]> = await pool.query<[string], [string]>(array)
  const first: string | undefined = tuples.rows[0]?.[0]
  const fields: FieldDef[] = typed.fields
  const base: QueryResultBase = typed
  // @ts-expect-error a column is a number, not a text
  const wrong: string = typed.rows[0]!.people
  return [anything, total, named, first, fields[0]?.dataTypeID, base.command, base.rowCount, wrong]
}

export function callbacks(): void {
  pool.query('select 1', (error: Error, result: QueryResult) => console.log(error.message, result.rowCount))
  pool.query<City>('select $1', ['x'], (_error, result) => console.log(result.rows[0]?.name))
  pool.query({ text: 'select 1', rowMode: 'array' }, (_error, result: QueryArrayResult) =>
    console.log(result.rows),
  )
  pool.connect((error: Error | undefined, client: PoolClient | undefined, done: (release?: any) => void) => {
    if (error !== undefined || client === undefined) return
    client.query('select 1', () => done())
  })
  pool.end(() => console.log('ended'))
}

export async function clients(): Promise<void> {
  const client = await pool.connect()
  const asClient: driver.Client & driver.PoolClient = client
  useBase(client)
  client.on('notification', ({ channel, payload }: Notification) => console.log(channel, payload))
  client.on('notice', (notice) => console.log(notice.message))
  client.once('error', (error: Error) => console.log(error))
  const quoted: string = client.escapeIdentifier('a') + client.escapeLiteral('b')
  const stream = client.query(new Lines())
  console.log(asClient.database, quoted, stream.lines)
  client.release()
  client.release(true)
  client.release(new Error('broken'))
}
const useBase = (client: ClientBase): Promise<QueryResult> => client.query('select 1')

class Lines implements Submittable {
  readonly lines: string[] = []
  submit(connection: Connection): void {
    connection.query('select 1')
  }
}

pool
  .on('connect', (client: PoolClient) => void client.query('set application_name = atlas'))
  .on('acquire', (client) => console.log(client.listenerCount('error')))
  .on('remove', (client: PoolClient) => console.log(client))
  .on('error', (error, client) => console.log(error.message, client))
  .on('release', (error: Error, client: PoolClient) => console.log(error, client))

class Traced extends driver.Client {
  readonly opened: Date = new Date()
}
const traced = new Pool<Traced>({ Client: Traced, max: 1 })
export const opened: Promise<Date> = traced.connect().then((client) => client.opened)

// The names of the default import.
const given: pg.PoolConfig = { max: 1 }
const kept: pg.PoolClient | undefined = undefined
const result: pg.QueryResult<City> | undefined = undefined
export const values: QueryConfigValues<[number]> = [1]
export const driverOptions: [ClientConfig, ConnectionConfig] = [{ host: 'x' }, { port: 1 }]
export const parsers: CustomTypesConfig = { getTypeParser: () => String }
export type Others = [
  BindConfig,
  Client,
  DatabaseError,
  Defaults,
  Events,
  ExecuteConfig,
  MessageConfig,
  Query<City>,
  QueryParse,
  Result<City>,
  ResultBuilder<City>,
  TransactionStatus,
  TypeOverrides,
]
export const all = [other, limits, counts, flags, given, kept, result]

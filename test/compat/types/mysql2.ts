// What programs write with the pools of mysql2, over the changed import: none of it may be a type error.
import mysql, {
  type Connection,
  type ConnectionOptions,
  createPool,
  type FieldPacket,
  type Pool,
  type PoolConnection,
  type PoolOptions,
  type QueryError,
  type ResultSetHeader,
  type RowDataPacket,
} from 'cenote/compat/mysql2'
import promised, {
  createPool as createPromisePool,
  type Pool as PromisePool,
  type PoolConnection as PromiseConnection,
} from 'cenote/compat/mysql2/promise'
import type * as driver from 'mysql2'
import type * as promisedDriver from 'mysql2/promise'

interface City extends RowDataPacket {
  name: string
  people: number
}

const access: PoolOptions = {
  host: 'db.internal',
  user: 'reader',
  password: 'secret',
  database: 'atlas',
  waitForConnections: true,
  connectionLimit: 4,
  maxIdle: 2,
  idleTimeout: 1_000,
  queueLimit: 0,
  enableKeepAlive: true,
  namedPlaceholders: true,
}
const pool: Pool = createPool(access)
const byUrl = mysql.createPool('mysql://reader:secret@db.internal/atlas')
const asDriver: driver.Pool = pool

export function callbacks(): void {
  pool.query<City[]>(
    'select * from cities where people > ?',
    [5],
    (error: QueryError | null, rows, fields) => {
      const people: number | undefined = rows[0]?.people
      const names: string[] = fields.map(({ name }: FieldPacket) => name)
      console.log(error?.code, people, names)
    },
  )
  pool.execute<ResultSetHeader>('delete from cities where name = ?', ['x'], (_error, { affectedRows }) =>
    console.log(affectedRows + 1),
  )
  pool.query({ sql: 'select ?', values: [1], rowsAsArray: true }, (_error, rows) => console.log(rows))
  pool
    .query('select 1')
    .on('result', (row) => console.log(row))
    .stream()
    .pipe(process.stdout)
  pool.getConnection((error: NodeJS.ErrnoException | null, connection: PoolConnection) => {
    if (error !== null) return
    useConnection(connection)
    connection.beginTransaction(() => connection.rollback(() => connection.release()))
    connection.destroy()
  })
  pool.releaseConnection({} as PoolConnection)
  pool.on('connection', (connection: PoolConnection) => console.log(connection.threadId))
  pool.on('acquire', (connection) => connection.ping())
  pool.on('release', (connection) => console.log(connection.threadId))
  pool.on('enqueue', () => console.log('waiting'))
  const text: string =
    pool.format('select ?', [1]) + pool.escape('x') + pool.escapeId('y') + mysql.format('?', [2])
  console.log(text, byUrl.config, asDriver)
  pool.end((error) => console.log(error))
}
const useConnection = (connection: Connection): unknown => connection.query('select 1')

const promises: PromisePool = createPromisePool({ ...access, acquireTimeout: 500, core: { name: 'atlas' } })
const asPromised: promisedDriver.Pool = promises
const second = promised.createPool(access)

export async function work(): Promise<unknown> {
  const [rows, fields] = await promises.query<City[]>('select * from cities')
  const total: number = rows.reduce((sum, { people }) => sum + people, 0)
  const [header] = await promises.execute<ResultSetHeader>('insert into cities values (?, ?)', ['x', 1])
  const [named] = await promises.query<City[]>({ sql: 'select :name as name', values: { name: 'x' } })
  const connection: PromiseConnection = await promises.getConnection()
  try {
    await connection.beginTransaction()
    await connection.query('select 1')
    await connection.commit()
  } catch {
    await connection.rollback()
  } finally {
    connection.release()
  }
  const wrapped = await pool.promise().query<City[]>('select 1')
  // @ts-expect-error a column is a number, not a text
  const wrong: string = rows[0]!.people
  await second.end()
  return [total, fields, header.insertId, named[0]?.name, wrapped[0][0]?.name, asPromised, wrong]
}
export const connectionOptions: ConnectionOptions = { uri: 'mysql://x', ssl: { rejectUnauthorized: true } }

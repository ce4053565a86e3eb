import type { ServerFacts } from './doctor.ts'

/** The part of a client of the package pg that is used. */
interface Client {
  readonly processID: number | null
  connect(): Promise<unknown>
  query(text: string): Promise<{ rows: Record<string, unknown>[] }>
  end(): Promise<void>
}

const QUESTION = `
  select
    current_setting('max_connections') as max,
    current_setting('superuser_reserved_connections')::int
      + coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
    (select rolconnlimit from pg_roles where rolname = current_user) as "user",
    (select datconnlimit from pg_database where datname = current_database()) as database,
    (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) as "inUse",
    (select setting from pg_settings where name = 'idle_session_timeout') as idle,
    (select setting from pg_settings where name = 'statement_timeout') as statement,
    (select setting from pg_settings where name = 'idle_in_transaction_session_timeout') as transaction,
    pg_backend_pid() as pid`

/** Reads the limits of a PostgreSQL, 12 or later. Rejects with the driver's error if the server cannot be reached. */
export async function readPostgres(
  url: string,
  driver: { Client: new (config: object) => Client },
): Promise<ServerFacts> {
  const client = new driver.Client({ connectionString: url, application_name: 'cenote doctor' })
  await client.connect()
  try {
    const [row = {}] = (await client.query(QUESTION)).rows
    const limit = (name: string): number => (Number(row[name]) < 0 ? Infinity : Number(row[name]))
    const time = (name: string): number => (Number(row[name] ?? 0) > 0 ? Number(row[name]) : Infinity)
    return {
      engine: 'PostgreSQL',
      maxConnections: Number(row['max']),
      reserved: Number(row['reserved']),
      userLimit: limit('user'),
      databaseLimit: limit('database'),
      inUse: Number(row['inUse']),
      idleTimeoutMs: time('idle'),
      idleTimeoutName: 'idle_session_timeout',
      statementTimeoutMs: time('statement'),
      idleInTransactionTimeoutMs: time('transaction'),
      // A pooler reports a process id of its own at the connect.
      hasPooler: client.processID !== Number(row['pid']),
    }
  } finally {
    await client.end()
  }
}

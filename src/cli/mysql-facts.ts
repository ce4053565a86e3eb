import type { ServerFacts } from './doctor.ts'

/** The part of a connection of mysql2/promise that is used. */
interface Connection {
  query(text: string): Promise<[unknown, unknown]>
  end(): Promise<void>
}

/** Reads the limits of a MySQL or MariaDB. Rejects with the driver's error if the server cannot be reached. */
export async function readMysql(
  url: string,
  driver: { createConnection(url: string): Promise<Connection> },
): Promise<ServerFacts> {
  const connection = await driver.createConnection(url)
  try {
    const [variables] = (await connection.query('show variables')) as [
      { Variable_name: string; Value: string }[],
      unknown,
    ]
    const [status] = (await connection.query(`show global status like 'Threads_connected'`)) as [
      { Value: string }[],
      unknown,
    ]
    const all = new Map(variables.map(({ Variable_name: name, Value: value }) => [name, Number(value)]))
    const version = variables.find(({ Variable_name: name }) => name === 'version')?.Value ?? ''
    const isMariadb = /mariadb/i.test(version)
    const orNone = (value: number | undefined, unitMs: number): number =>
      value === undefined || value === 0 ? Infinity : value * unitMs
    return {
      engine: isMariadb ? 'MariaDB' : 'MySQL',
      maxConnections: all.get('max_connections') ?? Number.NaN,
      // One connection above max_connections is reserved for an administrator.
      reserved: 0,
      userLimit: orNone(all.get('max_user_connections'), 1),
      databaseLimit: Infinity,
      inUse: Number(status[0]?.Value ?? 1) - 1,
      idleTimeoutMs: orNone(all.get('wait_timeout'), 1_000),
      idleTimeoutName: 'wait_timeout',
      // MySQL's setting is in milliseconds, MariaDB's in seconds.
      statementTimeoutMs: Math.min(
        orNone(all.get('max_execution_time'), 1),
        orNone(all.get('max_statement_time'), 1_000),
      ),
      idleInTransactionTimeoutMs: Infinity,
      hasPooler: false,
    }
  } finally {
    await connection.end()
  }
}

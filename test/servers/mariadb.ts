import { execFile } from 'node:child_process'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

import mysql from 'mysql2/promise'

import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A MariaDB of our own, that can be stopped, started again, and kept from answering. */
export interface PrivateMariadb {
  readonly url: string
  readonly port: number
  readonly socketPath: string
  stop(): Promise<void>
  start(): Promise<void>
  /** Keeps it from answering, its connections open (SIGSTOP). */
  suspend(): void
  resume(): void
  /** Stops it and deletes its data. Safe to call twice. */
  destroy(): Promise<void>
}

const PASSWORD = 'cenote'
// Where distributions install servers, which is not on everybody's PATH.
const env = {
  ...process.env,
  PATH: [process.env['PATH'], '/usr/sbin', '/usr/local/sbin', '/usr/local/bin'].join(delimiter),
}

/** Starts the installed `mariadbd` on a free port of loopback, with its data in a temporary folder and a database `test`. */
export async function startMariadb(
  options: { port?: number; flags?: string[] } = {},
): Promise<PrivateMariadb> {
  const port = options.port ?? (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'cenote-mariadb-'))
  const [data, socketPath, init] = ['data', 'mariadb.sock', 'init.sql'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  const url = `mysql://root:${PASSWORD}@127.0.0.1:${port}/test`
  const common = [
    '--no-defaults',
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
    `--datadir=${data}`,
    // The names of its temporary tables are the same in every server.
    `--tmpdir=${folder}`,
    '--innodb-buffer-pool-size=16M',
    '--innodb-log-file-size=8M',
  ]
  const prepare = async (): Promise<void> => {
    await writeFile(
      init,
      `CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '${PASSWORD}';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
ALTER USER root@localhost IDENTIFIED BY '${PASSWORD}';
CREATE DATABASE IF NOT EXISTS test;
`,
    )
    await promisify(execFile)(
      'mariadb-install-db',
      [...common, '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'],
      { env },
    )
  }
  const server = await ServerProcess.start({
    name: 'MariaDB',
    port,
    folder,
    prepare,
    command: 'mariadbd',
    argv: [
      ...common,
      `--port=${port}`,
      `--socket=${socketPath}`,
      `--init-file=${init}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      '--skip-log-bin',
      '--innodb-flush-log-at-trx-commit=0',
      ...(options.flags ?? []),
    ],
    env,
    isUp: () => isUp(url, 1_000),
    startMs: 30_000,
    stopMs: 10_000,
  })
  return {
    url,
    port,
    socketPath,
    start: () => server.start(),
    stop: () => server.stop(),
    suspend: () => server.suspend(),
    resume: () => server.resume(),
    destroy: () => server.destroy(),
  }
}

/** The URL of a MariaDB or MySQL that answers: MARIADB_URL or MYSQL_URL, or the standard local port. undefined: there is none. */
export async function findMariadb(): Promise<string | undefined> {
  const url = process.env['MARIADB_URL'] ?? process.env['MYSQL_URL'] ?? 'mysql://root@127.0.0.1:3306/test'
  return (await isUp(url, 3_000)) === true ? url : undefined
}

async function isUp(url: string, connectTimeout: number): Promise<unknown> {
  try {
    const connection = await mysql.createConnection({ uri: url, connectTimeout })
    await connection.end()
    return true
  } catch (error) {
    return error
  }
}

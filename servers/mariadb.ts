import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

import mysql from 'mysql2/promise'

import { freePort } from './free-port.ts'
import { suspend as stopProcesses } from './suspend.ts'

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
const START_MS = 30_000
const STOP_MS = 10_000
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
  let server: ChildProcess | undefined
  let log = ''
  const start = async (): Promise<void> => {
    if (server !== undefined) return
    const child = spawn(
      'mariadbd',
      [
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
      { env, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    server = child
    child.stderr.on('data', (text) => (log = (log + String(text)).slice(-2_000)))
    child.once('error', (error) => (log += String(error)))
    await answers(url, child, () => log)
  }
  const stop = async (): Promise<void> => {
    const child = server
    server = undefined
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    child.kill('SIGTERM')
    child.kill('SIGCONT')
    await exited
    clearTimeout(timer)
  }
  const killOnExit = (): void => void server?.kill('SIGKILL')
  process.once('exit', killOnExit)
  const destroy = async (): Promise<void> => {
    await stop()
    process.removeListener('exit', killOnExit)
    await rm(folder, { recursive: true, force: true })
  }
  try {
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
    await start()
  } catch (error) {
    await destroy()
    const reason = error instanceof Error ? error.message : log
    throw new Error(`the installed MariaDB did not start on port ${port}: ${reason}`, { cause: error })
  }
  return {
    url,
    port,
    socketPath,
    start,
    stop,
    suspend: () => stopProcesses(server?.pid === undefined ? [] : [server.pid]),
    resume: () => void server?.kill('SIGCONT'),
    destroy,
  }
}

/** The URL of a MariaDB or MySQL that answers: MARIADB_URL or MYSQL_URL, or the standard local port. undefined: there is none. */
export async function findMariadb(): Promise<string | undefined> {
  const url = process.env['MARIADB_URL'] ?? process.env['MYSQL_URL'] ?? 'mysql://root@127.0.0.1:3306/test'
  try {
    const connection = await mysql.createConnection({ uri: url, connectTimeout: 3_000 })
    connection.destroy()
    return url
  } catch {
    return undefined
  }
}

async function answers(url: string, server: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + START_MS
  for (;;) {
    try {
      const connection = await mysql.createConnection({ uri: url, connectTimeout: 1_000 })
      await connection.end()
      return
    } catch (error) {
      const isOver = server.exitCode !== null || server.signalCode !== null || server.pid === undefined
      if (isOver || Date.now() > deadline) {
        const lines = log().trim().split('\n')
        const errors = lines.filter((line) => line.includes('[ERROR]'))
        throw new Error((errors.length > 0 ? errors : lines).join(' ') || String(error), { cause: error })
      }
      await delay(50)
    }
  }
}

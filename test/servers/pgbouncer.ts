import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'

import { accepts } from './accepts.ts'
import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A private PgBouncer. */
export interface PrivatePgBouncer {
  readonly url: string
  readonly port: number
  /** Runs a command of the admin console: PAUSE, RESUME, KILL, SHOW POOLS, … */
  admin(command: string): Promise<pg.QueryResult>
  stop(): Promise<void>
  start(): Promise<void>
  /** Keeps it from answering, its connections open (SIGSTOP). */
  suspend(): void
  resume(): void
  /** Stops it and deletes its files. Safe to call twice. */
  destroy(): Promise<void>
}

/** Whether PgBouncer is installed. */
export function hasPgBouncer(): boolean {
  return spawnSync('pgbouncer', ['--version']).status === 0
}

/**
 * Starts the installed `pgbouncer` on a free port of loopback, in front of the PostgreSQL at `target`, in transaction mode.
 * `settings`: more of its section [pgbouncer]. `users`: more users, with their passwords.
 */
export async function startPgBouncer(
  target: string,
  settings: Readonly<Record<string, string | number>> = {},
  users: Readonly<Record<string, string>> = {},
): Promise<PrivatePgBouncer> {
  const { hostname, port: targetPort, username, password, pathname } = new URL(target)
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'cenote-pgbouncer-'))
  const [ini, userList] = [join(folder, 'pgbouncer.ini'), join(folder, 'users.txt')]
  const section = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'trust',
    auth_file: userList,
    admin_users: username,
    pool_mode: 'transaction',
    max_client_conn: 1_000,
    ignore_startup_parameters: 'extra_float_digits,options',
    ...settings,
  }
  const server = await ServerProcess.start({
    name: 'PgBouncer',
    port,
    folder,
    command: 'pgbouncer',
    // It does not run as root.
    argv: [...(process.getuid?.() === 0 ? ['-u', 'nobody'] : []), ini],
    isUp: () => accepts(port),
    startMs: 10_000,
    stopMs: 5_000,
    prepare: async () => {
      await chmod(folder, 0o755)
      const all = Object.entries({ ...users, [username]: password })
      await writeFile(userList, all.map(([name, secret]) => `"${name}" "${secret}"\n`).join(''))
      const lines = Object.entries(section).map(([name, value]) => `${name} = ${value}`)
      const database = `* = host=${hostname} port=${targetPort || 5_432}`
      await writeFile(ini, ['[databases]', database, '[pgbouncer]', ...lines, ''].join('\n'))
    },
  })
  return {
    url: `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`,
    port,
    admin: async (command) => {
      const client = new pg.Client({
        host: '127.0.0.1',
        port,
        user: username,
        password,
        database: 'pgbouncer',
      })
      client.on('error', () => {})
      await client.connect()
      try {
        return await client.query(command)
      } finally {
        await client.end()
      }
    },
    start: () => server.start(),
    stop: () => server.stop(),
    suspend: () => server.suspend(),
    resume: () => server.resume(),
    destroy: () => server.destroy(),
  }
}

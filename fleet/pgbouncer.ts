import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { freePort } from '../servers/free-port.ts'

/** A PgBouncer of our own. */
export interface PrivatePgBouncer {
  readonly url: string
  destroy(): Promise<void>
}

/** Whether PgBouncer is installed. */
export function hasPgBouncer(): boolean {
  return spawnSync('pgbouncer', ['--version']).status === 0
}

/** Starts PgBouncer in transaction mode in front of a PostgreSQL, with so many server connections. */
export async function startPgBouncer(target: string, connections: number): Promise<PrivatePgBouncer> {
  const { hostname, port: targetPort, username, password } = new URL(target)
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'cenote-pgbouncer-'))
  await chmod(folder, 0o755)
  const ini = join(folder, 'pgbouncer.ini')
  await writeFile(
    ini,
    [
      '[databases]',
      `postgres = host=${hostname} port=${targetPort} user=${username} password=${password}`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = any',
      'pool_mode = transaction',
      `default_pool_size = ${connections}`,
      'max_client_conn = 1000',
      'ignore_startup_parameters = extra_float_digits,application_name',
    ].join('\n'),
  )
  // It does not run as root.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const child = spawn('pgbouncer', [...user, ini], { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.on('data', (text) => (log = (log + String(text)).slice(-2_000)))
  const destroy = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  }
  for (let left = 100; !(await accepts(port)); left--) {
    if (left === 0 || child.exitCode !== null) {
      await destroy()
      throw new Error(`PgBouncer did not start: ${log.trim()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { url: `postgres://app@127.0.0.1:${port}/postgres`, destroy }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

import { spawnSync } from 'node:child_process'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { accepts } from './accepts.ts'
import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A private HAProxy. */
export interface PrivateHaproxy {
  readonly port: number
  stop(): Promise<void>
  start(): Promise<void>
  /** Stops it and deletes its files. Safe to call twice. */
  destroy(): Promise<void>
}

/** Whether HAProxy is installed. */
export function hasHaproxy(): boolean {
  return spawnSync('haproxy', ['-v']).status === 0
}

/**
 * Starts the installed `haproxy` on a free port of loopback, in front of servers on ports of loopback. It passes TCP through,
 * checks each server every 100 ms, and ends the connections to a server that is down.
 */
export async function startHaproxy(targets: readonly number[]): Promise<PrivateHaproxy> {
  const port = await freePort()
  const folder = await mkdtemp(join(tmpdir(), 'cenote-haproxy-'))
  const config = join(folder, 'haproxy.cfg')
  const server = await ServerProcess.start({
    name: 'HAProxy',
    port,
    folder,
    command: 'haproxy',
    argv: ['-db', '-f', config],
    isUp: () => accepts(port),
    startMs: 10_000,
    stopMs: 5_000,
    prepare: () =>
      writeFile(
        config,
        [
          'defaults',
          '  mode tcp',
          '  timeout connect 1s',
          '  timeout client 1h',
          '  timeout server 1h',
          '  retries 0',
          '  default-server check inter 100 fall 1 rise 1 on-marked-down shutdown-sessions',
          'listen servers',
          `  bind 127.0.0.1:${port}`,
          ...targets.map((target, n) => `  server s${n} 127.0.0.1:${target}`),
          '',
        ].join('\n'),
      ),
  })
  return {
    port,
    start: () => server.start(),
    stop: () => server.stop(),
    destroy: () => server.destroy(),
  }
}

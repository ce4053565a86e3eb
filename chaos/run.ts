import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import pg from 'pg'

import { type PrivatePostgres, startPostgres } from '../servers/postgres.ts'
import { TcpProxy } from '../src/testing/index.ts'
import { type Columns, columnsOf, type Happened } from './columns.ts'
import { CONTENDERS, type ContenderName } from './contenders.ts'
import type { Fault, Stage } from './faults.ts'
import { type Order, type Outcome, sharedNow } from './messages.ts'

/** The rate of requests that each pool is sent: an eighth of what ten connections can do. */
export const PER_SECOND = 100
/** From the end of a fault to the next. */
export const QUIET_MS = 5_000
// Everything that a pool can still have to do when the load has ended.
const FINISH_MS = 60_000
const LEAK_MS = 2_000

/** What a run gave. */
export interface Result {
  readonly table: ReadonlyMap<ContenderName, Columns>
  readonly outcomes: ReadonlyMap<ContenderName, Outcome>
  readonly faults: readonly Happened[]
  readonly startedAt: number
  readonly endedAt: number
}

/** Puts every pool through the same faults at the same instants, each in its process and behind a network of its own. */
export async function runChaos(faults: readonly Fault[], say: (line: string) => void): Promise<Result> {
  const server = await startPostgres({ flags: ['-c', 'max_connections=200'] })
  const proxies: TcpProxy[] = []
  const processes = new Map<ContenderName, ChildProcess>()
  try {
    const roles = CONTENDERS.map((_, n) => `pool_${n}`)
    const sql = (text: string) => query(server, text)
    await sql(roles.map((role) => `create role ${role} login password 'cenote'`).join(';'))
    const port = Number(new URL(server.url).port)
    for (const _ of CONTENDERS) proxies.push(await TcpProxy.start({ port }))
    for (const [n, name] of CONTENDERS.entries()) {
      const child = fork(join(import.meta.dirname, 'contender-process.ts'), { serialization: 'advanced' })
      processes.set(name, child)
      const url = `postgres://${roles[n]}:cenote@127.0.0.1:${proxies[n]?.port}/postgres`
      child.send({ do: 'start', name, url, perSecond: PER_SECOND } satisfies Order)
    }
    const tell = (order: Order): void => {
      for (const child of processes.values()) child.send(order)
    }
    const startedAt = sharedNow()
    const happened = await suffer(faults, { server, proxies, roles, sql, tell }, say)
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
    for (const [n, name] of CONTENDERS.entries()) {
      const outcome = settled[n]
      if (outcome === undefined) throw new Error(`the process of ${name} did not answer in ${FINISH_MS} ms`)
      outcomes.set(name, outcome)
      table.set(name, columnsOf(outcome, happened, await leaked(server, String(roles[n]))))
    }
    return { table, outcomes, faults: happened, startedAt, endedAt }
  } finally {
    for (const child of processes.values()) child.kill('SIGKILL')
    await Promise.all(proxies.map((proxy) => proxy.close()))
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

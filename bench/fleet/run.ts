import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import pg from 'pg'

import { startPgBouncer } from '../../test/servers/pgbouncer.ts'
import { startPostgres } from '../../test/servers/postgres.ts'
import { type PrivateRedis, startRedis } from '../../test/servers/redis.ts'
import type { Random } from '../../test/simulation/random.ts'
import { TcpProxy } from '../../src/testing/index.ts'
import { type Fault, faultsOf } from './faults.ts'
import type { Mode, Order, Report } from './messages.ts'

/** Processes of the service at one time. */
export const PROCESSES = 12
/** `max_connections` of the server, of which it keeps 3 for superusers. */
export const MAX_CONNECTIONS = 40
/** What the processes may have in all. */
export const BUDGET = 30
const LEASE_MS = 2_000
const SHIFT_MS = 15_000
const SAMPLE_MS = 100
// Fewer say nothing about an average: the load moves only every fifteen seconds.
const FEWEST_CALM_SAMPLES = (2 * SHIFT_MS) / SAMPLE_MS
// Time to notice a fault and to divide again: the 95 % of the budget do not hold then.
const CALM_AFTER_MS = 3 * LEASE_MS

/** The fleet at one moment. */
export interface Sample {
  readonly atMs: number
  readonly shares: Readonly<Record<string, number>>
  readonly inUse: number
  readonly waiting: number
  /** Backends that the server counts. */
  readonly backends: number
  /** Of those, what processes have that stand still, beyond their floors. */
  readonly frozen: number
  /** No fault is under way or was a moment ago. */
  readonly isCalm: boolean
}

/** What a run gave. */
export interface Result {
  readonly mode: Mode
  readonly seconds: number
  readonly served: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly errors: Readonly<Record<string, number>>
  /** Except those of processes that stand still; in two samples in a row. */
  readonly mostBackends: number
  readonly samples: readonly Sample[]
  readonly faults: readonly { readonly atMs: number; readonly name: string }[]
  /** Of the budget, on average, while a caller waited and all was calm. undefined: too rarely to be measured. */
  readonly usedWhileWaiting: number | undefined
  /** The samples of which it is the average. */
  readonly calmSamples: number
}

/** A process of the service, as the run sees it. */
export interface Member {
  readonly name: string
  readonly child: ChildProcess
  last: Report | undefined
  isFrozen: boolean
  isGone: boolean
}

/** What a fault may do. */
export interface Stage {
  readonly members: readonly Member[]
  readonly redis: PrivateRedis | undefined
  /** Between some of the processes and the store. */
  readonly network: TcpProxy | undefined
  begin(): Promise<Member>
}

/** The service for so many seconds, its load skewed and shifting; with faults if the mode is the fleet. */
export async function runFleet(
  mode: Mode,
  seconds: number,
  random: Random,
  store: 'redis' | 'postgres',
  say: (line: string) => void,
): Promise<Result> {
  const ends: (() => unknown)[] = []
  try {
    const server = await startPostgres({ flags: ['-c', `max_connections=${MAX_CONNECTIONS}`] })
    ends.push(() => server.destroy())
    const observer = new pg.Client({ connectionString: server.url, application_name: 'observer' })
    await observer.connect()
    ends.push(() => observer.end())
    await observer.query(`create role app login password 'cenote'; grant create on schema public to app`)
    const direct = server.url.replace('postgres:cenote@', 'app:cenote@')
    let url = direct
    if (mode === 'PgBouncer') {
      const bouncer = await startPgBouncer(direct, { default_pool_size: BUDGET })
      ends.push(() => bouncer.destroy())
      url = bouncer.url
    }
    const redis = mode === 'fleet' && store === 'redis' ? await startRedis() : undefined
    if (redis !== undefined) ends.push(() => redis.destroy())
    const network = redis && (await TcpProxy.start({ port: redis.port }))
    if (network !== undefined) ends.push(() => network.close())
    const members: Member[] = []
    ends.push(() => {
      for (const { child } of members) child.kill('SIGKILL')
    })
    const tookMs: number[] = []
    const errors: Record<string, number> = {}
    const begin = async (): Promise<Member> => {
      const name = `p${members.length + 1}`
      const child = fork(join(import.meta.dirname, 'member-process.ts'), { serialization: 'advanced' })
      const member: Member = { name, child, last: undefined, isFrozen: false, isGone: false }
      members.push(member)
      child.once('exit', () => (member.isGone = true))
      // An order to a process that has just been killed is lost.
      child.on('error', () => {})
      const ready = Promise.race([once(child, 'message'), once(child, 'exit')])
      // Every third one reaches the store through the network that is cut.
      const isBehind = members.length % 3 === 0
      const redisUrl = isBehind ? redis?.url.replace(String(redis.port), String(network?.port)) : redis?.url
      const maxSize = mode === 'fixed, in all the budget' ? Math.floor(BUDGET / PROCESSES) : 10
      child.send({
        do: 'start',
        mode,
        name,
        url,
        redisUrl,
        budget: BUDGET,
        maxSize,
        leaseMs: LEASE_MS,
        inspect: members.length === 1 && mode === 'fleet',
      } satisfies Order)
      const [told] = (await ready) as [{ ready: string } | number | null]
      if (typeof told === 'object' && told?.ready) say(`the roster as ${name} sees it, live: ${told.ready}`)
      child.on('message', (report: Report) => {
        member.last = report
        for (const took of report.tookMs) tookMs.push(took)
        for (const error of report.errors) errors[error] = (errors[error] ?? 0) + 1
      })
      return member
    }
    await Promise.all(Array.from({ length: PROCESSES }, begin))
    return await observe(
      { mode, seconds, random, say },
      { members, redis, network, begin },
      observer,
      tookMs,
      errors,
    )
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

async function observe(
  {
    mode,
    seconds,
    random,
    say,
  }: { mode: Mode; seconds: number; random: Random; say: (line: string) => void },
  stage: Stage,
  observer: pg.Client,
  tookMs: number[],
  errors: Record<string, number>,
): Promise<Result> {
  const startedAt = performance.now()
  const now = (): number => performance.now() - startedAt
  const samples: Sample[] = []
  const faults: { atMs: number; name: string }[] = []
  const planned: Fault[] = mode === 'fleet' ? faultsOf(seconds, LEASE_MS, stage.redis !== undefined) : []
  const running: Promise<unknown>[] = []
  let underway = 0
  let lastFaultAt = -Infinity
  let shiftAt = 0
  const first = random.whole(0, PROCESSES - 1)
  while (now() < seconds * 1_000) {
    if (now() >= shiftAt) {
      shift(stage.members, first + 2 * Math.round(shiftAt / SHIFT_MS))
      shiftAt += SHIFT_MS
    }
    while (planned[0] !== undefined && now() >= planned[0].atMs) {
      const fault = planned.shift() as Fault
      say(fault.name)
      faults.push({ atMs: Math.round(now()), name: fault.name })
      underway++
      running.push(
        fault.run(stage).finally(() => {
          underway--
          lastFaultAt = now()
        }),
      )
    }
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS))
    const alive = stage.members.filter(({ isGone, last }) => !isGone && last !== undefined)
    const counted = `select application_name as name, count(*)::int as n from pg_stat_activity where usename = 'app' group by 1`
    const { rows } = await observer.query<{ name: string; n: number }>(counted)
    const sum = (of: (report: Report) => number): number =>
      alive.reduce((total, { last, isFrozen }) => total + (isFrozen || last === undefined ? 0 : of(last)), 0)
    const frozen = stage.members.filter(({ isFrozen, isGone }) => isFrozen && !isGone).map(({ name }) => name)
    const sample: Sample = {
      atMs: Math.round(now()),
      shares: Object.fromEntries(alive.map(({ name, last }) => [name, last?.share ?? 0])),
      inUse: sum(({ inUse }) => inUse),
      waiting: sum(({ waiting }) => waiting),
      backends: rows.reduce((total, { n }) => total + n, 0),
      frozen: rows.reduce(
        (total, { name, n }) => total + (frozen.includes(name) ? Math.max(0, n - 1) : 0),
        0,
      ),
      isCalm: underway === 0 && now() - lastFaultAt > CALM_AFTER_MS && now() > CALM_AFTER_MS,
    }
    samples.push(sample)
    if (samples.length % 20 === 0) say(line(sample))
  }
  await Promise.all(running)
  const sorted = tookMs.toSorted((a, b) => a - b)
  const busy = samples.filter(({ isCalm, waiting }) => isCalm && waiting > 0)
  return {
    mode,
    seconds,
    served: sorted.length,
    p50Ms: sorted[Math.floor(sorted.length * 0.5)] ?? 0,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    errors,
    mostBackends: mostIn2(samples.map(({ backends, frozen }) => backends - frozen)),
    samples,
    faults,
    usedWhileWaiting:
      busy.length < FEWEST_CALM_SAMPLES
        ? undefined
        : busy.reduce((total, { inUse }) => total + inUse / BUDGET, 0) / busy.length,
    calmSamples: busy.length,
  }
}

/** The most in two samples in a row: a backend counts for a moment longer than its connection. */
export function mostIn2(counts: readonly number[]): number {
  return counts.reduce((most, count, n) => Math.max(most, Math.min(count, counts[n - 1] ?? 0)), 0)
}

// Two processes have much to do, the others a little: the next two each time.
function shift(members: readonly Member[], from: number): void {
  const alive = members.filter(({ isGone, isFrozen }) => !isGone && !isFrozen)
  for (const [n, member] of alive.entries()) {
    const isHot = n === from % alive.length || n === (from + 1) % alive.length
    const callers = isHot ? 24 : 1
    member.child.send({ do: 'work', callers } satisfies Order)
  }
}

function line({ atMs, shares, inUse, waiting, backends }: Sample): string {
  const each = Object.entries(shares).map(([name, share]) => `${name} ${share}`)
  return `${(atMs / 1_000).toFixed(0)} s: ${backends} backends, ${inUse} in use, ${waiting} waiting | ${each.join(', ')}`
}

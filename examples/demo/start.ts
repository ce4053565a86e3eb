import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'

import { type PrivatePostgres, startPostgres } from '../../test/servers/postgres.ts'
import { isPoolError, Pool } from '../../src/index.ts'
import { inspect, type Inspector } from '../../src/inspector/index.ts'
import { type PgClient, PgManager } from '../../src/managers/pg/pg.ts'
import { runProgram } from '../../src/cli/arguments.ts'
import { type Arguments, HELP, OPTIONS } from './arguments.ts'
import { Load } from './load.ts'
import { type Fault, type FaultName, type Findings, formatReport, judge, progressLine } from './report.ts'

const APPLICATION = `cenote-demo-${process.pid}`
const SERVER_DOWN_MS = 2_000
// Longer than any deadline of the pool: the verdict is clear by then.
const LONGEST_RECOVERY_MS = 40_000
const SECOND_SIGNAL_MS = 1_000

const interrupted = new AbortController()
let interruptedAt = Infinity
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // npm passes on a Ctrl-C that the terminal has sent already. Only a later signal is a second Ctrl-C.
    if (performance.now() - interruptedAt > SECOND_SIGNAL_MS) process.exit(130)
    interruptedAt = Math.min(interruptedAt, performance.now())
    interrupted.abort()
  })
}
let last = { completed: 0, atMs: 0 }
let unhandled = 0
process.on('unhandledRejection', () => unhandled++)
process.on('uncaughtException', () => unhandled++)

process.exitCode = await runProgram({ name: 'demo', help: HELP, options: OPTIONS }, main)

async function main(options: Arguments): Promise<number> {
  let server: PrivatePostgres | undefined
  let pool: Pool<PgClient> | undefined
  let inspector: Inspector | undefined
  try {
    if (options.url === undefined)
      server = await startPostgres(options.port === undefined ? {} : { port: options.port })
    const url = options.url ?? (server as PrivatePostgres).url
    pool = new Pool<PgClient>(
      new PgManager({ connectionString: url, application_name: APPLICATION }, { driver: pg }),
      { name: 'demo', maxSize: options.size },
    )
    // The first connection shows a wrong address or password before any load.
    await pool.run((client) => client.query('select 1'), { timeoutMs: 5_000 })
    if (!options.json) {
      inspector = await inspect({ pools: [pool] })
      console.log(`watch it live: ${inspector.url}`)
    }
    const findings = await runLoad(pool, url, server, options)
    const verdicts = judge(findings)
    const isCut = interrupted.signal.aborted
    const colour = process.stdout.isTTY === true && !process.env['NO_COLOR']
    if (options.json) console.log(JSON.stringify({ ...findings, interrupted: isCut, verdicts }))
    else
      console.log(
        formatReport(findings, verdicts, { colour }) +
          (isCut ? 'Interrupted: this is what was seen so far.\n' : ''),
      )
    return isCut ? 130 : verdicts.every(({ holds }) => holds) ? 0 : 1
  } catch (error) {
    console.error(oneLine(error))
    return interrupted.signal.aborted ? 130 : 1
  } finally {
    await inspector?.close()
    await pool?.close({ timeoutMs: 2_000 })
    await server?.destroy()
  }
}

async function runLoad(
  pool: Pool<PgClient>,
  url: string,
  server: PrivatePostgres | undefined,
  options: Arguments,
): Promise<Findings> {
  const { callers, seconds, seed, retries, size } = options
  const say = (line: string): void => void (options.json || console.log(line))
  say(`${callers} callers, ${size} connections, ${seconds} s, seed ${seed}, retries ${retries}`)
  // Measured before and after the load: the speed of a shared machine changes.
  const bareBeforeMs = await bareConnects(url, size)
  const load = new Load(pool, { callers, retries, seed })
  const progress = options.json ? undefined : setInterval(() => showProgress(pool, load), 1_000)
  const faults: Fault[] = []
  const part = (share: number): Promise<void> => pause(seconds * 1_000 * share)
  try {
    await part(0.2)
    say(`spike: ${callers * 10} more concurrent requests`)
    load.spike(callers * 10)
    await part(0.2)
    say('fault: every backend of the pool is killed')
    await fault(faults, 'every backend killed', pool, load, () => killBackends(url))
    await part(0.2)
    if (server === undefined) {
      say('the server of --url is not stopped')
    } else {
      say('fault: the server is stopped for two seconds')
      await fault(faults, 'server stopped for 2 s', pool, load, async () => {
        await server.stop()
        await sleep(SERVER_DOWN_MS)
        await server.start()
      })
    }
    await part(0.25)
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
  } finally {
    clearInterval(progress)
  }
  const isCut = interrupted.signal.aborted
  if (isCut) void pool.close({ timeoutMs: 1_000 })
  await load.stop(isCut)
  const { completed, failures, longestRequestMs, perCaller } = load
  const bareConnectsMs = Math.max(
    bareBeforeMs,
    interrupted.signal.aborted ? 0 : await bareConnects(url, size),
  )
  const connectionsAtServer = interrupted.signal.aborted ? undefined : await countBackends(url)
  const state = pool.state()
  return {
    seconds: load.elapsedMs / 1_000,
    seed,
    retries,
    size,
    completed,
    failures,
    longestRequestMs,
    perCaller,
    faults,
    bareConnectsMs,
    unhandled,
    connectionsAtServer,
    state,
  }
}

// A fault that is interrupted is recorded too, with the failures so far.
async function fault(
  faults: Fault[],
  what: FaultName,
  pool: Pool<PgClient>,
  load: Load,
  strike: () => Promise<void>,
): Promise<void> {
  const before = load.failures.length
  const { connections } = pool.state()
  let recoveryMs: number | undefined
  try {
    await strike()
    const startedAt = performance.now()
    await Promise.race([load.fullThroughput(connections), pause(LONGEST_RECOVERY_MS, false)])
    recoveryMs = performance.now() - startedAt
    // Answers of queries that were in flight may still be on their way to their callers.
    await pause(500)
  } finally {
    faults.push({ what, recoveryMs, failures: load.failures.slice(before) })
  }
}

function showProgress(pool: Pool<PgClient>, load: Load): void {
  const { completed, elapsedMs: atMs } = load
  const perSecond = ((completed - last.completed) * 1_000) / Math.max(1, atMs - last.atMs)
  last = { completed, atMs }
  console.log(progressLine(pool.state(), { perSecond, errors: load.failures.length }))
}

async function killBackends(url: string): Promise<void> {
  await withClient(url, (client) =>
    client.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [
      APPLICATION,
    ]),
  )
}

async function bareConnects(url: string, count: number): Promise<number> {
  const startedAt = performance.now()
  const all = Array.from({ length: count }, () => withClient(url, (client) => client.query('select 1')))
  await Promise.all(all)
  return performance.now() - startedAt
}

async function countBackends(url: string): Promise<number> {
  const { rows } = await withClient(url, (client) =>
    client.query<{ n: number }>(
      'select count(*)::int as n from pg_stat_activity where application_name = $1',
      [APPLICATION],
    ),
  )
  return rows[0]?.n ?? 0
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

function pause(ms: number, ref = true): Promise<void> {
  return sleep(ms, undefined, { signal: interrupted.signal, ref })
}

function oneLine(error: unknown): string {
  const { message, cause } = error as Error
  const text =
    isPoolError(error) && cause instanceof Error && !message.includes(cause.message)
      ? `${message}: ${cause.message}`
      : message
  return `cenote demo: ${text.replaceAll(/\s+/g, ' ')}`
}

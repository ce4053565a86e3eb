import { open, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'

import type { ConnectionManager } from '../core/contract/manager.ts'
import { Mysql2Manager } from '../managers/mysql/mysql2.ts'
import { PgManager } from '../managers/pg/pg.ts'
import { flag, readArguments, text, texts, UsageError, whole } from './arguments.ts'
import { roomOf, type ServerFacts } from './doctor.ts'
import { tryOut } from './experiment.ts'
import { sustainedLoad, findKnee, ladder, type Point, type Result } from './knee.ts'
import { mustOnlyRead } from './only-reads.ts'
import { adviseShare } from './share-advice.ts'
import { answered, engineOf, isLoopback, readFacts, urlOf } from './server-url.ts'
import { drawChart, formatTable } from './size-chart.ts'

/** The text of `cenote size --help`. */
export const SIZE_HELP = `cenote size <url>

Find the smallest pool with nearly the best throughput, by experiment: try one
size after another with the same number of callers, then that size with fewer
callers. Reads only: each statement runs in a read-only transaction of its own,
ends after 10 s, and must begin with SELECT, WITH, VALUES, TABLE or SHOW.
<url>: postgres://... or mysql://..., or the variable CENOTE_URL.

  --sql TEXT       statement that reads; may be repeated (default: counts rows)
  --callers N      number of concurrent callers (1 to 1000, default 64)
  --max-size N     largest size to try (1 to 256, default 32)
  --seconds N      duration in seconds (5 to 600, default 30)
  --processes N    number of processes on the server (1 to 1000, default 1)
  --svg FILE       file for a chart of the results
  --yes            load a server on another machine without a question
  --json           print one JSON document and nothing else
  --help           print this help

Exit codes: 0: a size was found. 2: the server could not be reached, or an
argument is wrong.`

const OPTIONS = {
  sql: texts,
  callers: whole(1, 1_000, 64),
  'max-size': whole(1, 256, 32),
  seconds: whole(5, 600, 30),
  processes: whole(1, 1_000, 1),
  svg: text,
  yes: flag,
  json: flag,
  help: flag,
}

const ROUNDS = 3
// The part of the time for the sizes, and the part of each try that is measured after the warm-up.
const BY_SIZE = 0.7
const MEASURED = 0.75
const STATEMENT_MS = 10_000
// Total time for timing the statements again, after their first run, and how often each is timed at most.
const TIMING_MS = 2_000
const TIMED_RUNS = 21
// Round trips of a statement with the start and the end of its transaction.
const ROUND_TRIPS = 3
// Limit of the connect and the trial of each statement, before any load.
const TRIAL_MS = 15_000

const NEEDS_MARIADB = ' It needs the driver mariadb (cenote/mariadb).'

interface Query {
  query(text: unknown): Promise<unknown>
}

/** Finds a size; returns the exit code. Rejects with an error of one line for an invalid argument or a failed connect. */
export async function size(argv: readonly string[]): Promise<number> {
  const values = readArguments(argv, OPTIONS, true)
  if (values.help) {
    console.log(SIZE_HELP)
    return 0
  }
  const url = urlOf('size', values.positionals)
  const engine = engineOf(url)
  const { callers, 'max-size': most, seconds, processes } = values
  const statements = values.sql.length > 0 ? values.sql : [DEFAULT_SQL[engine]]
  for (const statement of statements) mustOnlyRead(statement)
  if (!isLoopback(url) && !values.yes) await confirm(callers, seconds)
  if (values.svg !== undefined) await mustBeWritable(values.svg)
  const facts = await readFacts('size', url)
  const room = roomFor(facts)
  const sizes = ladder(Math.min(most, room))
  const { manager, ask } = engine === 'postgres' ? postgres(url) : mysql(url)
  let turn = 0
  const work = (connection: Query): Promise<unknown> =>
    ask(connection, statements[turn++ % statements.length] as string)
  const interrupted = new AbortController()
  const stop = (): void => interrupted.abort(new Error('interrupted'))
  process.once('SIGINT', stop)
  try {
    const { longestMs, workMs, roundTripMs } = await answered(tryEach(manager, ask, statements), TRIAL_MS)
    const rounds = roundsFor(seconds, sizes.length, ladder(callers).length, longestMs)
    if (!values.json)
      console.log(`${facts.engine}: ${callers} callers, ${seconds} s, sizes ${sizes.join(', ')}`)
    const measure = (points: readonly Point[], share: number): Promise<Result[]> => {
      const lastsMs = seconds * 1_000 * share
      const { signal } = interrupted
      return tryOut({ manager, work, points, lastsMs, rounds, signal, onStep })
    }
    const onStep = (done: number, of: number): void => {
      if (process.stderr.isTTY && !values.json)
        process.stderr.write(`\r${done} of ${of}${done === of ? '\n' : ' '}`)
    }
    const bySize = await measure(
      sizes.map((each) => ({ size: each, callers })),
      BY_SIZE,
    )
    const advice = findKnee(bySize)
    const byCallers = await measure(
      ladder(callers).map((each) => ({ size: advice.size, callers: each })),
      1 - BY_SIZE,
    )
    const perSecond = bySize.find((each) => each.size === advice.size)?.perSecond ?? 0
    const share = adviseShare({ perSecond, roundTripMs, workMs })
    const reasons = [
      ...advice.reasons,
      sustainedLoad(byCallers),
      share.reason + (engine === 'mysql' ? NEEDS_MARIADB : ''),
    ]
    const each = Math.max(1, Math.floor(advice.size / processes))
    const title = `${facts.engine}: ${callers} callers against the size of the pool`
    const save = async (): Promise<number> => {
      if (values.svg !== undefined) await writeFile(values.svg, drawChart(bySize, advice.size, title))
      return 0
    }
    if (values.json) {
      console.log(
        JSON.stringify(
          { size: advice.size, perProcess: each, share, reasons, statements, bySize, byCallers },
          null,
          2,
        ),
      )
      return await save()
    }
    console.log(`\n${formatTable('size', bySize, advice.size)}\n`)
    console.log(`With ${advice.size} connections:\n${formatTable('callers', byCallers)}\n`)
    const shared =
      processes === 1 ? '' : `, in ${processes} processes ${each} each (or one budget: cenote/fleet)`
    console.log(`maxSize ${advice.size}${shared}`)
    for (const reason of reasons) console.log(reason)
    if (room < most)
      console.log(`The server accepts ${room} more connections now: larger sizes were not tried.`)
    return await save()
  } finally {
    process.removeListener('SIGINT', stop)
  }
}

const DEFAULT_SQL = {
  postgres: 'select count(*) from generate_series(1, 5000)',
  mysql: "select benchmark(5000, md5('cenote'))",
} as const

interface Subject {
  readonly manager: ConnectionManager<Query>
  readonly ask: (connection: Query, statement: string) => Promise<unknown>
}

function postgres(url: string): Subject {
  const onConnect = async (client: Query): Promise<void> => {
    await client.query(`set default_transaction_read_only = on; set statement_timeout = ${STATEMENT_MS}`)
  }
  return {
    manager: new PgManager({ connectionString: url, application_name: 'cenote size' }, { onConnect }),
    // The extended protocol takes one statement only. That may end its read-only transaction, and then nothing follows. After
    // the first query a transaction cannot become read-write, and the rollback undoes a changed setting of the session.
    ask: async (client, statement) => {
      await client.query('start transaction read only; select 1')
      try {
        return await client.query({ text: statement, queryMode: 'extended' })
      } finally {
        await client.query('rollback')
      }
    },
  }
}

function mysql(url: string): Subject {
  const onConnect = async (connection: Query): Promise<void> => {
    // MySQL's name for it, or MariaDB's, in milliseconds and in seconds.
    await connection
      .query(`set session max_execution_time = ${STATEMENT_MS}`)
      .catch(() => connection.query(`set session max_statement_time = ${STATEMENT_MS / 1_000}`))
  }
  return {
    manager: new Mysql2Manager(withoutSeveral(url), { onConnect }) as unknown as ConnectionManager<Query>,
    ask: async (connection, statement) => {
      await connection.query('start transaction read only')
      try {
        return await connection.query(statement)
      } finally {
        await connection.query('rollback')
      }
    },
  }
}

// One statement at a time: a second one could end the transaction. An option of the URL overrides one of a config.
function withoutSeveral(url: string): string {
  const plain = new URL(url.replace(/^mariadb:/, 'mysql:'))
  for (const option of ['multipleStatements', 'flags']) plain.searchParams.delete(option)
  return plain.href
}

interface Trial {
  /** The longest time of one statement with its transaction. */
  readonly longestMs: number
  /** The time of one round trip, and the mean time for which the server works on a statement: medians of several. */
  readonly roundTripMs: number
  readonly workMs: number
}

// Runs before any load: a statement that is wrong, or writes, is reported with its text.
async function tryEach(
  manager: Subject['manager'],
  ask: Subject['ask'],
  statements: readonly string[],
): Promise<Trial> {
  const signal = AbortSignal.timeout(STATEMENT_MS)
  const connection = await manager.connect({ signal, lost() {} })
  const timed = async (statement: string): Promise<number> => {
    const startedAt = performance.now()
    await ask(connection, statement).catch((cause: unknown) => {
      throw new Error(`--sql '${statement}': ${(cause as Error).message}`, { cause })
    })
    return performance.now() - startedAt
  }
  // The first run fills the caches of the server. A slow statement is not run again.
  const median = async (statement: string, firstMs: number): Promise<number> => {
    const runs = Math.min(TIMED_RUNS, Math.floor(TIMING_MS / (statements.length + 1) / firstMs))
    const times: number[] = []
    for (let run = 0; run < runs; run++) times.push(await timed(statement))
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? firstMs
  }
  try {
    const firstMs: number[] = []
    for (const statement of statements) firstMs.push(await timed(statement))
    const emptyMs = await median('select 1', await timed('select 1'))
    let workMs = 0
    for (const [index, statement] of statements.entries())
      workMs += Math.max(0, (await median(statement, firstMs[index] ?? 0)) - emptyMs) / statements.length
    return { longestMs: Math.max(...firstMs), roundTripMs: emptyMs / ROUND_TRIPS, workMs }
  } finally {
    await manager.close(connection)
  }
}

// Returns how often each size and number of callers can be tried, with time for two statements in each try.
function roundsFor(seconds: number, sizes: number, callers: number, statementMs: number): number {
  const neededMs = (2 * statementMs * Math.max(sizes / BY_SIZE, callers / (1 - BY_SIZE))) / MEASURED
  const rounds = Math.floor((seconds * 1_000) / neededMs)
  if (rounds >= 1) return Math.min(ROUNDS, rounds)
  throw new UsageError(
    `--seconds must be at least ${Math.ceil(neededMs / 1_000)} for a statement that takes ${Math.round(statementMs)} ms (got ${seconds}); a lower --max-size or --callers needs less`,
  )
}

// Runs before the load: a path that cannot be written must not cost the results.
async function mustBeWritable(path: string): Promise<void> {
  await open(path, 'a').then(
    (file) => file.close(),
    (cause: Error) => {
      throw new Error(`--svg must be a path that can be written (got '${path}'): ${cause.message}`, { cause })
    },
  )
}

function roomFor(facts: ServerFacts): number {
  if (facts.hasPooler)
    throw new Error(
      'the URL must be that of the server (got that of a pooler). Use the address of the server itself',
    )
  const room = roomOf(facts).has - facts.inUse
  if (room < 1)
    throw new Error(
      `the server accepts no more connections (${facts.inUse} are in use). Close some and repeat`,
    )
  return room
}

async function confirm(callers: number, seconds: number): Promise<void> {
  const what = `the server is on another machine: ${callers} callers would load it for ${seconds} s`
  if (!process.stdin.isTTY) throw new Error(`${what}. Add --yes to confirm`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${what}. Continue? (y/N) `).finally(() => terminal.close())
  if (!/^y(es)?$/i.test(answer.trim())) throw new Error('nothing was done')
}

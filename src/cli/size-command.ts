import { writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'

import type { ConnectionManager } from '../core/manager.ts'
import { Mysql2Manager } from '../managers/mysql2.ts'
import { PgManager } from '../managers/pg.ts'
import { roomOf, type ServerFacts } from './doctor.ts'
import { tryOut } from './experiment.ts'
import { bearableLoad, findKnee, ladder, type Point, type Result } from './knee.ts'
import { engineOf, isLoopback, readFacts, urlOf } from './server-url.ts'
import { drawChart, formatTable } from './size-chart.ts'

/** What `cenote size --help` prints. */
export const SIZE_HELP = `cenote size <url>: how large a pool this database and this work want, found by experiment.

Tries one size after the other with the same number of callers, and finds the smallest that does nearly as much as any; then tries that
size with fewer callers. Only reads: its sessions are read-only and their statements end after 10 s. <url>: postgres://… or mysql://…, or the variable CENOTE_URL.

  --sql TEXT       a statement of your own, one that reads; may be given more than once (default: one that counts)
  --callers N      how many ask at once (1 to 1000, default 64)
  --max-size N     the largest size to try (1 to 256, default 32; less where the server has no room)
  --seconds N      how long (5 to 600, default 30)
  --processes N    how many processes share the server (1 to 1000, default 1)
  --svg FILE       draw the results into a file
  --yes            do not ask before a server is loaded that is not on this machine
  --json           print one JSON document and nothing else
  --help           print this

Exits with 0 when it found a size, and with 2 when it could not look.`

const ROUNDS = 3
const STATEMENT_MS = 10_000

interface Query {
  query(text: unknown): Promise<unknown>
}

/** Finds a size; the exit code. Throws an error of one line for a bad argument or a server that cannot be reached. */
export async function size(argv: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      sql: { type: 'string', multiple: true },
      callers: text,
      'max-size': text,
      seconds: text,
      processes: text,
      svg: text,
      yes: flag,
      json: flag,
      help: flag,
    },
  })
  if (values.help) {
    console.log(SIZE_HELP)
    return 0
  }
  const url = urlOf('size', positionals)
  const engine = engineOf(url)
  const callers = whole('callers', values.callers, 1, 1_000) ?? 64
  const most = whole('max-size', values['max-size'], 1, 256) ?? 32
  const seconds = whole('seconds', values.seconds, 5, 600) ?? 30
  const processes = whole('processes', values.processes, 1, 1_000) ?? 1
  if (!isLoopback(url) && !values.yes) await confirm(callers, seconds)
  const facts = await readFacts('size', url)
  const room = roomFor(facts)
  const sizes = ladder(Math.min(most, room))
  const statements = values.sql ?? [DEFAULT_SQL[engine]]
  const { manager, ask } = engine === 'postgres' ? postgres(url) : mysql(url)
  let turn = 0
  const work = (connection: Query): Promise<unknown> =>
    ask(connection, statements[turn++ % statements.length] as string)
  const interrupted = new AbortController()
  const stop = (): void => interrupted.abort(new Error('interrupted'))
  process.once('SIGINT', stop)
  try {
    await tryEach(manager, ask, statements)
    if (!values.json)
      console.log(`${facts.engine}: ${callers} callers, ${seconds} s, sizes ${sizes.join(', ')}`)
    const measure = (points: readonly Point[], share: number): Promise<Result[]> => {
      const lastsMs = seconds * 1_000 * share
      const { signal } = interrupted
      return tryOut({ manager, work, points, lastsMs, rounds: ROUNDS, signal, onStep })
    }
    const onStep = (done: number, of: number): void => {
      if (process.stderr.isTTY && !values.json)
        process.stderr.write(`\r${done} of ${of}${done === of ? '\n' : ' '}`)
    }
    const bySize = await measure(
      sizes.map((each) => ({ size: each, callers })),
      0.7,
    )
    const advice = findKnee(bySize)
    const byCallers = await measure(
      ladder(callers).map((each) => ({ size: advice.size, callers: each })),
      0.3,
    )
    const reasons = [...advice.reasons, bearableLoad(byCallers)]
    const each = Math.max(1, Math.floor(advice.size / processes))
    const title = `${facts.engine}: ${callers} callers against the size of the pool`
    if (values.svg !== undefined) await writeFile(values.svg, drawChart(bySize, advice.size, title))
    if (values.json) {
      console.log(
        JSON.stringify(
          { size: advice.size, perProcess: each, reasons, statements, bySize, byCallers },
          null,
          2,
        ),
      )
      return 0
    }
    console.log(`\n${formatTable('size', bySize, advice.size)}\n`)
    console.log(`With ${advice.size} connections:\n${formatTable('callers', byCallers)}\n`)
    const shared =
      processes === 1 ? '' : `, in ${processes} processes ${each} each (or one budget: cenote/fleet)`
    console.log(`maxSize ${advice.size}${shared}`)
    for (const reason of reasons) console.log(reason)
    if (room < most)
      console.log(
        `The server has room for ${room} connections more at this moment: larger sizes were not tried.`,
      )
    return 0
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
    // The extended protocol takes one statement only, so that none can end the read-only transaction and begin another.
    ask: (client, statement) => client.query({ text: statement, queryMode: 'extended' }),
  }
}

function mysql(url: string): Subject {
  const onConnect = async (connection: Query): Promise<void> => {
    await connection.query('set session transaction read only')
    // MySQL's name for it, or MariaDB's, in milliseconds and in seconds.
    await connection
      .query(`set session max_execution_time = ${STATEMENT_MS}`)
      .catch(() => connection.query(`set session max_statement_time = ${STATEMENT_MS / 1_000}`))
  }
  return {
    manager: new Mysql2Manager(url, { onConnect }) as unknown as ConnectionManager<Query>,
    ask: (connection, statement) => connection.query(statement),
  }
}

// Before any load: a statement that is wrong, or writes, is told at once and by its text.
async function tryEach(
  manager: Subject['manager'],
  ask: Subject['ask'],
  statements: readonly string[],
): Promise<void> {
  const { signal } = new AbortController()
  const connection = await manager.connect({ signal, lost() {} })
  try {
    for (const statement of statements) {
      await ask(connection, statement).catch((cause: unknown) => {
        throw new Error(`--sql '${statement}': ${(cause as Error).message}`, { cause })
      })
    }
  } finally {
    await manager.close(connection)
  }
}

function roomFor(facts: ServerFacts): number {
  if (facts.hasPooler)
    throw new Error(
      'a pooler answers for the server: it would be measured instead. Give the server’s own address',
    )
  const room = roomOf(facts).has - facts.inUse
  if (room < 1) throw new Error(`the server has room for no connection more (${facts.inUse} are in use)`)
  return room
}

async function confirm(callers: number, seconds: number): Promise<void> {
  const what = `the server is not on this machine: ${callers} callers would load it for ${seconds} s`
  if (!process.stdin.isTTY) throw new Error(`${what}. Allowed with --yes`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${what}. Go on? (y/N) `).finally(() => terminal.close())
  if (!/^y(es)?$/i.test(answer.trim())) throw new Error('nothing was done')
}

function whole(name: string, value: string | undefined, least: number, most: number): number | undefined {
  if (value === undefined) return undefined
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
  if (number >= least && number <= most) return number
  throw new Error(`--${name} is '${value}': allowed is a whole number from ${least} to ${most}. See --help`)
}

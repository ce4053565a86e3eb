import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'

import { choice, flag, runProgram, seed, type Values, whole } from '../../src/cli/arguments.ts'
import { writeDrawing, writeSection } from '../docs-section.ts'
import { hasPgBouncer } from '../../test/servers/pgbouncer.ts'
import { Random } from '../../test/simulation/random.ts'
import type { Mode } from './messages.ts'
import { broken, drawing, notMeasured, tableOf, verdict } from './report.ts'
import { type Result, runFleet } from './run.ts'

const HELP = `Run twelve processes that share one budget of connections, with a load that shifts and faults, on a PostgreSQL with max_connections 40.

  npm run fleet -- [options]

  --seconds N    duration in seconds (20 to 3600; default 150)
  --seed N       seed of the load (0 to 4294967295; default: random, printed)
  --store NAME   store of the roster: redis (a private redis-server) or postgres (default: redis if it is installed)
  --compare      repeat the load with fixed pools and with PgBouncer, and update docs/fleet.md
  --json         print one JSON document and nothing else
  --help         print this

The last line is the verdict (with --json: the last property). Exits with 1 when the fleet broke a rule; a rule that the run
was too short to measure is named, and is not broken.`

const STORES = ['redis', 'postgres'] as const
const hasRedis = spawnSync('redis-server', ['--version']).status === 0

const OPTIONS = {
  seconds: whole(20, 3_600, 150),
  seed,
  store: choice(STORES, hasRedis ? 'redis' : 'postgres'),
  compare: flag,
  json: flag,
}

process.exitCode = await runProgram(
  {
    name: 'fleet',
    help: HELP,
    options: OPTIONS,
  },
  main,
)

async function main(given: Values<typeof OPTIONS>): Promise<number> {
  const { seconds, store } = given
  const say = given.json ? () => {} : (line: string) => console.log(line)
  say(`seed ${given.seed}, ${seconds} s, the roster in ${store}`)
  const fleet = await runFleet('fleet', seconds, new Random(given.seed), store, say)
  const results: Result[] = [fleet]
  if (given.compare) {
    const others: Mode[] = ['fixed, in all the budget', 'fixed, 10 each']
    if (hasPgBouncer()) others.push('PgBouncer')
    else say('PgBouncer is not installed: it is left out')
    for (const mode of others) {
      say(mode)
      results.push(await runFleet(mode, Math.min(seconds, 30), new Random(given.seed), store, say))
    }
  }
  const rules = broken(fleet)
  const unmeasured = notMeasured(fleet)
  const last = verdict(rules, unmeasured)
  if (given.json) {
    const short = results.map(({ samples, ...rest }) => ({ ...rest, samples: samples.length }))
    const document = {
      seed: given.seed,
      results: short,
      broken: rules,
      notMeasured: unmeasured,
      verdict: last,
    }
    console.log(JSON.stringify(document, undefined, 2))
  } else {
    console.log(`\n${tableOf(results)}\n`)
    if (given.compare) await write(results, given.seed)
  }
  say(last)
  return rules.length === 0 ? 0 : 1
}

async function write(results: readonly Result[], number: number): Promise<void> {
  const [fleet] = results
  if (fleet === undefined) return
  await writeSection('fleet.md', 'npm run fleet -- --compare', [
    `Seed ${number}, Node ${process.version}, ${cpus().length} cores; the fleet for ${fleet.seconds} s with faults, the others without.`,
    '',
    tableOf(results),
    '',
    '![Shares of the processes over time](fleet.svg)',
    '',
    ...fleet.faults.map(({ atMs, name }, n) => `${n + 1}. at ${Math.round(atMs / 1_000)} s: ${name}`),
  ])
  await writeDrawing('fleet.svg', drawing(fleet))
}

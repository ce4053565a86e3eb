import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { Random } from '../sim/random.ts'
import type { Mode } from './messages.ts'
import { hasPgBouncer } from './pgbouncer.ts'
import { broken, drawing, tableOf } from './report.ts'
import { type Result, runFleet } from './run.ts'

const DOCS = join(import.meta.dirname, '../docs')
const MARKERS = ['<!-- made by npm run fleet -- --compare -->', '<!-- end -->'] as const

const HELP = `Twelve processes, one PostgreSQL with max_connections 40, a load that shifts, and faults: they share one budget.

  npm run fleet -- [options]

  --seconds N    how long (20 to 3600; default 150)
  --seed N       of the load (0 to 4294967295; default: by chance, printed)
  --store NAME   where the roster is: redis (a redis-server of our own) or postgres (default: redis if it is installed)
  --compare      the same load with fixed pools and with PgBouncer too, and bring docs/fleet.md up to date
  --json         print one JSON document and nothing else
  --help         print this

Exits with 1 when the fleet broke a rule.`

process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
  let given
  try {
    given = read(argv)
  } catch (error) {
    console.error(`cenote fleet: ${(error as Error).message.split('. ')[0]}. See --help`)
    return 2
  }
  if (given.help) {
    console.log(HELP)
    return 0
  }
  const { seconds, seed, store } = given
  const say = given.json ? () => {} : (line: string) => console.log(line)
  say(`seed ${seed}, ${seconds} s, the roster in ${store}`)
  const fleet = await runFleet('fleet', seconds, new Random(seed), store, say)
  const results: Result[] = [fleet]
  if (given.compare) {
    const others: Mode[] = ['fixed, in all the budget', 'fixed, 10 each']
    if (hasPgBouncer()) others.push('PgBouncer')
    else say('PgBouncer is not installed: it is left out')
    for (const mode of others) {
      say(mode)
      results.push(await runFleet(mode, Math.min(seconds, 30), new Random(seed), store, say))
    }
  }
  const rules = broken(fleet)
  if (given.json) {
    const short = results.map(({ samples, ...rest }) => ({ ...rest, samples: samples.length }))
    console.log(JSON.stringify({ seed, results: short, broken: rules }, undefined, 2))
  } else {
    console.log(`\n${tableOf(results)}\n`)
    if (given.compare) await write(results, seed)
  }
  for (const rule of rules) say(`broken: ${rule}`)
  return rules.length === 0 ? 0 : 1
}

function read(argv: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const { values } = parseArgs({
    args: argv,
    options: { seconds: text, seed: text, store: text, compare: flag, json: flag, help: flag },
  })
  const whole = (name: 'seconds' | 'seed', min: number, max: number): number | undefined => {
    const value = values[name]
    if (value === undefined) return undefined
    if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
    throw new Error(`--${name} is '${value}': allowed is a whole number from ${min} to ${max}`)
  }
  const hasRedis = spawnSync('redis-server', ['--version']).status === 0
  const { store = hasRedis ? 'redis' : 'postgres' } = values
  if (store !== 'redis' && store !== 'postgres')
    throw new Error(`--store is '${store}': allowed is redis or postgres`)
  return {
    seconds: whole('seconds', 20, 3_600) ?? 150,
    seed: whole('seed', 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32),
    store: store as 'redis' | 'postgres',
    compare: values.compare ?? false,
    json: values.json ?? false,
    help: values.help ?? false,
  }
}

async function write(results: readonly Result[], seed: number): Promise<void> {
  const file = join(DOCS, 'fleet.md')
  const page = await readFile(file, 'utf8')
  const [begin, end] = MARKERS
  const [fleet] = results
  if (fleet === undefined) return
  const made = [
    begin,
    '',
    `Seed ${seed}, Node ${process.version}, ${cpus().length} cores; the fleet for ${fleet.seconds} s with faults, the others without.`,
    '',
    tableOf(results),
    '',
    '![Shares of the processes over time](fleet.svg)',
    '',
    ...fleet.faults.map(({ atMs, name }, n) => `${n + 1}. at ${Math.round(atMs / 1_000)} s: ${name}`),
    '',
  ].join('\n')
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from === -1 || to < from) throw new Error(`${file} lacks the marks ${begin} and ${end}`)
  await writeFile(file, page.slice(0, from) + made + page.slice(to))
  await writeFile(join(DOCS, 'fleet.svg'), drawing(fleet))
}

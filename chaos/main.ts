import { readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { Random } from '../sim/random.ts'
import { worseThanPeers } from './columns.ts'
import { CONTENDERS, SETTINGS } from './contenders.ts'
import { FAULTS, schedule } from './faults.ts'
import { drawing, recoveryTableOf, tableOf } from './report.ts'
import { QUIET_MS, type Result, runChaos } from './run.ts'

const DOCS = join(import.meta.dirname, '../docs')
const MARKERS = ['<!-- made by npm run chaos -->', '<!-- end -->'] as const

const HELP = `Puts pools through faults of a real PostgreSQL, side by side, and compares what their callers saw.

  npm run chaos -- [options]

  --seconds N   how long the load runs (10 to 3600; default: until every fault has happened twice)
  --seed N      of the order of the faults (0 to 4294967295; default: by chance, printed)
  --write       bring docs/reliability.md up to date; without --seconds that is done anyway
  --json        print one JSON document and nothing else
  --help        print this

Exits with 1 when cenote is worse than a peer in any column, or with retries shows an error to a caller.`

process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
  let given
  try {
    given = read(argv)
  } catch (error) {
    console.error(`cenote chaos: ${(error as Error).message.split('. ')[0]}. See --help`)
    return 2
  }
  if (given.help) {
    console.log(HELP)
    return 0
  }
  const say = given.json ? () => {} : (line: string) => console.log(line)
  const { seed } = given
  say(`seed ${seed}`)
  const twice = (2 * FAULTS.reduce((sum, { holdMs }) => sum + holdMs + QUIET_MS, 0) + QUIET_MS) / 1_000
  const random = new Random(seed)
  const faults = schedule(given.seconds ?? twice, QUIET_MS, () => random.next())
  const result = await runChaos(faults, say)
  const worse = worseThanPeers(result.table)
  if (given.json) {
    console.log(
      JSON.stringify(
        { seed, pools: Object.fromEntries(result.table), faults: result.faults, worse },
        undefined,
        2,
      ),
    )
  } else {
    console.log(`\n${tableOf(result.table)}\n\n${recoveryTableOf(result)}\n`)
    if (given.write || given.seconds === undefined) await write(result, seed)
  }
  for (const line of worse) say(`worse: ${line}`)
  return worse.length === 0 ? 0 : 1
}

function read(argv: string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const { values } = parseArgs({
    args: argv,
    options: { seconds: text, seed: text, write: flag, json: flag, help: flag },
  })
  const whole = (name: 'seconds' | 'seed', min: number, max: number): number | undefined => {
    const value = values[name]
    if (value === undefined) return undefined
    if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
    throw new Error(`--${name} is '${value}': allowed is a whole number from ${min} to ${max}`)
  }
  return {
    seconds: whole('seconds', 10, 3_600),
    seed: whole('seed', 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32),
    write: values.write ?? false,
    json: values.json ?? false,
    help: values.help ?? false,
  }
}

async function write(result: Result, seed: number): Promise<void> {
  const file = join(DOCS, 'reliability.md')
  const page = await readFile(file, 'utf8')
  const [begin, end] = MARKERS
  const made = [
    begin,
    '',
    `Seed ${seed}, ${result.faults.length} faults in ${Math.round((result.endedAt - result.startedAt) / 1_000)} s, Node ${process.version}, ${cpus().length} cores.`,
    '',
    tableOf(result.table),
    '',
    '![What became of the requests of each half second, for each pool](reliability.svg)',
    '',
    'Until full service after each fault, the worse of its times:',
    '',
    recoveryTableOf(result),
    '',
    'Their settings beside the limits that are the same for all:',
    '',
    ...CONTENDERS.map((name) => `- **${name}**: ${SETTINGS[name]}`),
    '',
  ].join('\n')
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from === -1 || to < from) throw new Error(`${file} lacks the marks ${begin} and ${end}`)
  await writeFile(file, page.slice(0, from) + made + page.slice(to))
  await writeFile(join(DOCS, 'reliability.svg'), drawing(result))
}

import { cpus } from 'node:os'

import { flag, runProgram, seed, UsageError, type Values, whole } from '../../src/cli/arguments.ts'
import { writeDrawing, writeSection } from '../docs-section.ts'
import { Random } from '../../test/simulation/random.ts'
import { judge, type Verdict } from './columns.ts'
import { CONTENDERS, type ContenderName, SETTINGS, SHARING } from './contenders.ts'
import { FAULTS, POOLER_FAULTS, schedule } from './faults.ts'
import { drawing, recoveryTableOf, tableOf } from './report.ts'
import { POOLER_SETTINGS, QUIET_MS, type Result, runChaos, type Setting } from './run.ts'

const HELP = `Put pools through faults of a real PostgreSQL, side by side, and compare what their callers saw.

  npm run chaos -- [options]

  --seconds N   duration of the load (10 to 3600; default: until every fault has happened three times)
  --seed N      seed of the order of the faults (0 to 4294967295; default: random, printed)
  --share       compare a share (cenote/share) with exclusive leases and postgres.js
  --pgbouncer   put a private PgBouncer in transaction mode in front of the server, with faults of its own
  --write       update docs/reliability.md; a run without --seconds does so anyway
  --json        print one JSON document and nothing else
  --help        print this

The last line is the verdict (with --json: the last property). It names what the run was too short to measure.
Exit code 1: a row "cenote ... with retries" broke a rule, or a peer recovers faster from a fault.`

const OPTIONS = { seconds: whole(10, 3_600), seed, share: flag, pgbouncer: flag, write: flag, json: flag }

process.exitCode = await runProgram(
  {
    name: 'chaos',
    help: HELP,
    options: OPTIONS,
  },
  main,
)

async function main(given: Values<typeof OPTIONS>): Promise<number> {
  const say = given.json ? () => {} : (line: string) => console.log(line)
  say(`seed ${given.seed}`)
  const kinds = given.pgbouncer ? [...FAULTS, ...POOLER_FAULTS] : FAULTS
  const thrice = (3 * kinds.reduce((sum, { holdMs }) => sum + holdMs + QUIET_MS, 0) + QUIET_MS) / 1_000
  const random = new Random(given.seed)
  const faults = schedule(given.seconds ?? thrice, QUIET_MS, () => random.next(), kinds)
  if (given.share && given.pgbouncer) throw new UsageError('--share must not be combined with --pgbouncer')
  const setting = given.share ? 'share' : given.pgbouncer ? 'pooler' : 'pools'
  const result = await runChaos(faults, setting, say)
  const verdict = judge(result.table, result.faults)
  if (given.json) {
    const pools = Object.fromEntries(result.table)
    const { worse, notMeasured, text } = verdict
    const document = { seed: given.seed, pools, faults: result.faults, worse, notMeasured, verdict: text }
    console.log(JSON.stringify(document, undefined, 2))
  } else {
    console.log(`\n${tableOf(result.table)}\n\n${recoveryTableOf(result)}\n`)
    if (given.write || given.seconds === undefined) await write(result, given.seed, setting, verdict)
  }
  say(verdict.text)
  return verdict.worse.length === 0 ? 0 : 1
}

async function write(result: Result, number: number, setting: Setting, { text }: Verdict): Promise<void> {
  const took = Math.round((result.endedAt - result.startedAt) / 1_000)
  const head = `Seed ${number}, ${result.faults.length} faults in ${took} s, Node ${process.version}, ${cpus().length} cores.`
  const tables = [
    tableOf(result.table),
    '',
    'Until full service after each fault, the median of its repeats:',
    '',
    recoveryTableOf(result),
    '',
    `The command ended with: ${text}.`,
  ]
  if (setting === 'share') {
    await writeSection('reliability.md', 'npm run chaos -- --share', [
      head,
      '',
      ...tables,
      '',
      ...settings(SHARING),
    ])
    return
  }
  if (setting === 'pooler') {
    const values = Object.entries(POOLER_SETTINGS).map(([name, value]) => `\`${name} = ${value}\``)
    const pooler = `PgBouncer in transaction mode, ${values.join(', ')}.`
    await writeSection('reliability.md', 'npm run chaos -- --pgbouncer', [`${head} ${pooler}`, '', ...tables])
    return
  }
  await writeSection('reliability.md', 'npm run chaos', [
    head,
    '',
    ...tables,
    '',
    '![What became of the requests of each half second, for each pool](reliability.svg)',
    '',
    ...settings(CONTENDERS),
  ])
  await writeDrawing('reliability.svg', drawing(result))
}

function settings(names: readonly ContenderName[]): string[] {
  return [
    'Their settings, in addition to the common limits:',
    '',
    ...names.map((name) => `- **${name}**: ${SETTINGS[name]}`),
  ]
}

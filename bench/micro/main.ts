import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'

import { choices, flag, runProgram, type Values, whole } from '../../src/cli/arguments.ts'
import { writeDrawing, writeSection } from '../docs-section.ts'
import { type CaseName, CASE_NAMES, CASES } from './cases.ts'
import { POOL_NAMES, type PoolName, SETTINGS } from './pools.ts'
import { costSize, type ImportCost } from './size.ts'
import type { OverloadPoint } from './overload.ts'
import { drawings, type Figures, type Overload, tableOf } from './table.ts'

const LONGEST_MS = 120_000

const HELP = `Measure the cost of a checkout, compared with a bare array of free connections and with other pools.

  npm run bench -- [options]

  --case NAME    only this case; may be repeated (${CASE_NAMES.join(', ')})
  --pool NAME    only this pool and bare; may be repeated (${POOL_NAMES.join(', ')})
  --rounds N     number of processes for each case and pool (1 to 50; default 3)
  --json         print one JSON document and nothing else
  --help         print this

  npm run bench -- share --help   the cost of many callers on one connection
  npm run bench -- group --help   pools by key, on PostgreSQL

A whole run (no --case, no --pool) updates docs/performance.md.`

const OPTIONS = { case: choices(CASE_NAMES), pool: choices(POOL_NAMES), rounds: whole(1, 50, 3), json: flag }

const [first = '', ...rest] = process.argv.slice(2)
process.exitCode = ['share', 'group'].includes(first)
  ? (spawnSync(process.execPath, [join(import.meta.dirname, `../${first}/main.ts`), ...rest], {
      stdio: 'inherit',
    }).status ?? 1)
  : await runProgram({ name: 'bench', help: HELP, options: OPTIONS }, main)

async function main(given: Values<typeof OPTIONS>): Promise<number> {
  const { case: cases, rounds } = given
  const pools = given.pool.includes('bare') ? given.pool : (['bare', ...given.pool] as const)
  const isWhole = cases.length === CASE_NAMES.length && given.pool.length === POOL_NAMES.length
  const samples = new Map<CaseName, Map<PoolName, number[]>>()
  for (let round = 1; round <= rounds; round++) {
    for (const name of cases) {
      const row = samples.get(name) ?? new Map<PoolName, number[]>()
      samples.set(name, row)
      for (const pool of pools.filter((each) => CASES[name].pools?.includes(each) ?? true)) {
        if (!given.json) process.stderr.write(`\rround ${round} of ${rounds}: ${name}, ${pool}`.padEnd(70))
        row.set(pool, [...(row.get(pool) ?? []), measure(name, pool)])
      }
    }
  }
  if (!given.json) process.stderr.write(`\r${''.padEnd(70)}\r`)
  const figures: Figures = new Map(
    [...samples].map(([name, row]) => [name, new Map([...row].map(([pool, each]) => [pool, spread(each)]))]),
  )
  const size = await costSize()
  if (given.json) {
    const rows = [...figures].map(([name, row]) => [name, Object.fromEntries(row)])
    console.log(JSON.stringify({ figures: Object.fromEntries(rows), ...size }, undefined, 2))
    return 0
  }
  console.log(tableOf(figures))
  console.log(
    `\nimport of the core: ${size.bytes} bytes (minified, gzip), ${size.importMs.toFixed(1)} ms, an empty file ${size.emptyMs.toFixed(1)}`,
  )
  if (isWhole) await write(figures, size, rounds, { shedding: overload('shedding'), queueing: overload('') })
  return 0
}

function measure(name: CaseName, pool: PoolName): number {
  const script = join(import.meta.dirname, 'case-process.ts')
  const { stdout } = spawnSync(
    process.execPath,
    ['--expose-gc', '--max-old-space-size=8192', script, name, pool],
    { encoding: 'utf8', timeout: LONGEST_MS, stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const value = Number.parseFloat(stdout)
  return Number.isFinite(value) ? value : Number.NaN
}

function overload(mode: string): OverloadPoint[] {
  const script = join(import.meta.dirname, 'overload.ts')
  const { stdout } = spawnSync(process.execPath, [script, mode], { encoding: 'utf8', timeout: LONGEST_MS })
  return JSON.parse(stdout) as OverloadPoint[]
}

function spread(values: readonly number[]): { median: number; least: number; most: number } {
  const sorted = values.filter((each) => !Number.isNaN(each)).toSorted((a, b) => a - b)
  return {
    median: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
    least: sorted[0] ?? Number.NaN,
    most: sorted.at(-1) ?? Number.NaN,
  }
}

async function write(
  figures: Figures,
  size: ImportCost,
  rounds: number,
  overloaded: Overload,
): Promise<void> {
  await writeSection('performance.md', 'npm run bench', [
    `Node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores; ${rounds === 1 ? 'one process each' : `medians of ${rounds} processes`}, with the least and the most.`,
    '',
    tableOf(figures),
    '',
    `Importing \`Pool\` alone is ${(size.bytes / 1_024).toFixed(1)} KiB minified and compressed (goal 14), and takes ${size.importMs.toFixed(1)} ms, of which an empty file takes ${size.emptyMs.toFixed(1)}.`,
    '',
    '![Cost of a checkout](performance-cost.svg)',
    '',
    '![Cost against the number of waiters](performance-waiters.svg)',
    '',
    '![Heap for one caller that waits](performance-memory.svg)',
    '',
    '![Connections that a burst leaves open](performance-burst.svg)',
    '',
    '![How long callers wait under overload, with overload control and without](performance-overload.svg)',
    '',
    `In the last two seconds of it, of each 100 requests ${share(overloaded.shedding)} were served with overload control, and those that were not knew after ${late(overloaded.shedding)} ms; without it ${share(overloaded.queueing)}, and after ${late(overloaded.queueing)} ms.`,
    '',
    'Settings, in addition to the size and a timeout of 30 s:',
    '',
    ...POOL_NAMES.map((name) => `- **${name}**: ${SETTINGS[name]}`),
  ])
  for (const [name, svg] of Object.entries(drawings(figures, overloaded)))
    await writeDrawing(`performance-${name}.svg`, svg)
}

// Of what came in its last two seconds.
function share(points: readonly OverloadPoint[]): number {
  const last = points.slice(-4)
  const sum = (of: 'served' | 'offered'): number => last.reduce((total, point) => total + point[of], 0)
  return Math.round((sum('served') / sum('offered')) * 100)
}

function late(points: readonly OverloadPoint[]): number {
  return Math.round(Math.max(...points.slice(-4).map(({ refusedAfter }) => refusedAfter)))
}

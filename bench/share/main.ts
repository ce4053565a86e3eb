import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import { flag, runProgram, type Values, whole } from '../../src/cli/arguments.ts'
import { writeSection } from '../docs-section.ts'
import { median } from '../micro/median.ts'
import { type Figures, type Load, type Row, ROWS } from './loads.ts'

const SERVERS = {
  pg: { host: '127.0.0.1', port: Number(process.env['PGPORT'] ?? 5_432) },
  redis: { host: '127.0.0.1', port: 6_379 },
}

const HELP = `Measure a share beside exclusive connections and a bare pipeline, on servers of 127.0.0.1.

  npm run bench -- share [options]

  --row N        only this row, from 1 (default: all)
  --rounds N     each contender in so many processes, in turns (default: 3)
  --ms N         duration of one measurement, in milliseconds (default: 2000)
  --write        write the table into docs/share.md
  --help         print this`

const OPTIONS = {
  row: whole(1, ROWS.length),
  rounds: whole(1, 50, 3),
  ms: whole(1, 60_000, 2_000),
  write: flag,
}

process.exitCode = await runProgram({ name: 'bench share', help: HELP, options: OPTIONS }, main)

async function main({ row: only, rounds, ms, write: mustWrite }: Values<typeof OPTIONS>): Promise<number> {
  const lines = ['| load | | statements/s | CPU each | p99 |', '|---|---|---|---|---|']
  const rows = only === undefined ? ROWS : ROWS.slice(only - 1, only)
  for (const row of rows) lines.push(...(await measured(row, rounds, ms)))
  const checkout = JSON.parse(child('checkout.ts', [])) as { pool: number; share: number }
  lines.push(
    `| a checkout alone | \`pool.run\` | | ${checkout.pool.toFixed(0)} ns | |`,
    `| | \`db.run\` | | ${checkout.share.toFixed(0)} ns (${(checkout.share / checkout.pool).toFixed(2)} x) | |`,
  )
  console.log(lines.join('\n'))
  if (mustWrite) await writeSection('share.md', 'npm run bench -- share', [...lines, ''])
  return 0
}

async function measured(row: Row, rounds: number, forMs: number): Promise<string[]> {
  const server = SERVERS[row.server]
  const proxy =
    row.delayMs === 0
      ? undefined
      : spawn(
          process.execPath,
          [join(import.meta.dirname, 'proxy-process.ts'), server.host, String(server.port)],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        )
  const port = proxy === undefined ? server.port : Number((await once(proxy.stdout, 'data'))[0])
  try {
    const samples = row.contenders.map((): Figures[] => [])
    for (let round = 0; round < rounds; round++)
      for (const [index, contender] of row.contenders.entries()) {
        const { host } = server
        const load: Load = {
          host,
          port,
          callers: row.callers,
          forMs,
          ...contender,
          ...(row.perSecond === undefined ? {} : { perSecond: row.perSecond }),
        }
        const output = child('callers-process.ts', [JSON.stringify(load)])
        if (output !== '') samples[index]?.push(JSON.parse(output) as Figures)
      }
    const medians = samples.map((each) => middle(each))
    return row.contenders.flatMap(({ contender, connections, perConnection }, index) => {
      const [figures, first] = [medians[index], medians[0]]
      if (figures === undefined || first === undefined || Number.isNaN(figures.rate)) return []
      const ratio = (key: keyof Figures): string =>
        index === 0 ? '' : ` (${(figures[key] / first[key]).toFixed(2)} x)`
      return [
        `| ${index === 0 ? row.name : ''} | ${contender}, ${connections}${perConnection === undefined ? '' : ` of at most ${perConnection} seats`} | ${Math.round(figures.rate).toLocaleString('en')}${ratio('rate')} | ${figures.cpuUs.toFixed(1)} µs${ratio('cpuUs')} | ${figures.p99.toFixed(1)} ms${ratio('p99')} |`,
      ]
    })
  } finally {
    proxy?.kill()
  }
}

function middle(samples: readonly Figures[]): Figures {
  const of = (key: keyof Figures): number => median(samples.map((each) => each[key]))
  return { rate: of('rate'), cpuUs: of('cpuUs'), p50: of('p50'), p99: of('p99') }
}

// The output of a script of this folder; empty when it failed.
function child(script: string, args: readonly string[]): string {
  const { stdout, status } = spawnSync(process.execPath, [join(import.meta.dirname, script), ...args], {
    encoding: 'utf8',
    timeout: 120_000,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return status === 0 ? stdout : ''
}

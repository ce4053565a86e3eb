import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

import { choices, flag, runProgram, text, type Values, whole } from '../../src/cli/arguments.ts'
import { CONTENDERS, type ContenderName } from './contenders.ts'
import { LOADS, type LoadName } from './loads.ts'
import { type FleetResult, runFleet } from './fleet-run.ts'
import { type Result, run } from './run.ts'
import { Server } from './server.ts'

const SERVER = 'postgres://postgres@127.0.0.1:5432/test'
const HELP = `Compare a group with hand-written pools by key, on a PostgreSQL with 200 roles, a limit of 20 connections and statements of 5 ms.

  npm run bench -- group [options]

  --url URL      a PostgreSQL superuser (default: ${SERVER}); 200 roles are created and dropped
  --seconds N    time for each contender and load (1 to 60; default 5)
  --load NAME    only this load; may be repeated (${Object.keys(LOADS).join(', ')})
  --processes N  only the group, in N processes (2 to 8) that share the limit (cenote/fleet)
  --json         print one JSON document and nothing else
  --help         print this`

const OPTIONS = {
  url: text,
  seconds: whole(1, 60, 5),
  processes: whole(2, 8),
  load: choices(Object.keys(LOADS) as LoadName[]),
  json: flag,
}

async function compareGroups({
  url = SERVER,
  seconds,
  load: loads,
  processes,
  json,
}: Values<typeof OPTIONS>): Promise<number> {
  const server = new Server(url)
  await server.open()
  const results: Result[] = []
  try {
    if (processes !== undefined) {
      const result = await runFleet(server, processes, seconds)
      console.log(json ? JSON.stringify(result, undefined, 2) : summaryOf(result))
      return result.mostBackends > result.budget || result.errors.length + result.hanging > 0 ? 1 : 0
    }
    for (const load of loads)
      for (const contender of Object.keys(CONTENDERS) as ContenderName[]) {
        if (!json) process.stderr.write(`\r${load}: ${contender}`.padEnd(70))
        results.push(await run(server, load, contender, seconds))
      }
  } finally {
    await server.close()
  }
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', join(import.meta.dirname, 'cost.ts')], {
    encoding: 'utf8',
  })
  const cost = JSON.parse(stdout) as Record<string, number>
  if (json) console.log(JSON.stringify({ results, cost }, undefined, 2))
  else {
    process.stderr.write(`\r${''.padEnd(70)}\r`)
    console.log(tableOf(results))
    console.log(
      `\na checkout through a group with 100 keys: ${cost['ratio']?.toFixed(2)} of one through a pool; ` +
        `a forgotten key leaves ${cost['bytesForgotten']?.toFixed(0)} bytes, a kept one takes ${cost['bytesKept']?.toFixed(0)}`,
    )
  }
  return 0
}

function summaryOf(result: FleetResult): string {
  const { processes, budget, perSecond, p50, p99, mostBackends, largestShare, errors, hanging } = result
  const served = `${perSecond.toFixed(0)} requests/s, p50 / p99 ${p50.toFixed(0)} / ${p99.toFixed(0)} ms`
  const limits = `at most ${mostBackends} backends (budget ${budget}), largest share of one process ${largestShare}`
  return `${processes} processes: ${served}; ${limits}; ${errors.length} errors, ${hanging} hanging`
}

function tableOf(results: readonly Result[]): string {
  const rows = results.map((result) => {
    const big = results.find(({ load, contender }) => load === result.load && contender.startsWith('one big'))
    const ratio = big === undefined ? '' : (result.perSecond / big.perSecond).toFixed(2)
    const ms = (value: number): string => value.toFixed(0)
    const { mostBackends, errors, hanging } = result
    const cells = [
      LOADS[result.load].title,
      result.contender,
      ms(result.perSecond),
      ratio,
      `${ms(result.p50)} / ${ms(result.p99)}`,
    ]
    return `| ${[...cells, ms(result.firstP99), mostBackends, errors, hanging].join(' | ')} |`
  })
  return [
    '| load | | requests/s | beside the big pool | p50 / p99 ms | p99 of the first second | highest number of backends | errors | hanging |',
    '|---|---|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n')
}

process.exitCode = await runProgram({ name: 'bench group', help: HELP, options: OPTIONS }, compareGroups)
// Callers that hang keep the process alive.
process.exit()

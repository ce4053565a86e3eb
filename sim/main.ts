import { parseArgs } from 'node:util'

import { planOf } from './plan.ts'
import { fails, shrink, tell } from './shrink.ts'

const HELP = `Lives whole lives of a pool, each a function of its seed, and looks at every invariant after every step.

  npm run sim -- [options]

  --seeds N   how many lives (1 to 1000000000; default 10000)
  --from S    the first seed (default: by chance, printed)
  --seed S    one life, its story told
  --brief     do not shrink what is found
  --help      print this`

process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
  let values
  try {
    const text = { type: 'string' } as const
    ;({ values } = parseArgs({
      args: argv,
      options: { seeds: text, from: text, seed: text, brief: { type: 'boolean' }, help: { type: 'boolean' } },
    }))
    if (values.help === true) {
      console.log(HELP)
      return 0
    }
    const one = whole('seed', values.seed, 0, 2 ** 32 - 1)
    if (one !== undefined) return await tellOne(one)
    const seeds = whole('seeds', values.seeds, 1, 1e9) ?? 10_000
    const from = whole('from', values.from, 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 31)
    return await search(from, seeds, values.brief === true)
  } catch (error) {
    console.error(`cenote sim: ${(error as Error).message.split('. ')[0]}`)
    return 2
  }
}

async function search(from: number, seeds: number, isBrief: boolean): Promise<number> {
  const startedAt = performance.now()
  console.log(`seeds ${from} to ${from + seeds - 1}`)
  for (let seed = from; seed < from + seeds; seed++) {
    const failure = await fails(planOf(seed))
    if (failure !== undefined) {
      console.log(`seed ${seed} failed: ${failure.violation.message}`)
      if (isBrief) return 1
      console.log(tell(await shrink(failure)))
      return 1
    }
    const done = seed - from + 1
    if (done % 10_000 === 0)
      console.log(`${done} lives, ${Math.round(done / ((performance.now() - startedAt) / 1_000))} a second`)
  }
  console.log(`${seeds} lives, nothing violated`)
  return 0
}

async function tellOne(seed: number): Promise<number> {
  const failure = await fails(planOf(seed), true)
  if (failure === undefined) {
    console.log(`seed ${seed}: nothing violated`)
    return 0
  }
  console.log(tell(await shrink(failure)))
  return 1
}

function whole(name: string, value: string | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined
  if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
  throw new Error(`--${name} is '${value}': allowed is a whole number from ${min} to ${max}`)
}

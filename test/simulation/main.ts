import { flag, runProgram, whole } from '../../src/cli/arguments.ts'
import { planOf } from './plan.ts'
import { fails, shrink, tell } from './shrink.ts'

const HELP = `Simulate pool lifetimes, each a function of its seed, and check every invariant after every step.

  npm run sim -- [options]

  --seeds N   number of lifetimes (1 to 1000000000; default 10000)
  --from S    first seed (default: random, printed)
  --seed S    simulate one lifetime and print its steps
  --brief     do not shrink a violation
  --help      print this`

const anySeed = whole(0, 2 ** 32 - 1)

process.exitCode = await runProgram(
  {
    name: 'sim',
    help: HELP,
    options: { seeds: whole(1, 1e9, 10_000), from: anySeed, seed: anySeed, brief: flag },
  },
  async ({ seeds, from, seed, brief }) =>
    seed === undefined
      ? await search(from ?? Math.floor(Math.random() * 2 ** 31), seeds, brief)
      : await tellOne(seed),
)

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

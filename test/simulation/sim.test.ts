import { expect, test } from 'vitest'

import { planOf } from './plan.ts'
import { hunt } from './run-mutants.ts'
import { MUTANTS } from './mutants.ts'
import { fails, type Failure, shrink, tell } from './shrink.ts'

const FIXED = 1_500
const FRESH = 1_500

async function search(from: number, seeds: number): Promise<Failure | undefined> {
  for (let seed = from; seed < from + seeds; seed++) {
    const failure = await fails(planOf(seed))
    if (failure !== undefined) return failure
  }
  return undefined
}

async function expectNothing(from: number, seeds: number): Promise<void> {
  const failure = await search(from, seeds)
  if (failure !== undefined) throw new Error(tell(await shrink(failure)))
}

test(`the lives of seeds 1 to ${FIXED} violate nothing`, async () => {
  await expectNothing(1, FIXED)
}, 60_000)

test('lifetimes of new seeds keep every invariant too', async () => {
  const from = Math.floor(Math.random() * 2 ** 31)
  console.log(`seeds ${from} to ${from + FRESH - 1}`)
  await expectNothing(from, FRESH)
}, 60_000)

test('a life is a pure function of its seed', async () => {
  const { Life } = await import('./life.ts')
  for (const seed of [3, 44, 129, 650]) {
    const stories = []
    for (let time = 0; time < 2; time++) {
      const life = new Life(planOf(seed), true)
      await life.live()
      stories.push([life.story, life.pool.state().statistics])
    }
    expect(stories[0]).toEqual(stories[1])
  }
})

test('the mutants are many enough, and of different kinds', () => {
  expect(MUTANTS.length).toBeGreaterThanOrEqual(25)
  expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length)
})

// `npm run mutants` hunts for all of them; here some that are found soon keep the hunt itself honest.
test.each(MUTANTS.filter((_, index) => index % 6 === 1))(
  'the simulation finds: $name',
  async (mutant) => {
    const { seed, rule } = await hunt(mutant, 1, 1_000)
    expect(seed, 'it was missed').toBeDefined()
    expect(rule).not.toBe('')
  },
  60_000,
)

test('a failing life shrinks to a story that says what happened and how to replay it', async () => {
  // A pool that no plan allows for: its server claims a connection that is not there.
  const { Life } = await import('./life.ts')
  const plan = planOf(7)
  const life = new Life(plan, true)
  life.server.faults.push('made up')
  await expect(life.live()).rejects.toMatchObject({ rule: 'made up', step: 1 })
  const text = tell({ plan, violation: { message: 'made up' } as never, story: life.story })
  expect(text).toMatch(/^seed 7: made up\noptions \{/)
  expect(text).toMatch(/replay: npm run sim -- --seed 7$/)
})

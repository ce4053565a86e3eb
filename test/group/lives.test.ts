import { expect, test } from 'vitest'

import { live } from './lives.ts'
import { GROUP_MUTANTS } from './mutants.ts'
import { hunt } from './run-mutants.ts'

const LIVES = 60

test('in random lifetimes of groups no rule is broken', { timeout: 60_000 }, async () => {
  const from = 1 + Math.floor(Math.random() * 1_000_000_000)
  console.log(`lifetimes of groups: seeds ${from} to ${from + LIVES - 1}`)
  let served = 0
  for (let seed = from; seed < from + LIVES; seed++) served += (await live(seed)).served
  expect(served).toBeGreaterThan(LIVES)
})

test('a rule that is taken away is missed', { timeout: 60_000 }, async () => {
  const mutant = GROUP_MUTANTS.find(({ name }) => name.startsWith('G4: the only connection'))!
  expect(await hunt(mutant, 1, 20)).toMatch(/^seed \d+ failed: G4/)
})

// Simulates lifetimes of groups. Usage: node test/group/main.ts [--from SEED] [--seeds COUNT]
import { parseArgs } from 'node:util'

import { describe, live } from './lives.ts'
import { planOf } from './plan.ts'

const { values } = parseArgs({
  options: { from: { type: 'string', default: '1' }, seeds: { type: 'string', default: '1000' } },
})
const from = Number(values.from)
const seeds = Number(values.seeds)
let served = 0
let opened = 0
for (let seed = from; seed < from + seeds; seed++) {
  try {
    const life = await live(seed)
    served += life.served
    opened += life.opened
  } catch (error) {
    console.log((error as Error).message)
    console.log(describe(planOf(seed)))
    process.exitCode = 1
    break
  }
}
if (process.exitCode !== 1)
  console.log(
    `seeds ${from} to ${from + seeds - 1}: ${served} callers served, ${opened} connections, no rule broken`,
  )

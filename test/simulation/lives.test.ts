import { expect, test } from 'vitest'

import { planOf } from './plan.ts'
import { fails } from './shrink.ts'

// Few lives, for mutation testing: each mutant that the others let pass is put through them.
test.each([1, 51, 101, 151, 201, 251])('the 50 lives from seed %i violate nothing', async (from) => {
  for (let seed = from; seed < from + 50; seed++) {
    const failure = await fails(planOf(seed))
    expect(failure?.violation.message).toBeUndefined()
  }
})

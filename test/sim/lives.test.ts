import { expect, test } from 'vitest'

import { planOf } from '../../sim/plan.ts'
import { fails } from '../../sim/shrink.ts'

// Few lives, for mutation testing: each mutant that the others let pass is put through them.
test.each([1, 101, 201, 301])('the 100 lives from seed %i violate nothing', async (from) => {
  for (let seed = from; seed < from + 100; seed++) {
    const failure = await fails(planOf(seed))
    expect(failure?.violation.message).toBeUndefined()
  }
})

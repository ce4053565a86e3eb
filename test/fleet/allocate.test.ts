import fc from 'fast-check'
import { expect, test } from 'vitest'

import { allocate, type Claimant } from '../../src/fleet/index.ts'

const member = (id: string, more: Partial<Claimant> = {}): Claimant => ({
  id,
  floor: 1,
  weight: 1,
  demand: 0,
  share: 0,
  isAbsent: false,
  ...more,
})
const shares = (budget: number, members: Claimant[]): number[] => {
  const result = allocate(budget, members)
  return members.map(({ id }) => result.get(id) as number)
}

// Fleets whose floors fit into the budget.
const fleets = fc
  .array(
    fc.record({
      floor: fc.integer({ min: 1, max: 5 }),
      weight: fc.constantFrom(0.5, 1, 1, 1, 2, 3),
      demand: fc.integer({ min: 0, max: 60 }),
      share: fc.integer({ min: 0, max: 40 }),
      isAbsent: fc.constantFrom(false, false, false, false, true),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .chain((drafts) => {
    const members = drafts.map((draft, n) => ({
      ...draft,
      id: `m${n}`,
      share: draft.isAbsent ? Math.min(draft.share, draft.floor) : draft.share,
    }))
    const floors = members.reduce((sum, each) => sum + (each.isAbsent ? each.share : each.floor), 0)
    return fc.record({
      members: fc.constant(members),
      budget: fc.integer({ min: floors, max: floors + 100 }),
    })
  })
const total = (values: Iterable<number>): number => [...values].reduce((sum, each) => sum + each, 0)

test('each member has its floor, a member that could use more gets it, and the unused rest is spread', () => {
  expect(shares(12, [member('a'), member('b', { demand: 8 }), member('c')])).toEqual([2, 8, 2])
  expect(shares(10, [member('a', { demand: 20 }), member('b', { demand: 3 })])).toEqual([7, 3])
  expect(shares(9, [member('a', { demand: 20 }), member('b', { demand: 20, weight: 2 })])).toEqual([3, 6])
  expect(shares(10, [member('a', { floor: 6 }), member('b', { demand: 20 })])).toEqual([6, 4])
  expect(shares(10, [member('a', { share: 4, isAbsent: true }), member('b', { demand: 2 })])).toEqual([4, 6])
  expect(() => allocate(3, [member('a', { floor: 2 }), member('b', { floor: 2 })])).toThrow(
    new RangeError('the sum of the floors must be at most the budget, 3 (got 4)'),
  )
})

test('a share that no other caller could use stays where it is', () => {
  expect(shares(20, [member('a', { share: 15, demand: 2 }), member('b', { share: 5, demand: 4 })])).toEqual([
    15, 5,
  ])
  expect(shares(20, [member('a', { share: 15, demand: 2 }), member('b', { share: 5, demand: 7 })])).toEqual([
    13, 7,
  ])
})

test('any fleet: the whole budget and no more, no floor is broken, whoever is absent keeps what it has', () => {
  fc.assert(
    fc.property(fleets, ({ members, budget }) => {
      const result = allocate(budget, members)
      const canGrow = members.some(({ isAbsent }) => !isAbsent)
      if (canGrow) expect(total(result.values())).toBe(budget)
      for (const { id, floor, share, isAbsent } of members) {
        if (isAbsent) expect(result.get(id)).toBe(share)
        else expect(result.get(id)).toBeGreaterThanOrEqual(floor)
      }
    }),
  )
})

test('any fleet: no caller is short while another has more than it could use and more than its floor', () => {
  fc.assert(
    fc.property(fleets, ({ members, budget }) => {
      const result = allocate(budget, members)
      const present = members.filter(({ isAbsent }) => !isAbsent)
      const short = present.filter(({ id, demand }) => (result.get(id) ?? 0) < demand)
      if (short.length === 0) return
      for (const { id, demand, floor } of present)
        expect(result.get(id)).toBeLessThanOrEqual(Math.max(demand, floor))
      // And of those that are short nobody could give another one without being worse off than that one.
      for (const poor of short) {
        for (const rich of present) {
          const left = (result.get(rich.id) ?? 0) - 1
          if (rich === poor || left < rich.floor) continue
          expect(left / rich.weight).toBeLessThanOrEqual(
            ((result.get(poor.id) ?? 0) + 1) / poor.weight + 1e-9,
          )
        }
      }
    }),
  )
})

test('any fleet: a greater demand or budget never gives less, whatever the order of the members', () => {
  fc.assert(
    fc.property(fleets, fc.nat(), fc.integer({ min: 1, max: 30 }), ({ members, budget }, pick, more) => {
      const before = allocate(budget, members)
      const lucky = members[pick % members.length] as Claimant
      const raised = members.map((each) => (each === lucky ? { ...each, demand: each.demand + more } : each))
      expect(allocate(budget, raised).get(lucky.id)).toBeGreaterThanOrEqual(before.get(lucky.id) ?? 0)
      const richer = allocate(budget + more, members)
      for (const { id } of members) expect(richer.get(id)).toBeGreaterThanOrEqual(before.get(id) ?? 0)
      expect(allocate(budget, members.toReversed())).toEqual(before)
    }),
  )
})

test('any fleet: it converges in one step and stays; a demand that trembles below the share moves nothing', () => {
  fc.assert(
    fc.property(
      fleets,
      fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 12, maxLength: 12 }),
      ({ members, budget }, noise) => {
        const once = allocate(budget, members)
        const settled = members.map((each) => ({ ...each, share: once.get(each.id) ?? 0 }))
        expect(allocate(budget, settled)).toEqual(once)
        const trembling = settled.map((each, n) => ({
          ...each,
          demand: Math.min(Math.max(0, each.demand + (noise[n] ?? 0)), each.share),
        }))
        if (members.every(({ id, demand }) => demand <= (once.get(id) ?? 0)))
          expect(allocate(budget, trembling)).toEqual(once)
      },
    ),
  )
})

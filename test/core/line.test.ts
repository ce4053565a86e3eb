import { expect, test } from 'vitest'

import { Line, type LineItem } from '../../src/core/runtime/line.ts'

interface Named extends LineItem {
  readonly name: number
}

function everybody(line: Line<Named>): number[] {
  const names: number[] = []
  for (let item = line.first(); item !== undefined; item = line.after(item)) names.push(item.name)
  return names
}

function filled(count: number): { line: Line<Named>; items: Named[] } {
  const line = new Line<Named>()
  const items = Array.from({ length: count }, (_, name) => ({ name, place: -1 }))
  for (const item of items) line.add(item)
  return { line, items }
}

test('a line keeps its order whoever leaves: from the front, from the back, from the middle, at random', () => {
  const orders: ((left: Named[], n: number) => number)[] = [
    () => 0,
    (left) => left.length - 1,
    (left) => Math.floor(left.length / 2),
    (left, n) => (n * 7_919) % left.length,
  ]
  for (const pick of orders) {
    const { line, items } = filled(500)
    const left = [...items]
    for (let n = 0; left.length > 0; n++) {
      const [gone] = left.splice(pick(left, n), 1) as [Named]
      line.remove(gone)
      expect(gone.place).toBe(-1)
      expect(everybody(line)).toEqual(left.map(({ name }) => name))
      expect(line.size).toBe(left.length)
    }
    expect(line.first()).toBeUndefined()
  }
})

test('gaps are closed: a line whose head stays takes no more room however many come and go behind it', () => {
  const { line, items } = filled(1)
  let farthest = 0
  for (let n = 0; n < 10_000; n++) {
    const passer = { name: n, place: -1 }
    line.add(passer)
    farthest = Math.max(farthest, passer.place)
    line.remove(passer)
  }
  expect(everybody(line)).toEqual([0])
  expect(farthest).toBeLessThan(100)
  expect(line.first()).toBe(items[0])
})

test('a line that was long and drained begins again', () => {
  const { line, items } = filled(10_000)
  for (const item of items) line.remove(item)
  expect(line.first()).toBeUndefined()
  const next = { name: 1, place: -1 }
  line.add(next)
  expect(next.place).toBe(0)
  expect(everybody(line)).toEqual([1])
  line.remove(next)
  expect([line.size, line.first()]).toEqual([0, undefined])
})

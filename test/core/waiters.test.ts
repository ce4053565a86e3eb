// The queue beside a list that is searched from end to end.
import fc from 'fast-check'
import { expect, test } from 'vitest'

import { PlainLine } from '../../src/core/callers/plain-line.ts'
import { Waiter } from '../../src/core/callers/waiter.ts'
import { Waiters } from '../../src/core/callers/waiters.ts'

const TIMEOUT_MS = 100

interface Caller {
  readonly resolve: () => void
  readonly priority: number
  readonly isRetry: boolean
  readonly deadline: number
  /** Of one that is not plain. */
  readonly waiter: Waiter<object> | undefined
}

class Model {
  readonly callers: Caller[] = []
  readonly waiters: Waiters<object> = new Waiters(TIMEOUT_MS)
  #now = 0

  comePlain(): void {
    const resolve = (): void => {}
    this.waiters.plain.add(resolve, () => {}, this.#now)
    this.#come({
      resolve,
      priority: 0,
      isRetry: false,
      deadline: this.#now + TIMEOUT_MS,
      waiter: undefined,
    })
  }

  come(priority: number, timeoutMs: number, isRetry: boolean): void {
    const resolve = (): void => {}
    const waiter = new Waiter<object>(resolve, () => {}, this.#now, timeoutMs, isRetry ? 1 : 0)
    waiter.isRetry = isRetry
    this.waiters.add(waiter, priority)
    this.#come({ resolve, priority, isRetry, deadline: this.#now + timeoutMs, waiter })
  }

  #come(caller: Caller): void {
    this.callers.push(caller)
    this.#now++
  }

  /** In the order in which they are to be served. */
  inOrder(): Caller[] {
    return this.callers.toSorted((a, b) => a.priority - b.priority || Number(b.isRetry) - Number(a.isRetry))
  }
}

function leave({ waiters, callers }: Model, waiter: Waiter<object> | undefined): void {
  if (waiter === undefined) return
  const { resolve } = waiter
  waiters.remove(waiter)
  expect(waiter.isWaiting).toBe(false)
  const place = callers.findIndex((caller) => caller.resolve === resolve)
  expect(place).not.toBe(-1)
  callers.splice(place, 1)
}

function check(model: Model): void {
  const { waiters, callers } = model
  const order = model.inOrder()
  expect(waiters.size).toBe(callers.length)
  expect(waiters.head()?.resolve).toBe(order[0]?.resolve)
  const soonest = waiters.soonest()
  expect(soonest?.deadline ?? Infinity).toBe(Math.min(Infinity, ...callers.map(({ deadline }) => deadline)))
  if (soonest === undefined) return
  const level = order.filter(({ priority }) => priority === order[0]?.priority)
  const place = level.findIndex(({ resolve }) => resolve === soonest.resolve)
  const rank = place === -1 ? level.length : place
  for (const limit of [0, 1, 3, 1_000])
    expect(waiters.rankOf(soonest, limit), `rank within ${limit}`).toBe(Math.min(rank, limit))
}

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('plain' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('wishing' as const),
      priority: fc.constantFrom(0, 0, 0, -1, 2),
      timeoutMs: fc.constantFrom(TIMEOUT_MS, TIMEOUT_MS, 5, 500, Infinity),
      isRetry: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('serve' as const, 'expire' as const), index: fc.constant(0) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), index: fc.nat(50) }) },
)

test('plain callers and callers with options are served in one order, whichever leave in between', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Model()
      for (const each of steps) {
        if (each.do === 'plain') model.comePlain()
        else if (each.do === 'wishing') model.come(each.priority, each.timeoutMs, each.isRetry)
        else if (each.do === 'serve') leave(model, model.waiters.head())
        else if (each.do === 'expire') leave(model, model.waiters.soonest())
        else {
          const wishing = model.callers.filter(({ waiter }) => waiter !== undefined)
          leave(model, wishing[each.index % Math.max(1, wishing.length)]?.waiter)
        }
        check(model)
      }
      while (model.callers.length > 0) {
        leave(model, model.waiters.head())
        check(model)
      }
    }),
    { numRuns: 300 },
  )
})

test('a line of plain callers keeps their order and their times, over many blocks and when it drains in between', () => {
  const line = new PlainLine<object>(TIMEOUT_MS)
  let [came, left] = [0, 0]
  const names = new Map<unknown, number>()
  const come = (count: number): void => {
    for (let n = 0; n < count; n++, came++) {
      const resolve = (): void => {}
      names.set(resolve, came)
      line.add(resolve, () => {}, came / 2)
    }
  }
  const leave = (count: number): void => {
    for (let n = 0; n < count; n++, left++) {
      const head = line.first() as Waiter<object>
      expect(line.first()).toBe(head)
      expect([names.get(head.resolve), head.queuedAt, head.deadline, head.plainBefore]).toEqual([
        left,
        left / 2,
        left / 2 + TIMEOUT_MS,
        left,
      ])
      expect(line.remove(head)).toBe(true)
    }
    expect([line.came, line.left, line.size]).toEqual([came, left, came - left])
  }
  for (const [more, fewer] of [
    [1, 1],
    [63, 63],
    [1_000, 935],
    [0, 65],
    [64, 64],
    [130, 130],
  ] as const) {
    come(more)
    leave(fewer)
  }
  expect(line.first()).toBeUndefined()
})

test('of the plain line no caller leaves but the first, and no caller is settled after it left', () => {
  const line = new PlainLine<object>(TIMEOUT_MS)
  const settled: string[] = []
  for (const name of ['first', 'second'])
    line.add(
      () => settled.push(name),
      () => settled.push(`${name} in vain`),
      0,
    )
  const other = new Waiter<object>(
    () => {},
    () => {},
    0,
    0,
    0,
  )
  const head = line.first() as Waiter<object>
  expect(line.remove(other)).toBe(false)
  expect(line.size).toBe(2)
  head.resolve({} as never)
  line.remove(head)
  expect(() => head.resolve({} as never)).toThrow('a caller was settled that does not wait')
  expect(() => head.reject(undefined)).toThrow('a caller was settled that does not wait')
  line.first()?.reject(undefined)
  expect(settled).toEqual(['first', 'second in vain'])
})

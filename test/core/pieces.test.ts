// The smallest pieces of the core by themselves, at their very limits.
import { expect, test } from 'vitest'

import { AbortWatchers } from '../../src/core/runtime/abort-watchers.ts'
import { Alarm } from '../../src/core/runtime/alarm.ts'
import { AsyncMarks, type Mark } from '../../src/core/runtime/async-marks.ts'
import {
  AbandonedError,
  type Bounds,
  PendingCall,
  TimeLimitError,
  UserCalls,
} from '../../src/core/runtime/user-calls.ts'
import { Heap } from '../../src/core/runtime/heap.ts'
import { Lease } from '../../src/core/callers/lease.ts'
import { Overload } from '../../src/core/callers/overload.ts'
import { isLegal, NEXT, Slot, SlotState } from '../../src/core/connections/slot.ts'
import { Slots } from '../../src/core/connections/slots.ts'
import { PlainLine } from '../../src/core/callers/plain-line.ts'
import { Waiter } from '../../src/core/callers/waiter.ts'
import { Waiters } from '../../src/core/callers/waiters.ts'
import { type Clock, Pool, PoolError, PoolOptionsError } from '../../src/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'

const waiter = (timeoutMs: number, freshSince = 0): Waiter<object> =>
  new Waiter(
    () => {},
    () => {},
    0,
    timeoutMs,
    freshSince,
  )

test('overload admits and sheds callers at each limit', () => {
  const it = new Overload({ targetMs: 10, intervalMs: 100 }, 1_000)
  // The first opens an interval, whatever it waited.
  expect(it.admits(500, 1_000)).toBe(true)
  expect(it.admits(500, 1_050)).toBe(true)
  // The interval had no quick wait: it is slow from now on.
  expect(it.admits(30, 1_100)).toBe(true)
  expect(it.admits(21, 1_150)).toBe(false)
  expect(it.admits(20, 1_150)).toBe(true)
  expect(it.admits(25, 1_199)).toBe(false)
  // Its shortest wait was 20: still slow.
  expect(it.admits(40, 1_200)).toBe(true)
  expect(it.admits(40, 1_250)).toBe(false)
  // One at the target is quick enough: from the next interval on nobody is shed.
  expect(it.admits(10, 1_260)).toBe(true)
  expect(it.admits(15, 1_270)).toBe(true)
  expect(it.admits(40, 1_300)).toBe(true)
  expect(it.admits(500, 1_310)).toBe(true)
  // An empty queue is a quick wait too.
  it.drained()
  expect(it.admits(500, 1_400)).toBe(true)
  expect(it.admits(500, 1_410)).toBe(true)
})

test('overload: the clock stands still during a pause', () => {
  const it = new Overload({ targetMs: 10, intervalMs: 100 }, 1_000)
  expect(it.pausedMs(1_000)).toBe(0)
  it.admits(50, 1_000)
  it.pause(1_050)
  it.pause(1_060)
  expect([it.pausedMs(1_080), it.stalled(500, 9_000)]).toEqual([30, false])
  it.resume(2_050)
  it.resume(3_000)
  expect(it.pausedMs(3_000)).toBe(1_000)
  // The interval ends as much later.
  expect([it.stalled(21, 2_099), it.stalled(21, 2_100)]).toEqual([false, true])
  it.pause(3_000)
  it.resume(3_010)
  expect(it.pausedMs(4_000)).toBe(1_010)
})

test('overload: a new one sheds no caller, and one that stands still does after an interval', () => {
  const fresh = new Overload({ targetMs: 10, intervalMs: 100 }, 1_000)
  expect(fresh.stalled(500, 999)).toBe(false)
  expect(fresh.admits(500, 999)).toBe(true)
  expect(fresh.stalled(30, 1_000)).toBe(false)
  expect(fresh.stalled(30, 1_099)).toBe(false)
  expect(fresh.stalled(21, 1_100)).toBe(true)
  expect(fresh.stalled(20, 1_100)).toBe(false)
  // And is slow for those that are served then.
  expect(fresh.admits(21, 1_099)).toBe(false)
  const quick = new Overload({ targetMs: 10, intervalMs: 100 }, 1_000)
  expect(quick.stalled(10, 1_000)).toBe(false)
  expect(quick.stalled(500, 1_100)).toBe(false)
  expect(quick.stalled(500, 1_199)).toBe(false)
  expect(quick.stalled(500, 1_200)).toBe(true)
})

interface Timer {
  readonly at: number
  readonly ring: () => void
  isRef: boolean
}
/** A clock whose timers can be looked at. */
function timers(hasRef = true) {
  const armed: Timer[] = []
  let cleared = 0
  const clock: Clock & { time: number } = {
    time: 0,
    now: () => clock.time,
    setTimeout: (ring, delayMs) => {
      const timer: Timer = { at: clock.time + delayMs, ring, isRef: true }
      armed.push(timer)
      if (!hasRef) return {}
      return { ref: () => (timer.isRef = true), unref: () => (timer.isRef = false), timer }
    },
    clearTimeout: (handle) => {
      cleared++
      const index = armed.indexOf((handle as { timer?: Timer }).timer as Timer)
      if (index !== -1) armed.splice(index, 1)
    },
  }
  const ring = (at: number): void => {
    clock.time = at
    const timer = armed.shift() as Timer
    timer.ring()
  }
  return { clock, armed, ring, cleared: () => cleared }
}

test('an alarm: one timer, left where it is when its time moves later, moved when it comes sooner', () => {
  const { clock, armed, ring, cleared } = timers()
  let rung = 0
  const alarm = new Alarm(clock, false, () => rung++)
  expect(alarm.isSet).toBe(false)
  alarm.set(100)
  expect([alarm.isSet, armed.map(({ at, isRef }) => [at, isRef])]).toEqual([true, [[100, false]]])
  alarm.set(200)
  alarm.set(100)
  expect([armed.map(({ at }) => at), cleared()]).toEqual([[100], 0])
  alarm.set(300)
  ring(100)
  expect([rung, armed.map(({ at }) => at)]).toEqual([0, [300]])
  alarm.set(250)
  expect([armed.map(({ at }) => at), cleared()]).toEqual([[250], 1])
  ring(250)
  expect([rung, alarm.isSet, armed.length]).toEqual([1, false, 0])
  // A clear leaves the timer, which then rings for nothing.
  alarm.set(400)
  alarm.clear()
  alarm.clear()
  expect([alarm.isSet, armed.length]).toEqual([false, 1])
  ring(400)
  expect([rung, armed.length]).toEqual([1, 0])
  alarm.set(500)
  alarm.stop()
  expect([alarm.isSet, armed.length, cleared()]).toEqual([false, 0, 2])
  // Never: no timer, as it keeps nothing alive.
  alarm.set(Infinity)
  expect([alarm.isSet, armed.length]).toEqual([true, 0])
  alarm.stop()
  expect(cleared()).toBe(2)
})

test('an alarm that is set again for the same time keeps its timer, which rings at a whole millisecond', () => {
  const { clock, armed, ring, cleared } = timers()
  let rung = 0
  const alarm = new Alarm(clock, false, () => rung++)
  clock.time = 0.25
  for (let again = 0; again < 3; again++) alarm.set(99.75)
  expect([armed.map(({ at }) => at), cleared()]).toEqual([[100.25], 0])
  alarm.set(99.5)
  expect([armed.map(({ at }) => at), cleared()]).toEqual([[100.25], 1])
  ring(100.25)
  expect([rung, alarm.isSet, armed.length]).toEqual([1, false, 0])
})

test('an alarm that keeps the process alive does so while it is set, also forever, and not after', () => {
  const { clock, armed, ring } = timers()
  const alarm = new Alarm(clock, true, () => {})
  alarm.set(100)
  alarm.clear()
  ring(100)
  expect(armed).toEqual([])
  alarm.set(Infinity)
  expect(armed.map(({ isRef }) => isRef)).toEqual([true])
  alarm.clear()
  expect(armed.map(({ isRef }) => isRef)).toEqual([false])
  // Already off: set again later it is held again, by the same timer.
  alarm.set(Infinity)
  expect(armed.map(({ isRef }) => isRef)).toEqual([true])
  const light = timers()
  const unheld = new Alarm(light.clock, false, () => {})
  unheld.set(100)
  unheld.set(200)
  unheld.clear()
  unheld.set(300)
  expect(light.armed.map(({ isRef }) => isRef)).toEqual([false])
})

test('an alarm that is off is not kept in memory by its timer, and an alarm reports how late it rings', () => {
  const { clock, armed } = timers()
  const late: number[] = []
  const alarm = new Alarm(clock, false, (lateMs) => late.push(lateMs))
  alarm.set(100)
  const [stale] = armed.splice(0)
  alarm.clear()
  // The timer still rings, and reaches nothing.
  clock.time = 100
  stale?.ring()
  expect(late).toEqual([])
  alarm.setBy(200)
  alarm.setBy(300)
  expect(alarm.due).toBe(200)
  alarm.setBy(150)
  expect(alarm.due).toBe(150)
  clock.time = 180
  armed.at(-1)?.ring()
  expect([late, alarm.isSet, alarm.due]).toEqual([[30], false, Infinity])
})

test('an alarm works on timers without ref and unref', () => {
  for (const keepsAlive of [true, false]) {
    const { clock, armed } = timers(false)
    const alarm = new Alarm(clock, keepsAlive, () => {})
    alarm.set(100)
    alarm.clear()
    alarm.set(200)
    alarm.clear()
    expect(armed.length).toBe(1)
    alarm.stop()
  }
})

test('a heap: items with equal keys come out in some order, each once, and one is taken from any place', () => {
  const heap = new Heap<{ heapIndex: number; key: number }>(({ key }) => key)
  const items = [5, 3, 3, 9, 1, 3, 7, 1].map((key) => ({ heapIndex: -1, key }))
  for (const item of items) heap.add(item)
  heap.remove(items[3] as (typeof items)[0])
  heap.remove(items[3] as (typeof items)[0])
  const out: number[] = []
  for (let first = heap.first(); first !== undefined; first = heap.first()) {
    out.push(first.key)
    heap.remove(first)
  }
  expect(out).toEqual([1, 1, 3, 3, 3, 5, 7])
  expect(items.every(({ heapIndex }) => heapIndex === -1)).toBe(true)
})

const { opening, idle, checking, doubted, preparing, leased, resetting, closing, gone } = SlotState
const limits = (maxSize: number, minIdle = 0) => ({ maxSize, minIdle, maxIdle: maxSize })

/** Slots with as many idle connections. */
function filled(count: number, maxSize = count) {
  const slots = new Slots<object>(limits(maxSize))
  const all = Array.from({ length: count }, () => {
    const slot = slots.reserve(0, 0)
    slots.fill(slot, {}, 0, Infinity, false)
    return slot
  })
  return { slots, all }
}

test('slots: the legal moves, each and no other', () => {
  const legal: Record<number, readonly number[]> = {
    [opening]: [idle, closing, gone],
    [idle]: [checking, doubted, preparing, leased, closing],
    [checking]: [idle, doubted, closing],
    [doubted]: [idle, closing],
    [preparing]: [idle, closing],
    [leased]: [leased, idle, resetting, closing, gone],
    [resetting]: [idle, closing],
    [closing]: [gone],
    [gone]: [],
  }
  const states = Object.values(SlotState)
  expect(NEXT).toHaveLength(states.length)
  for (const from of states)
    expect(states.filter((to) => isLegal(from, to))).toEqual(legal[from]?.toSorted((a, b) => a - b))
})

test('slots: each state is counted, and what is in use, open, taken and arriving follows from it', () => {
  const { slots, all } = filled(6, 8)
  const [a, b, c, d, e, f] = all as [
    Slot<object>,
    Slot<object>,
    Slot<object>,
    Slot<object>,
    Slot<object>,
    Slot<object>,
  ]
  slots.reserve(0, 5)
  slots.check(a)
  slots.doubt(b)
  slots.prepare(c)
  slots.lease(d, 1)
  slots.lease(e, 1)
  slots.reset(e)
  expect(Object.values(SlotState).map((state) => slots.count(state))).toEqual([1, 1, 1, 1, 1, 1, 1, 0, 0])
  expect([slots.arriving, slots.inUse, slots.open, slots.taken, slots.idle]).toEqual([2, 5, 6, 7, 1])
  // No caller counts any longer on a check that is doubted.
  slots.doubt(a)
  expect([slots.arriving, slots.inUse]).toEqual([1, 5])
  slots.close(f, 'idle')
  expect([slots.open, slots.taken, slots.closed.idle, slots.freed]).toEqual([5, 7, 1, 0])
  slots.free(f)
  expect([slots.taken, slots.freed, f.state]).toEqual([6, 1, gone])
  slots.detach(d)
  expect([slots.taken, slots.detached]).toEqual([5, 1])
  // From one holder to the next nothing is counted but the use.
  slots.park(e)
  slots.lease(e, 2)
  const before = slots.count(leased)
  slots.handOver(e, 9)
  expect([slots.count(leased) - before, e.uses, e.leasedAt]).toEqual([0, 3, 9])
  expect(() => slots.handOver(a, 9)).toThrow('a hand-over of a connection that is not leased')
})

test('slots: an attempt is a slot; one of an old generation is no supply, and one beyond maxSize is impossible', () => {
  const slots = new Slots<object>(limits(2))
  const [old] = [slots.reserve(0, 0)]
  expect([old.state, old.id, old.openedAt, slots.openingCurrent]).toEqual([opening, 1, 0, 1])
  slots.nextGeneration()
  expect([slots.openingCurrent, slots.count(opening)]).toEqual([0, 1])
  const young = slots.reserve(1, 3)
  expect([slots.openingCurrent, young.generation]).toEqual([1, 1])
  expect(() => slots.reserve(1, 3)).toThrow('a slot beyond maxSize')
  slots.forfeit(old)
  expect([slots.openingCurrent, slots.failed, slots.taken]).toEqual([1, 1, 1])
  expect(() => slots.forfeit(old)).toThrow('a slot moved from 8 to 8')
  const connection = {}
  slots.fill(young, connection, 7, 99, true)
  expect([slots.added, slots.opened, young.openedAt, young.expiresAt]).toEqual([1, 0, 7, 99])
  expect([slots.has(connection), slots.has({}), slots.has(7 as never)]).toEqual([true, false, false])
})

test('slots: above a lowered maxSize there is a surplus; maxIdle that was not given follows it', () => {
  const { slots } = filled(3)
  expect(slots.hasSurplus).toBe(false)
  slots.limits.maxSize = 2
  expect(slots.hasSurplus).toBe(true)
  expect(slots.limits.maxIdle).toBe(Infinity)
  expect(new Slots<object>({ maxSize: 3, minIdle: 0, maxIdle: 2 }).limits.maxIdle).toBe(2)
})

test('slots: the idle ones in the order of their last use, and a visit ends where the next one was moved', () => {
  const { slots, all } = filled(3)
  const [first, second, third] = all as [Slot<object>, Slot<object>, Slot<object>]
  expect([slots.peekIdle('fifo'), slots.peekIdle('lifo')]).toEqual([first, third])
  // One that comes back from a check keeps its rank, one that was used is the newest.
  slots.check(second)
  slots.lease(first, 1)
  first.lastUsedAt = 5
  slots.park(first)
  slots.park(second)
  expect([...slots.idleSlots()]).toEqual([third, second, first])
  const visited: object[] = []
  for (const slot of slots.idleSlots()) {
    visited.push(slot)
    if (slot === second) slots.check(first)
  }
  expect(visited).toEqual([third, second])
  expect(slots.in(checking)).toEqual([first])
  expect([...slots.all()]).toHaveLength(3)
})

test('abort watchers: each remaining caller is notified once, in the order of arrival', () => {
  const told: string[] = []
  const watchers = new AbortWatchers<string>((name, reason) => told.push(`${name} ${String(reason)}`))
  const controller = new AbortController()
  const watches = ['a', 'b', 'c', 'd', 'e'].map((name) => watchers.watch(controller.signal, name))
  // From the middle, from the end, from the front, and one twice.
  for (const place of [1, 4, 0, 1]) {
    const watch = watches[place]
    if (watch !== undefined) watchers.end(watch)
  }
  watches.push(watchers.watch(controller.signal, 'f'))
  controller.abort('why')
  expect(told).toEqual(['c why', 'd why', 'f why'])
  for (const watch of watches) watchers.end(watch)
  expect(watches.map(({ previous, next }) => previous ?? next)).toEqual(watches.map(() => undefined))
})

test('a lease that was released has no connection', async () => {
  const pool = new Pool(new ScriptedManager(), { clock: new VirtualClock() })
  const lease = await pool.acquire()
  expect(Lease.connectionOf(lease)).toBe(1)
  lease.release()
  expect(Lease.connectionOf(lease)).toBeUndefined()
  expect(Lease.reasonToClose(lease, new Error('late'))).toBeUndefined()
})

test('a slot begins as an attempt that has served no caller; a gone one goes nowhere', () => {
  const slot = new Slot<object>(1, 2, 3, 5)
  expect(slot).toMatchObject({ id: 1, generation: 2, round: 3, openedAt: 5, state: opening })
  expect(slot).toMatchObject({
    lost: false,
    hasServed: false,
    uses: 0,
    expiresAt: Infinity,
    connection: undefined,
  })
  for (const to of Object.values(SlotState)) expect(isLegal(gone, to)).toBe(false)
})

test('waiters: the earliest of ordered and unordered deadlines is found, waiters without one never, and an empty level is dropped', () => {
  const waiters = new Waiters<object>(100)
  const [late, early, never, same] = [waiter(300), waiter(100), waiter(Infinity), waiter(300)]
  for (const each of [late, early, never, same]) waiters.add(each, 0)
  expect(waiters.soonest()).toBe(early)
  expect(early.heapIndex).toBe(0)
  // In order: they cost no heap.
  expect([late.heapIndex, same.heapIndex, never.heapIndex]).toEqual([-1, -1, -1])
  waiters.remove(early)
  expect(waiters.soonest()).toBe(late)
  waiters.remove(late)
  expect(waiters.soonest()).toBe(same)
  waiters.remove(same)
  expect(waiters.soonest()).toBeUndefined()
  expect(waiters.head()).toBe(never)
  const urgent = waiter(50)
  waiters.add(urgent, -1)
  expect(waiters.head()).toBe(urgent)
  waiters.remove(urgent)
  waiters.remove(urgent)
  expect([waiters.head(), waiters.size]).toEqual([never, 1])
})

test('waiters: a retrying caller ranks first, callers of another priority do not count, and none is counted beyond the limit', () => {
  const waiters = new Waiters<object>(100)
  const [first, second, retry, low] = [waiter(100), waiter(100), waiter(100, 7), waiter(100)]
  retry.isRetry = true
  waiters.add(low, 1)
  for (const each of [first, second, retry]) waiters.add(each, 0)
  expect([first.place, waiter(100).place, waiter(100).heapIndex]).toEqual([0, -1, -1])
  expect([retry, first, second, low].map((each) => waiters.rankOf(each, 10))).toEqual([0, 1, 2, 3])
  expect([retry, first, second, low].map((each) => waiters.rankOf(each, 1))).toEqual([0, 1, 1, 1])
  for (const each of [retry, first, second]) waiters.remove(each)
  expect([waiters.rankOf(low, 10), waiters.head()]).toEqual([0, low])
  waiters.remove(low)
  expect(waiters.rankOf(low, 10)).toBe(0)
})

test('waiters: when the waiters with ordered deadlines have left, an earlier deadline is in order again', () => {
  const waiters = new Waiters<object>(100)
  const [late, early] = [waiter(300), waiter(100)]
  waiters.add(late, 0)
  waiters.remove(late)
  waiters.add(early, 0)
  expect([waiters.soonest(), early.heapIndex]).toEqual([early, -1])
})

test('a pending call: no timer without a limit, given up by name, and a late value goes to whoever closes it', async () => {
  const clock = new VirtualClock()
  const gate = Promise.withResolvers<number>()
  const late: number[] = []
  const pending = (limitMs: number) => {
    const controller = new AbortController()
    const bounds: Bounds<number> = {
      what: 'work',
      limitMs,
      controller,
      late: (value) => void late.push(value),
    }
    const call = new PendingCall(bounds, gate.promise, clock)
    return { call, signal: controller.signal }
  }
  const given = pending(Infinity)
  expect(clock.timers).toBe(0)
  const slow = pending(50)
  expect([clock.timers, clock.refTimers]).toEqual([1, 0])
  given.call.abandon()
  given.call.abandon()
  expect(await given.call.outcome).toEqual({ ok: false, error: new AbandonedError('work') })
  expect(String(given.signal.reason)).toBe('AbandonedError: work was abandoned')
  await clock.advance(49)
  expect(slow.signal.aborted).toBe(false)
  await clock.advance(1)
  expect(await slow.call.outcome).toEqual({ ok: false, error: new TimeLimitError('work', 50) })
  expect(String(slow.signal.reason)).toBe('TimeLimitError: work took longer than 50 ms')
  const answered = pending(100)
  gate.resolve(7)
  await settle()
  expect(late).toEqual([7, 7])
  // One that has settled is not given up any more.
  answered.call.abandon()
  expect(await answered.call.outcome).toEqual({ ok: true, value: 7 })
  expect([answered.signal.aborted, clock.timers]).toEqual([false, 0])
})

test('a pending call: a limit that rings late is extended once, by the lateness, and never by more than itself', async () => {
  for (const [stallMs, extraMs] of [
    [21, 21],
    [500, 100],
  ] as const) {
    const clock = new VirtualClock()
    const controller = new AbortController()
    const pending = new PendingCall({ what: 'w', limitMs: 100, controller }, new Promise(() => {}), clock)
    clock.jump(100 + stallMs)
    await clock.advance(extraMs - 1)
    expect(controller.signal.aborted).toBe(false)
    // Once: a second stall is not forgiven.
    clock.jump(500)
    await clock.advance(1)
    expect(controller.signal.aborted).toBe(true)
    expect(await pending.outcome).toMatchObject({ ok: false })
  }
  const clock = new VirtualClock()
  const controller = new AbortController()
  const pending = new PendingCall({ what: 'w', limitMs: 100, controller }, new Promise(() => {}), clock)
  clock.jump(120)
  await clock.advance(0)
  expect(controller.signal.aborted).toBe(true)
  await pending.outcome
})

test('calls of user code: values, throws, thenables, and what is none; one context for all', async () => {
  const clock = new VirtualClock()
  const calls = new UserCalls(clock)
  // null and an object without a method then are values.
  for (const value of [null, {}, { then: 1 }, 'text'] as const)
    expect(calls.call<unknown>({ what: 'w', limitMs: 1 }, () => value)).toEqual({ ok: true, value })
  const error = new Error('thrown')
  const thrown = calls.call({ what: 'w', limitMs: 1 }, () => {
    throw error
  })
  expect(thrown).toEqual({ ok: false, error })
  // A value whose then throws is a failure like any other.
  const trap = Object.defineProperty({}, 'then', {
    get: () => {
      throw error
    },
  })
  expect(calls.call<unknown>({ what: 'w', limitMs: 1 }, () => trap)).toEqual({ ok: false, error })
  expect(await calls.outcome({ what: 'w', limitMs: 1 }, () => Promise.reject(error))).toEqual({
    ok: false,
    error,
  })
  expect(calls.call({ what: 'w', limitMs: 1 }, async () => 1)).toBeInstanceOf(PendingCall)
  expect(clock.timers).toBe(1)
})

test('marks: a context keeps its hook and its holdings, also after a wait, and those of another pool', async () => {
  const [marks, others] = [new AsyncMarks(), new AsyncMarks()]
  expect(marks.current).toBeUndefined()
  const mark = marks.holder()
  const seen: unknown[] = []
  const look = (): unknown => seen.push(marks.current?.hook ?? marks.current?.holds)
  await marks.run(mark, async () => {
    look()
    await settle()
    look()
    marks.runHook('beforeAcquire', look)
    await others.run(others.holder(), async () => {
      await settle()
      look()
      expect(others.current?.holds).toBe(true)
    })
    expect(others.current).toBeUndefined()
    mark.holds = false
    look()
  })
  expect(seen).toEqual([true, true, 'beforeAcquire', true, undefined])
  expect(marks.current).toBeUndefined()
})

test('marks: the holders of siblings are known to each other, their hooks are not', () => {
  const one = new AsyncMarks()
  const sibling = new AsyncMarks(one)
  expect(one.run(one.holder(), () => sibling.current?.holds)).toBe(true)
  one.runHook('beforeAcquire', () => expect(sibling.current).toBeUndefined())
  one.nested()
  expect([sibling.hasNested, new AsyncMarks().hasNested]).toEqual([true, false])
})

test('marks: what a hook has left behind is no hook once it has settled', async () => {
  const marks = new AsyncMarks()
  const seen: unknown[] = []
  const ended = Promise.withResolvers<void>()
  const later: Promise<void>[] = []
  const hook = async (): Promise<void> => {
    later.push(
      ended.promise.then(settle).then(() => {
        seen.push(marks.current?.hook)
      }),
    )
    await settle()
    seen.push(marks.current?.hook)
  }
  await marks.runHook('afterConnect', hook)
  ended.resolve()
  await Promise.all(later)
  expect(() =>
    marks.runHook('afterRelease', () => {
      seen.push(marks.current?.hook)
      throw new Error('no')
    }),
  ).toThrow('no')
  expect(seen).toEqual(['afterConnect', undefined, 'afterRelease'])
})

test('marks: contexts that follow each other leave no chain', () => {
  const [marks, others] = [new AsyncMarks(), new AsyncMarks()]
  const depthOf = (mark: Mark | undefined): number => (mark === undefined ? 0 : 1 + depthOf(mark.outer))
  const follow = (count: number): number => {
    if (count === 0) return depthOf(marks.holder())
    const mark = (count % 2 === 0 ? marks : others).holder()
    return marks.run(mark, () => {
      mark.holds = false
      return follow(count - 1)
    })
  }
  expect(follow(100)).toBeLessThanOrEqual(2)
})

test('plain callers beyond a rank leave in order, from any block, and later callers may join', () => {
  for (const [left, count, keep] of [
    [0, 5, 0],
    [0, 5, 2],
    [0, 200, 63],
    [0, 200, 64],
    [0, 200, 65],
    [70, 200, 10],
    [63, 65, 1],
    [64, 64, 0],
    [10, 3, 7],
  ] as const) {
    const line = new PlainLine<object>(100)
    const rejected: number[] = []
    const served: number[] = []
    const add = (n: number): void =>
      line.add(
        () => served.push(n),
        () => rejected.push(n),
        n,
      )
    for (let n = 0; n < left + count; n++) add(n)
    for (let n = 0; n < left; n++) line.takeFirst()
    // The head may be one of those that leave.
    line.first()
    line.removeBeyond(keep, (reject) => reject(undefined))
    const kept = Math.min(keep, count)
    const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n)
    expect(rejected).toEqual(numbers(left + kept, left + count))
    expect(line.size).toBe(kept)
    for (let n = 1_000; n < 1_100; n++) add(n)
    expect(line.first()?.queuedAt).toBe(kept > 0 ? left : 1_000)
    while (line.size > 0) line.takeFirst()({} as never)
    expect(served).toEqual([...numbers(left, left + kept), ...numbers(1_000, 1_100)])
    expect(line.first()).toBeUndefined()
  }
})

test('waiters beyond a rank leave in the order of service, plain callers and others', () => {
  const build = () => {
    const waiters = new Waiters<object>(100)
    const told: string[] = []
    const named = new Map<unknown, string>()
    const plain = (name: string): void => {
      const reject = (): void => void told.push(name)
      waiters.plain.add(() => {}, reject, 0)
      named.set(reject, name)
    }
    const other = (name: string, priority: number, isRetry = false): void => {
      const each = new Waiter<object>(
        () => {},
        () => void told.push(name),
        0,
        100,
        isRetry ? 7 : 0,
      )
      each.isRetry = isRetry
      named.set(each, name)
      waiters.add(each, priority)
    }
    other('low', 1)
    plain('plain 1')
    other('same', 0)
    plain('plain 2')
    other('retry', 0, true)
    other('urgent', -1)
    plain('plain 3')
    return { waiters, told }
  }
  const order = ['urgent', 'retry', 'plain 1', 'same', 'plain 2', 'plain 3', 'low']
  for (let rank = 0; rank <= order.length + 1; rank++) {
    const { waiters, told } = build()
    waiters.removeBeyond(rank, (reject) => reject(undefined))
    expect(told.toSorted()).toEqual(order.slice(rank).toSorted())
    expect(waiters.size).toBe(Math.min(rank, order.length))
    // Those that are left are still served in their order.
    const served: string[] = []
    for (let head = waiters.head(); head !== undefined; head = waiters.head()) {
      head.reject(undefined)
      served.push(told.at(-1) as string)
      waiters.remove(head)
    }
    expect(served).toEqual(order.slice(0, rank))
  }
})

test('leaks: how long, where, what to do; each once, in their order', async () => {
  const clock = new VirtualClock(undefined, 1_000_000)
  const errors: PoolError[] = []
  const onError = (error: unknown): void => void errors.push(error as PoolError)
  const options = { name: 'exact', maxSize: 2, clock, leakThresholdMs: 100, onError }
  const pool = new Pool(new ScriptedManager(), options)
  const first = await pool.acquire()
  await clock.advance(40)
  const second = await pool.acquire()
  await clock.advance(59)
  expect(errors).toEqual([])
  await clock.advance(1)
  expect(errors.map(({ code, message }) => [code, message])).toEqual([
    [
      'LEASE_LEAKED',
      "a lease of pool 'exact' has been held for 100 ms. Release it when the work is done. The stack shows where it was acquired",
    ],
  ])
  expect(errors[0]?.state).toMatchObject({ maxSize: 2, inUse: 2 })
  expect(errors[0]?.stack).toMatch(
    /^PoolError: a lease of pool 'exact' has been held for 100 ms[^\n]*\n\s+at /,
  )
  expect(errors[0]?.stack).toContain('pieces.test.ts')
  second.release()
  await clock.advance(1_000)
  expect(errors).toHaveLength(1)
  first.release()
  expect(pool.look().connections.every(({ stack }) => stack === undefined)).toBe(true)
  // A third on the same connection is watched from its own beginning.
  const third = await pool.acquire()
  await clock.advance(100)
  expect(errors).toHaveLength(2)
  third.release()
  const closing = pool.close({ timeoutMs: 1 })
  await clock.advance(10)
  await closing
  expect(clock.timers).toBe(0)
})

test('the errors of connects and of a use after release say what to do', async () => {
  const clock = new VirtualClock()
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { name: 'exact', clock, maxSize: 1, retryConnect: false })
  manager.connects.push('fail')
  await expect(pool.acquire()).rejects.toMatchObject({
    message:
      "pool 'exact' could not connect: connect 1 failed. Check the server, its address and the credentials",
    state: { maxSize: 1 },
  })
  await clock.advance(1_000)
  const lease = await pool.acquire()
  lease.release()
  const message = "lease of pool 'exact' was used after release. Acquire a new lease"
  expect(() => lease.connection).toThrow(message)
  expect(() => lease.detach()).toThrow(message)
  try {
    lease.detach()
  } catch (error) {
    expect(error).toMatchObject({ pool: 'exact', state: { maxSize: 1 } })
  }
})

test('options at their limits', () => {
  const made = (options: object) => new Pool(new ScriptedManager(), options as never)
  for (const lifetimeJitter of [0, 1]) expect(() => made({ lifetimeJitter })).not.toThrow()
  for (const lifetimeJitter of [-0.1, 1.1, '0.5', Number.NaN])
    expect(() => made({ lifetimeJitter })).toThrow('lifetimeJitter must be a number from 0 to 1')
  for (const clock of [null, 1, undefined, { now: () => 0 }, { now: () => 0, setTimeout: () => {} }]) {
    if (clock === undefined) expect(() => made({ clock })).not.toThrow()
    else expect(() => made({ clock })).toThrow('clock must be a Clock: { now, setTimeout, clearTimeout }')
  }
  const refused = (manager: unknown): unknown => {
    try {
      return new Pool(manager as never)
    } catch (error) {
      return error
    }
  }
  for (const [manager, got] of [
    [undefined, 'undefined'],
    [null, 'null'],
    [{ connect: () => {} }, '{}'],
  ] as const) {
    const message = `manager must be an object with the methods connect, isValid, hasBroken, close (got ${got})`
    const error = refused(manager) as PoolOptionsError
    expect([error.name, error.option, error.message]).toEqual(['PoolOptionsError', 'manager', message])
  }
})

test('calls of a pool with what cannot be: the argument is named', async () => {
  const pool = new Pool(new ScriptedManager(), { clock: new VirtualClock() })
  for (const connection of [undefined, null])
    expect(() => pool.add(connection as never)).toThrow(
      expect.objectContaining({
        option: 'connection',
        message: expect.stringContaining(
          `connection must be an open connection that the pool does not have (got ${connection})`,
        ),
      }),
    )
  await expect(pool.run(undefined as never)).rejects.toMatchObject({ option: 'fn' })
  await pool.close()
  await expect(pool.dedicated()).rejects.toMatchObject({ code: 'POOL_CLOSED' })
  const open = new Pool(new ScriptedManager(), { clock: new VirtualClock() })
  await expect(open.dedicated({ signal: AbortSignal.abort('gone') })).rejects.toBe('gone')
})

test('close counts connections closed in time and forced closes', async () => {
  const clock = new VirtualClock()
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { clock, maxSize: 3 })
  ;(await pool.acquire()).destroy()
  await settle()
  const [held] = [await pool.acquire(), (await pool.acquire()).release()]
  const closing = pool.close({ timeoutMs: 100 })
  await clock.advance(100)
  expect(await closing).toEqual({ closed: 1, abandoned: 1 })
  expect(held?.connection.open).toBe(false)
  expect(clock.timers).toBe(0)
})

test('a forced close waits for a close that takes its time, but not forever', async () => {
  const clock = new VirtualClock()
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { clock, maxSize: 1, closeTimeoutMs: 5_000 })
  await pool.acquire()
  manager.closes.push('never')
  let isClosed = false
  const closing = pool.close({ timeoutMs: 100 }).then(() => (isClosed = true))
  await clock.advance(1_000)
  expect(isClosed).toBe(false)
  await clock.advance(150)
  await closing
})

test('a resize that another overtakes ends immediately', async () => {
  const pool = new Pool(new ScriptedManager(), { clock: new VirtualClock(), maxSize: 3 })
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  let ended = 0
  const first = pool.resize({ maxSize: 1 }).then(() => ended++)
  const second = pool.resize({ maxSize: 2 }).then(() => ended++)
  await first
  expect(ended).toBe(1)
  leases[0]?.release()
  await second
})

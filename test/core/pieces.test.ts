// The smallest pieces of the core by themselves, at their very limits.
import { expect, test } from 'vitest'

import { Signals, type Watch } from '../../src/core/abort.ts'
import { Alarm } from '../../src/core/alarm.ts'
import { Calls, TimeLimitError } from '../../src/core/calls.ts'
import { Events } from '../../src/core/events.ts'
import { Heap } from '../../src/core/heap.ts'
import { Lease } from '../../src/core/lease.ts'
import { Overload } from '../../src/core/overload.ts'
import { isLegal, Slot } from '../../src/core/slot.ts'
import { Slots } from '../../src/core/slots.ts'
import { Waiter } from '../../src/core/waiter.ts'
import { Waiters } from '../../src/core/waiters.ts'
import { type Clock, Pool, PoolError, PoolOptionsError } from '../../src/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { heard } from './exact-pool.ts'

const waiter = (timeoutMs: number, freshSince = 0): Waiter<object> =>
  new Waiter(
    () => {},
    () => {},
    0,
    timeoutMs,
    freshSince,
  )

test('overload: who is admitted, at each limit', () => {
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

test('overload: a new one sheds nobody, and one that stands still does after an interval', () => {
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

test('an alarm that keeps the process alive does so while it is set, also for ever, and not after', () => {
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

test('slots: a retiring one counts once, while it is idle, and one in a hook until it has left it', () => {
  const slots = new Slots<object>({ maxSize: 2, minIdle: 0 })
  const slot = slots.adopt({}, 0, 10)
  slots.rest(slot)
  slots.retire(slot)
  slots.retire(slot)
  expect(slots.retiring).toBe(1)
  slots.check(slot)
  expect([slots.retiring, slots.inHook]).toEqual([0, 0])
  slots.retire(slot)
  expect(slots.retiring).toBe(0)
  slots.enterHook(slot)
  expect(slots.inHook).toBe(1)
  slots.leaveHook(slot)
  slots.leaveHook(slot)
  expect(slots.inHook).toBe(0)
  slots.enterHook(slot)
  slots.close(slot, 'hook')
  expect([slots.inHook, slots.firstToExpire()]).toEqual([0, undefined])
  expect(() => new Slots<object>({ maxSize: 0, minIdle: 0 }).adopt({}, 0, 1)).toThrow(
    'a connection added beyond maxSize',
  )
  const detached = slots.adopt({}, 0, 10)
  expect(detached.id).toBe(2)
  slots.lease(detached, 0)
  slots.detach(detached)
  expect(slots.firstToExpire()).toBeUndefined()
  const ageless = new Slots<object>({ maxSize: 1, minIdle: 0 })
  ageless.adopt({}, 0, Infinity)
  expect(ageless.firstToExpire()).toBeUndefined()
})

test('slots: all that are in use are counted, and a visit ends where the next one was moved', () => {
  const slots = new Slots<object>({ maxSize: 5, minIdle: 0 })
  const [first, second, third] = [1, 2, 3].map(() => slots.adopt({}, 0, Infinity)) as [
    Slot<object>,
    Slot<object>,
    Slot<object>,
  ]
  for (const slot of [first, second, third]) slots.rest(slot)
  slots.check(first)
  slots.suspect(second)
  expect([slots.inUse, slots.open, slots.idle]).toEqual([2, 3, 1])
  slots.rest(first)
  slots.rest(second)
  const visited: object[] = []
  for (const slot of slots.idleSlots()) {
    visited.push(slot)
    if (slot === third) slots.check(first)
  }
  expect(visited).toEqual([third])
  // One that was retired, used and is idle again can be retired again.
  slots.retire(second)
  slots.lease(second, 1)
  slots.rest(second)
  expect(slots.retiring).toBe(0)
  slots.retire(second)
  expect(slots.retiring).toBe(1)
})

test('signals: each caller is told once, in the order in which they came, whoever has left', () => {
  const told: string[] = []
  const signals = new Signals<string>((name, reason) => told.push(`${name} ${String(reason)}`))
  const controller = new AbortController()
  const watches = ['a', 'b', 'c', 'd', 'e'].map((name) => signals.watch(controller.signal, name))
  // From the middle, from the end, from the front, and one twice.
  for (const place of [1, 4, 0, 1]) signals.end(watches[place] as Watch<string>)
  watches.push(signals.watch(controller.signal, 'f'))
  controller.abort('why')
  expect(told).toEqual(['c why', 'd why', 'f why'])
  for (const watch of watches) signals.end(watch)
  expect(watches.map(({ previous, next }) => previous ?? next)).toEqual(watches.map(() => undefined))
})

test('a lease that was given back has no connection', async () => {
  const pool = new Pool(new ScriptedManager(), { clock: new VirtualClock() })
  const lease = await pool.acquire()
  expect(Lease.connectionOf(lease)).toBe(1)
  lease.release()
  expect(Lease.connectionOf(lease)).toBeUndefined()
  expect(Lease.hasBroken(lease, new Error('late'))).toBe(false)
})

test('slots: of those that expire the first is known, in whatever order they came', () => {
  const slots = new Slots<object>({ maxSize: 3, minIdle: 0 })
  for (const expiresAt of [30, 10, 20]) slots.adopt({}, 0, expiresAt)
  const order: number[] = []
  for (let slot = slots.firstToExpire(); slot !== undefined; slot = slots.firstToExpire()) {
    order.push(slot.expiresAt)
    slots.forgetExpiry(slot)
  }
  expect(order).toEqual([10, 20, 30])
})

test('a slot begins leased to nobody, in no heap, not retiring; a gone one goes nowhere', () => {
  const slot = new Slot(1, {}, 0, 5, 10)
  expect([slot.heapIndex, slot.retiring, slot.lost, slot.inHook]).toEqual([-1, false, false, false])
  for (const to of [0, 1, 2, 3, 4, 5, 6] as const) expect(isLegal(6, to)).toBe(false)
})

test('waiters: the soonest of ordered and unordered deadlines, those without one never, and no level is kept for nobody', () => {
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

test('waiters: who retries ranks first, nobody of another priority counts, and none is counted beyond the limit', () => {
  const waiters = new Waiters<object>(100)
  const [first, second, retry, low] = [waiter(100), waiter(100), waiter(100, 7), waiter(100)]
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

test('waiters: once those whose deadlines were in order have left, an earlier deadline is in order again', () => {
  const waiters = new Waiters<object>(100)
  const [late, early] = [waiter(300), waiter(100)]
  waiters.add(late, 0)
  waiters.remove(late)
  waiters.add(early, 0)
  expect([waiters.soonest(), early.heapIndex]).toEqual([early, -1])
})

test('calls: a limit of Infinity makes no timer; one that was given up says so; a late value goes to whoever closes it', async () => {
  const clock = new VirtualClock()
  const calls = new Calls(clock, new Events('x', 1), undefined)
  const gate = Promise.withResolvers<number>()
  const outcomes: unknown[] = []
  const late: number[] = []
  const signals: AbortSignal[] = []
  const call = (limitMs: number) => {
    const controller = new AbortController()
    signals.push(controller.signal)
    return calls.bounded(
      { what: 'work', limitMs, run: () => gate.promise, controller },
      (outcome) => outcomes.push(outcome),
      (value) => late.push(value),
    )
  }
  const giveUp = call(Infinity)
  expect(clock.timers).toBe(0)
  call(50)
  expect([clock.timers, clock.refTimers]).toEqual([1, 0])
  giveUp()
  giveUp()
  expect(String(signals[0]?.reason)).toBe('Error: work was given up')
  await clock.advance(50)
  expect(outcomes).toEqual([{ ok: false, error: new TimeLimitError('work', 50) }])
  expect(String(signals[1]?.reason)).toBe('TimeLimitError: work took longer than 50 ms')
  const answered = call(100)
  gate.resolve(7)
  await settle()
  expect(late).toEqual([7, 7])
  // One that has answered is not given up any more.
  answered()
  expect([outcomes.at(-1), signals[2]?.aborted, clock.timers]).toEqual([{ ok: true, value: 7 }, false, 0])
  // null and an object without a method then are values.
  for (const value of [null, {}, { then: 1 }, 'text'] as const) {
    const seen: unknown[] = []
    calls.bounded({ what: 'w', limitMs: 1, run: () => value as unknown }, (outcome) => seen.push(outcome))
    expect(seen).toEqual([{ ok: true, value }])
  }
  const failures = heard('error')
  calls.report(new RangeError('nobody else is told'))
  expect(failures).toEqual([{ error: 'RangeError' }])
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
      "a lease of 'exact' has been held for 100 ms: release it when the work is done. It was acquired where the stack says",
    ],
  ])
  expect(errors[0]?.state).toMatchObject({ maxSize: 2, inUse: 2 })
  expect(errors[0]?.stack).toMatch(/^PoolError: a lease of 'exact' has been held for 100 ms[^\n]*\n\s+at /)
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
    message: "'exact' could not connect: connect 1 failed. Check the server, its address and the credentials",
    state: { maxSize: 1 },
  })
  const waiting = pool.acquire()
  await clock.advance(1_000)
  const lease = await waiting
  lease.release()
  expect(() => lease.connection).toThrow("use of a lease of 'exact' that was given back")
  expect(() => lease.detach()).toThrow("detach of a lease of 'exact' that was given back")
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
    expect(() => made({ lifetimeJitter })).toThrow('allowed is a number from 0 to 1')
  for (const clock of [null, 1, undefined, { now: () => 0 }, { now: () => 0, setTimeout: () => {} }]) {
    if (clock === undefined) expect(() => made({ clock })).not.toThrow()
    else expect(() => made({ clock })).toThrow('allowed is a Clock: { now, setTimeout, clearTimeout }')
  }
  const refused = (manager: unknown): unknown => {
    try {
      return new Pool(manager as never)
    } catch (error) {
      return error
    }
  }
  for (const [manager, message] of [
    [
      undefined,
      'manager is undefined: allowed is an object with the methods connect, isValid, hasBroken, close',
    ],
    [null, 'manager is null: allowed is an object with the methods connect, isValid, hasBroken, close'],
    [
      { connect: () => {} },
      'manager has no method isValid: allowed is an object with the methods connect, isValid, hasBroken, close',
    ],
  ] as const) {
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
        message: expect.stringContaining(`connection is ${connection}`),
      }),
    )
  await expect(pool.run(undefined as never)).rejects.toMatchObject({ option: 'fn' })
  await pool.close()
  await expect(pool.dedicated()).rejects.toMatchObject({ code: 'POOL_CLOSED' })
  const open = new Pool(new ScriptedManager(), { clock: new VirtualClock() })
  await expect(open.dedicated({ signal: AbortSignal.abort('gone') })).rejects.toBe('gone')
})

test('close counts what it closed in time and what by force', async () => {
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

test('a close by force waits for a close that takes its time, but not for ever', async () => {
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

test('a resize that another overtakes ends at once', async () => {
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

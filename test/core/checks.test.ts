// The checks and hooks of a connection: who is asked what and when, and what is said of a failure.
import { expect, test } from 'vitest'

import { textOf } from '../../src/core/contract/messages.ts'
import { Pool } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { make } from './exact-pool.ts'

const never = (): Promise<never> => new Promise(() => {})

/** A manager that remembers whom isValid was asked about, and answers as a test says. */
class Asked extends ScriptedManager {
  readonly asked: number[] = []
  readonly checkSignals: AbortSignal[] = []
  answer: (connection: ScriptedConnection) => boolean | Promise<boolean> = () => true

  override isValid(connection: ScriptedConnection, signal?: AbortSignal): Promise<boolean> {
    this.asked.push(connection.id)
    if (signal !== undefined) this.checkSignals.push(signal)
    return this.answer(connection) as Promise<boolean>
  }
}

/** A pool of as many idle connections, in the order of their numbers. */
async function idle(
  count: number,
  options: ConstructorParameters<typeof Pool>[1] = {},
  methods: object = {},
) {
  const manager = Object.assign(new Asked(), methods)
  const clock = new VirtualClock(undefined, 1_000_000)
  const errors: { code: string; message: string; cause: unknown }[] = []
  const pool = new Pool(manager, {
    clock,
    name: 'exact',
    maxSize: count,
    validationBypassMs: 0,
    queueStrategy: 'fifo',
    onError: (error: unknown) => void errors.push(error as (typeof errors)[0]),
    ...options,
  } as never)
  const leases = await Promise.all(Array.from({ length: count }, async () => await pool.acquire()))
  for (const lease of leases) lease.release()
  return { manager, clock, pool, errors }
}

test('an isValid that says no is no failure, one that takes too long is, by its name and limit', async () => {
  const { manager, clock, pool, errors } = await idle(1, { validationTimeoutMs: 50 })
  manager.answer = ({ id }) => id !== 1
  ;(await pool.acquire()).release()
  expect(errors).toEqual([])
  manager.answer = never
  const waiting = pool.acquire()
  await clock.advance(50)
  expect(errors.map(({ code, cause }) => [code, textOf(cause)])).toEqual([
    ['CHECK_FAILED', 'isValid took longer than 50 ms'],
  ])
  ;(await waiting).release()
})

test('while suspects of a silent server are checked, a caller gets a new connection; else it waits for them', async () => {
  for (const [answer, opened] of [
    [never, 1],
    [() => Promise.reject(new Error('no')), 0],
    [async () => false, 0],
  ] as const) {
    const { manager, clock, pool } = await idle(3, { maxSize: 6, validationTimeoutMs: 50 })
    const first = Promise.withResolvers<boolean>()
    manager.answer = ({ id }) => (id === 1 ? first.promise : never())
    const waiting = pool.acquire()
    expect(manager.asked).toEqual([1])
    if (answer === never) await clock.advance(50)
    else first.resolve(answer())
    await settle()
    // The two others are asked at once.
    expect(manager.asked).toEqual([1, 2, 3])
    expect(manager.calls.connect - 3).toBe(opened)
    waiting.catch(() => {})
  }
})

test('the timeout of a caller while suspects are checked has the phase check', async () => {
  const { manager, clock, pool } = await idle(3, { validationTimeoutMs: 50 })
  manager.always.close = 'never'
  manager.answer = never
  const waiting = pool.acquire({ timeoutMs: 60 }).catch((error: unknown) => error)
  // The others are checked after a quarter of that, and fail after 50 ms.
  await clock.advance(60)
  expect(manager.asked).toEqual([1, 2, 3])
  expect(await waiting).toMatchObject({ phase: 'check' })
})

test('a reset is no check: where each checkout has one, the next caller waits for it', async () => {
  for (const reset of [() => {}, async () => {}]) {
    const { manager, pool } = await idle(1, {}, { reset })
    const lease = await pool.acquire()
    expect(manager.asked).toEqual([1])
    const next = pool.acquire()
    lease.release()
    ;(await next).release()
    expect(manager.asked).toEqual([1, 1])
  }
})

test('after one failed check every other idle connection is checked once; a connection that passed since is not, nor is one for the failure of another', async () => {
  const { manager, pool } = await idle(4)
  const gates = new Map<number, PromiseWithResolvers<boolean>>()
  manager.answer = ({ id }) => {
    const gate = Promise.withResolvers<boolean>()
    gates.set(id, gate)
    return gate.promise
  }
  const waiting = pool.acquire()
  gates.get(1)?.resolve(false)
  await settle()
  expect(manager.asked).toEqual([1, 2, 3, 4])
  gates.get(2)?.resolve(true)
  ;(await waiting).release()
  gates.get(3)?.resolve(false)
  await settle()
  gates.get(4)?.resolve(true)
  await settle()
  expect(manager.asked).toEqual([1, 2, 3, 4])
})

test('a check that fails does not doubt a connection whose own check began later', async () => {
  const { manager, clock, pool } = await idle(2, { validationBypassMs: 10 })
  await clock.advance(20)
  const first = Promise.withResolvers<boolean>()
  manager.answer = ({ id }) => (id === 1 ? first.promise : true)
  const waiting = [pool.acquire(), pool.acquire()]
  for (const each of waiting) (await each).release()
  expect(manager.asked).toEqual([1, 2])
  first.resolve(false)
  await settle()
  expect(pool.state()).toMatchObject({ idle: 1, statistics: { closed: { invalid: 1 } } })
  expect(manager.asked).toEqual([1, 2])
})

test('a check or a hook whose connection is closed has its signal aborted, and leaves no timer', async () => {
  const checked = await idle(1, { validationTimeoutMs: 500 })
  checked.manager.answer = never
  checked.pool.acquire().catch(() => {})
  const closing = checked.pool.close()
  expect(checked.manager.checkSignals.map(({ reason }) => String(reason))).toEqual([
    'AbandonedError: isValid was abandoned',
  ])
  await settle()
  await closing
  expect(checked.clock.timers).toBe(0)

  // The check was over within its call: what is given up is the hook that follows.
  let hangs = false
  const hooked = await idle(1, { validationTimeoutMs: 500, beforeAcquire: () => (hangs ? never() : true) })
  hangs = true
  hooked.pool.acquire().catch(() => {})
  expect(hooked.manager.asked).toEqual([1])
  await hooked.pool.close()
  expect(hooked.clock.timers).toBe(0)
})

test('a caller whose connection was in a hook and left it does not make the next one wait for a hook', async () => {
  const { pool, clock } = make({ maxSize: 1, beforeAcquire: async () => {} })
  const lease = await pool.acquire()
  const late = pool.acquire({ timeoutMs: 10 }).catch((error: unknown) => error)
  await clock.advance(10)
  expect(await late).toMatchObject({ phase: 'queue' })
  lease.release()
})

test('a connection that a hook rejects is replaced after the backoff, while its own close takes its time', async () => {
  for (const beforeAcquire of [
    ({ id }: ScriptedConnection) => id !== 1,
    async ({ id }: ScriptedConnection) => id !== 1,
  ]) {
    const { pool, manager, errors, clock } = make({ maxSize: 2, beforeAcquire })
    manager.closes.push('never')
    const waiting = pool.acquire()
    await clock.advance(49)
    expect(manager.calls.connect).toBe(1)
    await clock.advance(50)
    const lease = await waiting
    expect(lease.connection.id).toBe(2)
    expect(pool.state()).toMatchObject({ closing: 1, inUse: 1 })
    // It had served nobody: a failed attempt, and the hook is named.
    expect(errors.map(({ code, message }) => [code, message])).toEqual([
      [
        'CONNECT_FAILED',
        "connect of pool 'exact' failed: hook beforeAcquire of pool 'exact' failed: it returned false",
      ],
    ])
    lease.release()
  }
})

test('an idle connection that is lost is replaced immediately, while its own close takes its time', async () => {
  const { pool, manager } = make({ minIdle: 1, maxSize: 2 })
  await settle()
  ;(await pool.acquire()).release()
  manager.closes.push('never')
  const [first] = manager.connections
  first?.lost()
  await settle()
  expect(pool.state()).toMatchObject({ closing: 1, idle: 1 })
})

test('a hook that answers synchronously may close the pool: its connection is closed once, and no caller gets it', async () => {
  const { pool, manager, errors } = make({ maxSize: 1, beforeAcquire: () => void closing.push(pool.close()) })
  const closing: Promise<unknown>[] = []
  await expect(pool.acquire()).rejects.toMatchObject({ code: 'POOL_CLOSED' })
  await Promise.all(closing)
  expect([manager.calls.close, manager.open, errors]).toEqual([1, 0, []])
  expect(pool.state()).toMatchObject({ connections: 0, closing: 0 })
})

test('a reset or an afterRelease that fails is reported as a hook, one that takes too long by its name', async () => {
  class Resetting extends ScriptedManager {
    reset(): Promise<void> {
      return never()
    }
  }
  const clock = new VirtualClock(undefined, 1_000_000)
  const errors: { code: string; message: string; cause: unknown }[] = []
  const onError = (error: unknown): void => void errors.push(error as (typeof errors)[0])
  const pool = new Pool(new Resetting(), {
    clock,
    name: 'exact',
    maxSize: 1,
    validationTimeoutMs: 50,
    onError,
  })
  ;(await pool.acquire()).release()
  await clock.advance(50)
  expect(errors.map(({ code, message, cause }) => [code, message, textOf(cause)])).toEqual([
    [
      'HOOK_FAILED',
      "reset of pool 'exact' failed: reset took longer than 50 ms",
      'reset took longer than 50 ms',
    ],
  ])
})

test('a returned connection is reset before afterRelease runs, and false from either closes it', async () => {
  for (const [refuses, told] of [
    ['nobody', ['reset 1', 'afterRelease 1']],
    ['reset', ['reset 1']],
    ['afterRelease', ['reset 1', 'afterRelease 1']],
  ] as const) {
    const said: string[] = []
    class Resetting extends ScriptedManager {
      reset({ id }: ScriptedConnection): boolean {
        said.push(`reset ${id}`)
        return refuses !== 'reset'
      }
    }
    const manager = new Resetting()
    const pool = new Pool(manager, {
      maxSize: 1,
      clock: new VirtualClock(),
      afterRelease: ({ id }) => {
        said.push(`afterRelease ${id}`)
        return refuses !== 'afterRelease'
      },
    })
    ;(await pool.acquire()).release()
    expect([said, pool.state().idle]).toEqual([told, refuses === 'nobody' ? 1 : 0])
    await settle()
    expect(manager.open).toBe(refuses === 'nobody' ? 1 : 0)
  }
})

test('a reset that answers synchronously may close the pool, clear it, or break its connection: it is closed at its next return at the latest', async () => {
  for (const disturb of ['close', 'clear', 'lost', 'broken'] as const) {
    let isDone = false
    const reset = (connection: ScriptedConnection): void => {
      if (isDone) return
      isDone = true
      expect(pool.state()).toMatchObject({ inUse: 1, idle: 0 })
      if (disturb === 'close') void pool.close()
      else if (disturb === 'clear') pool.clear()
      else if (disturb === 'lost') connection.lost()
      else connection.broken = true
    }
    const pool = new Pool(Object.assign(new ScriptedManager(), { reset }), { maxSize: 1 })
    const holding = await pool.acquire()
    const first = holding.connection
    const waiting = pool.acquire()
    holding.release()
    await settle()
    expect(isDone).toBe(true)
    // The return came first, what the reset called comes after it; hasBroken is asked again.
    const lease = await waiting
    expect(lease.connection.id).toBe(disturb === 'broken' ? 2 : 1)
    lease.release()
    await settle()
    expect(first.open).toBe(false)
  }
})

test('a reset that takes a signal gets one of its own, aborted when it takes too long; one that declares none gets none', async () => {
  const given: unknown[][] = []
  const hang = (...all: unknown[]): Promise<void> => {
    given.push(all)
    return never()
  }
  const resets = {
    one(_connection: ScriptedConnection) {
      return hang(...arguments)
    },
    two: (connection: ScriptedConnection, signal: AbortSignal) => hang(connection, signal),
    any: (...all: unknown[]) => hang(...all),
  }
  for (const [name, reset] of Object.entries(resets)) {
    given.length = 0
    const { manager, clock, pool, errors } = await idle(2, { validationTimeoutMs: 50 }, { reset() {} })
    Object.assign(manager, { reset })
    const leases = [await pool.acquire(), await pool.acquire()]
    for (const lease of leases) lease.release()
    await clock.advance(50)
    expect(errors.map(({ code, cause }) => [code, textOf(cause)])).toEqual([
      ['HOOK_FAILED', 'reset took longer than 50 ms'],
      ['HOOK_FAILED', 'reset took longer than 50 ms'],
    ])
    expect(manager.open).toBe(0)
    const signals = given.map(([, signal]) => signal)
    if (name === 'one') expect(signals).toEqual([undefined, undefined])
    else {
      expect(signals).toEqual([expect.any(AbortSignal), expect.any(AbortSignal)])
      expect(signals[0]).not.toBe(signals[1])
      expect(signals.map((signal) => (signal as AbortSignal).aborted)).toEqual([true, true])
    }
  }
})

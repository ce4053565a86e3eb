// run with a signal, and the options maxIdle and allowExitOnIdle.
import { expect, test } from 'vitest'

import { ScriptedManager, type ScriptedConnection, settle } from '../../src/testing/index.ts'
import { runScript } from '../scripts.ts'
import { make } from './exact-pool.ts'

/** A manager that can cancel: it notes whom, and lets the test answer. */
class Cancelling extends ScriptedManager {
  readonly cancelled: number[] = []
  readonly cancelSignals: AbortSignal[] = []
  answer: () => void | Promise<void> = () => {}

  cancel(connection: ScriptedConnection, signal: AbortSignal): void | Promise<void> {
    this.cancelled.push(connection.id)
    this.cancelSignals.push(signal)
    return this.answer()
  }
}

test('run with an idle connection calls its function synchronously, and passes it the signal', async () => {
  const { pool } = make({ maxSize: 1 })
  ;(await pool.acquire()).release()
  const { signal } = new AbortController()
  const seen: unknown[] = []
  const running = [
    pool.run(({ id }, context) => seen.push(id, context.signal), { signal }),
    pool.run((_, context) => seen.push(context.signal)),
  ]
  expect(seen).toEqual([1, signal])
  await Promise.all(running)
  expect(seen).toEqual([1, signal, undefined])
})

test('an abort while the function runs cancels its statement; run rejects with the reason once it has settled', async () => {
  const manager = new Cancelling()
  const { pool, clock } = make({ maxSize: 1 }, manager)
  const controller = new AbortController()
  const statement = Promise.withResolvers<never>()
  manager.answer = () => statement.reject(new Error('cancelled by the server'))
  const running = pool.run(() => statement.promise, { signal: controller.signal })
  await settle()
  expect(manager.cancelled).toEqual([])
  controller.abort(new Error('no longer wanted'))
  await expect(running).rejects.toThrow('no longer wanted')
  expect(manager.cancelled).toEqual([1])
  // The connection is well, and no timer is left for it.
  expect(pool.state()).toMatchObject({ idle: 1, inUse: 0 })
  expect(clock.refTimers).toBe(0)
  await clock.advance(10_000)
  expect(manager.calls.close).toBe(0)
})

test('a statement that does not end is destroyed after closeTimeoutMs, and its run rejects with the reason', async () => {
  const manager = new Cancelling()
  manager.answer = () => new Promise(() => {})
  const { pool, clock, errors } = make({ maxSize: 1, closeTimeoutMs: 300 }, manager)
  const controller = new AbortController()
  let isOver = false
  const running = pool
    .run(() => new Promise(() => {}), { signal: controller.signal })
    .catch((error: unknown) => ((isOver = true), error))
  await settle()
  controller.abort('why')
  await clock.advance(299)
  expect([isOver, pool.state().inUse]).toEqual([false, 1])
  await clock.advance(1)
  expect(await running).toBe('why')
  await settle()
  expect(manager.open).toBe(0)
  expect(pool.state().statistics.closed.destroyed).toBe(1)
  expect(manager.cancelSignals[0]?.aborted).toBe(true)
  expect(errors.map(({ message }) => message)).toEqual([
    "cancel of pool 'exact' failed: cancel took longer than 300 ms",
  ])
  ;(await pool.acquire()).release()
})

test('without cancel the signal ends the wait only, and is left to the function', async () => {
  const { pool } = make({ maxSize: 1 })
  const controller = new AbortController()
  const gate = Promise.withResolvers<string>()
  const running = pool.run(() => gate.promise, { signal: controller.signal })
  await settle()
  controller.abort('why')
  await settle()
  expect(pool.state().inUse).toBe(1)
  gate.resolve('done')
  expect(await running).toBe('done')
})

test('what was cancelled is not tried again, and a signal keeps no listener', async () => {
  const manager = new Cancelling()
  const { pool } = make({ maxSize: 1 }, manager)
  const { signal } = new AbortController()
  let listeners = 0
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
  signal.addEventListener = ((...args: Parameters<typeof add>) => (listeners++, add(...args))) as never
  signal.removeEventListener = ((...args: Parameters<typeof remove>) => (
    listeners--,
    remove(...args)
  )) as never
  for (let n = 0; n < 3; n++) await pool.run(async () => {}, { signal })
  await pool.run(() => Promise.reject(new Error('work')), { signal }).catch(() => {})
  expect(listeners).toBe(0)
  expect(manager.cancelled).toEqual([])
})

test('maxIdle: a returned connection above it is closed, unless a caller waits', async () => {
  const { pool, manager } = make({ maxSize: 5, maxIdle: 2 })
  const leases = await Promise.all([1, 2, 3, 4, 5].map(() => pool.acquire()))
  const waiting = pool.acquire()
  for (const lease of leases) lease.release()
  await settle()
  expect(pool.state()).toMatchObject({ idle: 2, inUse: 1 })
  ;(await waiting).release()
  await settle()
  expect(pool.state()).toMatchObject({ idle: 2, connections: 2 })
  expect(pool.state().statistics.closed.surplus).toBe(3)
  expect(manager.open).toBe(2)
})

test('allowExitOnIdle: an idle connection lets the process end, a leased one keeps it', async () => {
  const told: string[] = []
  const manager = Object.assign(new ScriptedManager(), {
    ref: ({ id }: ScriptedConnection) => void told.push(`ref ${id}`),
    unref: ({ id }: ScriptedConnection) => void told.push(`unref ${id}`),
  })
  const { pool } = make({ maxSize: 1, allowExitOnIdle: true }, manager)
  const lease = await pool.acquire()
  expect(told).toEqual([])
  lease.release()
  expect(told).toEqual(['unref 1'])
  const second = await pool.acquire()
  expect(told).toEqual(['unref 1', 'ref 1'])
  const next = pool.acquire()
  second.release()
  ;(await next).release()
  expect(told.at(-1)).toBe('unref 1')
  // Without the option nobody is asked.
  told.length = 0
  const plain = make({ maxSize: 1 }, manager)
  ;(await plain.pool.acquire()).release()
  expect(told).toEqual([])
})

test('promise 29: a process whose only remaining work is idle connections ends', async () => {
  const body = `
    import { Pool } from 'SRC/index.ts'
    const manager = {
      connect: async () => setInterval(() => {}, 1_000),
      isValid: () => true, hasBroken: () => false, close: clearInterval,
      ref: (timer) => timer.ref(), unref: (timer) => timer.unref(),
    }
    const pool = new Pool(manager, { minIdle: 2, allowExitOnIdle: true })
    await pool.run(() => new Promise((resolve) => setTimeout(resolve, 20)))
    const lease = await pool.acquire()
    setTimeout(() => { console.log('held'); lease.release() }, 50).unref()`
  expect(await runScript(body)).toBe('held')
})

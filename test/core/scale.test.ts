// Numbers that nobody plans for. bb8's name first, where its own suite has the same test.
import { getEventListeners } from 'node:events'

import { expect, test } from 'vitest'

import { explain, Pool } from '../../src/index.ts'
import { ScriptedManager, VirtualClock } from '../../src/testing/index.ts'

const make = (maxSize: number, acquireTimeoutMs = 1e9) =>
  new Pool(new ScriptedManager(), { clock: new VirtualClock(), maxSize, acquireTimeoutMs })

test('lots_of_waiters: 100,000 callers on 3 connections are all served', async () => {
  const pool = make(3)
  await Promise.all(Array.from({ length: 100_000 }, () => pool.run(() => {})))
  expect(pool.state().statistics.acquires).toMatchObject({ started: 100_000, pending: 0, timedOut: 0 })
})

test('close rejects 100,000 waiters immediately', async () => {
  const pool = make(1)
  await pool.acquire()
  const waits = Array.from({ length: 100_000 }, () => pool.acquire().catch((error: Error) => error.name))
  void pool.close()
  expect(new Set(await Promise.all(waits))).toEqual(new Set(['PoolClosedError']))
})

test('a pool of very many connections is explained too', async () => {
  const manager = {
    connect: async () => ({}),
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  }
  const pool = new Pool(manager, { maxSize: 200_000 })
  await Promise.all(Array.from({ length: 200_000 }, () => pool.acquire()))
  expect(explain(pool).condition).toBe('healthy')
})

test('a signal that a million acquires share keeps no listener, and no caller is warned', async () => {
  const warnings: string[] = []
  const warn = (warning: Error): void => void warnings.push(warning.message)
  process.on('warning', warn)
  const { signal } = new AbortController()
  const pool = make(10)
  let most = 0
  const caller = async (): Promise<void> => {
    for (let n = 0; n < 10_000; n++) {
      const lease = await pool.acquire({ signal })
      if (n % 1_000 === 0) most = Math.max(most, getEventListeners(signal, 'abort').length)
      lease.release()
    }
  }
  await Promise.all(Array.from({ length: 100 }, caller))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warn)
  expect(pool.state().statistics.acquires.started).toBe(1_000_000)
  expect([most, getEventListeners(signal, 'abort').length, warnings]).toEqual([1, 0, []])
})

// Leases that are held for too long or forgotten: who is told what, and when.
import { expect, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { collectGarbage } from './collect-garbage.ts'
import { heard, make } from './exact-pool.ts'

/** Calls, from as deep as that. */
function within<T>(depth: number, call: () => T): T {
  if (depth === 0) return call()
  // Not returned at once: a tail call leaves no frame in some engines.
  const result = within(depth - 1, call)
  return result
}

async function leakedStack(depth: number): Promise<string> {
  const { pool, clock } = make({ maxSize: 1, leakThresholdMs: 100 })
  const leaked = heard('leak')
  const lease = await within(depth, () => pool.acquire())
  await clock.advance(100)
  lease.release()
  return String(leaked[0]?.['stack'])
}

test('the stack of a leak is deep enough to leave the pool and its tracers, and as deep as Error.stackTraceLimit', async () => {
  const stack = await leakedStack(20)
  expect(stack).toMatch(/^Error: acquired here\n\s+at /)
  expect(stack).toContain('leakedStack')
  expect(await leakedStack(60)).not.toContain('leakedStack')
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 100
  try {
    expect(await leakedStack(60)).toContain('leakedStack')
    expect(Error.stackTraceLimit).toBe(100)
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
})

test('a lease of tryAcquire has its stack too', async () => {
  const { pool, clock } = make({ maxSize: 1, leakThresholdMs: 100 })
  const leaked = heard('leak')
  ;(await pool.acquire()).release()
  const tried = within(5, () => pool.tryAcquire())
  await clock.advance(100)
  tried?.release()
  expect(leaked).toMatchObject([{ stack: expect.stringContaining('within') }])
})

test('however many leases come and go, the time of the first is what is waited for', async () => {
  class Counting extends VirtualClock {
    set = 0
    override setTimeout(
      ...timer: Parameters<VirtualClock['setTimeout']>
    ): ReturnType<VirtualClock['setTimeout']> {
      this.set++
      return super.setTimeout(...timer)
    }
  }
  const clock = new Counting(undefined, 1_000_000)
  const leaked = heard('leak')
  const pool = new Pool(new ScriptedManager(), {
    clock,
    maxSize: 2,
    leakThresholdMs: 1_000,
    reapIntervalMs: 1e9,
  })
  const first = await pool.acquire()
  await clock.advance(600)
  // The deadline's, the connect's, and the first lease's.
  expect(clock.set).toBe(3)
  const second = await pool.acquire()
  const before = clock.set
  await clock.advance(1_000)
  expect(leaked.map(({ connection, heldMs }) => [connection, heldMs])).toEqual([
    [1, 1_000],
    [2, 1_000],
  ])
  // One for the second lease, when the first had been told.
  expect(clock.set - before).toBe(1)
  first.release()
  second.release()
})

test.skipIf(collectGarbage === undefined)(
  'a forgotten lease is taken back only where that is wanted, and it is told how long it was held and where it was acquired',
  async () => {
    for (const reclaimAbandoned of [true, false]) {
      const { pool, manager, clock, errors } = make({
        maxSize: 1,
        reclaimAbandoned,
        leakThresholdMs: Infinity,
      })
      const leaked = heard('leak')
      const held: unknown[] = []
      await (async () => void held.push(await pool.acquire()))()
      expect(pool.look().connections.map(({ stack }) => stack?.includes('leaks.test.ts'))).toEqual([
        reclaimAbandoned ? true : undefined,
      ])
      await clock.advance(500)
      // Forgotten only now: garbage may be collected at any time.
      held.length = 0
      for (let turn = 0; turn < 50 && leaked.length === 0; turn++) {
        collectGarbage?.()
        await settle()
      }
      expect(manager.open).toBe(reclaimAbandoned ? 0 : 1)
      expect(leaked).toEqual(
        reclaimAbandoned
          ? [{ connection: 1, heldMs: 500, stack: expect.stringContaining('acquired here') as string }]
          : [],
      )
      if (!reclaimAbandoned) continue
      const message =
        "a lease of pool 'exact' was garbage-collected unreleased after 500 ms, and its connection closed. " +
        'Release it when the work is done. The stack shows where it was acquired'
      expect(errors.map((error) => [error.code, error.message])).toEqual([['LEASE_ABANDONED', message]])
      expect(errors[0]?.stack?.split('\n', 2)).toEqual([
        `PoolError: ${message}`,
        expect.stringMatching(/^\s+at /) as string,
      ])
    }
  },
)

test.skipIf(collectGarbage === undefined)(
  'a forgotten lease is not taken back where only leaks are looked for',
  async () => {
    const { pool, manager, clock, errors } = make({ maxSize: 1, leakThresholdMs: 100 })
    await (async () => void (await pool.acquire()))()
    await clock.advance(100)
    for (let turn = 0; turn < 20; turn++) {
      collectGarbage?.()
      await settle()
    }
    expect(errors.map(({ code }) => code)).toEqual(['LEASE_LEAKED'])
    expect(manager.open).toBe(1)
    expect(pool.state()).toMatchObject({ inUse: 1 })
  },
)

test.skipIf(collectGarbage === undefined)(
  'a lease that was released, or whose connection had a forced close, is not taken for a forgotten one',
  async () => {
    const { pool, manager, clock, errors } = make({ maxSize: 2, reclaimAbandoned: true })
    await (async () => (await pool.acquire()).release())()
    // The same connection again.
    const lease = await pool.acquire()
    const forgotten: unknown[] = []
    await (async () => void forgotten.push(await pool.acquire()))()
    const collect = async (): Promise<void> => {
      for (let turn = 0; turn < 20; turn++) {
        collectGarbage?.()
        await settle()
      }
    }
    const closing = pool.close({ timeoutMs: 0 })
    await clock.advance(10)
    expect(await closing).toEqual({ closed: 0, abandoned: 2 })
    forgotten.length = 0
    await collect()
    expect([errors, manager.open]).toEqual([[], 0])
    lease.release()

    const other = make({ maxSize: 1, reclaimAbandoned: true })
    await (async () => (await other.pool.acquire()).release())()
    const held = await other.pool.acquire()
    await collect()
    expect([other.errors, other.manager.open]).toEqual([[], 1])
    held.release()
  },
)

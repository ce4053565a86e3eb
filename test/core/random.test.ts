// Random lives of a pool, with its invariants after every step. A failure prints its seed and the shortest story that shows it.
import fc from 'fast-check'
import { expect, test } from 'vitest'

import { isPoolError, type Lease, Pool } from '../../src/index.ts'
import {
  ScriptedManager,
  type ScriptedConnection,
  settle,
  type Step,
  VirtualClock,
} from '../../src/testing/index.ts'

const step = fc.constantFrom<Step>('ok', 'ok', 'ok', 'fail', 'throw', 'never', 'undefined')
const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      timeoutMs: fc.integer({ min: 0, max: 3_000 }),
      priority: fc.integer({ min: 0, max: 2 }),
      abort: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('release' as const, 'destroy' as const, 'detach' as const, 'break' as const),
      index: fc.nat(20),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('connects' as const, 'checks' as const, 'closes' as const),
      step,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('lost' as const, 'abort' as const), index: fc.nat(20) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('advance' as const), byMs: fc.integer({ min: 0, max: 2_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom('clear' as const, 'pause' as const, 'resume' as const, 'tryAcquire' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('resize' as const), maxSize: fc.integer({ min: 1, max: 6 }) }),
  },
)
const options = fc.record({
  maxSize: fc.integer({ min: 1, max: 6 }),
  minIdle: fc.integer({ min: 0, max: 1 }),
  validationBypassMs: fc.constantFrom(0, 100),
  maxConnecting: fc.constantFrom(1, 2, Infinity),
  maxWaiting: fc.constantFrom(3, Infinity),
  maxUses: fc.constantFrom(2, Infinity),
  maxLifetimeMs: fc.constantFrom(500, Infinity),
  idleTimeoutMs: fc.constantFrom(300, Infinity),
  keepaliveMs: fc.constantFrom(200, Infinity),
  queueStrategy: fc.constantFrom('fifo' as const, 'lifo' as const),
  overload: fc.constantFrom(undefined, { targetMs: 20, intervalMs: 100 }),
  leakThresholdMs: fc.constantFrom(100, Infinity),
  withHooks: fc.boolean(),
})

test('in any life of a pool nothing is lost, overfilled, handed out twice or left waiting next to an idle connection', async () => {
  await fc.assert(
    fc.asyncProperty(
      options,
      fc.array(action, { maxLength: 60 }),
      async ({ withHooks, ...given }, actions) => {
        const manager = new ScriptedManager()
        const clock = new VirtualClock()
        const hooks = withHooks
          ? {
              beforeAcquire: async () => {},
              afterRelease: () => true,
              afterConnect: async () => {},
              beforeClose: async () => {},
            }
          : {}
        const pool = new Pool(manager, {
          ...given,
          ...hooks,
          clock,
          connectTimeoutMs: 400,
          closeTimeoutMs: 300,
          validationTimeoutMs: 200,
          reapIntervalMs: 100,
          onError: () => {},
        })
        const held: Lease<ScriptedConnection>[] = []
        const owned = new Set<ScriptedConnection>()
        const controllers: AbortController[] = []
        let settled = 0
        let started = 0
        let hungCloses = 0
        let shrinking = false
        const hold = (lease: Lease<ScriptedConnection>): void => {
          expect(owned.has(lease.connection)).toBe(false)
          expect(lease.connection.open).toBe(true)
          owned.add(lease.connection)
          held.push(lease)
        }
        const check = (): void => {
          const state = pool.state()
          const { acquires, connects, added, closed, detached } = state.statistics
          expect(
            acquires.direct +
              acquires.waited +
              acquires.timedOut +
              acquires.aborted +
              acquires.refused +
              acquires.pending,
          ).toBe(acquires.started)
          expect(state.connections + detached + Object.values(closed).reduce((a, b) => a + b, 0)).toBe(
            connects.opened + added,
          )
          if (!shrinking)
            expect(state.connections + state.opening + state.closing).toBeLessThanOrEqual(state.maxSize)
          // Above a lowered maxSize nothing is handed out.
          const isAbove = state.connections + state.opening + state.closing > state.maxSize
          if (!state.paused && !isAbove) expect(Math.min(state.idle, state.waiting)).toBe(0)
          expect(state.inUse).toBeGreaterThanOrEqual(held.length)
        }
        const one = async (next: (typeof actions)[number]): Promise<void> => {
          if (next.do === 'acquire') {
            started++
            const controller = new AbortController()
            if (next.abort) controllers.push(controller)
            pool
              .acquire({ timeoutMs: next.timeoutMs, priority: next.priority, signal: controller.signal })
              .then(
                (lease) => (settled++, hold(lease)),
                (error: unknown) => (
                  settled++,
                  expect(isPoolError(error) || error === controller.signal.reason).toBe(true)
                ),
              )
          } else if (
            next.do === 'release' ||
            next.do === 'destroy' ||
            next.do === 'detach' ||
            next.do === 'break'
          ) {
            const lease = held.splice(next.index % Math.max(1, held.length), 1)[0]
            if (lease === undefined) return
            owned.delete(lease.connection)
            if (next.do === 'break') lease.connection.broken = true
            if (next.do === 'detach') lease.detach()
            else if (next.do === 'destroy') lease.destroy()
            else lease.release()
          } else if (next.do === 'connects' || next.do === 'checks' || next.do === 'closes') {
            if (next.do === 'closes' && next.step === 'never') hungCloses++
            manager[next.do].push(next.step)
          } else if (next.do === 'lost')
            manager.connections[next.index % Math.max(1, manager.connections.length)]?.lost()
          else if (next.do === 'abort')
            controllers.splice(next.index % Math.max(1, controllers.length), 1)[0]?.abort()
          else if (next.do === 'advance') await clock.advance(next.byMs)
          else if (next.do === 'resize') {
            shrinking = true
            await Promise.race([
              pool.resize({ maxSize: next.maxSize, minIdle: Math.min(1, next.maxSize) }),
              settle(),
            ])
          } else if (next.do === 'tryAcquire') {
            const lease = pool.tryAcquire()
            if (lease !== undefined) hold(lease)
          } else pool[next.do]()
        }
        for (const next of actions) {
          await one(next)
          check()
          await settle()
          check()
        }
        pool.resume()
        await clock.advance(4_000)
        expect(settled).toBe(started)
        check()
        const closing = pool.close({ timeoutMs: 100 })
        await clock.advance(2_000)
        await closing
        held.length = 0
        check()
        expect(clock.timers).toBe(0)
        expect(pool.state()).toMatchObject({ connections: 0, waiting: 0, opening: 0 })
        expect(hungCloses).toBeGreaterThanOrEqual(pool.state().closing)
      },
    ),
    { numRuns: Number(process.env['CENOTE_RUNS'] ?? 300) },
  )
}, 120_000)

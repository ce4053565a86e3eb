import { setImmediate as turnOfLoop } from 'node:timers/promises'

import { PoolGroup } from '../../src/group/index.ts'
import { isPoolError, type Lease } from '../../src/index.ts'
import { SimClock } from '../simulation/sim-clock.ts'
import { Oracle } from './oracle.ts'
import { type Plan, planOf } from './plan.ts'
import { BACKOFF, CLOSE_TIMEOUT_MS, CONNECT_TIMEOUT_MS, type Connection, Servers } from './server.ts'

/** What one lifetime was like. */
export interface Life {
  readonly served: number
  readonly opened: number
}

class Violation extends Error {}

/** Simulates one lifetime of a group on virtual time. Rejects at the first broken rule, with the seed in its message. */
export async function live(seed: number): Promise<Life> {
  const plan = planOf(seed)
  const { random } = plan
  const clock = new SimClock(random)
  let failure: Error | undefined
  const bad = (rule: string): void => {
    failure ??= new Violation(`seed ${seed} failed: ${rule} (at ${clock.now()} ms)`)
  }
  const servers = new Servers(plan, clock, bad)
  servers.setTotal(plan.total)
  const group = new PoolGroup<Connection>(servers.factory, {
    total: plan.total,
    perKey: plan.perKey,
    turnMs: plan.turnMs,
    failingShare: plan.failingShare,
    forgetAfterMs: plan.forgetAfterMs,
    maxKeys: plan.maxKeys,
    clock,
    pool: {
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      closeTimeoutMs: CLOSE_TIMEOUT_MS,
      idleTimeoutMs: 100,
      reapIntervalMs: 50,
      acquireTimeoutMs: 3_000,
      connectBackoff: BACKOFF,
    },
  })
  const oracle = new Oracle(plan, clock, group, servers, bad)
  let served = 0
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => clock.after(ms, resolve))
  const isExpected = (error: unknown, key: string): boolean => {
    if (error instanceof Error && error.message === 'away') return true
    if (!isPoolError(error)) return false
    const { code } = error
    if (code === 'CONNECT_FAILED') return plan.manners.get(key) === 'fatal' || plan.hasBadLoads
    if (code === 'POOL_CLOSED') return plan.hasChanges
    if (code === 'QUEUE_FULL') return plan.maxKeys < Infinity
    return code === 'ACQUIRE_TIMEOUT' && plan.manners.get(key) !== 'well'
  }
  const use = async (key: string, lease: Lease<Connection>, arrivedAtVersion: number): Promise<void> => {
    served++
    const { connection } = lease
    oracle.served(key, connection, arrivedAtVersion)
    await sleep(random.whole(0, plan.holdMs))
    const way = plan.isRough ? random.weighted({ release: 90, breaks: 4, destroy: 3, detach: 3 }) : 'release'
    oracle.beforeReturn(key, connection, way)
    if (way === 'destroy') lease.destroy()
    else if (way === 'detach') lease.detach()
    else lease.release()
    oracle.afterReturn(key, connection, way)
  }
  const caller = async (): Promise<void> => {
    const isHog = random.chance(plan.hogs)
    while (clock.now() < plan.untilMs && failure === undefined) {
      const key = isHog ? '0' : String(Math.floor(plan.keys * random.next() ** 2))
      const controller = new AbortController()
      if (plan.isRough && random.chance(0.15))
        clock.after(random.whole(0, 30), () => controller.abort(new Error('away')))
      const mayFail = plan.manners.get(key) !== 'well'
      const options = { signal: controller.signal, timeoutMs: mayFail ? 150 : 3_000 }
      const entry = oracle.arrived(key)
      try {
        const lease = await (random.chance(0.05)
          ? (group.tryAcquire(key) ?? undefined)
          : group.acquire(key, options))
        oracle.left(entry, lease !== undefined)
        if (lease !== undefined) await use(key, lease, entry.version)
      } catch (error) {
        oracle.left(entry, false)
        if (!isExpected(error, key)) bad(`a caller of key ${key} got ${String(error)}`)
        if (clock.now() < plan.untilMs) await sleep(1)
      }
      if (random.chance(0.5)) await sleep(random.whole(0, 40))
    }
  }
  const change = async (): Promise<void> => {
    while (clock.now() < plan.untilMs && failure === undefined) {
      await sleep(random.whole(10, 80))
      const key = String(random.whole(0, plan.keys - 1))
      const what = random.weighted({ clear: 4, clearAll: 1, remove: 2, resize: 3 })
      oracle.changed(what, key)
      if (what === 'clear') group.clear(key)
      else if (what === 'clearAll') group.clear()
      else if (what === 'remove') void group.remove(key, { timeoutMs: random.pick([0, 30]) })
      else {
        const total = random.whole(1, plan.total + 2)
        servers.setTotal(total)
        const resizing = group.resize({ total })
        void resizing.catch(() => {})
      }
      oracle.afterChange()
    }
  }
  const all = [...Array.from({ length: plan.callers }, caller), ...(plan.hasChanges ? [change()] : [])]
  let isDone = false
  void Promise.all(all).then(
    () => (isDone = true),
    (error: unknown) => bad(String(error)),
  )
  const step = async (until: number): Promise<boolean> => {
    const ran = clock.runNext(until)
    await turnOfLoop()
    oracle.settled()
    if (failure !== undefined) throw failure
    return ran
  }
  await turnOfLoop()
  while (!isDone) {
    if (!(await step(10_000)) && !isDone) bad(`callers wait forever: ${JSON.stringify(group.state())}`)
    if (failure !== undefined) throw failure
  }
  // Now every connection is idle for too long, every key is forgotten, and every backoff has run out.
  while (await step(clock.now() + 1_000));
  oracle.ended()
  await group.close()
  if (failure !== undefined) throw failure
  return { served, opened: servers.connections.length }
}

/** A plan in one line. */
export function describe(plan: Plan): string {
  const { random: _, manners, ...rest } = plan
  return JSON.stringify({ ...rest, manners: [...manners.values()].join(' ') })
}

import { channel } from 'node:diagnostics_channel'

import { afterEach, onTestFinished } from 'vitest'

import { CHANNELS, Pool, type PoolError, type PoolOptions } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'

interface Exact {
  readonly manager: ScriptedManager
  readonly clock: VirtualClock
  readonly pool: Pool<ScriptedConnection>
  readonly errors: PoolError[]
}

// An eighth open pool of one name is reported.
const pools: Pool<ScriptedConnection>[] = []
afterEach(() => {
  for (const pool of pools.splice(0)) void pool.close({ timeoutMs: 0 })
})

/** A pool of scripted connections on a virtual clock, which begins at a million; what it reports is in `errors`. */
export function make(
  options: PoolOptions<ScriptedConnection> = {},
  manager: ScriptedManager = new ScriptedManager(),
): Exact {
  const clock = new VirtualClock(undefined, 1_000_000)
  const errors: PoolError[] = []
  const pool = new Pool(manager, {
    clock,
    name: 'exact',
    onError: (error) => void errors.push(error as PoolError),
    ...options,
  })
  pools.push(pool)
  return { manager, clock, pool, errors }
}

/** What is told on a channel from now on until the test ends, without the pool's name and number. */
export function heard(name: keyof typeof CHANNELS): Record<string, unknown>[] {
  const messages: Record<string, unknown>[] = []
  const listen = (message: unknown): void => {
    const { pool: _, poolId: __, ...payload } = message as Record<string, unknown>
    messages.push(payload)
  }
  const source = channel(CHANNELS[name])
  source.subscribe(listen)
  onTestFinished(() => {
    source.unsubscribe(listen)
  })
  return messages
}

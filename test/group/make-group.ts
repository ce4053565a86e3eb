import { onTestFinished } from 'vitest'

import { type GroupOptions, type ManagerFactory, PoolGroup } from '../../src/group/index.ts'
import { type ScriptedConnection, ScriptedManager, VirtualClock } from '../../src/testing/index.ts'

interface Made {
  readonly group: PoolGroup<ScriptedConnection>
  readonly clock: VirtualClock
  /** The manager of a key, created before its first use: its steps may be set. */
  managerOf(key: string): ScriptedManager
  /** The keys for which the factory was called. */
  readonly loads: string[]
  readonly errors: unknown[]
  /** Connections that are open at the servers of all keys. */
  open(): number
}

/** A group of scripted connections on a virtual clock; at the end of the test it is closed. */
export function make(
  options: Partial<GroupOptions<ScriptedConnection>> = {},
  factory?: ManagerFactory<ScriptedConnection>,
): Made {
  const clock = new VirtualClock(undefined, 1_000_000)
  const managers = new Map<string, ScriptedManager>()
  const loads: string[] = []
  const errors: unknown[] = []
  const managerOf = (key: string): ScriptedManager => {
    const manager = managers.get(key) ?? new ScriptedManager()
    managers.set(key, manager)
    return manager
  }
  const { pool, ...rest } = options
  const group = new PoolGroup<ScriptedConnection>(
    (key, context) => {
      loads.push(key)
      return factory === undefined ? managerOf(key) : factory(key, context)
    },
    {
      name: 'tenants',
      total: 2,
      clock,
      pool: { onError: (error) => void errors.push(error), ...pool },
      ...rest,
    },
  )
  onTestFinished(async () => {
    const closing = group.close({ timeoutMs: 0 })
    await clock.advance(60_000)
    await closing
  })
  const open = (): number => [...managers.values()].reduce((sum, manager) => sum + manager.open, 0)
  return { group, clock, managerOf, loads, errors, open }
}

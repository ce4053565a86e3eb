import assert from 'node:assert/strict'

import type { ConnectionManager } from '../../core/contract/manager.ts'
import type { CaseDefinition } from './definition.ts'
import { countListeners, findCollector, listenersOf } from './footprint.ts'
import type { Trial } from './trial.ts'

// A manager that leaves one thing per connection or per check leaves this many. Fewer may be a cache, or the runtime's.
const TIMES = 12
const COLLECTIONS = 20

/** Checks that a manager leaves nothing behind, per connection or per check. */
export const leftoverCases: readonly CaseDefinition[] = [
  {
    title: 'leftovers: a closed connection leaves no timer and no listener',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      await openAndClose(trial, manager)
      await turn()
      const before = { timers: trial.footprint.timers, listeners: listenersOf(process) }
      for (let time = 0; time < TIMES; time++) await openAndClose(trial, manager)
      const timers = await timersSince(trial, before.timers)
      assert(timers < TIMES, `${timers} timers are left after ${TIMES} connections were closed`)
      const listeners = listenersOf(process) - before.listeners
      assert(
        listeners < TIMES,
        `${listeners} listeners are left on process after ${TIMES} connections were closed`,
      )
    },
  },
  {
    title: 'leftovers: a closed connection is not kept in memory',
    needs: [],
    run: async (trial) => {
      const collect = findCollector()
      // Without a collector to call, memory cannot be observed.
      if (collect === undefined) return
      const manager = trial.make()
      const traces: WeakRef<object>[][] = []
      for (let time = 0; time < TIMES; time++) traces.push(await openAndClose(trial, manager))
      let kept = TIMES
      for (let time = 0; time < COLLECTIONS && kept > TIMES / 2; time++) {
        await turn()
        collect()
        kept = traces.filter((refs) => refs.some((ref) => ref.deref() !== undefined)).length
      }
      assert(
        kept <= TIMES / 2,
        `${kept} of ${TIMES} closed connections are still referenced (by the manager, or by the faults of this test)`,
      )
      // The manager lives until here: what it keeps is not collected with it.
      await openAndClose(trial, manager)
    },
  },
  {
    title: 'leftovers: a check and a reset leave no timer and no listener',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const { connection } = await trial.open(manager)
      const measure = (): { timers: number; listeners: number } => ({
        timers: trial.footprint.timers,
        listeners: countListeners([connection, ...trial.socketsOf(connection)]) + listenersOf(process),
      })
      await checkAndReset(trial, manager, connection)
      await turn()
      const before = measure()
      for (let time = 0; time < TIMES; time++) await checkAndReset(trial, manager, connection)
      const timers = await timersSince(trial, before.timers)
      const after = measure()
      assert(timers < TIMES, `${timers} timers are left after ${TIMES} checks and resets`)
      const listeners = after.listeners - before.listeners
      assert(listeners < TIMES, `${listeners} listeners are left after ${TIMES} checks and resets`)
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

async function openAndClose<C>(trial: Trial<C>, manager: ConnectionManager<C>): Promise<WeakRef<object>[]> {
  const { connection, controller } = await trial.open(manager)
  const sockets = trial.socketsOf(connection)
  const check = new AbortController()
  assert.equal(
    await trial.isAccepted(manager, connection, check.signal),
    true,
    'a good connection is not valid',
  )
  trial.noListener(check.signal, 'isValid')
  await trial.close(manager, connection)
  trial.noListener(controller.signal, 'connect')
  const isShared = sockets.some((socket) => !socket.destroyed)
  const traces: unknown[] = isShared ? [connection] : [connection, ...sockets]
  return traces
    .filter((trace) => typeof trace === 'object' && trace !== null)
    .map((trace) => new WeakRef(trace))
}

async function checkAndReset<C>(
  trial: Trial<C>,
  manager: ConnectionManager<C>,
  connection: C,
): Promise<void> {
  const [check, reset] = [new AbortController(), new AbortController()]
  assert.equal(
    await trial.isAccepted(manager, connection, check.signal),
    true,
    'a good connection is not valid',
  )
  trial.noListener(check.signal, 'isValid')
  const isReset = await trial.inTime(Promise.resolve(manager.reset?.(connection, reset.signal)), 'reset')
  assert(isReset !== false, 'reset returned false for a connection in its first state')
  trial.noListener(reset.signal, 'reset')
}

// The timer of a dropped AbortSignal.timeout is cleared with the next garbage collection: it is not left.
async function timersSince<C>(trial: Trial<C>, before: number): Promise<number> {
  const collect = findCollector()
  for (let time = 0; time < COLLECTIONS; time++) {
    await turn()
    if (trial.footprint.timers - before < TIMES || collect === undefined) break
    collect()
  }
  return trial.footprint.timers - before
}

// A cleared timer and a closed handle are reported in a later turn of the event loop.
async function turn(): Promise<void> {
  for (let times = 0; times < 3; times++) await new Promise((resolve) => setImmediate(resolve))
}

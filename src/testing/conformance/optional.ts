import assert from 'node:assert/strict'
import type { Socket } from 'node:net'

import type { CaseDefinition } from './definition.ts'

// Longer than a cancel request takes to arrive. A late one would end the next statement.
const ROUNDS = 5

/** Checks `cancel`, `ref` and `unref` of a manager that has them. */
export const optionalCases: readonly CaseDefinition[] = [
  {
    title: 'cancel: an idle connection is good after it, and so is its next statement',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      if (manager.cancel === undefined) return
      const { connection, isLost } = await trial.open(manager)
      for (let round = 0; round < ROUNDS; round++) {
        const { signal } = new AbortController()
        await trial.inTime(Promise.resolve(manager.cancel(connection, signal)), 'cancel')
        trial.noListener(signal, 'cancel')
        await trial.use(manager, connection)
        assert.equal(manager.hasBroken(connection), false, 'hasBroken is not false after cancel')
        assert.equal(isLost(), false, 'cancel lost the connection')
      }
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'cancel: a running statement ends, and the connection is good after it',
    needs: ['longWork'],
    run: async (trial) => {
      const manager = trial.make()
      if (manager.cancel === undefined) return
      const { connection, isLost } = await trial.open(manager)
      const work = Promise.resolve(trial.faults.longWork?.(connection))
      const ended = work.then(
        () => {},
        () => {},
      )
      await new Promise((resolve) => setTimeout(resolve, 50))
      const cancelled = Promise.resolve(manager.cancel(connection, new AbortController().signal))
      await trial.inTime(Promise.all([cancelled, ended]), 'cancel of a running statement')
      for (let round = 0; round < ROUNDS; round++) await trial.use(manager, connection)
      assert.equal(manager.hasBroken(connection), false, 'hasBroken is not false after cancel')
      assert.equal(isLost(), false, 'cancel lost the connection')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'cancel: with a server that stopped answering, it settles when its signal is aborted',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      if (manager.cancel === undefined) return
      const { connection } = await trial.open(manager)
      proxy.blackhole()
      const controller = new AbortController()
      const timer = setTimeout(() => controller.abort(new Error('the cancel was given up')), 250)
      const cancelled = Promise.resolve(manager.cancel(connection, controller.signal)).catch(() => {})
      await trial.inTime(cancelled, 'cancel whose signal was aborted')
      clearTimeout(timer)
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'ref: unref lets the process end, and ref keeps it alive again',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      if (manager.ref === undefined && manager.unref === undefined) return
      assert(
        manager.ref !== undefined && manager.unref !== undefined,
        'a manager must have both ref and unref, or neither',
      )
      const { connection, isLost } = await trial.open(manager)
      // A connection without a socket of its own (a file) keeps nothing alive.
      const sockets = trial.socketsOf(connection).filter((socket) => hasRef(socket) !== undefined)
      for (let round = 0; round < 2; round++) {
        manager.unref(connection)
        const isKept = sockets.some((socket) => hasRef(socket) === true)
        assert(!isKept, 'an idle connection keeps the process alive after unref')
        manager.ref(connection)
        const isReleased = sockets.some((socket) => hasRef(socket) === false)
        assert(!isReleased, 'a connection does not keep the process alive after ref')
        await trial.use(manager, connection)
      }
      assert.equal(isLost(), false, 'unref lost the connection')
      manager.unref(connection)
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

// A TLS socket's handle answers for the socket beneath it. Undefined: this runtime does not report it.
function hasRef(socket: Socket): boolean | undefined {
  const handle = Reflect.get(socket, '_handle') as { hasRef?(): boolean } | null | undefined
  return handle?.hasRef?.()
}

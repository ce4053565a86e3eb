import assert from 'node:assert/strict'

import type { CaseDefinition } from './definition.ts'

// Time for a server to notice the end of a socket. It is not enough for a close that goes on in the background.
const NOTICE_MS = 250
// Time for work to reach the server.
const UNDER_WAY_MS = 50

/** Checks the behaviour of a manager when it closes a connection. */
export const closeCases: readonly CaseDefinition[] = [
  {
    title: 'close: the connection is gone at the server when it settles',
    needs: ['count'],
    run: async (trial) => {
      const manager = trial.make()
      const count = async () => (await trial.faults.count?.()) ?? Number.NaN
      // The server may still be ending the connections of the previous case.
      await trial.until(async () => (await count()) === 0, 'the server counts no connection')
      const { connection } = await trial.open(manager)
      await trial.until(async () => (await count()) === 1, 'the server counts one connection')
      await trial.close(manager, connection)
      await trial.until(
        async () => (await count()) === 0,
        'the server counts no connection after the close',
        NOTICE_MS,
      )
    },
  },
  {
    title: 'close: a connection that is running a statement is gone at the server when it settles',
    needs: ['count', 'longWork'],
    run: async (trial) => {
      const manager = trial.make()
      const count = async () => (await trial.faults.count?.()) ?? Number.NaN
      await trial.until(async () => (await count()) === 0, 'the server counts no connection')
      const { connection } = await trial.open(manager)
      Promise.resolve(trial.faults.longWork?.(connection)).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS))
      await trial.close(manager, connection)
      await trial.until(
        async () => (await count()) === 0,
        'the server counts no connection after the close of a busy one',
        NOTICE_MS,
      )
      await trial.nothingLeft()
    },
  },
  {
    title: 'close: it closes no other connection',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const [first, second] = [await trial.open(manager), await trial.open(manager)]
      await trial.close(manager, first.connection)
      await trial.use(manager, second.connection)
      assert.equal(manager.hasBroken(second.connection), false, 'another connection is broken')
      assert.equal(second.isLost(), false, 'another connection was reported lost')
      await trial.close(manager, second.connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'close: a connection that the server killed is closed, and leaves no socket behind',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const [first, second] = [await trial.open(manager), await trial.open(manager)]
      await trial.kill(first.connection)
      await trial.close(manager, first.connection)
      await trial.kill(second.connection)
      await trial.inTime(second.lost, 'lost() of a connection that the server killed')
      await trial.close(manager, second.connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'close: with a server that stopped answering, it settles and leaves no socket behind',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      proxy.blackhole()
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'close: in the middle of an exchange with a silent server, it settles and leaves no socket behind',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      proxy.blackhole()
      const { use = () => manager.isValid(connection, new AbortController().signal) } = trial.faults
      Promise.resolve()
        .then(() => use(connection))
        .catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS))
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

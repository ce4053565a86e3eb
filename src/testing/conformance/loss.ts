import assert from 'node:assert/strict'

import type { CaseDefinition } from './definition.ts'

// Time in which a driver that reconnects in the background does so.
const RECONNECT_MS = 300

/** Checks the behaviour of a manager when a connection dies. */
export const lossCases: readonly CaseDefinition[] = [
  {
    title: 'loss: a connection that the server kills is reported lost, and is broken from then on',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const { connection, lost } = await trial.open(manager)
      await trial.kill(connection)
      await trial.inTime(lost, 'lost() of a connection that the server killed')
      for (let time = 0; time < 3; time++)
        assert.equal(manager.hasBroken(connection), true, 'hasBroken is not true after lost()')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'loss: a connection whose network is cut is reported lost, and is broken from then on',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection, lost } = await trial.open(manager)
      proxy.cut()
      await trial.inTime(lost, 'lost() of a connection whose network was cut')
      assert.equal(manager.hasBroken(connection), true, 'hasBroken is not true after lost()')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'loss: a lost connection is not connected again',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection, lost } = await trial.open(manager)
      const { accepted } = proxy
      proxy.cut()
      await trial.inTime(lost, 'lost() of a connection whose network was cut')
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS))
      assert.equal(manager.hasBroken(connection), true, 'hasBroken is not true for a lost connection')
      const isAccepted = await trial.isAcceptedWithin(manager, connection, RECONNECT_MS)
      assert.equal(isAccepted, false, 'isValid is true for a lost connection')
      assert.equal(proxy.accepted, accepted, 'a lost connection was connected again, with a new session')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'loss: of one connection is not reported for another',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const [killed, spared] = [await trial.open(manager), await trial.open(manager)]
      await trial.kill(killed.connection)
      await trial.inTime(killed.lost, 'lost() of a connection that the server killed')
      assert.equal(manager.hasBroken(spared.connection), false, 'another connection is broken too')
      await trial.use(manager, spared.connection)
      assert.equal(spared.isLost(), false, 'another connection was reported lost')
      for (const { connection } of [killed, spared]) await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

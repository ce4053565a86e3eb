import assert from 'node:assert/strict'

import type { CaseDefinition } from './case.ts'

/** What a manager must do when a connection dies. */
export const lossCases: readonly CaseDefinition[] = [
  {
    title: 'loss: a connection that the server kills is reported lost, and is broken from then on',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const { connection, lost } = await trial.open(manager)
      await trial.kill(connection)
      await trial.inTime(lost, 'lost() of a connection that the server killed')
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
    title: 'loss: of one connection is not reported for another',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const [killed, spared] = [await trial.open(manager), await trial.open(manager)]
      let isSparedLost = false
      void spared.lost.then(() => (isSparedLost = true))
      await trial.kill(killed.connection)
      await trial.inTime(killed.lost, 'lost() of a connection that the server killed')
      assert.equal(manager.hasBroken(spared.connection), false, 'another connection is broken too')
      await trial.use(manager, spared.connection)
      assert.equal(isSparedLost, false, 'another connection was reported lost')
      for (const { connection } of [killed, spared]) await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

import assert from 'node:assert/strict'
import { inspect } from 'node:util'

import type { CaseDefinition } from './case.ts'

// Longer than any answer takes, shorter than the suite waits.
const PATIENCE_MS = 250

/** What a manager must do when it checks a connection. */
export const checkCases: readonly CaseDefinition[] = [
  {
    title: 'check: a good connection is valid and not broken, as often as it is asked',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const { connection, controller } = await trial.open(manager)
      for (let time = 0; time < 3; time++) {
        assert.equal(manager.hasBroken(connection), false, 'hasBroken is not false for a good connection')
        assert.equal(
          await trial.isAccepted(manager, connection, controller.signal),
          true,
          'isValid is not true for a good connection',
        )
      }
      await trial.use(manager, connection)
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: "check: an error of the caller's own work does not break a connection",
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const { connection } = await trial.open(manager)
      for (const error of [
        undefined,
        null,
        0,
        '',
        'a string',
        {},
        new Error('mine'),
        new TypeError('mine'),
      ]) {
        assert.equal(
          manager.hasBroken(connection, error),
          false,
          `hasBroken(connection, ${inspect(error)}) is not false`,
        )
      }
      await trial.use(manager, connection)
      await trial.close(manager, connection)
    },
  },
  {
    title: 'check: a connection that the server killed is not valid',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const { connection, controller } = await trial.open(manager)
      await trial.kill(connection)
      const isAccepted =
        !manager.hasBroken(connection) && (await trial.isAccepted(manager, connection, controller.signal))
      assert.equal(isAccepted, false, 'a connection that the server killed was found valid')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'check: of a server that stopped answering, it ends when it is given up, and not with yes',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      proxy.blackhole()
      const controller = new AbortController()
      const giveUp = setTimeout(() => controller.abort(new Error('given up')), PATIENCE_MS)
      trial.after(() => clearTimeout(giveUp))
      const isAccepted = await trial.isAccepted(manager, connection, controller.signal)
      assert.equal(isAccepted, false, 'a connection was found valid although its server did not answer')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

import assert from 'node:assert/strict'
import { inspect } from 'node:util'

import type { CaseDefinition } from './definition.ts'

// Longer than any answer takes, shorter than the suite waits.
const PATIENCE_MS = 250
const CHECKS = 6
// A delay of the network in each direction, and a rate at which a handshake arrives in small portions.
const DELAY_MS = 40
const NARROW = 6_000

/** Checks the behaviour of a manager when it validates a connection. */
export const checkCases: readonly CaseDefinition[] = [
  {
    title: 'check: a good connection is valid, not broken and not lost, at every check',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const { connection, isLost } = await trial.open(manager)
      for (let time = 0; time < CHECKS; time++) {
        assert.equal(manager.hasBroken(connection), false, 'hasBroken is not false for a good connection')
        assert.equal(
          await trial.isAccepted(manager, connection, new AbortController().signal),
          true,
          'isValid is not true for a good connection',
        )
        await trial.use(manager, connection)
      }
      assert.equal(isLost(), false, 'lost() was called for a good connection')
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
      for (const error of callerErrors()) {
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
    title: 'check: a slow network does not make a good connection invalid',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      proxy.slow({ delayMs: DELAY_MS })
      const { connection, isLost } = await trial.open(manager)
      const { signal } = new AbortController()
      assert.equal(await trial.isAccepted(manager, connection, signal), true, 'isValid is not true')
      await trial.use(manager, connection)
      assert.equal(isLost(), false, 'lost() was called for a good connection')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'check: answers that arrive in small portions are understood',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      proxy.slow({ bytesPerSecond: NARROW })
      const { connection } = await trial.open(manager)
      const { signal } = new AbortController()
      assert.equal(await trial.isAccepted(manager, connection, signal), true, 'isValid is not true')
      await trial.use(manager, connection)
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'check: a connection that the server killed is not valid',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const { connection } = await trial.open(manager)
      await trial.kill(connection)
      // Without hasBroken: a pool skips neither, but a loss may come between the two.
      const isAccepted = await trial.isAcceptedWithin(manager, connection, PATIENCE_MS)
      assert.equal(isAccepted, false, 'isValid is true for a connection that the server killed')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'check: with a server that is gone without a word, it ends when it is given up, and is not true',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      proxy.halfOpen()
      const isAccepted = await trial.isAcceptedWithin(manager, connection, PATIENCE_MS)
      assert.equal(isAccepted, false, 'isValid is true although the server is gone')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'check: with a server that stopped answering, it ends when it is given up, and is not true',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      // A check comes first: an earlier answer does not prove a later one.
      await trial.isAccepted(manager, connection, new AbortController().signal)
      proxy.blackhole()
      const isAccepted = await trial.isAcceptedWithin(manager, connection, PATIENCE_MS)
      assert.equal(isAccepted, false, 'isValid is true although the server did not answer')
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

// Values that a function passed to run may reject with, none of which concerns the connection.
function callerErrors(): unknown[] {
  const withCode = (code: unknown, more: object = {}): Error =>
    Object.assign(new Error('mine'), { code, ...more })
  return [
    undefined,
    null,
    0,
    '',
    'a string',
    {},
    new Error('mine'),
    new TypeError('mine'),
    new AggregateError([new Error('mine')], 'mine'),
    withCode('ENOENT', { errno: -2, syscall: 'open' }),
    withCode('ERR_INVALID_ARG_TYPE'),
    withCode('MY_APPLICATION'),
    withCode(42),
    withCode(undefined),
    { code: 'NOT_AN_ERROR' },
    Object.assign(new Error('mine'), { status: 500, cause: withCode('EACCES') }),
  ]
}

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { inspect } from 'node:util'

import type { ConnectionManager } from '../../core/manager.ts'
import type { CaseDefinition } from './case.ts'
import { TookTooLong, type Trial } from './trial.ts'

// Turns of the event loop after which an attempt is given up: name look-up, TCP, handshake, log-in and past it.
const GIVE_UP_AFTER = [0, 1, 2, 3, 5, 8, 13, 21, 34]

/** What a manager must do when it connects. */
export const connectCases: readonly CaseDefinition[] = [
  {
    title: 'connect: opens a connection that can be used, and another one each time',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const [first, second] = await Promise.all([trial.open(manager), trial.open(manager)])
      assert.notEqual(first.connection, second.connection, 'two calls of connect gave the same connection')
      for (const { connection } of [first, second]) {
        await trial.use(manager, connection)
        await trial.close(manager, connection)
      }
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: rejects when it was given up before it began, and leaves no socket behind',
    needs: [],
    run: async (trial) => {
      const failure = await failureOf(trial, trial.make(), AbortSignal.abort(new Error('given up')))
      assert(failure !== undefined, 'connect resolved although its signal was aborted before')
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: given up at any moment, it settles and leaves no socket behind',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      for (const turns of GIVE_UP_AFTER) {
        const controller = new AbortController()
        const attempt = connectOnce(trial, manager, controller.signal)
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
        controller.abort(new Error('given up'))
        const outcome = await attempt
        // It was faster than the abort: then the connection is the pool's, to be closed like any other.
        if ('connection' in outcome) await trial.close(manager, outcome.connection)
        await trial.nothingLeft()
      }
    },
  },
  {
    title:
      'connect: to a server that never answers, it ends when it is given up, and leaves no socket behind',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      proxy.blackhole()
      const controller = new AbortController()
      const attempt = connectOnce(trial, manager, controller.signal)
      await trial.until(() => proxy.connections > 0, 'the manager connects')
      controller.abort(new Error('given up'))
      assert(!('connection' in (await attempt)), 'connect resolved although the server never answered')
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: to a server that hangs up, it rejects, and a retry may help',
    needs: ['server'],
    run: async (trial) => {
      const server = createServer((socket) => socket.destroy())
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      trial.after(() => new Promise((resolve) => server.close(resolve)))
      const { port } = server.address() as { port: number }
      await rejectsAsTemporary(trial, trial.make({ host: '127.0.0.1', port }), 'hung up')
    },
  },
  {
    title: 'connect: to a port where nobody listens, it rejects, and a retry may help',
    needs: ['server'],
    run: async (trial) => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as { port: number }
      await new Promise((resolve) => server.close(resolve))
      await rejectsAsTemporary(trial, trial.make({ host: '127.0.0.1', port }), 'refused the connection')
    },
  },
]

/** Whether a mistake that no retry will mend is told as such. */
export function fatalCase(wrong: string): CaseDefinition {
  return {
    title: `connect: ${wrong} is a fatal error, in time`,
    needs: [],
    run: async (trial) => {
      const manager = trial.faults.fatal?.[wrong]?.()
      assert(manager !== undefined)
      const failure = await failureOf(trial, manager)
      assert(failure !== undefined, `connect resolved with ${wrong}`)
      assert(manager.isFatal?.(failure) === true, `isFatal is not true for: ${inspect(failure)}`)
      await trial.nothingLeft()
    },
  }
}

async function rejectsAsTemporary<C>(
  trial: Trial<C>,
  manager: ConnectionManager<C>,
  what: string,
): Promise<void> {
  const failure = await failureOf(trial, manager)
  assert(failure !== undefined, `connect resolved although the server ${what}`)
  assert(
    manager.isFatal?.(failure) !== true,
    `isFatal is true although the server only ${what}: ${inspect(failure)}`,
  )
}

async function failureOf<C>(
  trial: Trial<C>,
  manager: ConnectionManager<C>,
  signal: AbortSignal = new AbortController().signal,
): Promise<unknown> {
  const outcome = await connectOnce(trial, manager, signal)
  if ('failure' in outcome) return outcome.failure
  await trial.close(manager, outcome.connection)
  return undefined
}

async function connectOnce<C>(
  trial: Trial<C>,
  manager: ConnectionManager<C>,
  signal: AbortSignal,
): Promise<{ connection: C } | { failure: unknown }> {
  try {
    return { connection: await trial.inTime(manager.connect({ signal, lost: () => {} }), 'connect') }
  } catch (failure) {
    if (failure instanceof TookTooLong) throw failure
    return { failure: failure ?? new Error('connect rejected with nothing') }
  }
}

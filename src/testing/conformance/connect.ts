import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { inspect } from 'node:util'

import type { ConnectionManager } from '../../core/contract/manager.ts'
import type { CaseDefinition } from './definition.ts'
import { TookTooLong, type Trial } from './trial.ts'

// Turns of the event loop after which an attempt is given up: name look-up, TCP, handshake, log-in and past it.
const GIVE_UP_AFTER = [0, 1, 2, 3, 5, 8, 13, 21, 34]

/** Checks the behaviour of a manager when it connects. */
export const connectCases: readonly CaseDefinition[] = [
  {
    title: 'connect: each call opens another connection that can be used',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      const seen = new Set<unknown>()
      for (let round = 0; round < 3; round++) {
        const opened = await Promise.all([trial.open(manager), trial.open(manager), trial.open(manager)])
        for (const { connection } of opened) {
          assert(!seen.has(connection), 'two calls of connect returned the same connection')
          seen.add(connection)
        }
        for (const { connection } of opened) await trial.use(manager, connection)
        for (const { connection } of opened) await trial.close(manager, connection)
      }
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: it rejects if its signal is aborted before the call, and leaves no socket behind',
    needs: [],
    run: async (trial) => {
      const failure = await failureOf(trial, trial.make(), AbortSignal.abort(new Error('given up')))
      assert(failure !== undefined, 'connect resolved although its signal was aborted before')
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: an abort at any moment ends it, and leaves no socket behind',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      for (const turns of GIVE_UP_AFTER) {
        const controller = new AbortController()
        const attempt = connectOnce(trial, manager, controller.signal)
        for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
        controller.abort(new Error('given up'))
        const outcome = await attempt
        // A connect that was faster than the abort has opened a connection, which is closed like any other.
        if ('connection' in outcome) await trial.close(manager, outcome.connection)
        trial.noListener(controller.signal, 'connect')
        await trial.nothingLeft()
      }
    },
  },
  {
    title: 'connect: to a server that never answers, an abort ends it, and leaves no socket behind',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      proxy.blackhole()
      const controller = new AbortController()
      const attempt = connectOnce(trial, manager, controller.signal)
      await trial.until(() => proxy.connections > 0, 'the manager connects')
      controller.abort(new Error('given up'))
      const outcome = await attempt
      assert(!('connection' in outcome), 'connect resolved although the server never answered')
      isTemporary(manager, outcome.failure, 'did not answer')
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: a network that is cut in the middle of it makes it reject, and a retry may help',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      proxy.blackhole()
      const attempt = connectOnce(trial, manager, new AbortController().signal)
      await trial.until(() => proxy.connections > 0, 'the manager connects')
      proxy.cut()
      const outcome = await attempt
      assert(!('connection' in outcome), 'connect resolved although the network was cut')
      isTemporary(manager, outcome.failure, 'was cut off')
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: isFatal is false for errors that are not about the configuration',
    needs: [],
    run: async (trial) => {
      const manager = trial.make()
      for (const error of temporaryErrors()) {
        const isFatal: unknown = manager.isFatal?.(error) ?? false
        assert.equal(isFatal, false, `isFatal(${inspect(error)}) is not false`)
      }
      await trial.nothingLeft()
    },
  },
  {
    title: 'connect: to a server that hangs up, it rejects, and a retry may help',
    needs: ['server'],
    run: async (trial) => {
      await rejectsAsTemporary(trial, await trial.hangingUp(), 'hung up')
    },
  },
  {
    title: 'connect: to a port without a server, it rejects, and a retry may help',
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

/** The case of one mistake in the configuration that retrying cannot fix. */
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
  isTemporary(manager, failure, what)
  await trial.nothingLeft()
}

function isTemporary<C>(manager: ConnectionManager<C>, failure: unknown, what: string): void {
  const isFatal: unknown = manager.isFatal?.(failure) ?? false
  assert.equal(isFatal, false, `isFatal is not false although the server only ${what}: ${inspect(failure)}`)
}

// Outages, limits and errors that a manager cannot know.
function temporaryErrors(): unknown[] {
  const codes = [
    'ECONNREFUSED',
    'ECONNRESET',
    'ETIMEDOUT',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'EPIPE',
    'EAI_AGAIN',
  ]
  const known = codes.map((code) => Object.assign(new Error(`connect ${code}`), { code }))
  const timedOut = new DOMException('The operation timed out', 'TimeoutError')
  const unknown = Object.assign(new Error('unknown'), { code: 'E_UNKNOWN' })
  const { reason: aborted } = AbortSignal.abort()
  return [
    ...known,
    new AggregateError(known, ''),
    timedOut,
    aborted,
    new Error('unknown'),
    unknown,
    undefined,
    null,
    '',
    {},
  ]
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

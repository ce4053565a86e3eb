import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'

import { afterAll, describe, expect, test } from 'vitest'

import type { ConnectContext } from '../../src/index.ts'
import { countListeners } from '../../src/testing/conformance/footprint.ts'
import { conformanceCases, describeManager, type TestRunner } from '../../src/testing/index.ts'
import { lineFaults, LineManager } from './lines/manager.ts'
import { forkLineServer, startLineServer } from './lines/server.ts'
import { wrongConnects } from './lines/wrong.ts'
import { wrongUses } from './lines/wrong-uses.ts'

const servers = { 'in this process': await startLineServer(), 'in its own process': await forkLineServer() }
afterAll(() => Promise.all(Object.values(servers).map((each) => each.close())))

for (const [place, server] of Object.entries(servers)) {
  const faults = lineFaults(server)
  const name = `a right manager, with the server ${place},`
  describeManager(name, (address = server) => new LineManager(address), faults)

  describe(`the suite catches a manager, with the server ${place}, that`, () => {
    const wrong = { ...wrongConnects(server), ...wrongUses(server) }
    for (const [mistake, { make, caughtBy }] of Object.entries(wrong)) {
      test(`${mistake}`, async () => {
        const found = conformanceCases(make, faults).filter(({ title }) => title === caughtBy)
        expect(found).toHaveLength(1)
        await expect(found[0]?.run()).rejects.toThrow()
      })
    }
  })
}

test('the suite catches a fatal mistake that isFatal does not report', async () => {
  const server = servers['in this process']
  const cases = conformanceCases((address = server) => new LineManager(address), {
    ...lineFaults(server),
    fatal: {
      'a port without a server': () => new LineManager({ host: '127.0.0.1', port: 1 }),
      'a server that is there': () => new LineManager(server),
    },
  }).filter(({ title }) => title.includes('is a fatal error'))
  expect(cases).toHaveLength(2)
  await expect(cases[0]?.run()).rejects.toThrow('isFatal is not true')
  await expect(cases[1]?.run()).rejects.toThrow('connect resolved with a server that is there')
})

test('a manager whose logins take long is no wrong manager', async () => {
  const server = servers['in this process']
  class SlowManager extends LineManager {
    override async connect(context: ConnectContext) {
      await delay(200, undefined, { signal: context.signal })
      return await super.connect(context)
    }
  }
  const cases = conformanceCases((address = server) => new SlowManager(address), {
    ...lineFaults(server),
    timeoutMs: 10_000,
  })
  const [found] = cases.filter(({ title }) => title.includes('deadline for a silent server'))
  await found?.run()
  expect(found).toBeDefined()
})

test('an emitter that lacks its record of listeners counts as one without listeners', () => {
  const emitter = new EventEmitter().on('event', () => {})
  const broken = Object.assign(new EventEmitter(), { _events: undefined, _eventsCount: 1 })
  expect(countListeners({ emitter, broken })).toBe(1)
})

test('a case without its fault is skipped, and names what it needs', () => {
  const ran: string[] = []
  const skipped: string[] = []
  const it = Object.assign((name: string) => ran.push(name), { skip: (name: string) => skipped.push(name) })
  const runner: TestRunner = { describe: (_, define) => define(), it }
  const server = servers['in this process']
  describeManager('bare', (address = server) => new LineManager(address), {}, runner)
  expect(ran.length).toBeGreaterThan(5)
  expect(skipped).toContain(
    'loss: a connection that the server kills is reported lost, and is broken from then on (needs faults.kill)',
  )
  expect(skipped).toContain(
    'close: the connection is gone at the server when it settles (needs faults.count)',
  )
})

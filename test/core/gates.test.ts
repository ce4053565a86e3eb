import assert from 'node:assert/strict'

import { afterEach, describe, expect, test } from 'vitest'

import { type ConnectionManager, Pool } from '../../src/index.ts'
import { settle, VirtualClock } from '../../src/testing/index.ts'

// Everywhere that the pool waits for somebody else, on the way of one connection from its connect to its close.
const GATES = [
  'connect',
  'afterConnect',
  'isValid',
  'beforeAcquire',
  'reset',
  'afterRelease',
  'beforeClose',
  'close',
] as const
type Gate = (typeof GATES)[number]

// What can become of a call there, or happen to the pool and its callers while it is under way.
const FATES = [
  'ok',
  'throws',
  'rejects',
  'slow',
  'never',
  'aborted',
  'timed out',
  'pool closed',
  'cleared',
  'resized',
] as const
type Fate = (typeof FATES)[number]

const LIMIT_MS = 50
const DEADLINE_MS = 200

interface Connection {
  readonly id: number
  closes: number
  isClosed: boolean
  holders: number
}

/** A pool of one connection whose calls at one gate have these fates, one after another, and all else goes well. */
class World {
  readonly clock = new VirtualClock()
  readonly connections: Connection[] = []
  readonly callers = [new AbortController(), new AbortController()]
  readonly pool: Pool<Connection>
  readonly outcomes: string[] = []
  isOn = false
  isClosing: Promise<unknown> | undefined = undefined
  readonly #gate: Gate
  readonly #fates: Fate[]

  constructor(gate: Gate, fates: readonly Fate[]) {
    this.#gate = gate
    this.#fates = [...fates]
    const manager: ConnectionManager<Connection> = {
      connect: () =>
        this.#pass('connect', () => {
          const connection = { id: this.connections.length + 1, closes: 0, isClosed: false, holders: 0 }
          this.connections.push(connection)
          return connection
        }) as Promise<Connection>,
      isValid: () => this.#pass('isValid', () => true) as Promise<boolean>,
      hasBroken: () => false,
      reset: () => this.#pass('reset', () => true) as Promise<boolean>,
      close: (connection) => {
        connection.closes++
        return this.#pass('close', () => void (connection.isClosed = true)) as Promise<void>
      },
    }
    const hook = (name: Gate) => () => this.#pass(name, () => undefined) as Promise<void>
    this.pool = new Pool(manager, {
      clock: this.clock,
      maxSize: 1,
      validationBypassMs: 0,
      acquireTimeoutMs: DEADLINE_MS,
      connectTimeoutMs: LIMIT_MS,
      validationTimeoutMs: LIMIT_MS,
      closeTimeoutMs: LIMIT_MS,
      connectBackoff: { minMs: 1, maxMs: 2 },
      afterConnect: hook('afterConnect'),
      beforeAcquire: hook('beforeAcquire'),
      afterRelease: hook('afterRelease'),
      beforeClose: hook('beforeClose'),
    })
  }

  /** One caller: acquires, holds for a moment, and releases; or destroys, on the way to the gates of a close. */
  async call(index: number): Promise<void> {
    try {
      const lease = await this.pool.acquire({ signal: this.callers[index]!.signal })
      const { connection } = lease
      assert.equal(++connection.holders, 1, 'one holder')
      assert.equal(connection.closes, 0, 'handed out open')
      await settle()
      connection.holders--
      if (this.#gate === 'close' || this.#gate === 'beforeClose') lease.destroy()
      else lease.release()
      this.outcomes[index] = 'served'
    } catch (error) {
      this.outcomes[index] = (error as Error).name
    }
  }

  check(): void {
    const { connections, opening, closing, idle, inUse, waiting, paused, statistics } = this.pool.state()
    assert.equal(connections, idle + inUse)
    assert(connections + opening + closing <= 1)
    if (!paused) assert.equal(Math.min(idle, waiting), 0)
    const { started, direct, waited, timedOut, aborted, refused, pending } = statistics.acquires
    assert.equal(started, direct + waited + timedOut + aborted + refused + pending)
    const closed = Object.values(statistics.closed).reduce((sum, each) => sum + each, 0)
    assert.equal(statistics.connects.opened, connections + statistics.detached + closed)
  }

  #pass(gate: Gate, give: () => unknown): unknown {
    const fate = this.isOn && gate === this.#gate ? (this.#fates.shift() ?? 'ok') : 'ok'
    const failed = (): never => {
      if (gate === 'close') give()
      throw new Error(`${gate} failed`)
    }
    switch (fate) {
      case 'ok':
        return Promise.resolve().then(give)
      case 'throws':
        return failed()
      case 'rejects':
        return Promise.resolve().then(failed)
      case 'never':
        return new Promise(() => {})
      default:
        return new Promise((resolve) => {
          this.clock.setTimeout(() => resolve(give()), fate === 'timed out' ? DEADLINE_MS + 20 : 20)
          if (fate !== 'slow' && fate !== 'timed out') this.clock.setTimeout(() => this.#interrupt(fate), 10)
        })
    }
  }

  #interrupt(fate: 'aborted' | 'pool closed' | 'cleared' | 'resized'): void {
    if (fate === 'aborted') for (const caller of this.callers) caller.abort()
    else if (fate === 'cleared') this.pool.clear()
    else if (fate === 'pool closed') this.isClosing ??= this.pool.close({ timeoutMs: 100 })
    else
      void this.pool
        .resize({ maxSize: 2 })
        .then(() => this.pool.resize({ maxSize: 1 }))
        .catch(() => {})
  }
}

const rejections: unknown[] = []
process.on('unhandledRejection', (reason) => rejections.push(reason))
afterEach(() => assert.deepEqual(rejections.splice(0), []))

describe.each(GATES)('at the gate %s', (gate) => {
  test.each(FATES)(
    'the first meets %s, the next any fate: nobody waits beyond his deadline, nothing is lost',
    async (first) => {
      for (const next of FATES) {
        const world = new World(gate, [first, next])
        const what = `${gate}: ${first}, then ${next}`
        const { pool, clock } = world
        // A new connection is not checked: for that gate one is there already.
        if (gate === 'isValid') await pool.run(() => settle())
        world.isOn = true
        const calls = [world.call(0)]
        await settle()
        calls.push(world.call(1))
        for (let time = 0; time <= DEADLINE_MS + LIMIT_MS; time += 5) {
          await clock.advance(5)
          // A resize that goes up and down again may have two for a moment.
          if (first !== 'resized' && next !== 'resized') world.check()
        }
        await Promise.all(calls)
        expect(world.outcomes, what).toHaveLength(2)
        for (const outcome of world.outcomes)
          expect(
            ['served', 'AcquireTimeoutError', 'AbortError', 'PoolClosedError', 'ConnectError'],
            what,
          ).toContain(outcome)
        if (world.isClosing === undefined) {
          world.isOn = false
          const last = pool.run(() => 'served', { timeoutMs: 1_000 })
          await clock.advance(500)
          expect(await last, `${what}: whatever was, the pool serves the next`).toBe('served')
        }
        const closing = world.isClosing ?? pool.close({ timeoutMs: 50 })
        await clock.advance(1_000)
        await closing
        expect(clock.timers, `${what}: timers`).toBe(0)
        const { connections, opening, closing: left, waiting } = pool.state()
        expect([connections, opening, left, waiting], what).toEqual([0, 0, 0, 0])
        for (const { closes } of world.connections) expect(closes, `${what}: closed once`).toBe(1)
      }
    },
  )
})

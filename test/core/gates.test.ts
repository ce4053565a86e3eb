import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { afterEach, describe, expect, test } from 'vitest'

import { type ConnectionManager, type Lease, Pool } from '../../src/index.ts'
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
// Where the pool waits for no answer, or not beyond the call: no fate is met there, but user code runs.
const CALL_OUTS = [
  ...GATES,
  'hasBroken',
  'onError',
  'cenote:acquire',
  'cenote:check',
  'cenote:close',
] as const
type Gate = (typeof CALL_OUTS)[number]

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

// What user code may call on the pool while the pool calls that code, each within the call and in a microtask after it.
const CALLS = [
  'acquire',
  'tryAcquire',
  'run',
  'release',
  'destroy',
  'detach',
  'add',
  'clear',
  'close',
  'resize',
  'pause',
  'dedicated',
  'lost',
  'abort',
] as const
type Call = (typeof CALLS)[number]

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
  /** Leases that user code took, or may end. */
  readonly leases = new Set<Lease<Connection>>()
  /** What user code did that must not be: a call that threw, a connection with two holders. */
  readonly problems: string[] = []
  isOn = false
  isClosing: Promise<unknown> | undefined = undefined
  readonly #gate: Gate
  readonly #fates: Fate[]
  readonly #calls: { readonly call: Call; readonly isLate: boolean }[]
  readonly #losts: (() => void)[] = []

  constructor(
    gate: Gate,
    fates: readonly Fate[],
    calls: readonly { readonly call: Call; readonly isLate: boolean }[] = [],
  ) {
    this.#gate = gate
    this.#fates = [...fates]
    this.#calls = [...calls]
    const manager: ConnectionManager<Connection> = {
      connect: ({ lost }) => {
        this.#losts.push(lost)
        return this.#pass('connect', () => this.#open()) as Promise<Connection>
      },
      isValid: () => this.#pass('isValid', () => true) as Promise<boolean>,
      hasBroken: () => {
        this.calledOut('hasBroken')
        return false
      },
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
      onError: () => this.calledOut('onError'),
    })
  }

  /** The pool calls user code. Where it is that of this world, it calls the pool. */
  calledOut(gate: Gate): void {
    if (!this.isOn || gate !== this.#gate) return
    const next = this.#calls.shift()
    if (next === undefined) return
    const act = (): void => {
      try {
        this.#does(next.call)
      } catch (error) {
        this.problems.push(`${next.call} threw ${String(error)}`)
      }
    }
    if (next.isLate) queueMicrotask(act)
    else act()
  }

  /** One caller: acquires, holds for a moment, and releases; or destroys, on the way to the gates of a close. */
  async call(index: number): Promise<void> {
    try {
      const lease = await this.pool.acquire({ signal: this.callers[index]!.signal })
      const { connection } = lease
      this.#takes(connection)
      this.leases.add(lease)
      await settle()
      // User code may have ended it in between.
      if (!this.leases.delete(lease)) return void (this.outcomes[index] = 'served')
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
    assert.equal(statistics.connects.opened + statistics.added, connections + statistics.detached + closed)
  }

  #open(): Connection {
    const connection = { id: this.connections.length + 1, closes: 0, isClosed: false, holders: 0 }
    this.connections.push(connection)
    return connection
  }

  #takes(connection: Connection): void {
    if (++connection.holders > 1) this.problems.push(`#${connection.id} has two holders`)
    if (connection.closes > 0) this.problems.push(`#${connection.id} was handed out closed`)
  }

  #ends(how: 'release' | 'destroy' | 'detach'): void {
    const [lease] = this.leases
    if (lease === undefined) return
    this.leases.delete(lease)
    lease.connection.holders--
    // What leaves the pool open is closed by its holder.
    if (how === 'detach') lease.detach().closes++
    else lease[how]()
  }

  #does(call: Call): void {
    const { pool } = this
    switch (call) {
      case 'acquire':
        pool.acquire().then(
          (lease) => {
            this.#takes(lease.connection)
            this.leases.add(lease)
          },
          () => {},
        )
        return
      case 'tryAcquire': {
        const lease = pool.tryAcquire()
        if (lease === undefined) return
        this.#takes(lease.connection)
        this.leases.add(lease)
        return
      }
      case 'run':
        void pool.run((connection) => this.#takes(connection) ?? void connection.holders--).catch(() => {})
        return
      case 'release':
      case 'destroy':
      case 'detach':
        return this.#ends(call)
      case 'add': {
        const connection = this.#open()
        // A connection that the pool refuses is closed by the caller.
        if (pool.add(connection) !== 'added') connection.closes++
        return
      }
      case 'clear':
        return pool.clear()
      case 'close':
        this.isClosing ??= pool.close({ timeoutMs: 100 })
        return
      case 'resize':
        return this.#interrupt('resized')
      case 'pause':
        pool.pause()
        return void this.clock.setTimeout(() => pool.resume(), 20)
      case 'dedicated':
        pool.dedicated().then(
          (connection) => void connection.closes++,
          () => {},
        )
        return
      case 'lost':
        for (const lost of this.#losts) lost()
        return
      case 'abort':
        return this.#interrupt('aborted')
    }
  }

  #pass(gate: Gate, give: () => unknown): unknown {
    this.calledOut(gate)
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
    'the first meets %s, the next any fate: no caller waits beyond its deadline, nothing is lost',
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

// The same way, and at each place on it user code that calls the pool: two calls, one at each of the first two times.
describe.each(CALL_OUTS)('from %s', (place) => {
  test.each(CALLS)('user code that calls %s, then anything, breaks no promise', async (first) => {
    for (const second of CALLS) {
      for (const isLate of [false, true]) {
        const calls = [first, second].map((call) => ({ call, isLate }))
        const world = new World(place, ['ok', 'rejects'], calls)
        const what = `${place}: ${first}, then ${second}${isLate ? ', each in a microtask' : ''}`
        const { pool, clock } = world
        const hear = (): void => world.calledOut(place)
        if (place.startsWith('cenote:')) subscribe(place, hear)
        if (place === 'isValid') await pool.run(() => settle())
        world.isOn = true
        const ended = [world.call(0), world.call(1)]
        for (let time = 0; time <= DEADLINE_MS + LIMIT_MS; time += 25) {
          await clock.advance(25)
          for (const lease of world.leases) {
            world.leases.delete(lease)
            lease.connection.holders--
            lease.release()
          }
        }
        await Promise.all(ended)
        if (place.startsWith('cenote:')) unsubscribe(place, hear)
        world.isOn = false
        expect(world.outcomes, what).toHaveLength(2)
        if (world.isClosing === undefined) {
          const last = pool.run(() => 'served', { timeoutMs: 1_000 })
          await clock.advance(500)
          expect(await last.catch(String), `${what}: the pool serves the next`).toBe('served')
        }
        const closing = world.isClosing ?? pool.close({ timeoutMs: 50 })
        await clock.advance(1_000)
        await closing
        expect(world.problems, what).toEqual([])
        expect(clock.timers, `${what}: timers`).toBe(0)
        const { connections, opening, closing: left, waiting } = pool.state()
        expect([connections, opening, left, waiting], what).toEqual([0, 0, 0, 0])
        for (const { id, closes } of world.connections) expect(closes, `${what}: #${id} closed once`).toBe(1)
        world.check()
      }
    }
  })
})

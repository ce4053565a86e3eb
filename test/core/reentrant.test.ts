// Promise 27: user code may call the pool from wherever the pool calls it. Every place x every call, in short busy lives.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { afterAll, describe, expect, test } from 'vitest'

import { CHANNELS, isPoolError, type Lease, Pool, type PoolOptions, type PoolState } from '../../src/index.ts'
import { ScriptedManager, type ScriptedConnection } from '../../src/testing/index.ts'
import { Random } from '../simulation/random.ts'
import { SimClock } from '../simulation/sim-clock.ts'

const MANAGER = ['connect', 'isValid', 'hasBroken', 'isFatal', 'reset', 'close'] as const
const HOOKS = ['afterConnect', 'beforeAcquire', 'afterRelease', 'beforeClose', 'onError'] as const
const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const
const SUBSCRIBED: readonly string[] = [
  ...Object.values(CHANNELS),
  ...EVENTS.flatMap((event) => [`tracing:cenote:acquire:${event}`, `tracing:cenote:open:${event}`]),
]
const PLACES: readonly string[] = [...MANAGER, ...HOOKS, 'work', 'abortListener', ...SUBSCRIBED]

const CALLS = [
  'acquire',
  'acquire with a signal',
  'run',
  'tryAcquire',
  'release',
  'destroy',
  'detach',
  'add',
  'clear',
  'close',
  'resize down',
  'resize up',
  'pause',
  'dedicated',
  'lost',
  'abort',
  'state',
] as const
type Call = (typeof CALLS)[number]

const LIVES = Number(process.env['CENOTE_RUNS'] ?? 4)
const FIRST_SEED = Number(process.env['CENOTE_SEED'] ?? Math.floor(Math.random() * 1_000_000))
const STEPS = 40
const DEADLINE_MS = 500

const unhandled: string[] = []
const onUnhandled = (error: unknown): void => void unhandled.push(String(error))
process.on('unhandledRejection', onUnhandled)
afterAll(() => void process.off('unhandledRejection', onUnhandled))

async function microtasks(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await Promise.resolve()
}

/** Whether the numbers of a state add up (promise 26), and are within its limits. */
function flawOf({ connections, idle, inUse, opening, closing, waiting, statistics }: PoolState): string[] {
  const { started, direct, waited, timedOut, aborted, refused, pending } = statistics.acquires
  const closed = Object.values(statistics.closed).reduce((sum, each) => sum + each, 0)
  const rules: [boolean, string][] = [
    [started === direct + waited + timedOut + aborted + refused + pending, 'acquires do not add up'],
    [
      statistics.connects.opened + statistics.added === connections + statistics.detached + closed,
      'connections do not add up',
    ],
    [connections === idle + inUse, 'idle and in use are not all connections'],
    [Math.min(idle, inUse, opening, closing, waiting, pending) >= 0, 'a count is negative'],
  ]
  return rules.flatMap(([holds, rule]) => (holds ? [] : [rule]))
}

/** A pool with a few callers, and user code that makes one call from one place. */
class World {
  readonly problems = new Set<string>()
  readonly clock: SimClock
  readonly manager = new ScriptedManager()
  readonly pool: Pool<ScriptedConnection>
  readonly leases = new Set<Lease<ScriptedConnection>>()
  readonly detached = new Set<ScriptedConnection>()
  readonly refused = new Set<ScriptedConnection>()
  isOver = false
  isClosing = false
  #waiting = 0
  #budget = 15
  #controller = new AbortController()
  #isMade = false
  readonly #random: Random
  readonly #place: string
  readonly #call: Call

  constructor(place: string, call: Call, seed: number) {
    this.#place = place
    this.#call = call
    this.#random = new Random(seed)
    this.clock = new SimClock(this.#random)
    const isSlow = seed % 2 === 0
    const later = () => new Promise<void>((resolve) => this.clock.after(3, resolve))
    const manager = this.manager as unknown as Record<string, ((...given: unknown[]) => unknown) | undefined>
    for (const name of MANAGER) {
      const method = manager[name]?.bind(this.manager)
      if (name === 'reset' && place !== 'reset') continue
      manager[name] = (...given) => {
        this.#calledOut(name)
        return method === undefined ? (isSlow ? later() : undefined) : method(...given)
      }
    }
    const hooks = Object.fromEntries(
      HOOKS.filter((name) => name === place).map((name) => [
        name,
        () => {
          this.#calledOut(name)
          if (!this.isOver && this.#random.chance(0.1)) throw new Error(`${name} failed`)
          if (!this.isOver && this.#random.chance(0.1)) return false
          return isSlow && name !== 'onError' ? later() : undefined
        },
      ]),
    ) as PoolOptions<ScriptedConnection>
    this.pool = new Pool(this.manager, {
      name: 'reentrant',
      clock: this.clock,
      maxSize: 3,
      minIdle: seed % 3,
      acquireTimeoutMs: DEADLINE_MS,
      validationBypassMs: isSlow ? 0 : 5,
      validationTimeoutMs: 40,
      closeTimeoutMs: 50,
      maxLifetimeMs: 400,
      idleTimeoutMs: 150,
      reapIntervalMs: 50,
      keepaliveMs: isSlow ? Infinity : 60,
      connectBackoff: { minMs: 5, maxMs: 20 },
      leakThresholdMs: 40,
      maxWaiting: 5,
      retryConnect: seed % 4 !== 3,
      overload: seed % 5 === 0 ? { targetMs: 5, intervalMs: 20 } : undefined,
      ...hooks,
    })
    this.#isMade = true
  }

  /** Lives it, and closes it. */
  async live(): Promise<void> {
    const hear = (message: unknown): void => {
      if ((message as { pool: string }).pool === 'reentrant') this.#calledOut(this.#place)
    }
    if (SUBSCRIBED.includes(this.#place)) subscribe(this.#place, hear)
    try {
      for (let step = 0; step < STEPS; step++) {
        await this.#step()
        this.#check()
      }
      this.#budget = 0
      await this.#end()
    } finally {
      if (SUBSCRIBED.includes(this.#place)) unsubscribe(this.#place, hear)
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
    for (const each of unhandled.splice(0)) this.problems.add(`unhandled: ${each}`)
  }

  async #step(): Promise<void> {
    const chance = this.#random.next()
    if (chance < 0.4) this.#acquire(this.#random.next() < 0.3)
    else if (chance < 0.46) this.#run()
    else if (chance < 0.7) this.#returns(this.#random.next() < 0.2 ? 'break' : 'release')
    else if (chance < 0.75) this.manager.connects.push(this.#random.pick(['fail', 'throw', 'undefined']))
    else if (chance < 0.79) this.manager.checks.push(this.#random.pick(['fail', 'throw', 'never']))
    else if (chance < 0.82) this.manager.closes.push(this.#random.pick(['fail', 'throw', 'never']))
    else if (chance < 0.86) this.#abort()
    else await this.#advance(Math.floor(this.#random.next() * 60))
    if (this.#random.next() < 0.6) await microtasks()
  }

  async #advance(durationMs: number): Promise<void> {
    const end = this.clock.now() + durationMs
    await microtasks()
    while (this.clock.runNext(end)) await microtasks()
  }

  // The pool calls user code: at the place of this life that code calls the pool.
  #calledOut(place: string): void {
    if (!this.#isMade || this.isOver || place !== this.#place) return
    for (const flaw of flawOf(this.pool.state())) this.problems.add(`in ${place}: ${flaw}`)
    if (this.#budget <= 0 || this.#random.chance(0.2)) return
    this.#budget--
    try {
      this.#calls()
    } catch (error) {
      this.problems.add(`${this.#call} threw ${String(error)}`)
    }
  }

  #calls(): void {
    const { pool, manager } = this
    switch (this.#call) {
      case 'acquire':
        return this.#acquire(false)
      case 'acquire with a signal':
        return this.#acquire(true)
      case 'run':
        return this.#run()
      case 'tryAcquire': {
        const lease = pool.tryAcquire()
        if (lease !== undefined) this.#holds(lease)
        return
      }
      case 'release':
        while (this.leases.size > 0) this.#returns('release')
        return
      case 'destroy':
      case 'detach':
        return this.#returns(this.#call)
      case 'add': {
        const connection = { id: -this.#budget, broken: false, invalid: false, open: true, lost: () => {} }
        manager.connections.push(connection)
        if (pool.add(connection) !== 'added') this.refused.add(connection)
        return
      }
      case 'clear':
        return pool.clear()
      case 'close':
        if (this.#random.chance(0.2)) this.#close()
        return
      case 'resize down':
        return this.#settles(pool.resize({ maxSize: 1, minIdle: 0 }))
      case 'resize up':
        return this.#settles(pool.resize({ maxSize: 3, minIdle: 2 }))
      case 'pause':
        pool.pause()
        if (this.#random.next() < 0.5) pool.resume()
        else queueMicrotask(() => pool.resume())
        return
      case 'dedicated': {
        const opened = pool.dedicated().then((connection) => void this.detached.add(connection))
        return this.#settles(opened)
      }
      case 'lost':
        return manager.connections[Math.floor(this.#random.next() * manager.connections.length)]?.lost()
      case 'abort':
        return this.#abort()
      case 'state':
        pool.state()
        pool.look()
    }
  }

  #acquire(withSignal: boolean): void {
    const { signal } = this.#controller
    if (this.#place === 'abortListener')
      signal.addEventListener('abort', () => this.#calledOut('abortListener'))
    const acquired = this.pool.acquire({
      priority: this.#random.next() < 0.2 ? -1 : 0,
      ...(withSignal && { signal }),
    })
    this.#waiting++
    acquired.then(
      (lease) => {
        this.#waiting--
        this.#holds(lease)
      },
      (error: unknown) => {
        this.#waiting--
        if (!isPoolError(error) && !(error as Error).message.startsWith('given up'))
          this.problems.add(`acquire failed with ${String(error)}`)
      },
    )
  }

  #run(): void {
    const work = async (connection: ScriptedConnection): Promise<void> => {
      for (const lease of this.leases)
        if (lease.connection === connection) this.problems.add('one connection has two holders')
      this.#calledOut('work')
    }
    this.#settles(this.pool.run(work))
  }

  #holds(lease: Lease<ScriptedConnection>): void {
    for (const other of this.leases)
      if (other.connection === lease.connection) this.problems.add('one connection has two holders')
    if (!lease.connection.open && !this.isClosing) this.problems.add('a closed connection was handed out')
    this.leases.add(lease)
  }

  #returns(how: 'release' | 'break' | 'destroy' | 'detach'): void {
    const [lease] = this.leases
    if (lease === undefined) return
    this.leases.delete(lease)
    if (how === 'break') lease.connection.broken = true
    if (how === 'destroy') lease.destroy()
    else if (how === 'detach') this.detached.add(lease.detach())
    else lease.release()
  }

  #abort(): void {
    const controller = this.#controller
    this.#controller = new AbortController()
    controller.abort(new Error('given up'))
  }

  #close(): void {
    this.isClosing = true
    this.#settles(this.pool.close({ timeoutMs: 100 }))
  }

  // It may be rejected, but only with an error of the pool.
  #settles(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      if (!isPoolError(error)) this.problems.add(`a call was rejected with ${String(error)}`)
    })
  }

  #check(): void {
    for (const flaw of flawOf(this.pool.state())) this.problems.add(flaw)
  }

  // Whatever came before, the pool serves as many as it has room for, and can be closed.
  async #end(): Promise<void> {
    const { pool, manager, clock } = this
    this.isOver = true
    manager.connects.length = 0
    manager.checks.length = 0
    pool.resume()
    for (let turn = 0; turn < 20; turn++) {
      while (this.leases.size > 0) this.#returns('release')
      await this.#advance(100)
      this.#check()
    }
    if (this.#waiting > 0) this.problems.add('a caller was never told')
    const { closed, maxSize } = pool.state()
    if (!closed) {
      for (let place = 0; place < maxSize; place++) this.#acquire(false)
      await this.#advance(DEADLINE_MS)
      if (this.leases.size < maxSize) this.problems.add('a place was lost')
      while (this.leases.size > 0) this.#returns('release')
    }
    let isClosed = false
    void pool.close({ timeoutMs: 100 }).then(() => (isClosed = true))
    await this.#advance(20_000)
    if (!isClosed) this.problems.add('close never ended')
    if (pool.state().idle > 0) this.problems.add('a connection is idle in a closed pool')
    const left = manager.connections.filter(
      (each) => each.open && !this.detached.has(each) && !this.refused.has(each),
    )
    if (left.length > 0) this.problems.add('a connection was left open')
    if (clock.timers > 0) this.problems.add('a timer was left')
  }
}

describe(`whatever user code calls, from seed ${FIRST_SEED}`, () => {
  test.each(PLACES)('calling the pool from %s breaks no promise', async (place) => {
    const found: string[] = []
    for (const call of CALLS) {
      for (let seed = FIRST_SEED; seed < FIRST_SEED + LIVES; seed++) {
        const world = new World(place, call, seed)
        await world.live()
        found.push(...Array.from(world.problems, (problem) => `${call}, seed ${seed}: ${problem}`))
      }
    }
    expect(found).toEqual([])
  })
})

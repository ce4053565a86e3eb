import assert from 'node:assert/strict'

import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import { Pool, type PoolOptions } from '../../index.ts'
import type { CaseDefinition } from './definition.ts'
import type { Trial } from './trial.ts'

// A reset that fails now and then is found.
const ROUNDS = 12

/** Checks the behaviour of a manager in a pool. */
export const pooledCases: readonly CaseDefinition[] = [
  {
    title: 'pool: many callers share a few connections, and nothing is left when it is closed',
    needs: [],
    run: async (trial) => {
      const { pool, manager } = poolOf(trial, { maxSize: 3 })
      await trial.inTime(
        Promise.all(
          Array.from({ length: 20 }, () => pool.run((connection) => trial.use(manager, connection))),
        ),
        '20 runs on 3 connections',
      )
      assert(pool.state().connections <= 3)
      assert(
        manager.opened <= 3,
        `${manager.opened} connections were opened although 3 good ones were returned`,
      )
      await endsCleanly(trial, pool, manager)
    },
  },
  {
    title: 'pool: a connection that is returned in the middle of an exchange does not harm the next holder',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager: proxied } = await trial.proxied()
      const { pool, manager } = poolOf(trial, { maxSize: 1, validationBypassMs: 60_000 }, proxied)
      for (let round = 0; round < 4; round++) {
        const lease = await acquire(trial, pool)
        proxy.slow({ delayMs: 20 })
        trial.use(manager, lease.connection).catch(() => {})
        await new Promise((resolve) => setTimeout(resolve, 10))
        lease.release()
        for (let time = 0; time < 2; time++) await pool.run((connection) => trial.use(manager, connection))
        await proxy.heal()
      }
      await endsCleanly(trial, pool, manager)
    },
  },
  {
    title: 'pool: a connection that the server killed while it was idle is never handed out',
    needs: ['kill'],
    run: async (trial) => {
      const { pool, manager } = poolOf(trial, { maxSize: 2, validationBypassMs: 0 })
      const lease = await acquire(trial, pool)
      const killed = lease.connection
      lease.release()
      await trial.kill(killed)
      await pool.run(async (connection) => {
        assert.notEqual(connection, killed, 'the connection that the server killed was handed out')
        await trial.use(manager, connection)
      })
      await endsCleanly(trial, pool, manager)
    },
  },
  {
    title: 'pool: a connection that the server killed while it was leased is closed at return',
    needs: ['kill'],
    run: async (trial) => {
      const { pool, manager } = poolOf(trial, { maxSize: 1 })
      const lease = await acquire(trial, pool)
      const killed = lease.connection
      await trial.kill(killed)
      await trial.until(() => manager.hasBroken(killed), 'hasBroken is true for a killed connection')
      lease.release()
      await pool.run(async (connection) => {
        assert.notEqual(connection, killed, 'the connection that the server killed was handed out')
        await trial.use(manager, connection)
      })
      await endsCleanly(trial, pool, manager)
    },
  },
  {
    title:
      'pool: a caller waits no longer than its deadline for a silent server, and a later caller is served',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager: proxied } = await trial.proxied()
      const startedAt = performance.now()
      const { connection: first } = await trial.open(proxied)
      // A login may take long, and longer on a busy machine.
      const connectTimeoutMs = Math.max(150, 3 * (performance.now() - startedAt))
      await trial.close(proxied, first)
      const acquireTimeoutMs = 2 * connectTimeoutMs
      const { pool, manager } = poolOf(
        trial,
        { maxSize: 2, acquireTimeoutMs, connectTimeoutMs, connectBackoff: { minMs: 10, maxMs: 50 } },
        proxied,
      )
      proxy.blackhole()
      const failure = await trial.inTime(
        pool.acquire().then(
          () => undefined,
          (error: unknown) => error,
        ),
        `an acquire with a deadline of ${Math.round(acquireTimeoutMs)} ms`,
      )
      assert(failure !== undefined, 'a connection was handed out although the server did not answer')
      proxy.cut()
      await proxy.heal()
      await trial.inTime(
        pool.run((connection) => trial.use(manager, connection), { timeoutMs: trial.timeoutMs }),
        'a run after the server was back',
      )
      await trial.inTime(pool.close(), 'pool.close')
      await trial.nothingLeft()
      manager.closedOnce()
    },
  },
  {
    title: 'pool: closing it while it connects and while a connection is leased leaves nothing behind',
    needs: [],
    run: async (trial) => {
      const { pool, manager } = poolOf(trial, { maxSize: 3, minIdle: 3 })
      const lease = await acquire(trial, pool)
      const waiting = pool.acquire().then(
        ({ release }) => release,
        () => undefined,
      )
      const closing = pool.close({ timeoutMs: 50 })
      await trial.inTime(closing, 'pool.close')
      lease.release()
      await waiting
      await trial.nothingLeft()
      manager.closedOnce()
    },
  },
]

/** The case of one state that a holder left behind. */
export function dirtyCase(state: string): CaseDefinition {
  return {
    title: `pool: ${state} never reaches the next holder`,
    needs: [],
    run: async (trial) => {
      const dirty = trial.faults.dirty?.[state]
      assert(dirty !== undefined)
      const { pool, manager } = poolOf(trial, { maxSize: 1 })
      // Every return is dirty, so that a failure at regular intervals does not fall on the clean ones.
      for (let round = 0; round < ROUNDS; round++) {
        const lease = await acquire(trial, pool)
        const { connection } = lease
        const isClean: boolean = await trial.inTime(Promise.resolve(dirty.isClean(connection)), 'isClean')
        assert.equal(isClean, true, `the next holder found ${state} (round ${round} of ${ROUNDS})`)
        await trial.use(manager, connection)
        await trial.inTime(Promise.resolve(dirty.leave(connection)), 'leave')
        lease.release()
      }
      await endsCleanly(trial, pool, manager)
    },
  }
}

/** Counts how often each connection of another manager is closed. */
class CountingManager<C> implements ConnectionManager<C> {
  readonly #inner: ConnectionManager<C>
  readonly #closes = new Map<C, number>()

  constructor(inner: ConnectionManager<C>) {
    this.#inner = inner
    // The pool behaves differently without an optional method.
    if (inner.reset !== undefined) this.reset = (connection, signal) => inner.reset?.(connection, signal)
    if (inner.isFatal !== undefined) this.isFatal = (error) => inner.isFatal?.(error) === true
  }

  reset?: NonNullable<ConnectionManager<C>['reset']>
  isFatal?: (error: unknown) => boolean

  async connect(context: ConnectContext): Promise<C> {
    const connection = await this.#inner.connect(context)
    this.#closes.set(connection, 0)
    return connection
  }

  isValid(connection: C, signal: AbortSignal): boolean | Promise<boolean> {
    return this.#inner.isValid(connection, signal)
  }

  hasBroken(connection: C, error?: unknown): boolean {
    return this.#inner.hasBroken(connection, error)
  }

  close(connection: C): void | Promise<void> {
    this.#closes.set(connection, (this.#closes.get(connection) ?? 0) + 1)
    return this.#inner.close(connection)
  }

  /** Number of connections that were opened. */
  get opened(): number {
    return this.#closes.size
  }

  /** Fails unless every opened connection was closed exactly once. */
  closedOnce(): void {
    for (const times of this.#closes.values())
      assert.equal(times, 1, `a connection was closed ${times} times`)
  }
}

function poolOf<C>(
  trial: Trial<C>,
  options: PoolOptions<C>,
  inner: ConnectionManager<C> = trial.make(),
): { pool: Pool<C>; manager: CountingManager<C> } {
  const manager = new CountingManager(inner)
  const pool = new Pool<C>(manager, { name: 'conformance', acquireTimeoutMs: trial.timeoutMs, ...options })
  trial.after(() => pool.close({ timeoutMs: 0 }))
  return { pool, manager }
}

async function acquire<C>(trial: Trial<C>, pool: Pool<C>): ReturnType<Pool<C>['acquire']> {
  return await trial.inTime(pool.acquire(), 'pool.acquire')
}

async function endsCleanly<C>(trial: Trial<C>, pool: Pool<C>, manager: CountingManager<C>): Promise<void> {
  const { abandoned } = await trial.inTime(pool.close(), 'pool.close')
  assert.equal(abandoned, 0)
  await trial.nothingLeft()
  manager.closedOnce()
}

import { getEventListeners } from 'node:events'

import { expect, test } from 'vitest'

import { type AcquireTimeoutError, isPoolError, Pool, type PoolOptions } from '../../src/index.ts'
import { share, type Share, type ShareOptions } from '../../src/share/index.ts'
import { type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { SharedManager, type View } from './shared-manager.ts'

interface Made {
  readonly manager: SharedManager
  readonly clock: VirtualClock
  readonly pool: Pool<ScriptedConnection>
  readonly db: Share<View>
  readonly errors: unknown[]
}

function make(
  options: ShareOptions = {},
  manager: SharedManager = new SharedManager(),
  poolOptions: Partial<PoolOptions<ScriptedConnection>> = {},
): Made {
  const clock = new VirtualClock()
  const errors: unknown[] = []
  const pool = new Pool<ScriptedConnection>(manager, {
    name: 'orders',
    maxSize: 2,
    clock,
    onError: (error) => errors.push(error),
    ...poolOptions,
  })
  return { manager, clock, pool, db: share<ScriptedConnection, View>(pool, options), errors }
}

test('S1: callers share one connection, and results are their own', async () => {
  const { manager, pool, db } = make()
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  expect(manager.log).toEqual(['1 a', '1 b', '1 c'])
  expect(db.state()).toMatchObject({ name: 'orders/share', connections: 1, seats: 4, taken: 3, waiting: 0 })
  manager.answer('b', 'a', 'c')
  expect(await Promise.all(runs)).toEqual(['a', 'b', 'c'])
  expect(db.state().taken).toBe(0)
  expect(pool.state().inUse).toBe(1)
  await db.close()
  await pool.close()
})

test('S1: a caller goes to the connection with the fewest seats taken, in the order of their coming', async () => {
  const { manager, db } = make({ perConnection: 2, connections: 2, depth: 1 })
  const order: string[] = []
  const begin = (text: string): Promise<unknown> =>
    db.run((view) => view.query(text)).then(() => order.push(text))
  const runs = [begin('a')]
  await settle()
  expect(db.state().connections).toBe(1)
  runs.push(begin('b'))
  await settle()
  expect(db.state().connections).toBe(2)
  runs.push(begin('c'), begin('d'), begin('e'), begin('f'))
  await settle()
  expect(manager.log).toEqual(['1 a', '1 b', '2 c', '2 d'])
  expect(db.state()).toMatchObject({ seats: 4, taken: 4, waiting: 2 })
  manager.answer('c')
  await settle()
  manager.answer('a')
  await settle()
  expect(manager.log.slice(4)).toEqual(['2 e', '1 f'])
  manager.answer('b', 'd', 'e', 'f')
  await Promise.all(runs)
  expect(order).toEqual(['c', 'a', 'b', 'd', 'e', 'f'])
})

test('S1: another connection is opened only when a caller finds `depth` seats taken on each', async () => {
  const { db, pool } = make({ perConnection: 4, depth: 2 })
  const { promise, resolve } = Promise.withResolvers<void>()
  const runs = [db.run(() => promise), db.run(() => promise)]
  await settle()
  expect(pool.state().inUse).toBe(1)
  runs.push(db.run(() => promise))
  await settle()
  expect(pool.state().inUse).toBe(2)
  resolve()
  await Promise.all(runs)
})

test('S1: the limit of a connection may change, and the smaller of both limits holds', async () => {
  let limit = 1
  const { manager, db, clock } = make({ connections: 1, perConnection: 3 }, new SharedManager(() => limit))
  const runs = ['a', 'b', 'c', 'd'].map((text) => db.run((view) => view.query(text)))
  await settle()
  expect(manager.log).toEqual(['1 a'])
  limit = 10
  await clock.advance(500)
  expect(manager.log).toEqual(['1 a', '1 b', '1 c'])
  manager.answer('a', 'b', 'c')
  await settle()
  manager.answer('d')
  await Promise.all(runs)
})

test('S1: a caller that waits for a connect gets its error as the cause of the timeout', async () => {
  const manager = new SharedManager()
  manager.always.connect = 'fail'
  const { db, clock } = make({}, manager)
  const error = db.run((view) => view.query('a'), { timeoutMs: 400 }).catch((reason: unknown) => reason)
  await clock.advance(400)
  const timeout = (await error) as AcquireTimeoutError
  expect(timeout).toMatchObject({ code: 'ACQUIRE_TIMEOUT', phase: 'connect', pool: 'orders/share' })
  expect((timeout.cause as Error).message).toMatch(/^connect \d+ failed$/)
})

test('S1: an error that retrying cannot fix rejects every caller that waits', async () => {
  const manager = new SharedManager()
  manager.always.connect = 'fail'
  manager.fatal = true
  const { db } = make({}, manager)
  const errors = await Promise.allSettled([
    db.run((view) => view.query('a')),
    db.run((view) => view.query('b')),
  ])
  for (const each of errors)
    expect((each as PromiseRejectedResult).reason).toMatchObject({
      code: 'CONNECT_FAILED',
      cause: { message: 'connect 1 failed' },
    })
  expect(manager.calls.connect).toBe(1)
})

test('S1: the timeout of a caller that waits for a seat reports how many are taken', async () => {
  const { db, manager, clock } = make({ connections: 1, perConnection: 1 })
  const first = db.run((view) => view.query('a'))
  await settle()
  const second = db.run((view) => view.query('b'), { timeoutMs: 100 }).catch((error: unknown) => error)
  await clock.advance(100)
  expect(await second).toMatchObject({
    code: 'ACQUIRE_TIMEOUT',
    phase: 'queue',
    message: expect.stringContaining('1 of 1 seats taken on 1 connections') as string,
  })
  manager.answer('a')
  await first
  const { started, direct, waited, timedOut } = db.state().statistics.acquires
  expect(started).toBe(direct + waited + timedOut)
})

test('options are checked before anything is opened', () => {
  const { pool } = make()
  const wrong: [object, RegExp][] = [
    [{ connections: 3 }, /^connections must be an integer from 1 to the pool's maxSize \(2\) \(got 3\)$/],
    [{ connections: 0 }, /^connections must be an integer >= 1 \(got 0\)$/],
    [{ perConnection: 2, depth: 3 }, /^depth must be an integer from 1 to perConnection \(2\) \(got 3\)$/],
    [{ max: 2 }, /^max must be one of the share options/],
    [{ name: '' }, /^name must be a non-empty string/],
  ]
  for (const [options, message] of wrong) expect(() => share(pool, options)).toThrow(message)
  expect(() =>
    share(
      new Pool(
        new (class extends SharedManager {
          override readonly share = undefined as never
        })(),
      ),
    ),
  ).toThrow(/^pool must be a pool whose manager has `share`/)
  expect(() => share({} as never)).toThrow(/^pool must be a Pool of this installed copy/)
})

test('S2: an empty connection is released immediately while a caller waits in the pool below', async () => {
  const { db, pool, manager } = make({ connections: 1, depth: 4 }, new SharedManager(), { maxSize: 1 })
  const run = db.run((view) => view.query('a'))
  await settle()
  manager.answer('a')
  await run
  expect(db.state().connections).toBe(1)
  const lease = await pool.acquire()
  expect(db.state().connections).toBe(0)
  const next = db.run((view) => view.query('b'))
  await settle()
  expect(manager.log).toEqual(['1 a'])
  lease.release()
  await settle()
  manager.answer('b')
  expect(await next).toBe('b')
})

test('S2: when the share holds every connection, the one held longest is drained after 20 ms', async () => {
  const { db, pool, manager, clock } = make({ perConnection: 2, depth: 1 })
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  expect(db.state().connections).toBe(2)
  const exclusive = pool.acquire()
  await clock.advance(19)
  runs.push(db.run((view) => view.query('d')))
  await settle()
  expect(manager.log).toEqual(['1 a', '2 b', '1 c', '2 d'])
  await clock.advance(1)
  runs.push(db.run((view) => view.query('e')))
  manager.answer('a')
  await settle()
  expect(manager.log).toHaveLength(4)
  manager.answer('c')
  const lease = await exclusive
  expect(lease.connection.id).toBe(1)
  expect(manager.log).toHaveLength(4)
  lease.release()
  await settle()
  expect(manager.log.slice(4)).toEqual(['1 e'])
  manager.answer('b', 'd', 'e')
  await Promise.all(runs)
})

test('S2: after a drain the share waits behind the waiting caller', async () => {
  const { db, pool, manager, clock } = make({ connections: 1 }, new SharedManager(1), { maxSize: 1 })
  const runs = ['a', 'b'].map((text) => db.run((view) => view.query(text)))
  await settle()
  const first = pool.acquire()
  const second = pool.acquire()
  await clock.advance(20)
  manager.answer('a')
  const lease = await first
  lease.release()
  ;(await second).release()
  await settle()
  manager.answer('b')
  await Promise.all(runs)
  expect(manager.log).toEqual(['1 a', '1 b'])
})

test('S2: after a lost connection the share still waits behind the callers that came before', async () => {
  const { db, pool, manager } = make({ connections: 1 }, new SharedManager(), { maxSize: 1 })
  const served = db.run((view) => view.query('a'))
  await settle()
  manager.answer('a')
  await served
  const lost = db.run((view) => view.query('b'))
  await settle()
  manager.connections[0]!.lost(new Error('reset'))
  await expect(lost).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
  const first = await pool.acquire()
  const second = pool.acquire()
  const run = db.run((view) => view.query('c'))
  await settle()
  first.release()
  await settle()
  expect(manager.log).toEqual(['1 a', '1 b'])
  ;(await second).release()
  await settle()
  manager.answer('c')
  expect(await run).toBe('c')
  await db.close()
  await pool.close()
})

test.each(['lifetime', 'generation'])(
  'S2: a connection of an old %s is drained and released within 1 s',
  async (kind) => {
    const { db, pool, manager, clock } = make({ connections: 1 }, new SharedManager(2), {
      maxLifetimeMs: kind === 'lifetime' ? 5_000 : Infinity,
      lifetimeJitter: 0,
    })
    let count = 0
    let isOver = false
    const busy = async (): Promise<void> => {
      while (!isOver) {
        const text = `q${count++}`
        const run = db.run((view) => view.query(text))
        await settle()
        await clock.advance(10)
        manager.answer(text)
        await run
      }
    }
    const work = busy()
    const started = clock.now()
    while (clock.now() - started < 4_990) await settle()
    if (kind === 'generation') pool.clear()
    while (clock.now() - started < 6_010) await settle()
    expect(manager.connections[0]?.open).toBe(false)
    expect(manager.log.at(-1)).toMatch(/^2 /)
    isOver = true
    await work
  },
)

test('S3: what a statement left open rejects its run, and what was sent behind it never resolves', async () => {
  const { db, manager, errors } = make({ connections: 1 })
  const [first, dirty, behind] = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  const retried = db.run((view) => view.query('d'), { retries: 1 })
  await settle()
  manager.answer('a')
  const sent = manager.take('b')
  sent.seat.dirty('a transaction left open')
  sent.answer()
  manager.answer('c', 'd')
  expect(await first).toBe('a')
  await expect(dirty).rejects.toMatchObject({
    code: 'CONNECTION_DIRTY',
    message: expect.stringContaining('a transaction left open') as string,
  })
  await expect(behind).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause: { code: 'CONNECTION_DIRTY' } })
  await settle()
  expect(manager.connections[0]?.open).toBe(false)
  manager.answer('d')
  expect(await retried).toBe('d')
  expect(manager.log.at(-1)).toBe('2 d')
  expect(errors).toEqual([expect.objectContaining({ code: 'CONNECTION_DIRTY' })])
  expect(db.state().statistics).toMatchObject({ dirty: 1, lost: 1 })
})

test('S4: an abort settles its caller immediately, and the seat stays taken until the answer', async () => {
  const { db, manager } = make({ connections: 1 })
  const controller = new AbortController()
  const aborted = db.run((view) => view.query('a'), { signal: controller.signal })
  const other = db.run((view) => view.query('b'))
  await settle()
  controller.abort(new Error('enough'))
  await expect(aborted).rejects.toThrow('enough')
  expect(db.state().taken).toBe(2)
  manager.answer('a')
  await settle()
  expect(db.state().taken).toBe(1)
  manager.answer('b')
  expect(await other).toBe('b')
})

test('S4: callers that share a signal share one listener', async () => {
  const { db, manager } = make()
  const { signal } = new AbortController()
  const texts = ['a', 'b', 'c']
  const running = texts.map((text) => db.run((view) => view.query(text), { signal }))
  await settle()
  expect(getEventListeners(signal, 'abort')).toHaveLength(1)
  manager.answer(...texts)
  expect(await Promise.all(running)).toEqual(texts)
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('S4: an abort leaves the queue, and no listener stays on the signal', async () => {
  const { db, manager } = make({ connections: 1, perConnection: 1 })
  const first = db.run((view) => view.query('a'))
  await settle()
  const controller = new AbortController()
  const waiting = db.run((view) => view.query('b'), { signal: controller.signal })
  controller.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  manager.answer('a')
  await first
  expect(db.state()).toMatchObject({ taken: 0, waiting: 0 })
  expect(db.state().statistics.acquires).toMatchObject({ aborted: 1, started: 2 })
})

test('S4: a seat ends when its work has settled and every statement is answered; then its view is rejected', async () => {
  const { db, manager } = make()
  let kept: View | undefined
  const run = db.run((view) => {
    kept = view
    void view.query('a')
    return 'done'
  })
  expect(await run).toBe('done')
  expect(db.state().taken).toBe(1)
  expect(() => kept?.query('b')).toThrow(/view of share 'orders\/share' was used after its run had settled/)
  manager.answer('a')
  expect(db.state().taken).toBe(0)
  try {
    void kept?.query('b')
  } catch (error) {
    expect(isPoolError(error) && error.code).toBe('LEASE_RELEASED')
  }
  expect(manager.log).toEqual(['1 a'])
})

test('S5: a lost connection is one event with one cause for each of its callers', async () => {
  const { db, manager, pool } = make({ connections: 1 })
  await db.run(() => 'served')
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  const retried = db.run((view) => view.query('d'), { retries: 1 })
  await settle()
  const cause = new Error('terminated by the administrator')
  const [connection] = manager.connections
  connection!.broken = true
  connection!.lost(cause)
  for (const text of ['a', 'b', 'c']) manager.take(text).fail(new Error('Connection terminated unexpectedly'))
  manager.take('d')
  for (const run of runs) await expect(run).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause })
  await settle()
  manager.answer('d')
  expect(await retried).toBe('d')
  expect(manager.log.at(-1)).toBe('2 d')
  expect(pool.state().statistics.closed).toMatchObject({ lost: 1, destroyed: 0 })
  expect(db.state().statistics.lost).toBe(1)
})

test('S5: without a report of the driver, the first statement error of a broken connection is the cause', async () => {
  const { db, manager } = make({ connections: 1 })
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  const errors = ['a', 'b', 'c'].map((text) => new Error(`${text} failed`))
  manager.connections[0]!.broken = true
  for (const [index, text] of ['a', 'b', 'c'].entries()) manager.take(text).fail(errors[index])
  for (const run of runs)
    await expect(run).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause: errors[0] })
})

test('S5: the error of one statement stays with its caller', async () => {
  const { db, manager } = make({ connections: 1 })
  const [bad, good] = ['a', 'b'].map((text) => db.run((view) => view.query(text)))
  await settle()
  const error = new Error('division by zero')
  manager.take('a').fail(error)
  await expect(bad).rejects.toBe(error)
  manager.answer('b')
  expect(await good).toBe('b')
})

test('S5: a retry runs on a connection that is new or was checked since the loss', async () => {
  const { db, manager } = make({ perConnection: 1 })
  await db.run(() => 'served')
  const both = ['a', 'b'].map((text) => db.run((view) => view.query(text), { retries: 2 }))
  await settle()
  manager.answer('b')
  await both[1]
  // The second connection has died too, but nothing reports it.
  manager.connections[1]!.invalid = true
  manager.connections[0]!.lost(new Error('gone'))
  await settle()
  expect(manager.calls.isValid).toBe(1)
  expect(manager.log).toEqual(['1 a', '2 b', '3 a'])
  manager.take('a')
  manager.answer('a')
  expect(await both[0]).toBe('a')
})

test('S6: the probe runs before the first seat; without pipelining each connection has one seat', async () => {
  const probed: number[] = []
  const manager = new SharedManager(4, {
    probe: (connection) => {
      probed.push(connection.id)
      return Promise.resolve(false)
    },
  })
  const { db, errors } = make({}, manager)
  expect(db.state().pipelining).toBe(true)
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  expect(manager.connections[0]?.open).toBe(false)
  expect(db.state()).toMatchObject({ pipelining: false, connections: 2, seats: 2, taken: 2, waiting: 1 })
  expect(errors).toEqual([expect.objectContaining({ code: 'PROBE_FAILED' })])
  manager.answer('a')
  await settle()
  manager.answer('b', 'c')
  await Promise.all(runs)
  expect(probed).toEqual([1])
})

test('S6: a probe that is not answered within validationTimeoutMs has failed', async () => {
  const manager = new SharedManager(4, { probe: () => new Promise(() => {}) })
  const { db, clock } = make({}, manager, { validationTimeoutMs: 300 })
  const run = db.run((view) => view.query('a'))
  await clock.advance(299)
  expect(manager.log).toEqual([])
  await clock.advance(1)
  expect(db.state().pipelining).toBe(false)
  manager.answer('a')
  await run
})

test('S6: behind a pooler a connection that was not empty for 20 ms takes no new seat until it is', async () => {
  const manager = new SharedManager(4, { isPooled: () => true })
  const { db, clock } = make({ connections: 1 }, manager)
  const begin = (text: string): Promise<unknown> => db.run((view) => view.query(text))
  const runs = [begin('a')]
  await settle()
  await clock.advance(19)
  runs.push(begin('b'))
  await settle()
  expect(manager.log).toEqual(['1 a', '1 b'])
  await clock.advance(1)
  runs.push(begin('c'))
  await settle()
  manager.answer('a')
  await settle()
  expect(manager.log).toHaveLength(2)
  manager.answer('b')
  await settle()
  expect(manager.log[2]).toBe('1 c')
  manager.answer('c')
  await Promise.all(runs)
})

test('S7: close drains each connection and releases it; what is not empty at the deadline is closed', async () => {
  const { db, manager, pool, clock } = make({ perConnection: 1 })
  const runs = ['a', 'b'].map((text) => db.run((view) => view.query(text)))
  runs[1]?.catch(() => {})
  await settle()
  const closing = db.close({ timeoutMs: 100 })
  await expect(db.run((view) => view.query('c'))).rejects.toMatchObject({ code: 'POOL_CLOSED' })
  manager.answer('a')
  await runs[0]
  await clock.advance(0)
  expect(pool.state()).toMatchObject({ idle: 1, inUse: 1 })
  await clock.advance(1_200)
  expect(await closing).toEqual({ closed: 1, abandoned: 1 })
  expect(await db.close()).toEqual({ closed: 1, abandoned: 1 })
  await expect(runs[1]).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
  expect(manager.connections.map(({ open }) => open)).toEqual([true, false])
  expect(db.state()).toMatchObject({ closed: true, connections: 0, taken: 0 })
  await pool.close()
  expect(clock.timers).toBe(0)
})

test('writes of one turn are held back together, and a throw breaks the connection', async () => {
  const calls: string[] = []
  let fails = false
  const manager = new SharedManager(4, {
    cork: () => void calls.push('cork'),
    uncork: () => {
      if (fails) throw new Error('no socket')
      calls.push('uncork')
    },
  })
  const { db } = make({ connections: 1 }, manager)
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  await new Promise((resolve) => setImmediate(resolve))
  expect(calls).toEqual(['cork', 'uncork'])
  manager.answer('a', 'b', 'c')
  await Promise.all(runs)
  fails = true
  const lost = db.run((view) => view.query('d'))
  await expect(lost).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause: { message: 'no socket' } })
})

test('an unused connection goes back to the pool below', async () => {
  const { db, manager, pool, clock } = make()
  const run = db.run((view) => view.query('a'))
  await settle()
  manager.answer('a')
  await run
  expect(db.state().connections).toBe(1)
  await clock.advance(1_100)
  expect(db.state().connections).toBe(0)
  expect(pool.state()).toMatchObject({ idle: 1, inUse: 0 })
  expect(clock.refTimers).toBe(0)
})

test('S1: between connections with as many seats taken, the one that answered last is chosen', async () => {
  const { manager, db } = make({ depth: 1 }, new SharedManager(8))
  const runs: Promise<unknown>[] = []
  const begin = async (text: string): Promise<void> => {
    runs.push(db.run((view) => view.query(text)))
    await settle()
  }
  for (const text of ['slow', 'behind', 'a', 'b', 'c', 'd']) await begin(text)
  expect(manager.log).toEqual(['1 slow', '1 behind', '2 a', '2 b', '1 c', '2 d'])
  manager.answer('a')
  await settle()
  await begin('e')
  // Three seats are taken on each.
  await begin('f')
  expect(manager.log.slice(6)).toEqual(['2 e', '2 f'])
  for (const sent of [...manager.sent]) sent.answer()
  await Promise.all(runs)
})

test('S5: a caller that has its answers may go on after a loss, and learns of it at its next statement', async () => {
  const { db, manager } = make({ connections: 1 })
  const pause = Promise.withResolvers<void>()
  const done = db.run(async (view) => {
    await view.query('a')
    await pause.promise
    return 'done'
  })
  const more = db.run(async (view) => {
    await view.query('b')
    await pause.promise
    return await view.query('c')
  })
  const unsent = db.run(() => new Promise(() => {}))
  await settle()
  manager.answer('a', 'b')
  await settle()
  const cause = new Error('gone')
  manager.connections[0]!.lost(cause)
  await expect(unsent).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause })
  pause.resolve()
  expect(await done).toBe('done')
  await expect(more).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause })
  expect(manager.log).toEqual(['1 a', '1 b'])
})

test('a silent connection gets no new caller and is replaced; it is used to its end if it answers after all', async () => {
  const { db, pool, manager, clock, errors } = make({ connections: 1 }, new SharedManager(2), { maxSize: 3 })
  const slow = [db.run((view) => view.query('a')), db.run((view) => view.query('b'))]
  await settle()
  await clock.advance(4_000)
  const waiting = db.run((view) => view.query('c'))
  await clock.advance(3_000)
  // All seats of the only connection were taken: a second one was opened in addition.
  expect(manager.log).toEqual(['1 a', '1 b', '2 c'])
  expect(errors.map(String)).toEqual([
    "Error: a connection of share 'orders/share' has not answered for 5000 ms",
  ])
  manager.answer('c')
  expect(await waiting).toBe('c')
  manager.answer('a', 'b')
  expect(await Promise.all(slow)).toEqual(['a', 'b'])
  await clock.advance(1)
  expect(db.state()).toMatchObject({ connections: 1, statistics: { lost: 0 } })
  expect(pool.state().statistics.closed.lost).toBe(0)
  await db.close()
  await pool.close()
})

test('a silent connection is closed when no caller waits for it any longer', async () => {
  const { db, pool, manager, clock } = make({ connections: 1 }, new SharedManager(2), { maxSize: 3 })
  const controller = new AbortController()
  const gone = db.run((view) => view.query('a'), { signal: controller.signal })
  await settle()
  controller.abort(new Error('enough'))
  await expect(gone).rejects.toThrow('enough')
  await clock.advance(4_000)
  expect(db.state()).toMatchObject({ connections: 1, taken: 1 })
  await clock.advance(3_000)
  expect(db.state()).toMatchObject({ connections: 0, taken: 0, statistics: { lost: 1 } })
  expect(manager.open).toBe(0)
  await db.close()
  await pool.close()
})

test('connections that are half-open forever wedge neither the share nor an exclusive caller', async () => {
  const { db, pool, manager, clock } = make({ connections: 2 }, new SharedManager(2), { maxSize: 4 })
  const stuck = ['a', 'b', 'c', 'd'].map((text) => db.run((view) => view.query(text)))
  await settle()
  const served = ['e', 'f', 'g', 'h'].map((text) => db.run((view) => view.query(text)))
  await clock.advance(6_500)
  expect(manager.log.slice(4).map((line) => line.split(' ')[1])).toEqual(['e', 'f', 'g', 'h'])
  const exclusive = pool.acquire()
  await clock.advance(30)
  manager.answer('e', 'f', 'g', 'h')
  await Promise.all(served)
  ;(await exclusive).release()
  const later = db.run((view) => view.query('i'))
  await settle()
  manager.answer('i')
  expect(await later).toBe('i')
  const settled = Promise.allSettled(stuck)
  const closing = db.close({ timeoutMs: 100 })
  await clock.advance(200)
  await closing
  expect((await settled).map(({ status }) => status)).toEqual([
    'rejected',
    'rejected',
    'rejected',
    'rejected',
  ])
  await pool.close()
})

test('a slow statement that answers within the limit is not silent, however long others wait', async () => {
  const { db, pool, manager, clock, errors } = make({ connections: 1 }, new SharedManager(4), { maxSize: 2 })
  const runs = ['a', 'b', 'c'].map((text) => db.run((view) => view.query(text)))
  await settle()
  for (const text of ['a', 'b', 'c']) {
    await clock.advance(4_400)
    manager.answer(text)
    await settle()
  }
  await Promise.all(runs)
  expect(errors).toEqual([])
  expect(manager.connections).toHaveLength(1)
  await db.close()
  await pool.close()
})

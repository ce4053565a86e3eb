import { AsyncLocalStorage } from 'node:async_hooks'

import { expect, test } from 'vitest'

import { PoolGroup } from '../../src/group/index.ts'
import {
  AcquireTimeoutError,
  ConnectError,
  livePools,
  PoolClosedError,
  type PoolError,
  PoolOptionsError,
  QueueFullError,
} from '../../src/index.ts'
import { ScriptedManager, settle } from '../../src/testing/index.ts'
import { make } from './make-group.ts'

const failure = (promise: Promise<unknown>): Promise<PoolError> =>
  promise.then(
    () => Promise.reject(new Error('it did not reject')),
    (error: unknown) => error as PoolError,
  )

test('G1: a closing connection holds its place until its close has settled, or for closeTimeoutMs', async () => {
  const { group, clock, managerOf, errors } = make({ total: 1, pool: { closeTimeoutMs: 100 } })
  managerOf('a').closes.push('never')
  await group.run('a', () => {})
  const b = group.acquire('b')
  await settle()
  expect(group.state()).toMatchObject({ taken: 1, free: 0, closing: 1, waiting: 1 })
  expect(managerOf('b').calls.connect).toBe(0)
  await clock.advance(99)
  expect(managerOf('b').calls.connect).toBe(0)
  await clock.advance(1)
  ;(await b).release()
  expect(errors).toMatchObject([{ code: 'CLOSE_FAILED', pool: 'tenants/a' }])
})

test('G1: perKey limits one key; a function gives each key its own, capped by total', async () => {
  const { group } = make({ total: 3, perKey: (key) => (key === 'a' ? 1 : 99) })
  const [a, b, c] = await Promise.all(['a', 'b', 'b'].map((key) => group.acquire(key)))
  expect([group.state('a')?.maxSize, group.state('b')?.maxSize]).toEqual([1, 3])
  a!.release()
  const held = await group.acquire('a')
  const second = group.acquire('a')
  b!.release()
  await settle()
  expect(group.state('a')).toMatchObject({ inUse: 1, opening: 0, waiting: 1 })
  held.release()
  ;(await second).release()
  c!.release()
})

test('G1: a wrong value of perKey rejects the callers of that key, and creates no key', async () => {
  const { group } = make({ total: 3, perKey: (key) => (key === 'bad' ? 0 : 1) })
  const error = await failure(group.run('bad', () => {}))
  expect(error).toBeInstanceOf(PoolOptionsError)
  expect(error).toMatchObject({
    option: 'perKey',
    value: 0,
    pool: 'tenants/bad',
    message: 'perKey must be an integer >= 1 (got 0)',
  })
  expect(group.keys()).toEqual([])
  expect(await group.run('good', () => 1)).toBe(1)
})

test('G2: a connection serves only the key that opened it, and is closed by its own manager', async () => {
  const { group, managerOf } = make({ total: 1 })
  const [a] = [await group.run('a', (connection) => connection)]
  const b = await group.run('b', (connection) => connection)
  expect(managerOf('a').connections).toEqual([a])
  expect(managerOf('b').connections).toEqual([b])
  expect([a.open, b.open, managerOf('a').calls.close]).toEqual([false, true, 1])
})

test('G3: a key that wants a slot takes the longest idle connection of another key, one for each caller', async () => {
  const { group, clock, managerOf } = make({ total: 3 })
  for (const key of ['a', 'b', 'c']) {
    await group.run(key, () => {})
    await clock.advance(1)
  }
  await group.run('a', () => {}) // b is the longest idle now
  const leases = [group.acquire('d'), group.acquire('d')]
  await settle()
  expect([managerOf('a').open, managerOf('b').open, managerOf('c').open]).toEqual([1, 0, 0])
  for (const lease of leases) (await lease).release()
})

test('G4: a free place goes to the key with the fewest, then to the one that has wanted it longest', async () => {
  const { group } = make({ total: 3 })
  const order: string[] = []
  const [x, y] = [await group.acquire('x'), await group.acquire('y')]
  const z = await group.acquire('z')
  const use = (key: string): Promise<void> => group.run(key, () => void order.push(key))
  const all = [use('x'), use('b'), use('c')]
  await settle()
  expect(group.state()).toMatchObject({ wantingKeys: 3, waiting: 3 })
  z.release()
  await settle()
  // Each key without callers gives its place up for the next.
  expect(order).toEqual(['b', 'c', 'x'])
  await Promise.all(all)
  y.release()
  x.release()
})

test('G4: a busy key gives up connections until the wanting key has as many, less one', async () => {
  const { group, managerOf } = make({ total: 5 })
  const busy = await Promise.all(Array.from({ length: 5 }, () => group.acquire('a')))
  const behind = Array.from({ length: 5 }, () => group.acquire('a'))
  const other = Array.from({ length: 5 }, () => group.acquire('b'))
  await settle()
  for (const lease of busy) {
    lease.release()
    await settle()
  }
  expect([managerOf('a').open, managerOf('b').open]).toEqual([3, 2])
  for (const lease of [...behind, ...other]) void lease.then((each) => each.release())
  await Promise.all([...behind, ...other])
})

test('G4: a key keeps its only connection for turnMs, and gives it up at the first return after that', async () => {
  const { group, clock, managerOf } = make({ total: 1, turnMs: 50 })
  const first = await group.acquire('a')
  const [second, third, b] = [group.acquire('a'), group.acquire('a'), group.acquire('b')]
  await clock.advance(49)
  first.release()
  const held = await second
  await clock.advance(1)
  expect(managerOf('b').calls.connect).toBe(0)
  held.release()
  const other = await b
  expect(managerOf('a').open).toBe(0)
  other.release()
  ;(await third).release()
})

test('G5: 30 busy keys take turns on 3 places, and none waits longer than its bound', async () => {
  const { group, clock } = make({ total: 3, turnMs: 20 })
  const longest = new Map<string, number>()
  let isOver = false
  const caller = async (key: string): Promise<void> => {
    while (!isOver) {
      const since = clock.now()
      await group.run(key, () => new Promise<void>((resolve) => void clock.setTimeout(resolve, 5)))
      longest.set(key, Math.max(longest.get(key) ?? 0, clock.now() - since))
    }
  }
  const callers = Array.from({ length: 60 }, (_, index) => caller(`key-${index % 30}`))
  await clock.advance(2_000)
  expect(longest.size).toBe(30)
  // Two callers of one key: the second may have to wait for the next turn.
  const boundMs = 2 * Math.ceil(30 / 3) * (20 + 5)
  expect(Math.max(...longest.values())).toBeLessThanOrEqual(boundMs)
  isOver = true
  await clock.advance(1_000)
  await Promise.all(callers)
})

test('G6: a connection that was opened for a caller serves it before it is taken', async () => {
  const { group, managerOf } = make({ total: 1, turnMs: 0 })
  const opened = Promise.withResolvers<void>()
  managerOf('a').connects.push(opened.promise)
  const a = group.run('a', () => 'served')
  const b = group.run('b', () => 'served')
  opened.resolve()
  expect(await a).toBe('served')
  expect(managerOf('a').calls).toMatchObject({ connect: 1 })
  expect(await b).toBe('served')
})

test('G8: an attempt whose callers have gone does not begin, and is no failure', async () => {
  const { group, managerOf } = make({ total: 1 })
  const held = await group.acquire('a')
  const controller = new AbortController()
  const b = group.acquire('b', { signal: controller.signal })
  b.catch(() => {})
  controller.abort(new Error('away'))
  held.destroy()
  await settle()
  await expect(b).rejects.toThrow('away')
  expect(managerOf('b').calls.connect).toBe(0)
  expect(group.state()).toMatchObject({ taken: 0, keys: 0, wantingKeys: 0 })
  expect(group.state().statistics.connects.failed).toBe(0)
})

test('G9: dead keys hold at most half of total at first, then failingShare; a healthy key is served in the meantime', async () => {
  const { group, clock, managerOf } = make({
    total: 8,
    failingShare: 0.25,
    pool: { connectTimeoutMs: 1_000 },
  })
  await group.run('well', () => {})
  const dead = Array.from({ length: 6 }, (_, index) => `dead-${index}`)
  for (const key of dead) managerOf(key).always.connect = 'never'
  const lost = dead.map((key) => failure(group.run(key, () => {}, { timeoutMs: 5_000 })))
  await settle()
  expect(group.state()).toMatchObject({ opening: 4, taken: 5 })
  await clock.advance(1_000)
  // Two that are new; those that failed wait for their backoff.
  expect(group.state()).toMatchObject({ failingKeys: 4, opening: 2 })
  await clock.advance(1_500)
  expect(group.state()).toMatchObject({ failingKeys: 6, opening: 2 })
  const leases = await Promise.all(Array.from({ length: 6 }, () => group.acquire('well')))
  expect(group.state()).toMatchObject({ taken: 8, opening: 2 })
  for (const lease of leases) lease.release()
  await clock.advance(3_000)
  for (const error of await Promise.all(lost)) expect(error).toBeInstanceOf(AcquireTimeoutError)
})

test('G9: one failing key probes in its share while another key holds the rest', async () => {
  const { group, clock, managerOf } = make({ total: 4, failingShare: 0.25 })
  for (const key of ['x', 'y']) {
    managerOf(key).always.connect = 'fail'
    group.run(key, () => {}, { timeoutMs: 4_000 }).catch(() => {})
  }
  await settle()
  for (const key of ['x', 'y']) managerOf(key).always.connect = 'never'
  await clock.advance(3_000)
  expect(group.state()).toMatchObject({ failingKeys: 2, opening: 1 })
  await clock.advance(20_000)
})

test('G9: the backoff of a key outlives the key until it has run out', async () => {
  const { group, clock, managerOf } = make({ pool: { connectBackoff: { minMs: 100, maxMs: 1_000 } } })
  managerOf('a').always.connect = 'fail'
  await failure(Promise.all([group.run('a', () => {}, { timeoutMs: 50 }), clock.advance(50)]))
  expect([managerOf('a').calls.connect, group.keys()]).toEqual([1, []])
  managerOf('a').always.connect = 'ok'
  const next = group.run('a', () => clock.now())
  expect(group.state().failingKeys).toBe(1)
  await clock.advance(49)
  expect(managerOf('a').calls.connect).toBe(1)
  await clock.advance(100)
  expect(await next).toBeGreaterThanOrEqual(1_000_100)
  expect(group.state().failingKeys).toBe(0)
})

test('G9: a fatal error rejects the next caller of a forgotten key immediately, while it is fresh', async () => {
  const { group, clock, managerOf } = make({ pool: { connectBackoff: { minMs: 100, maxMs: 1_000 } } })
  managerOf('a').always.connect = 'fail'
  managerOf('a').fatal = true
  const first = await failure(group.run('a', () => {}))
  expect([first.code, group.keys()]).toEqual(['CONNECT_FAILED', []])
  expect((await failure(group.run('a', () => {}))).cause).toBe(first.cause)
  expect(managerOf('a').calls.connect).toBe(1)
  managerOf('a').always.connect = 'ok'
  await clock.advance(101)
  expect(await group.run('a', () => 1)).toBe(1)
})

test('G10: clear closes idle connections now and leased ones at return, and asks the factory again', async () => {
  const { group, loads, managerOf } = make({ total: 3 })
  const [held, other] = [await group.acquire('a'), await group.acquire('a')]
  other.release()
  group.clear('a')
  await settle()
  expect(managerOf('a').open).toBe(1)
  expect(held.connection.open).toBe(true)
  held.release()
  await settle()
  expect([managerOf('a').open, loads]).toEqual([0, ['a']])
  await group.run('a', () => {})
  expect(loads).toEqual(['a', 'a'])
})

test('G10: clear abandons attempts and loads; callers keep their places and get the new configuration', async () => {
  const old = new ScriptedManager()
  const fresh = new ScriptedManager()
  const signals: AbortSignal[] = []
  const late = Promise.withResolvers<ScriptedManager>()
  const answers = [late.promise, Promise.resolve(fresh)]
  const { group, loads } = make({ total: 2 }, (_, { signal }) => {
    signals.push(signal)
    return answers.shift()!
  })
  const order: number[] = []
  const callers = [1, 2].map((number) => group.run('a', () => void order.push(number)))
  await settle()
  group.clear('a')
  expect(signals[0]?.aborted).toBe(true)
  await Promise.all(callers)
  late.resolve(old)
  await settle()
  expect([loads.length, order, old.calls.connect]).toEqual([2, [1, 2], 0])
})

test('G10: clear of a key frees the place of its attempt, and forgets its backoff', async () => {
  const { group, managerOf } = make({ total: 1 })
  managerOf('a').connects.push('never')
  const a = group.run('a', () => 'a')
  await settle()
  const b = group.run('b', () => 'b')
  await settle()
  group.clear('a')
  expect(managerOf('a').signals[0]?.aborted).toBe(true)
  expect(await Promise.all([a, b])).toEqual(['a', 'b'])
  managerOf('c').connects.push('fail')
  const c = group.run('c', () => 'c')
  await settle()
  expect(group.state('c')).toMatchObject({ waiting: 1, opening: 0 })
  group.clear('c')
  expect(await c).toBe('c')
})

test('G11: a key without connections and callers is forgotten after forgetAfterMs', async () => {
  const { group, clock } = make({ forgetAfterMs: 500, pool: { idleTimeoutMs: 1_000, reapIntervalMs: 100 } })
  await group.run('a', () => {})
  await clock.advance(1_100)
  expect([group.keys(), group.state('a')?.connections]).toEqual([['a'], 0])
  await clock.advance(500)
  expect([group.keys(), group.state('a'), clock.timers]).toEqual([[], undefined, 0])
  expect(group.state().statistics.acquires).toMatchObject({ started: 1, waited: 1 })
  expect(group.state().statistics.closed.idle).toBe(1)
})

test('G11: state, tryAcquire, clear and remove create no key; a caller that is rejected leaves none', async () => {
  const { group } = make()
  expect([group.state('a'), group.tryAcquire('a')]).toEqual([undefined, undefined])
  group.clear('a')
  expect(await group.remove('a')).toEqual({ closed: 0, abandoned: 0 })
  await expect(group.acquire('a', { signal: AbortSignal.abort(new Error('away')) })).rejects.toThrow('away')
  expect(group.keys()).toEqual([])
})

test('G11: however many keys wait, one timer is set', async () => {
  const { group, clock } = make({ total: 2 })
  const held = [await group.acquire('a'), await group.acquire('b')]
  const waiting = Array.from({ length: 100 }, (_, index) =>
    failure(group.acquire(`key-${index}`, { timeoutMs: 100 + index })),
  )
  await settle()
  expect(clock.timers).toBe(1)
  expect(clock.refTimers).toBe(1)
  await clock.advance(200)
  expect((await Promise.all(waiting)).every(({ code }) => code === 'ACQUIRE_TIMEOUT')).toBe(true)
  for (const lease of held) lease.release()
  expect(clock.refTimers).toBe(0)
})

test('G12: one load is shared by the callers of a key, which keep their order; it takes no slot', async () => {
  const loaded = Promise.withResolvers<ScriptedManager>()
  const { group, loads } = make({ total: 1 }, (key) =>
    key === 'slow' ? loaded.promise : new ScriptedManager(),
  )
  const order: number[] = []
  const slow = [1, 2, 3].map((number) => group.run('slow', () => void order.push(number)))
  await settle()
  expect(group.state()).toMatchObject({ taken: 0, waiting: 3, wantingKeys: 0 })
  expect(await group.run('quick', () => 1)).toBe(1)
  loaded.resolve(new ScriptedManager())
  await Promise.all(slow)
  expect([order, loads]).toEqual([
    [1, 2, 3],
    ['slow', 'quick'],
  ])
})

test('G12: a load that fails rejects its callers immediately, is not kept, and backs off', async () => {
  const cause = new Error('no such tenant')
  let isDown = true
  const { group, clock, loads } = make({ pool: { connectBackoff: { minMs: 100, maxMs: 1_000 } } }, () => {
    if (isDown) throw cause // as one load of both callers
    return new ScriptedManager()
  })
  const errors = await Promise.all([failure(group.run('a', () => {})), failure(group.acquire('a'))])
  for (const error of errors) {
    expect(error).toBeInstanceOf(ConnectError)
    expect(error).toMatchObject({ cause, pool: 'tenants/a' })
  }
  expect(group.state()).toMatchObject({ keys: 0, taken: 0 })
  isDown = false
  const next = group.run('a', () => 1)
  await clock.advance(99)
  expect(loads.length).toBe(1)
  await clock.advance(100)
  expect([await next, loads.length]).toEqual([1, 2])
})

test('G12: a load is bounded by connectTimeoutMs, and its signal aborts', async () => {
  let signal: AbortSignal | undefined
  const { group, clock } = make({ pool: { connectTimeoutMs: 1_000 } }, (_, context) => {
    signal = context.signal
    return new Promise(() => {})
  })
  const lost = failure(group.run('a', () => {}))
  await clock.advance(999)
  expect(signal?.aborted).toBe(false)
  await clock.advance(1)
  expect(await lost).toBeInstanceOf(ConnectError)
  expect(signal?.aborted).toBe(true)
})

test('G12: factory and connect run in the async context in which the group was created', async () => {
  const context = new AsyncLocalStorage<string>()
  const seen: (string | undefined)[] = []
  class Watched extends ScriptedManager {
    override connect(
      ...args: Parameters<ScriptedManager['connect']>
    ): ReturnType<ScriptedManager['connect']> {
      seen.push(context.getStore())
      return super.connect(...args)
    }
  }
  const group = context.run(
    'group',
    () =>
      new PoolGroup(
        () => {
          seen.push(context.getStore())
          return new Watched()
        },
        { total: 1 },
      ),
  )
  await context.run('caller', () => group.run('a', () => void seen.push(context.getStore())))
  expect(seen).toEqual(['group', 'group', 'caller'])
  await group.close()
})

test('G12: what the factory returns is checked', async () => {
  const { group } = make({}, () => ({}) as never)
  const error = await failure(group.run('a', () => {}))
  expect(error).toBeInstanceOf(ConnectError)
  expect(error.cause).toMatchObject({ option: 'manager' })
})

test('remove rejects the callers of the key until it has resolved; a later caller creates it anew', async () => {
  const { group, clock, loads } = make({ total: 1 })
  const held = await group.acquire('a')
  const waiting = failure(group.acquire('a'))
  const removing = group.remove('a', { timeoutMs: 1_000 })
  expect(group.remove('a')).toBe(removing)
  expect(await waiting).toBeInstanceOf(PoolClosedError)
  expect(await failure(group.acquire('a'))).toMatchObject({ code: 'POOL_CLOSED', pool: 'tenants/a' })
  await clock.advance(500)
  held.release()
  expect(await removing).toEqual({ closed: 1, abandoned: 0 })
  expect([group.keys(), group.state().taken]).toEqual([[], 0])
  expect(await group.run('a', () => 1)).toBe(1)
  expect(loads).toEqual(['a', 'a'])
})

test('remove forces the close of a lease at its deadline, and then the place is free for another key', async () => {
  const { group, clock } = make({ total: 1 })
  const held = await group.acquire('a')
  const b = group.run('b', () => 'b')
  const removing = group.remove('a', { timeoutMs: 100 })
  await clock.advance(100)
  expect(await removing).toEqual({ closed: 0, abandoned: 1 })
  expect(await b).toBe('b')
  held.release()
})

test('close closes every key, and rejects later callers', async () => {
  const { group, open, clock } = make({ total: 3 })
  await Promise.all(['a', 'b', 'c'].map((key) => group.run(key, () => {})))
  expect(await group.close()).toEqual({ closed: 3, abandoned: 0 })
  expect(await group.close()).toEqual({ closed: 3, abandoned: 0 })
  expect(await failure(group.run('a', () => {}))).toMatchObject({ code: 'POOL_CLOSED', pool: 'tenants/a' })
  expect(await failure(group.dedicated('a'))).toMatchObject({ code: 'POOL_CLOSED' })
  await expect(group.resize({ total: 4 })).rejects.toThrow(PoolClosedError)
  expect([open(), clock.timers, group.state().closed]).toEqual([0, 0, true])
})

test('resize lowers total: attempts are given up, idle connections closed, leased ones at their return', async () => {
  const { group, managerOf, open } = make({ total: 4 })
  const held = await Promise.all(['a', 'a', 'b'].map((key) => group.acquire(key)))
  managerOf('c').connects.push('never')
  const c = group.run('c', () => 'c')
  await settle()
  let isDone = false
  const resizing = group.resize({ total: 1 }).then(() => (isDone = true))
  await settle()
  expect([managerOf('c').signals[0]?.aborted, group.state().taken, isDone]).toEqual([true, 3, false])
  held[0]!.release()
  held[1]!.release()
  await settle()
  expect([open(), isDone, managerOf('c').calls.connect]).toEqual([1, true, 1])
  await resizing
  held[2]!.release()
  expect(await c).toBe('c')
  await group.resize({ total: 2, perKey: 1 })
  expect(group.state('c')?.maxSize).toBe(1)
  await expect(group.resize({ total: 0 })).rejects.toMatchObject({ option: 'total', value: 0 })
  expect(group.state().total).toBe(2)
})

test('resize calls perKey again, and rejects the callers of a key with a wrong value', async () => {
  let limit = 1
  const { group } = make({ total: 2, perKey: () => limit })
  const held = await group.acquire('a')
  const waiting = failure(group.acquire('a'))
  limit = Number.NaN
  await group.resize({ total: 2 })
  expect(await waiting).toMatchObject({ option: 'perKey' })
  expect(await failure(group.acquire('a'))).toMatchObject({ option: 'perKey' })
  limit = 2
  await group.resize({ total: 2 })
  ;(await group.acquire('a')).release()
  held.release()
})

test('maxKeys rejects the caller of one more key; a key is free again when its callers are gone', async () => {
  const { group } = make({ total: 4, maxKeys: 2 })
  const [a, b] = [await group.acquire('a'), await group.acquire('b')]
  const error = await failure(group.acquire('c'))
  expect(error).toBeInstanceOf(QueueFullError)
  expect(error).toMatchObject({ code: 'QUEUE_FULL', pool: 'tenants/c' })
  expect(error.message).toContain('2 keys (maxKeys)')
  expect(await group.run('a', () => 1)).toBe(1)
  a.release()
  expect(await group.run('c', () => 1)).toBe(1)
  expect(await group.run('a', () => 1)).toBe(1)
  b.release()
  const { started, refused } = group.state().statistics.acquires
  expect([started, refused]).toEqual([6, 1])
})

test('dedicated opens a connection outside the total, and shares the load', async () => {
  const { group, managerOf, loads } = make({ total: 1 })
  const held = await group.acquire('a')
  const own = await group.dedicated('a')
  expect([own.open, group.state().taken, loads]).toEqual([true, 1, ['a']])
  held.release()
  await managerOf('a').close(own)
  managerOf('b').always.connect = 'fail'
  expect(await failure(group.dedicated('b'))).toMatchObject({ code: 'CONNECT_FAILED', pool: 'tenants/b' })
  expect(group.keys()).toEqual(['a'])
})

test('a nested run over two keys is reported as a deadlock when it times out', async () => {
  const { group, clock } = make({ total: 1 })
  const error = failure(group.run('a', () => group.run('b', () => {}, { timeoutMs: 100 })))
  await clock.advance(100)
  expect(await error).toBeInstanceOf(AcquireTimeoutError)
  expect((await error).message).toContain('a second one of this group: a deadlock')
})

test('a hook may not acquire from its own key, but from another key', async () => {
  const seen: unknown[] = []
  const { group } = make({
    total: 4,
    pool: {
      afterConnect: async (connection) => {
        if (connection.id > 1 || seen.length > 0) return
        seen.push('hook')
        seen.push(await failure(group.run('a', () => {})), await group.run('b', () => 'b'))
      },
    },
  })
  await group.run('a', () => {})
  expect(seen).toMatchObject(['hook', { code: 'NESTED_ACQUIRE' }, 'b'])
})

test('no pool of a key is handed out', async () => {
  const { group } = make()
  const before = livePools().length
  await group.run('a', () => {})
  expect(livePools().length).toBe(before)
})

test('options are checked by table', () => {
  const wrong = (options: unknown): PoolOptionsError => {
    try {
      new PoolGroup(() => new ScriptedManager(), options as never)
    } catch (error) {
      return error as PoolOptionsError
    }
    throw new Error('nothing was thrown')
  }
  const cases: [unknown, string, string][] = [
    [{}, 'total', 'total must be an integer >= 1 (got undefined)'],
    [{ total: 0 }, 'total', 'total must be an integer >= 1 (got 0)'],
    [{ total: Number.NaN }, 'total', 'total must be an integer >= 1 (got NaN)'],
    [
      { total: 1, perKey: '1' },
      'perKey',
      "perKey must be an integer >= 1, or a function of the key (got '1')",
    ],
    [
      { total: 1, turnMs: -1 },
      'turnMs',
      'turnMs must be a number of milliseconds >= 0, or Infinity (got -1)',
    ],
    [{ total: 1, failingShare: 2 }, 'failingShare', 'failingShare must be a number from 0 to 1 (got 2)'],
    [
      { total: 1, forgetAfterMs: -1 },
      'forgetAfterMs',
      'forgetAfterMs must be a number of milliseconds >= 0, or Infinity (got -1)',
    ],
    [{ total: 1, maxKeys: 0 }, 'maxKeys', 'maxKeys must be an integer >= 1, or Infinity (got 0)'],
    [{ total: 1, name: '' }, 'name', "name must be a non-empty string (got '')"],
    [
      { total: 1, pool: { maxSize: 2 } },
      'maxSize',
      "maxSize must be absent from the group's pool options: use perKey (got 2)",
    ],
    [
      { total: 1, pool: { minIdle: 1 } },
      'minIdle',
      'minIdle must be 0 in a group: an idle connection belongs to any key that needs its slot (got 1)',
    ],
    [{ total: 1, pool: { maxUses: 0 } }, 'maxUses', 'maxUses must be an integer >= 1, or Infinity (got 0)'],
  ]
  for (const [options, option, message] of cases) expect(wrong(options)).toMatchObject({ option, message })
  expect(wrong({ total: 1, turnMS: 1 }).message).toContain('did you mean turnMs?')
  expect(() => new PoolGroup(1 as never, { total: 1 })).toThrow('factory must be a function (got 1)')
})

test('calls are checked: the key, fn and the options', async () => {
  const { group } = make()
  await expect(group.run(1 as never, () => {})).rejects.toThrow('key must be a string (got 1)')
  await expect(group.run('a', 1 as never)).rejects.toThrow('fn must be a function (got 1)')
  await expect(group.acquire('a', { timeoutMs: -1 })).rejects.toMatchObject({
    option: 'timeoutMs',
    pool: 'tenants/a',
  })
  await expect(group.remove('a', { timeoutMs: -1 })).rejects.toMatchObject({ option: 'timeoutMs' })
  expect(() => group.state(1 as never)).toThrow('key must be a string (got 1)')
  expect(group.keys()).toEqual([])
})

test('statistics sum over all keys, forgotten ones included, and conserve', async () => {
  const { group, clock } = make({ total: 1 })
  for (const key of ['a', 'b', 'c', 'a']) await group.run(key, () => {})
  await clock.advance(0)
  const { statistics } = group.state()
  expect(statistics.acquires).toMatchObject({ started: 4, waited: 4, pending: 0 })
  expect(statistics.connects.opened).toBe(4)
  expect(statistics.closed.surplus).toBe(3)
})

test('4,000 keys wait, and each place that comes free costs no search', async () => {
  const { group } = make({ total: 4, pool: { acquireTimeoutMs: 60_000 } })
  const held = await Promise.all(Array.from({ length: 4 }, () => group.acquire('busy')))
  let served = 0
  const all = Array.from({ length: 4_000 }, (_, index) => group.run(`key-${index}`, () => void served++))
  expect(group.state().wantingKeys).toBe(4_000)
  const startedAt = performance.now()
  for (const lease of held) lease.release()
  await Promise.all(all)
  expect(served).toBe(4_000)
  // A search over all wanting keys at each event would take minutes.
  expect(performance.now() - startedAt).toBeLessThan(15_000)
})

test('a key that connected and was forgotten waits for no key that never connected', async () => {
  const { group, clock, managerOf } = make({ total: 2, pool: { idleTimeoutMs: 100, reapIntervalMs: 100 } })
  await group.run('well', () => {})
  await clock.advance(200)
  expect(group.keys()).toEqual([])
  for (const key of ['dead', 'dead too']) {
    managerOf(key).always.connect = 'never'
    group.run(key, () => {}, { timeoutMs: 50 }).catch(() => {})
  }
  await settle()
  expect(group.state()).toMatchObject({ opening: 1, taken: 1 })
  expect(await group.run('well', () => 1)).toBe(1)
  await clock.advance(20_000)
})

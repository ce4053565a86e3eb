import { expect, inject, test } from 'vitest'

import { type ConnectionManager, type ManagerLayer, Pool, wrap } from '../../src/index.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { type ScriptedConnection, ScriptedManager } from '../../src/testing/index.ts'

const url = inject('postgresUrl')
const context = { signal: new AbortController().signal, lost: () => {} }

test('every function gets next and the arguments; what it gives is what the pool sees', async () => {
  const inner = new ScriptedManager()
  const calls: string[] = []
  const manager = wrap<ScriptedConnection>(inner, {
    connect: async (next, given) => {
      calls.push(`connect ${given === context}`)
      const connection = await next(given)
      return Object.assign(connection, { id: connection.id + 100 })
    },
    isValid: async (next, connection, signal) => {
      calls.push(`isValid ${signal === context.signal}`)
      return !(await next(connection, signal))
    },
    hasBroken: (next, connection, error) => {
      calls.push(`hasBroken ${String(error)}`)
      return !next(connection, error)
    },
    close: (next, connection) => {
      calls.push('close')
      return next(connection)
    },
    isFatal: (next, error) => {
      calls.push(`isFatal ${String(error)}`)
      return !next(error)
    },
  })
  const connection = await manager.connect(context)
  expect(connection.id).toBe(101)
  expect(await manager.isValid(connection, context.signal)).toBe(false)
  expect(manager.hasBroken(connection, 'e')).toBe(true)
  expect(manager.isFatal?.('f')).toBe(true)
  await manager.close(connection)
  expect(calls).toEqual(['connect true', 'isValid true', 'hasBroken e', 'isFatal f', 'close'])
  expect(inner.calls).toEqual({ connect: 1, isValid: 1, hasBroken: 1, close: 1 })
})

test('what is not given passes through, with the manager as this', async () => {
  class Counter implements ConnectionManager<{ n: number }> {
    #count = 0
    readonly seen: unknown[][] = []
    connect(...given: unknown[]) {
      this.seen.push(given)
      return Promise.resolve({ n: ++this.#count })
    }
    isValid(...given: unknown[]) {
      return this.seen.push(given) > 0
    }
    hasBroken(...given: unknown[]) {
      return this.seen.push(given) < 0
    }
    close(...given: unknown[]) {
      this.seen.push(given)
    }
    reset(...given: unknown[]) {
      this.seen.push(given)
    }
    isFatal(...given: unknown[]) {
      return this.seen.push(given) > 0
    }
  }
  const inner = new Counter()
  const manager = wrap(wrap(inner, {}), {})
  const connection = await manager.connect(context)
  const { signal } = context
  expect(await manager.isValid(connection, signal)).toBe(true)
  expect(manager.hasBroken(connection, 'e')).toBe(false)
  await manager.reset?.(connection, signal)
  await manager.close(connection)
  expect(manager.isFatal?.('f')).toBe(true)
  expect(inner.seen).toEqual([
    [context],
    [connection, signal],
    [connection, 'e'],
    [connection, signal],
    [connection],
    ['f'],
  ])
})

test('optional methods stay absent where neither has them; where only the layer has, next does nothing', async () => {
  const inner: ConnectionManager<object> = {
    connect: () => Promise.resolve({}),
    isValid: () => true,
    hasBroken: () => false,
    close: () => {},
  }
  expect(Object.keys(wrap(inner, {}))).toEqual(['connect', 'isValid', 'hasBroken', 'close'])
  const manager = wrap(inner, {
    reset: (next, connection, signal) => next(connection, signal),
    isFatal: (next, error) => next(error),
  })
  expect(await manager.reset?.({}, context.signal)).toBe(undefined)
  expect(manager.isFatal?.(new Error('x'))).toBe(false)
})

test('a layer may be an instance of a class; layers nest, the outermost first', async () => {
  class Log implements ManagerLayer<ScriptedConnection> {
    readonly lines: string[]
    readonly name: string
    constructor(lines: string[], name: string) {
      this.lines = lines
      this.name = name
    }
    hasBroken(next: (connection: ScriptedConnection) => boolean, connection: ScriptedConnection): boolean {
      this.lines.push(this.name)
      return next(connection)
    }
  }
  const lines: string[] = []
  const inner = new ScriptedManager()
  const manager = wrap(wrap(inner, new Log(lines, 'inner')), new Log(lines, 'outer'))
  manager.hasBroken(await manager.connect(context))
  expect(lines).toEqual(['outer', 'inner'])
})

test('a pool of a wrapped manager: a failing layer is a failing connect, and lost can be overheard', async () => {
  const inner = new ScriptedManager()
  const losses: unknown[] = []
  let isDown = true
  const manager = wrap(inner, {
    connect: (next, { signal, lost }) => {
      if (isDown) throw new Error('no credentials yet')
      return next({ signal, lost: (error) => (losses.push(error), lost(error)) })
    },
  })
  await using pool = new Pool(manager, {
    maxSize: 1,
    retryConnect: false,
    connectBackoff: { minMs: 0.001, maxMs: 1 },
  })
  await expect(pool.acquire()).rejects.toMatchObject({
    message: expect.stringContaining('no credentials yet'),
  })
  isDown = false
  ;(await pool.acquire()).release()
  inner.connections[0]?.lost('cut')
  expect(losses).toEqual(['cut'])
  expect(pool.state().statistics.closed.lost).toBe(1)
})

test.skipIf(url === '')('a real manager keeps its reset through a layer that only counts', async () => {
  let checks = 0
  const manager = wrap(new PgManager(url), { isValid: (next, ...given) => (checks++, next(...given)) })
  await using pool = new Pool(manager, { maxSize: 1, validationBypassMs: 0 })
  await pool.run((client) => client.query('begin'))
  const { rows } = await pool.run((client) =>
    client.query<{ same: boolean }>('select now() = statement_timestamp() as same'),
  )
  expect(rows).toEqual([{ same: true }])
  expect(checks).toBe(1)
})

test('wrong arguments are rejected by name', () => {
  const wrong = (manager: unknown, layer: unknown) => () => wrap(manager as never, layer as never)
  const fine = new ScriptedManager()
  const methods = 'connect, isValid, hasBroken, close, reset, isFatal, cancel, ref, unref'
  for (const [given, shown] of [
    [undefined, 'undefined'],
    [null, 'null'],
  ] as const)
    expect(wrong(given, {})).toThrow(
      `manager must be an object with connect, isValid, hasBroken, close (got ${shown})`,
    )
  expect(wrong({ connect: () => {} }, {})).toThrow('manager.isValid must be a function (got undefined)')
  expect(wrong(fine, null)).toThrow(`layer must be an object with any of ${methods} (got null)`)
  expect(wrong(fine, 'layer')).toThrow(`layer must be an object with any of ${methods} (got 'layer')`)
  expect(wrong(fine, { close: true })).toThrow('layer.close must be a function (got true)')
  expect(wrong(fine, { onConnect: () => {} })).toThrow(
    `layer must have only methods of a manager: ${methods} (got 'onConnect')`,
  )
})

test('cancel, ref and unref pass through and can be wrapped, and so does share', async () => {
  const calls: unknown[][] = []
  const share = { depth: 1 }
  const inner = Object.assign(new ScriptedManager(), {
    cancel: (...given: unknown[]): void => void calls.push(['cancel', ...given]),
    ref: (...given: unknown[]): void => void calls.push(['ref', ...given]),
    unref: (...given: unknown[]): void => void calls.push(['unref', ...given]),
    share,
  }) as unknown as ConnectionManager<ScriptedConnection>
  const manager = wrap(wrap(inner, {}), { unref: (next, given) => (calls.push(['layer']), next(given)) })
  const connection = await manager.connect(context)
  await manager.cancel?.(connection, context.signal)
  manager.ref?.(connection)
  manager.unref?.(connection)
  expect(calls).toEqual([
    ['cancel', connection, context.signal],
    ['ref', connection],
    ['layer'],
    ['unref', connection],
  ])
  expect(manager.share).toBe(share)
  const bare = wrap(new ScriptedManager(), {})
  expect([bare.cancel, bare.ref, bare.unref, bare.share]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})

test('what the inner manager says of its server passes through', () => {
  const inner = Object.assign(new ScriptedManager(), { server: { system: 'postgresql', port: 5432 } })
  expect(wrap(wrap(inner, {}), {}).server).toEqual({ system: 'postgresql', port: 5432 })
})

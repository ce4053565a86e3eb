import { context, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { MariadbManager } from '../../src/managers/mysql/mariadb.ts'
import { Mysql2Manager } from '../../src/managers/mysql/mysql2.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { instrument } from '../../src/otel/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'

const exporter = new InMemorySpanExporter()
const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] } as never)
const tracer = provider.getTracer('test')

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
})
afterAll(() => {
  context.disable()
})
afterEach(() => exporter.reset())

function poolOf(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock()
  const pool = new Pool(manager, { clock, name: 'orders', ...options })
  const instrumentation = instrument({ pools: [pool], meterProvider: null, tracerProvider: provider })
  return { pool, manager, clock, instrumentation }
}

// Runs work inside a span of the caller's, and gives the spans that ended meanwhile.
async function within(work: () => Promise<unknown>): Promise<{ caller: string; spans: ReadableSpan[] }> {
  const span = tracer.startSpan('request')
  await context.with(trace.setSpan(context.active(), span), work)
  const caller = span.spanContext().spanId
  return { caller, spans: exporter.getFinishedSpans() }
}

const named = (spans: readonly ReadableSpan[], name: string): ReadableSpan[] =>
  spans.filter((span) => span.name === name)

test('an acquire is a child of the caller’s span, and the connect that it began is a child of the acquire', async () => {
  const { pool, instrumentation } = poolOf()
  const { caller, spans } = await within(async () => (await pool.acquire()).release())
  const [acquire] = named(spans, 'cenote acquire')
  const [connect] = named(spans, 'cenote connect')
  expect(acquire?.parentSpanContext?.spanId).toBe(caller)
  expect(connect?.parentSpanContext?.spanId).toBe(acquire?.spanContext().spanId)
  expect(acquire?.attributes).toMatchObject({
    'db.client.connection.pool.name': 'orders',
    'cenote.connection.id': 1,
    'cenote.request.waiting': 0,
  })
  instrumentation.end()
})

test('waiting and validation are events of the acquire; a direct one has none', async () => {
  const { pool, clock, instrumentation } = poolOf({ maxSize: 1, validationBypassMs: 100 })
  const first = await pool.acquire()
  exporter.reset()
  const waited = await within(async () => {
    const second = pool.acquire()
    await clock.advance(40)
    first.release()
    ;(await second).release()
  })
  expect(
    named(waited.spans, 'cenote acquire')[0]?.events.map(({ name, attributes }) => [name, attributes]),
  ).toEqual([['waiting', { 'cenote.request.wait_ms': 40 }]])
  exporter.reset()
  await clock.advance(200)
  const checked = await within(async () => (await pool.acquire()).release())
  expect(named(checked.spans, 'cenote acquire')[0]?.events.map(({ name }) => name)).toEqual(['validation'])
  exporter.reset()
  const direct = await within(async () => (await pool.acquire()).release())
  expect(named(direct.spans, 'cenote acquire')[0]?.events).toEqual([])
  instrumentation.end()
})

test('a failure is a status and an error.type, and never a message', async () => {
  const { pool, manager, clock, instrumentation } = poolOf({ acquireTimeoutMs: 10 })
  const failure = Promise.reject(Object.assign(new Error('password hunter2'), { code: '28P01' }))
  failure.catch(() => {})
  manager.connects.push(failure, 'never')
  const { spans } = await within(async () => {
    const failed = pool.acquire().catch(() => {})
    await clock.advance(20)
    await failed
  })
  const [acquire] = named(spans, 'cenote acquire')
  const [connect] = named(spans, 'cenote connect')
  expect([acquire?.status.code, acquire?.attributes['error.type']]).toEqual([
    SpanStatusCode.ERROR,
    'AcquireTimeoutError',
  ])
  expect([connect?.status.code, connect?.attributes['error.type']]).toEqual([
    SpanStatusCode.ERROR,
    'Error 28P01',
  ])
  const told = [acquire, connect].map((span) => [span?.attributes, span?.events, span?.status])
  expect(JSON.stringify(told)).not.toContain('hunter2')
  instrumentation.end()
})

test('a connect without a caller is a span of its own; after end no span is made', async () => {
  const { pool, clock, instrumentation } = poolOf()
  await pool.resize({ minIdle: 1 })
  await clock.advance(1)
  const [connect] = named(exporter.getFinishedSpans(), 'cenote connect')
  expect(connect).toBeDefined()
  expect(connect?.parentSpanContext).toBeUndefined()
  instrumentation.end()
  exporter.reset()
  ;(await pool.acquire()).release()
  expect(exporter.getFinishedSpans()).toEqual([])
})

test('many concurrent acquires each keep their own caller', async () => {
  const { pool, instrumentation } = poolOf({ maxSize: 2 })
  const runs = await Promise.all(
    Array.from({ length: 50 }, () =>
      within(() => pool.run(async () => await new Promise((resolve) => setImmediate(resolve)))),
    ),
  )
  const callers = new Set(runs.map(({ caller }) => caller))
  const acquires = named(exporter.getFinishedSpans(), 'cenote acquire')
  expect(acquires).toHaveLength(50)
  expect(new Set(acquires.map((span) => span.parentSpanContext?.spanId))).toEqual(callers)
  instrumentation.end()
})

test('instrument called twice makes one span of each acquire, until both have ended', async () => {
  const { pool, instrumentation } = poolOf()
  const again = instrument({ meterProvider: null, tracerProvider: provider })
  ;(await pool.acquire()).release()
  expect(named(exporter.getFinishedSpans(), 'cenote acquire')).toHaveLength(1)
  expect(named(exporter.getFinishedSpans(), 'cenote connect')).toHaveLength(1)
  instrumentation.end()
  exporter.reset()
  ;(await pool.acquire()).release()
  expect(named(exporter.getFinishedSpans(), 'cenote acquire')).toHaveLength(1)
  again.end()
  exporter.reset()
  ;(await pool.acquire()).release()
  expect(exporter.getFinishedSpans()).toEqual([])
})

test('a span inspects no other pool: each pool is inspected once, also pools created later and closed pools', async () => {
  let looks = 0
  const { look } = Pool.prototype
  Pool.prototype.look = function (this: Pool<unknown>) {
    looks++
    return look.call(this)
  } as typeof look
  const instrumentation = instrument({ meterProvider: null, tracerProvider: provider })
  try {
    const server = { system: 'postgresql', address: 'db.internal' }
    const create = (name: string) => new Pool(Object.assign(new ScriptedManager(), { server }), { name })
    const pools = Array.from({ length: 30 }, (_, n) => create(`p${n}`))
    const use = async (pool: Pool<ScriptedConnection>) => {
      for (let n = 0; n < 10; n++) (await pool.acquire()).release()
    }
    for (const pool of pools) await use(pool)
    const first = looks
    // Pools of other tests of this file may still be alive.
    expect(first).toBeLessThan(60)
    for (const pool of pools) await use(pool)
    expect(looks).toBe(first)
    const late = create('late')
    await use(late)
    expect(looks).toBe(first + 1)
    await late.close()
    for (let n = 0; n < 10; n++) await late.acquire().catch(() => {})
    expect(looks).toBe(first + 1)
    const spans = exporter.getFinishedSpans().filter(({ name }) => name === 'cenote acquire')
    expect(spans.length).toBeGreaterThanOrEqual(610)
    for (const { attributes } of spans) expect(attributes['server.address']).toBe('db.internal')
    for (const pool of pools) await pool.close()
  } finally {
    Pool.prototype.look = look
    instrumentation.end()
  }
})

test('managers tell the server by its address, port and database, never a user or a password', () => {
  const secret = 'app:hunter2'
  expect(new PgManager(`postgres://${secret}@db.internal:6432/orders`).server).toEqual({
    system: 'postgresql',
    address: 'db.internal',
    port: 6432,
    namespace: 'orders',
  })
  expect(new PgManager({ host: 'one', database: 'x', password: 'hunter2' } as never).server).toEqual({
    system: 'postgresql',
    address: 'one',
    port: undefined,
    namespace: 'x',
  })
  const rotating = new PgManager(() => `postgres://${secret}@db/x`, { hosts: [{ host: 'primary', port: 1 }] })
  expect(rotating.server).toEqual({ system: 'postgresql', address: 'primary', port: 1 })
  expect(new PgManager('postgres://a:b@one:1,two:2/x').server.address).toBeUndefined()
  for (const [manager, system] of [
    [new Mysql2Manager(`mysql://${secret}@db.internal:3307/orders`), 'mysql'],
    [new MariadbManager(`mariadb://${secret}@db.internal:3307/orders`), 'mariadb'],
  ] as const)
    expect(manager.server).toEqual({ system, address: 'db.internal', port: 3307, namespace: 'orders' })
})

const url = inject('postgresUrl')
test.skipIf(url === '')('on a real server the spans carry its attributes', async () => {
  const pool = new Pool(new PgManager(url), { name: 'real' })
  const instrumentation = instrument({ pools: [pool], meterProvider: null, tracerProvider: provider })
  await pool.run((client) => client.query('select 1'))
  await pool.close()
  instrumentation.end()
  const { hostname, port } = new URL(url)
  for (const span of exporter.getFinishedSpans())
    expect(span.attributes).toMatchObject({
      'db.system.name': 'postgresql',
      'server.address': hostname,
      'server.port': Number(port),
    })
  expect(exporter.getFinishedSpans()).toHaveLength(2)
})

import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { InMemorySpanExporter, TracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace'
import { expect, onTestFinished, test } from 'vitest'

import { PoolGroup } from '../../src/group/index.ts'
import { Pool } from '../../src/index.ts'
import { instrument, type InstrumentOptions } from '../../src/otel/index.ts'
import { ScriptedManager, settle, VirtualClock } from '../../src/testing/index.ts'
import { make } from '../group/make-group.ts'

const POOL = 'db.client.connection.pool.name'
const PENDING = 'cenote.group.key.pending_requests'

interface Point {
  readonly metric: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly value: unknown
}

function measured(options: Omit<InstrumentOptions, 'meterProvider' | 'tracerProvider'> = {}) {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const instrumentation = instrument({ ...options, meterProvider, tracerProvider: null })
  onTestFinished(async () => {
    instrumentation.end()
    await meterProvider.shutdown()
  })
  return async (pool: string): Promise<Point[]> => {
    exporter.reset()
    await reader.forceFlush()
    return exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
      .flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => ({ metric: descriptor.name, attributes, value })),
      )
      .filter(({ attributes }) => String(attributes[POOL]).startsWith(pool))
  }
}

const valueOf = (points: readonly Point[], metric: string, label?: string): unknown =>
  points.find(
    (point) =>
      point.metric === metric && (label === undefined || Object.values(point.attributes).includes(label)),
  )?.value

test('a group with 1,000 keys is measured under its own name, and its keys add no time series', async () => {
  const read = measured()
  const { group } = make({ total: 4, name: 'measured' })
  await group.run('key-0', () => {})
  const before = (await read('measured')).length
  for (let n = 1; n < 1_000; n++) await group.run(`key-${n}`, () => {})
  const held = [await group.acquire('a'), await group.acquire('b')]
  const points = await read('measured')
  // The reason `surplus` of the closed connections is new.
  expect(points.length).toBeLessThanOrEqual(before + 1)
  expect([...new Set(points.map(({ attributes }) => attributes[POOL]))]).toEqual(['measured'])
  expect(valueOf(points, 'db.client.connection.count', 'used')).toBe(2)
  expect(valueOf(points, 'db.client.connection.count', 'idle')).toBe(2)
  expect(valueOf(points, 'db.client.connection.limit')).toBe(4)
  expect(valueOf(points, 'db.client.connection.use_time')).toMatchObject({ count: 1_000 })
  expect(valueOf(points, 'cenote.group.keys', 'known')).toBe(4)
  for (const lease of held) lease.release()
})

test('the keys with the most waiting callers are reported by name, and with 0 when none waits any longer', async () => {
  const read = measured()
  const { group, clock } = make({ total: 1, name: 'queued' })
  const lease = await group.acquire('holder')
  const callers = Array.from({ length: 12 }, (_, key) =>
    Array.from({ length: key + 1 }, () => group.run(`key-${key}`, () => {})),
  ).flat()
  await clock.advance(70)
  const points = await read('queued')
  const pending = points.filter(({ metric }) => metric === PENDING)
  expect(pending.map(({ attributes, value }) => [attributes['cenote.group.key'], value])).toEqual(
    Array.from({ length: 10 }, (_, index) => [`key-${11 - index}`, 12 - index]),
  )
  expect(valueOf(points, 'db.client.connection.pending_requests')).toBe(78)
  expect(valueOf(points, 'cenote.group.keys', 'waiting')).toBe(12)
  expect(valueOf(points, 'cenote.request.head_wait')).toBeCloseTo(0.07)
  lease.release()
  await clock.advance(10_000)
  await Promise.all(callers)
  expect(valueOf(await read('queued'), PENDING, 'key-11')).toBe(0)
})

test('no more than 100 keys ever get a time series; later ones are summed as other', async () => {
  const read = measured()
  const { group, clock } = make({ total: 1, name: 'many' })
  const lease = await group.acquire('holder')
  const controller = { current: new AbortController() }
  for (let round = 0; round < 13; round++) {
    controller.current = new AbortController()
    const { signal } = controller.current
    const callers = Array.from({ length: 10 }, (_, n) =>
      group.run(`key-${round * 10 + n}`, () => {}, { signal }).catch(() => {}),
    )
    await clock.advance(1)
    await read('many')
    if (round === 12) expect(valueOf(await read('many'), PENDING, 'other')).toBe(10)
    controller.current.abort()
    await Promise.all(callers)
  }
  const keys = (await read('many')).filter(({ metric }) => metric === PENDING)
  expect(keys).toHaveLength(101)
  expect(keys.every(({ value }) => value === 0)).toBe(true)
  lease.release()
})

test('pools selects a group with all its keys, and a group that is closed is reported as empty', async () => {
  const { group, clock } = make({ total: 2, name: 'chosen-group' })
  const other = make({ total: 2, name: 'chosen-not' })
  const read = measured({ pools: [group] })
  await Promise.all([group.run('acme', () => {}), other.group.run('acme', () => {})])
  const points = await read('chosen')
  expect(new Set(points.map(({ attributes }) => attributes[POOL]))).toEqual(new Set(['chosen-group']))
  expect(valueOf(points, 'db.client.connection.wait_time')).toMatchObject({ count: 1 })
  const all = measured()
  expect(valueOf(await all('chosen-not'), 'db.client.connection.count', 'idle')).toBe(1)
  const closing = other.group.close()
  await clock.advance(10)
  await closing
  expect(valueOf(await all('chosen-not'), 'db.client.connection.count', 'idle')).toBe(0)
  expect(valueOf(await all('chosen-not'), 'cenote.group.keys', 'known')).toBe(0)
})

test('a span of a key has the name of the group and the key, and costs no inspection of other pools', async () => {
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new TracerProvider({
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  } as never)
  const pool = new Pool(new ScriptedManager(), { clock: new VirtualClock(), name: 'bystander' })
  let looks = 0
  const look = pool.look.bind(pool)
  pool.look = () => (looks++, look())
  const instrumentation = instrument({ meterProvider: null, tracerProvider })
  onTestFinished(() => instrumentation.end())
  const group = new PoolGroup(() => new ScriptedManager(), { total: 4, name: 'traced' })
  for (const key of ['a', 'b', 'a', 'b']) await group.run(key, () => {})
  await settle()
  const own = exporter.getFinishedSpans().filter(({ attributes }) => attributes[POOL] === 'traced')
  expect(own.map(({ name, attributes }) => `${name} ${String(attributes['cenote.group.key'])}`)).toEqual([
    'cenote connect a',
    'cenote acquire a',
    'cenote connect b',
    'cenote acquire b',
    'cenote acquire a',
    'cenote acquire b',
  ])
  expect(looks).toBe(0)
  await group.close()
  await pool.close()
})

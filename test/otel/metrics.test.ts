import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'

import { metrics } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import {
  AggregationTemporality,
  type HistogramMetricData,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { afterEach, expect, test, vi } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { instrument, type InstrumentOptions, INSTRUMENTS } from '../../src/otel/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'
import { make } from '../group/make-group.ts'

const GRAFANA = resolve(import.meta.dirname, '../../docs/grafana')

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

function poolOf(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const clock = new VirtualClock()
  const pool = new Pool(manager, { clock, name: 'orders', ...options })
  return { pool, manager, clock }
}

// Real SDK, read from memory.
function measured(options: Omit<InstrumentOptions, 'meterProvider'>) {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const instrumentation = instrument({ ...options, meterProvider, tracerProvider: null })
  cleanups.push(
    () => meterProvider.shutdown(),
    () => instrumentation.end(),
  )
  return async (): Promise<Map<string, MetricData>> => {
    exporter.reset()
    await reader.forceFlush()
    const [resource] = exporter.getMetrics()
    return new Map(
      resource?.scopeMetrics.flatMap(({ metrics }) => metrics.map((each) => [each.descriptor.name, each])),
    )
  }
}

// The points of one metric: the attributes as text, and the value.
function points(metrics: Map<string, MetricData>, name: string): Record<string, unknown> {
  const metric = metrics.get(name)
  expect(metric, name).toBeDefined()
  return Object.fromEntries(
    metric!.dataPoints.map(({ attributes, value }) => [
      Object.entries(attributes)
        .filter(([key]) => key !== 'db.client.connection.pool.name')
        .map(([, each]) => String(each))
        .join(' '),
      value,
    ]),
  )
}

test('sizes, limits and the queue are what the pool says at the moment of the reading', async () => {
  const { pool, clock } = poolOf({ maxSize: 3, minIdle: 1 })
  const read = measured({ pools: [pool] })
  await clock.advance(1)
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
  const waiting = pool.acquire()
  await clock.advance(1_500)
  const busy = await read()
  expect(points(busy, 'db.client.connection.count')).toEqual({ idle: 0, used: 3 })
  expect(points(busy, 'db.client.connection.limit')).toEqual({ '': 3 })
  expect(points(busy, 'db.client.connection.idle.max')).toEqual({ '': 3 })
  expect(points(busy, 'db.client.connection.idle.min')).toEqual({ '': 1 })
  expect(points(busy, 'db.client.connection.pending_requests')).toEqual({ '': 1 })
  expect(points(busy, 'cenote.request.head_wait')).toEqual({ '': 1.5 })
  for (const lease of leases) lease.release()
  ;(await waiting).release()
  await pool.resize({ maxSize: 5 })
  const calm = await read()
  expect(points(calm, 'db.client.connection.count')).toEqual({ idle: 3, used: 0 })
  expect(points(calm, 'db.client.connection.limit')).toEqual({ '': 5 })
  expect(points(calm, 'cenote.request.head_wait')).toEqual({ '': 0 })
})

test('times are histograms in seconds, with buckets that fit a checkout', async () => {
  const { pool, manager, clock } = poolOf({ maxSize: 1 })
  const read = measured({ pools: [pool] })
  manager.connects.push(new Promise((resolve) => clock.setTimeout(() => resolve(undefined), 150)))
  const first = pool.acquire()
  await clock.advance(150)
  const lease = await first
  const second = pool.acquire()
  await clock.advance(2_000)
  lease.release()
  ;(await second).release()
  const metrics = await read()
  const histogram = (name: string) => (metrics.get(name) as HistogramMetricData).dataPoints[0]?.value
  expect(histogram('db.client.connection.create_time')).toMatchObject({ count: 1, sum: 0.15 })
  expect(histogram('db.client.connection.wait_time')).toMatchObject({ count: 2, max: 2, sum: 2.15 })
  expect(histogram('db.client.connection.use_time')).toMatchObject({ count: 2, max: 2, min: 0 })
  expect(histogram('db.client.connection.wait_time')?.buckets.boundaries).toContain(0.001)
  for (const name of ['create_time', 'wait_time', 'use_time'])
    expect(metrics.get(`db.client.connection.${name}`)?.descriptor.unit).toBe('s')
})

test('what goes wrong is counted: timeouts, refusals, aborts, failed connects and checks, closes by reason, leaks', async () => {
  const { pool, manager, clock } = poolOf({
    maxSize: 1,
    maxWaiting: 2,
    acquireTimeoutMs: 100,
    validationBypassMs: 0,
    leakThresholdMs: 50,
    connectBackoff: { minMs: 1, maxMs: 1 },
  })
  const read = measured({ pools: [pool] })
  const refused = Promise.reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' }))
  refused.catch(() => {})
  manager.connects.push(refused)
  const first = pool.acquire()
  await clock.advance(10)
  const lease = await first
  const controller = new AbortController()
  const failures = [pool.acquire(), pool.acquire({ signal: controller.signal }), pool.acquire()].map((each) =>
    each.catch(() => {}),
  )
  controller.abort()
  await clock.advance(200)
  await Promise.all(failures)
  lease.release()
  manager.checks.push('fail')
  ;(await pool.acquire()).destroy()
  const metrics = await read()
  expect(points(metrics, 'db.client.connection.timeouts')).toEqual({ '': 1 })
  expect(points(metrics, 'cenote.request.refused')).toEqual({ queueFull: 1 })
  expect(points(metrics, 'cenote.request.aborted')).toEqual({ '': 1 })
  expect(points(metrics, 'cenote.connection.failures')).toEqual({ 'Error ECONNREFUSED false': 1 })
  expect(points(metrics, 'cenote.connection.check_failures')).toEqual({ '': 1 })
  expect(points(metrics, 'cenote.connection.closed')).toEqual({ invalid: 1, destroyed: 1 })
  expect(points(metrics, 'cenote.lease.leaks')).toEqual({ '': 1 })
})

test('each pool has its own series; pools of one name are one; a pool that was not named is left out', async () => {
  const { pool: one } = poolOf({ name: 'same', maxSize: 2 })
  const { pool: two } = poolOf({ name: 'same', maxSize: 3 })
  const { pool: other } = poolOf({ name: 'other', maxSize: 7 })
  const { pool: unnamed } = poolOf({ name: 'unnamed' })
  const read = measured({ pools: [one, two, other] })
  for (const pool of [one, two, other, unnamed]) await pool.acquire()
  const metrics = await read()
  const byPool = (name: string) =>
    Object.fromEntries(
      metrics
        .get(name)!
        .dataPoints.map(({ attributes, value }) => [attributes['db.client.connection.pool.name'], value]),
    )
  expect(byPool('db.client.connection.limit')).toEqual({ same: 5, other: 7 })
  const waits = byPool('db.client.connection.wait_time') as Record<string, { count: number }>
  expect([waits['same']?.count, waits['other']?.count, waits['unnamed']]).toEqual([2, 1, undefined])
})

test('without the option pools, every pool of the process is measured until it is closed, also pools created later', async () => {
  const read = measured({})
  const { pool } = poolOf({ name: 'later' })
  const limits = async () =>
    (await read())
      .get('db.client.connection.limit')
      ?.dataPoints.find(({ attributes }) => attributes['db.client.connection.pool.name'] === 'later')?.value
  expect(await limits()).toBe(10)
  await pool.close()
  expect(await limits()).toBe(0)
  expect(await limits()).toBe(0)
})

test('end stops it, twice is once', async () => {
  const { pool } = poolOf()
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  cleanups.push(() => meterProvider.shutdown())
  {
    using instrumentation = instrument({ pools: [pool], meterProvider, tracerProvider: null })
    instrumentation.end()
  }
  ;(await pool.acquire()).release()
  await reader.forceFlush()
  const names = exporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
  expect(names).toEqual([])
})

test('a global provider that is set after instrument was called gets the metrics, with and without events', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  cleanups.push(() => vi.useRealTimers())
  const { pool } = poolOf({ maxSize: 4 })
  const instrumentation = instrument({ pools: [pool], tracerProvider: null })
  cleanups.push(
    () => instrumentation.end(),
    () => metrics.disable(),
  )
  ;(await pool.acquire()).release()
  const next = () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
    metrics.disable()
    const meterProvider = new MeterProvider({ readers: [reader] })
    metrics.setGlobalMeterProvider(meterProvider)
    cleanups.push(() => meterProvider.shutdown())
    return async () => {
      await reader.forceFlush()
      const all = exporter
        .getMetrics()
        .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((each) => each.metrics))
      return new Map(all.map((each) => [each.descriptor.name, each]))
    }
  }
  const readIdle = next()
  // No event: the pool is idle.
  vi.advanceTimersByTime(1_000)
  expect(points(await readIdle(), 'db.client.connection.limit')).toEqual({ '': 4 })
  const readBusy = next()
  ;(await pool.acquire()).release()
  const busy = await readBusy()
  expect(points(busy, 'db.client.connection.limit')).toEqual({ '': 4 })
  expect((busy.get('db.client.connection.wait_time') as HistogramMetricData).dataPoints[0]?.value.count).toBe(
    1,
  )
})

test('instrument called twice counts once, until both have ended', async () => {
  const { pool } = poolOf({ maxSize: 4 })
  const { pool: other } = poolOf({ name: 'other', maxSize: 3 })
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  cleanups.push(() => meterProvider.shutdown())
  const first = instrument({ pools: [pool], meterProvider, tracerProvider: null })
  const second = instrument({ pools: [pool, other], meterProvider, tracerProvider: null })
  cleanups.push(
    () => first.end(),
    () => second.end(),
  )
  const read = async () => {
    exporter.reset()
    await reader.forceFlush()
    const all = exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((each) => each.metrics))
    const of = (name: string) => all.find(({ descriptor }) => descriptor.name === name)!.dataPoints
    const byPool = (name: string) =>
      Object.fromEntries(
        of(name).map(({ attributes, value }) => [
          attributes['db.client.connection.pool.name'],
          typeof value === 'number' ? value : value.count,
        ]),
      )
    return [byPool('db.client.connection.limit'), byPool('db.client.connection.wait_time')]
  }
  for (const each of [pool, other]) (await each.acquire()).release()
  expect(await read()).toEqual([
    { orders: 4, other: 3 },
    { orders: 1, other: 1 },
  ])
  first.end()
  for (const each of [pool, other]) (await each.acquire()).release()
  expect(await read()).toEqual([
    { orders: 4, other: 3 },
    { orders: 2, other: 2 },
  ])
})

// A pool to which everything that is measured has happened, scraped over HTTP.
async function scrape(): Promise<string> {
  const { pool, manager, clock } = poolOf({
    name: 'scraped',
    maxSize: 1,
    maxWaiting: 2,
    acquireTimeoutMs: 100,
    validationBypassMs: 0,
    leakThresholdMs: 50,
    connectBackoff: { minMs: 1, maxMs: 1 },
  })
  const { group } = make({ total: 1 })
  const exporter = new PrometheusExporter({ host: '127.0.0.1', port: 0, preventServerStart: true })
  const meterProvider = new MeterProvider({ readers: [exporter] })
  cleanups.push(() => meterProvider.shutdown())
  const instrumentation = instrument({ pools: [pool, group], meterProvider, tracerProvider: null })
  cleanups.push(() => instrumentation.end())
  await exporter.startServer()
  await group.acquire('acme')
  group.run('globex', () => {}).catch(() => {})
  manager.connects.push('fail')
  const first = pool.acquire()
  await clock.advance(60)
  const lease = await first
  const controller = new AbortController()
  const failures = [pool.acquire(), pool.acquire({ signal: controller.signal }), pool.acquire()]
  const settled = Promise.allSettled(failures)
  controller.abort()
  await clock.advance(250)
  await settled
  lease.release()
  manager.checks.push('fail')
  ;(await pool.acquire()).release()
  const { port } = (exporter as unknown as { _server: { address(): { port: number } } })._server.address()
  return await new Promise<string>((resolve, reject) => {
    get(
      { host: '127.0.0.1', port, path: '/metrics' },
      (response) => void text(response).then(resolve, reject),
    )
  })
}

test('a real scrape of Prometheus has every instrument, with its values', async () => {
  const scraped = await scrape()
  for (const { name } of Object.values(INSTRUMENTS))
    expect(scraped).toMatch(new RegExp(`^${name.replaceAll('.', '_')}(_total|_sum)?\\{`, 'm'))
  expect(scraped).toMatch(/^db_client_connection_count\{.*db_client_connection_state="idle".*\} 1/m)
  expect(scraped).toMatch(/^db_client_connection_use_time_sum\{.*"scraped".*\} 0\.3\d*$/m)
  expect(scraped).toMatch(/^cenote_connection_closed_total\{.*cenote_close_reason="invalid".*\} 1/m)
})

test('the dashboard and the alerts use only names that are scraped, and the dashboard shows every instrument', async () => {
  const scraped = await scrape()
  const known = new Set(scraped.match(/\b(db_client|cenote|error)_\w+/g))
  const dashboard = readFileSync(join(GRAFANA, 'dashboard.json'), 'utf8')
  const alerts = readFileSync(join(GRAFANA, 'alerts.yaml'), 'utf8')
  const used = [...new Set(`${dashboard} ${alerts}`.match(/\b(db_client|cenote|error)_\w+/g))]
  expect(used.length).toBeGreaterThan(20)
  expect(used.filter((name) => !known.has(name))).toEqual([])
  const { panels } = JSON.parse(dashboard) as { panels: { targets: { expr: string }[] }[] }
  const shown = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)).join(' ')
  for (const { name } of Object.values(INSTRUMENTS)) expect(shown).toContain(name.replaceAll('.', '_'))
})

test('the instruments are named as the conventions have it, each once', () => {
  const names = Object.values(INSTRUMENTS).map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  expect(names.filter((name) => name.startsWith('db.'))).toEqual([
    'db.client.connection.count',
    'db.client.connection.idle.max',
    'db.client.connection.idle.min',
    'db.client.connection.limit',
    'db.client.connection.pending_requests',
    'db.client.connection.timeouts',
    'db.client.connection.create_time',
    'db.client.connection.wait_time',
    'db.client.connection.use_time',
  ])
})

test('a wrong option names itself and what is allowed', () => {
  expect(() => instrument({ pool: [] } as never)).toThrow(
    'pool is not one of the options of instrument: known are meterProvider, tracerProvider, pools',
  )
  expect(() => instrument({ pools: 5 } as never)).toThrow('pools must be an array of pools (got 5)')
  expect(() => instrument({ pools: [{}] } as never)).toThrow('pools must be an array of pools')
  expect(() => instrument({ meterProvider: {} } as never)).toThrow(
    'meterProvider must be a MeterProvider, or null for no metrics',
  )
  expect(() => instrument({ tracerProvider: {} } as never)).toThrow(
    'tracerProvider must be a TracerProvider, or null for no spans',
  )
  expect(() => instrument(null as never)).toThrow('must be an object')
})

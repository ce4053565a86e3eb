import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { expect, onTestFinished, test } from 'vitest'

import { explain, formatState, Pool } from '../../src/index.ts'
import { Recording } from '../../src/inspector/recording.ts'
import { subjectOf } from '../../src/inspector/subject.ts'
import { instrument } from '../../src/otel/index.ts'
import { share } from '../../src/share/index.ts'
import { type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { SharedManager, type View } from './shared-manager.ts'

function make(maxSize = 2) {
  const clock = new VirtualClock(undefined, 1_000)
  const manager = new SharedManager(2)
  const pool = new Pool<ScriptedConnection>(manager, { name: 'orders', maxSize, clock, onError: () => {} })
  const db = share<ScriptedConnection, View>(pool, { connections: Math.min(2, maxSize) })
  const send = (...texts: string[]): Promise<unknown>[] =>
    texts.map((text) => db.run((view) => view.query(text)))
  return { clock, manager, pool, db, send }
}

test('explain speaks of seats: free, taken for a short time, held by a slow statement, closed', async () => {
  const { clock, manager, db, send } = make()
  expect(explain(db)).toMatchObject({
    condition: 'healthy',
    text: 'all is well: 0 of 4 seats taken, no caller waits.',
  })
  const runs = send('a', 'b', 'c', 'd', 'e')
  await clock.advance(200)
  expect(explain(db)).toMatchObject({
    condition: 'busy',
    severity: 'notice',
    text: '4 of 4 seats taken, each for a short time (the longest for 200 ms), but 1 caller waits, the first for 200 ms: more statements than seats. Raise connections or perConnection.',
  })
  await clock.advance(1_000)
  expect(explain(db)).toMatchObject({
    condition: 'held',
    severity: 'problem',
    text: '4 of 4 seats taken, one for 1.2 s; 1 caller waits, the first for 1.2 s: a slow statement holds up those behind it. Run slow statements with pool.run instead.',
  })
  expect(formatState(db)).toContain('4 of 4 seats taken')
  const closing = db.close()
  expect(explain(db)).toMatchObject({
    condition: 'closed',
    severity: 'notice',
    text: 'the share is closed: close() waits for 4 seats.',
  })
  manager.answer('a', 'b', 'c', 'd')
  await closing
  await Promise.allSettled(runs)
  expect(explain(db).text).toBe('the share is closed.')
})

test('explain names the connection that a share waits for, and the error of one that does not open', async () => {
  const { clock, manager, pool, db, send } = make(1)
  const lease = await pool.acquire()
  const runs = send('a')
  await clock.advance(2_000)
  expect(explain(db)).toMatchObject({
    condition: 'connecting',
    severity: 'problem',
    text: '0 of 2 seats taken, and the share waits for one more connection of the pool below; 1 caller waits, the first for 2 s. If this lasts, release exclusive leases sooner, or raise maxSize.',
  })
  manager.always.connect = 'fail'
  lease.destroy()
  const settled = Promise.allSettled(runs)
  await clock.advance(40_000)
  await settled
  expect(explain(db)).toMatchObject({ condition: 'cannotConnect' })
  expect(explain(db).text).toContain('the share gets no connection (connect')
})

test('the inspector has a lane for each seat, and OpenTelemetry counts seats under the name of the share', async () => {
  const { clock, manager, db, send } = make()
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const instrumentation = instrument({ pools: [db], meterProvider, tracerProvider: null })
  onTestFinished(async () => {
    instrumentation.end()
    await meterProvider.shutdown()
  })
  const runs = send('a', 'b', 'c', 'd', 'e')
  await settle()
  const frame = new Recording(subjectOf(db), 0).tick(250, 250, () => undefined, true)
  expect(frame).toMatchObject({ inUse: 4, waiting: 1, maxSize: 4 })
  expect(frame.lanes).toHaveLength(4)
  await reader.forceFlush()
  const points = exporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    .flatMap(({ descriptor, dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [descriptor.name, attributes, value]),
    )
  expect(points).toContainEqual([
    'db.client.connection.count',
    { 'db.client.connection.pool.name': 'orders/share', 'db.client.connection.state': 'used' },
    4,
  ])
  manager.answer('a', 'b', 'c', 'd')
  await clock.advance(1)
  manager.answer('e')
  await Promise.all(runs)
})

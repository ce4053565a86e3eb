import type { BatchObservableResult, Meter, Observable } from '@opentelemetry/api'

import type { PoolEvent, PoolState } from '../index.ts'
import { ATTRIBUTES, type Instrument, INSTRUMENTS, WAIT_BUCKETS, WORK_BUCKETS } from './names.ts'
import type { Selection } from './selection.ts'
import type { Subscriptions } from './subscriptions.ts'

/** Measures the selected pools with a meter. Returns how to end it, beside the subscriptions. */
export function measure(meter: Meter, selection: Selection, subscriptions: Subscriptions): () => void {
  count(meter, selection, subscriptions)
  return observe(meter, selection)
}

// What happened, as it happens.
function count(meter: Meter, selection: Selection, subscriptions: Subscriptions): void {
  const counter = ({ name, ...options }: Instrument) => meter.createCounter(name, options)
  const histogram = ({ name, ...options }: Instrument, explicitBucketBoundaries: number[]) =>
    meter.createHistogram(name, { ...options, advice: { explicitBucketBoundaries } })
  const timeouts = counter(INSTRUMENTS.timeouts)
  const closed = counter(INSTRUMENTS.closed)
  const connectFailures = counter(INSTRUMENTS.connectFailures)
  const checkFailures = counter(INSTRUMENTS.checkFailures)
  const refused = counter(INSTRUMENTS.refused)
  const aborted = counter(INSTRUMENTS.aborted)
  const leaks = counter(INSTRUMENTS.leaks)
  const createTime = histogram(INSTRUMENTS.createTime, WORK_BUCKETS)
  const waitTime = histogram(INSTRUMENTS.waitTime, WAIT_BUCKETS)
  const useTime = histogram(INSTRUMENTS.useTime, WORK_BUCKETS)
  const of = ({ pool }: PoolEvent) => ({ [ATTRIBUTES.poolName]: pool })
  const on: Subscriptions['to'] = (channel, listener) =>
    subscriptions.to(channel, (event) => {
      if (selection.has(event)) listener(event)
    })
  on('timeout', (event) => timeouts.add(1, of(event)))
  on('abort', (event) => aborted.add(1, of(event)))
  on('leak', (event) => leaks.add(1, of(event)))
  on('close', (event) => closed.add(1, { ...of(event), [ATTRIBUTES.closeReason]: event.reason }))
  on('refuse', (event) => refused.add(1, { ...of(event), [ATTRIBUTES.refuseReason]: event.why }))
  on('openError', (event) =>
    connectFailures.add(1, {
      ...of(event),
      [ATTRIBUTES.errorType]: event.error,
      [ATTRIBUTES.isFatal]: event.isFatal,
    }),
  )
  on('check', (event) => {
    if (!event.passed) checkFailures.add(1, of(event))
  })
  on('open', (event) => createTime.record(event.connectMs / 1_000, of(event)))
  on('acquire', (event) => waitTime.record(event.waitMs / 1_000, of(event)))
  on('release', (event) => useTime.record(event.heldMs / 1_000, of(event)))
}

// What is, when it is asked for: it cannot drift from the pool's own counts.
function observe(meter: Meter, selection: Selection): () => void {
  const gauge = ({ name, ...options }: Instrument) => meter.createObservableUpDownCounter(name, options)
  const connections = gauge(INSTRUMENTS.count)
  const idleMax = gauge(INSTRUMENTS.idleMax)
  const idleMin = gauge(INSTRUMENTS.idleMin)
  const limit = gauge(INSTRUMENTS.limit)
  const pending = gauge(INSTRUMENTS.pendingRequests)
  const { name: headWaitName, ...headWaitOptions } = INSTRUMENTS.headWait
  const headWait = meter.createObservableGauge(headWaitName, headWaitOptions)
  const all: Observable[] = [connections, idleMax, idleMin, limit, pending, headWait]
  let seen: readonly string[] = []
  const look = (result: BatchObservableResult): void => {
    const pools = byName(selection)
    const present = [...pools.keys()]
    // The SDK repeats the last value of a series that is not told any more: a pool that has gone is told as empty once.
    for (const name of seen) if (!pools.has(name)) pools.set(name, [])
    seen = present
    for (const [name, states] of pools) {
      const pool = { [ATTRIBUTES.poolName]: name }
      const sum = (of: (state: PoolState) => number): number =>
        states.reduce((total, state) => total + of(state), 0)
      result.observe(
        connections,
        sum(({ idle }) => idle),
        { ...pool, [ATTRIBUTES.state]: 'idle' },
      )
      result.observe(
        connections,
        sum(({ inUse }) => inUse),
        { ...pool, [ATTRIBUTES.state]: 'used' },
      )
      result.observe(
        idleMax,
        sum(({ maxSize }) => maxSize),
        pool,
      )
      result.observe(
        idleMin,
        sum(({ minIdle }) => minIdle),
        pool,
      )
      result.observe(
        limit,
        sum(({ maxSize }) => maxSize),
        pool,
      )
      result.observe(
        pending,
        sum(({ waiting }) => waiting),
        pool,
      )
      const longest = states.reduce((most, { headWaitMs }) => Math.max(most, headWaitMs), 0)
      result.observe(headWait, longest / 1_000, pool)
    }
  }
  meter.addBatchObservableCallback(look, all)
  return () => meter.removeBatchObservableCallback(look, all)
}

// Pools of one name are one time series.
function byName(selection: Selection): Map<string, PoolState[]> {
  const states = new Map<string, PoolState[]>()
  for (const pool of selection.pools()) {
    const { name } = pool.options
    const { state } = pool.look()
    const same = states.get(name)
    if (same === undefined) states.set(name, [state])
    else same.push(state)
  }
  return states
}

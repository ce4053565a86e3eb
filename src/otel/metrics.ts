import {
  type BatchObservableResult,
  type Meter,
  type MeterProvider,
  metrics,
  type Observable,
} from '@opentelemetry/api'

import type { GroupInsight } from '../group/index.ts'
import type { ChannelPayloads, PoolEvent, PoolState } from '../index.ts'
import { ATTRIBUTES, type Instrument, INSTRUMENTS, WAIT_BUCKETS, WORK_BUCKETS } from './names.ts'
import { type Reporter, Reporters } from './reporters.ts'
import { observeGroups } from './group-gauges.ts'
import type { Selection } from './selection.ts'
import type { Subscriptions } from './subscriptions.ts'

// The reporters of metrics in this process.
const reporters = new Reporters()
// Interval of the search for a global provider while none is set.
const LOOK_MS = 1_000

/**
 * Measures the selected pools. The instruments are created with the provider that is there, and again with another one: the
 * global provider may be set after `instrument` was called.
 */
export class Metrics implements Reporter {
  readonly selection: Selection
  readonly #given: MeterProvider
  readonly #scope: string
  #bound: MeterProvider | undefined
  #counters!: Counters
  #stopObserving: () => void = () => {}

  constructor(given: MeterProvider, scope: string, selection: Selection, subscriptions: Subscriptions) {
    this.selection = selection
    this.#given = given
    this.#scope = scope
    reporters.add(this)
    subscriptions.onEnd(() => {
      reporters.delete(this)
      this.#stopObserving()
    })
    this.#bind()
    if (given === metrics) this.#look(subscriptions)
    this.#count(subscriptions)
  }

  provider(): MeterProvider {
    return this.#given === metrics ? metrics.getMeterProvider() : this.#given
  }

  // An idle pool has no events, and its gauges are read all the same.
  #look(subscriptions: Subscriptions): void {
    const none = this.provider()
    const timer = setInterval(() => {
      this.#bind()
      if (this.#bound !== none) clearInterval(timer)
    }, LOOK_MS)
    timer.unref()
    subscriptions.onEnd(() => clearInterval(timer))
  }

  #bind(): void {
    const provider = this.provider()
    if (provider === this.#bound) return
    this.#stopObserving()
    this.#bound = provider
    const meter = provider.getMeter(this.#scope)
    this.#counters = createCounters(meter)
    const isOwn = (source: { readonly poolId: number }): boolean => reporters.isFirst(this, source)
    const groups = () =>
      Array.from(this.selection.groups(), (group) => ({ name: group.options.name, ...group.look() })).filter(
        isOwn,
      )
    const pools = () =>
      Array.from(this.selection.pools(), (pool) => ({ name: pool.options.name, ...pool.look() })).filter(
        isOwn,
      )
    const stopPools = observePools(meter, () => [...pools(), ...groups().map(asPool)])
    const stopGroups = observeGroups(meter, groups)
    this.#stopObserving = () => {
      stopPools()
      stopGroups()
    }
  }

  // Counts the events of pools.
  #count(subscriptions: Subscriptions): void {
    // The keys of a group are one time series: their number has no bound.
    const of = ({ pool, group = pool }: PoolEvent) => ({ [ATTRIBUTES.poolName]: group })
    const on = <K extends keyof ChannelPayloads>(
      channel: K,
      record: (counters: Counters, event: ChannelPayloads[K]) => void,
    ): void =>
      subscriptions.to(channel, (event) => {
        if (!reporters.isFirst(this, event)) return
        this.#bind()
        record(this.#counters, event)
      })
    on('timeout', ({ timeouts }, event) => timeouts.add(1, of(event)))
    on('abort', ({ aborted }, event) => aborted.add(1, of(event)))
    on('leak', ({ leaks }, event) => leaks.add(1, of(event)))
    on('close', ({ closed }, event) =>
      closed.add(1, { ...of(event), [ATTRIBUTES.closeReason]: event.reason }),
    )
    on('refuse', ({ refused }, event) =>
      refused.add(1, { ...of(event), [ATTRIBUTES.refuseReason]: event.why }),
    )
    on('openError', ({ connectFailures }, event) =>
      connectFailures.add(1, {
        ...of(event),
        [ATTRIBUTES.errorType]: event.error,
        [ATTRIBUTES.isFatal]: event.isFatal,
      }),
    )
    on('check', ({ checkFailures }, event) => {
      if (!event.passed) checkFailures.add(1, of(event))
    })
    on('open', ({ createTime }, event) => createTime.record(event.connectMs / 1_000, of(event)))
    on('acquire', ({ waitTime }, event) => waitTime.record(event.waitMs / 1_000, of(event)))
    on('release', ({ useTime }, event) => useTime.record(event.heldMs / 1_000, of(event)))
  }
}

type Gauged = Pick<PoolState, 'idle' | 'inUse' | 'maxSize' | 'minIdle' | 'waiting' | 'headWaitMs'>

interface NamedState {
  readonly name: string
  readonly state: Gauged
}

type Counters = ReturnType<typeof createCounters>

function createCounters(meter: Meter) {
  const counter = ({ name, ...options }: Instrument) => meter.createCounter(name, options)
  const histogram = ({ name, ...options }: Instrument, explicitBucketBoundaries: number[]) =>
    meter.createHistogram(name, { ...options, advice: { explicitBucketBoundaries } })
  return {
    timeouts: counter(INSTRUMENTS.timeouts),
    closed: counter(INSTRUMENTS.closed),
    connectFailures: counter(INSTRUMENTS.connectFailures),
    checkFailures: counter(INSTRUMENTS.checkFailures),
    refused: counter(INSTRUMENTS.refused),
    aborted: counter(INSTRUMENTS.aborted),
    leaks: counter(INSTRUMENTS.leaks),
    createTime: histogram(INSTRUMENTS.createTime, WORK_BUCKETS),
    waitTime: histogram(INSTRUMENTS.waitTime, WAIT_BUCKETS),
    useTime: histogram(INSTRUMENTS.useTime, WORK_BUCKETS),
  }
}

// Gauges are read from the pool at the moment of the reading: they cannot drift from its own counts.
function observePools(meter: Meter, look: () => readonly NamedState[]): () => void {
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
  const read = (result: BatchObservableResult): void => {
    const pools = byName(look())
    const present = [...pools.keys()]
    // The SDK repeats the last value of a series that is no longer reported: a pool that has gone is reported as empty once.
    for (const name of seen) if (!pools.has(name)) pools.set(name, [])
    seen = present
    for (const [name, states] of pools) {
      const pool = { [ATTRIBUTES.poolName]: name }
      const sum = (of: (state: Gauged) => number): number =>
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
  meter.addBatchObservableCallback(read, all)
  return () => meter.removeBatchObservableCallback(read, all)
}

// Pools of one name are one time series.
function byName(pools: readonly NamedState[]): Map<string, Gauged[]> {
  const states = new Map<string, Gauged[]>()
  for (const { name, state } of pools) {
    const same = states.get(name)
    if (same === undefined) states.set(name, [state])
    else same.push(state)
  }
  return states
}

// Describes a group as one pool of all its keys.
function asPool({ name, state, keys }: { readonly name: string } & GroupInsight): NamedState {
  const { total, taken, inUse, opening, closing, waiting } = state
  return {
    name,
    state: {
      idle: taken - inUse - opening - closing,
      inUse,
      maxSize: total,
      minIdle: 0,
      waiting,
      headWaitMs: keys.reduce((most, { headWaitMs }) => Math.max(most, headWaitMs), 0),
    },
  }
}

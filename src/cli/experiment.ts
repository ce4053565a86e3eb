import { setTimeout as sleep } from 'node:timers/promises'

import { Histogram } from '../core/runtime/histogram.ts'
import type { ConnectionManager } from '../core/contract/manager.ts'
import { Pool } from '../core/pool.ts'
import type { Percentiles, Point, Result } from './knee.ts'

/** An experiment: points to measure, and the work to measure them with. */
export interface Experiment<C> {
  readonly manager: ConnectionManager<C>
  /** One request on a connection. */
  readonly work: (connection: C) => Promise<unknown>
  readonly points: readonly Point[]
  /** Duration of the experiment without the connects, in milliseconds. */
  readonly lastsMs: number
  readonly rounds: number
  readonly signal: AbortSignal
  readonly onStep: (done: number, of: number) => void
}

// A new backend plans and caches first.
const WARM_UP = 0.25
// For a connection to open.
const LIMIT_MS = 10_000

interface Collected {
  readonly perSecond: number[]
  readonly busy: number[]
  readonly query: Histogram
  readonly request: Histogram
  errors: number
  error?: unknown
}

/**
 * Tries each point in turns over several rounds, so that other load of the server slows all points alike. Rejects when it is
 * aborted, or when no request of a point was answered.
 */
export async function tryOut<C>(experiment: Experiment<C>): Promise<Result[]> {
  const { points, rounds, lastsMs, onStep } = experiment
  const steps = points.length * rounds
  const collected = new Map<Point, Collected>(
    points.map((point) => [
      point,
      { perSecond: [], busy: [], query: new Histogram(), request: new Histogram(), errors: 0 },
    ]),
  )
  let done = 0
  for (let round = 0; round < rounds; round++) {
    // The order alternates: a server that slows down or warms up favours neither end.
    for (const [point, into] of round % 2 === 0 ? collected : [...collected].toReversed()) {
      await tryOne(experiment, point, lastsMs / steps, into)
      onStep(++done, steps)
    }
  }
  return [...collected].map(([point, found]) => {
    if (found.perSecond.every((each) => each === 0))
      throw new Error(
        `no request was answered with ${point.size} connections${found.error instanceof Error ? `: ${found.error.message}` : ''}. Raise --seconds`,
        { cause: found.error },
      )
    return {
      ...point,
      perSecond: median(found.perSecond),
      busy: median(found.busy),
      query: percentiles(found.query),
      request: percentiles(found.request),
      errors: found.errors,
    }
  })
}

async function tryOne<C>(
  { manager, work, signal }: Experiment<C>,
  { size, callers }: Point,
  lastsMs: number,
  into: Collected,
): Promise<void> {
  const limits = { acquireTimeoutMs: LIMIT_MS, connectTimeoutMs: LIMIT_MS }
  const pool = await Pool.open(manager, { ...limits, maxSize: size, minIdle: size, name: `size ${size}` })
  // Stops what runs at the end, which a slow statement would draw out.
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  try {
    let isOver = false
    let isWarm = false
    let answered = 0
    const caller = async (): Promise<void> => {
      while (!isOver) {
        const askedAt = performance.now()
        let startedAt = askedAt
        try {
          await pool.run(
            (connection) => {
              startedAt = performance.now()
              return work(connection)
            },
            { signal: stop },
          )
        } catch (error) {
          if (stop.aborted) return
          into.errors++
          into.error = error
          // A statement that always fails must not become a storm.
          await sleep(100)
          continue
        }
        if (!isWarm || isOver) continue
        const endedAt = performance.now()
        answered++
        into.query.record(endedAt - startedAt)
        into.request.record(endedAt - askedAt)
      }
    }
    const running = Array.from({ length: callers }, caller)
    await sleep(lastsMs * WARM_UP, undefined, { signal })
    isWarm = true
    const before = performance.eventLoopUtilization()
    const startedAt = performance.now()
    await sleep(lastsMs * (1 - WARM_UP), undefined, { signal })
    const tookMs = performance.now() - startedAt
    isOver = true
    over.abort()
    into.busy.push(performance.eventLoopUtilization(before).utilization)
    into.perSecond.push((answered * 1_000) / tookMs)
    await Promise.all(running)
    signal.throwIfAborted()
  } finally {
    await pool.close({ timeoutMs: 5_000 })
  }
}

function percentiles(histogram: Histogram): Percentiles {
  const [p50 = 0, p95 = 0] = histogram.percentiles([0.5, 0.95])
  return { p50, p95 }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? Number.NaN
}

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { PREFIX, type Server } from './server.ts'
import type { FleetOrder, FleetReport } from './fleet-process.ts'

const BUDGET = 20
const CALLERS = 64
const SCHEMA = 'cenote_bench_fleet'

/** What some processes with groups did that share one budget. */
export interface FleetResult {
  readonly processes: number
  readonly budget: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  /** Highest number of backends of the roles that the server showed. */
  readonly mostBackends: number
  /** The largest share that one process had, while the others were idle. */
  readonly largestShare: number
  readonly errors: readonly string[]
  readonly hanging: number
}

/**
 * Runs the Zipf load in several processes, whose groups share one budget of 20 connections (cenote/fleet). The 64 callers are
 * spread over all processes, then all in the first, then spread again.
 */
export async function runFleet(server: Server, processes: number, seconds: number): Promise<FleetResult> {
  await server.createSchema(SCHEMA)
  const children = Array.from({ length: processes }, () =>
    fork(join(import.meta.dirname, 'fleet-process.ts'), { serialization: 'advanced' }),
  )
  const send = (child: ChildProcess, order: FleetOrder): void => void child.send(order)
  try {
    const ready = children.map((child) => once(child, 'message'))
    for (const [seed, child] of children.entries())
      send(child, {
        do: 'start',
        url: server.url,
        prefix: PREFIX,
        table: `${SCHEMA}.members`,
        budget: BUDGET,
        seed,
      })
    await Promise.all(ready)
    const spread = children.map(() => Math.floor(CALLERS / processes))
    const inOne = children.map((_, index) => (index === 0 ? CALLERS : 0))
    let mostBackends = 0
    for (const callers of [spread, inOne, spread]) {
      for (const [index, child] of children.entries())
        send(child, { do: 'work', callers: callers[index] ?? 0 })
      for (const until = performance.now() + (seconds * 1_000) / 3; performance.now() < until;) {
        mostBackends = Math.max(mostBackends, await server.backends())
        await sleep(5)
      }
    }
    const reports = children.map(async (child) => {
      const [report] = (await once(child, 'message')) as [FleetReport]
      return report
    })
    for (const child of children) send(child, { do: 'finish' })
    const all = await Promise.all(reports)
    const tookMs = all.flatMap((report) => report.tookMs).sort((a, b) => a - b)
    const at = (part: number): number => tookMs[Math.floor(tookMs.length * part)] ?? 0
    return {
      processes,
      budget: BUDGET,
      perSecond: tookMs.length / seconds,
      p50: at(0.5),
      p99: at(0.99),
      mostBackends,
      largestShare: Math.max(...all.map(({ largestShare }) => largestShare)),
      errors: all.flatMap(({ errors }) => errors),
      hanging: all.reduce((sum, { hanging }) => sum + hanging, 0),
    }
  } finally {
    for (const child of children) child.kill()
    await server.dropSchema(SCHEMA)
  }
}

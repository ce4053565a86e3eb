// A pool of ten under half again as many requests as it can serve, for eight seconds: `node bench/overload.ts [shedding]` prints for
// each half second what its callers saw.
import { setTimeout as sleep } from 'node:timers/promises'

import { Pool } from '../../dist/index.js'

/** What became of the requests that came within one half second. */
export interface OverloadPoint {
  readonly seconds: number
  readonly offered: number
  readonly served: number
  /** How long those waited that were served, at the 99th percentile, in milliseconds. */
  readonly p99: number
  /** How long those waited that were not, at the median. */
  readonly refusedAfter: number
}

const SECONDS = 8
const HALF_MS = 500
const WORK_MS = 10
const [CALLERS_A_TICK, TICK_MS] = [7, 5]

if (process.argv[1] === import.meta.filename)
  console.log(JSON.stringify(await run(process.argv[2] === 'shedding')))

async function run(isShedding: boolean): Promise<OverloadPoint[]> {
  const manager = { connect: async () => ({}), isValid: () => true, hasBroken: () => false, close: () => {} }
  const pool = new Pool(manager, {
    maxSize: 10,
    acquireTimeoutMs: 2_000,
    ...(isShedding && { overload: { targetMs: 20, intervalMs: 100 } }),
  })
  const startedAt = performance.now()
  const halves = Array.from({ length: (SECONDS * 1_000) / HALF_MS }, () => ({
    waits: [] as number[],
    refusals: [] as number[],
  }))
  const request = async (): Promise<void> => {
    const askedAt = performance.now()
    const half = halves[Math.floor((askedAt - startedAt) / HALF_MS)]
    try {
      const lease = await pool.acquire()
      half?.waits.push(performance.now() - askedAt)
      await sleep(WORK_MS)
      lease.release()
    } catch {
      half?.refusals.push(performance.now() - askedAt)
    }
  }
  const all: Promise<void>[] = []
  for (let asked = 0; performance.now() - startedAt < SECONDS * 1_000; await sleep(1)) {
    const due = Math.floor((performance.now() - startedAt) / TICK_MS) * CALLERS_A_TICK
    for (; asked < due; asked++) all.push(request())
  }
  await Promise.all(all)
  return halves.map(({ waits, refusals }, index) => ({
    seconds: ((index + 1) * HALF_MS) / 1_000,
    offered: waits.length + refusals.length,
    served: waits.length,
    p99: percentile(waits, 0.99),
    refusedAfter: percentile(refusals, 0.5),
  }))
}

function percentile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
}

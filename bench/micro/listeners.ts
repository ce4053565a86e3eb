import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS, type ConnectionManager, Pool, TRACING_CHANNELS } from '../../src/index.ts'
import { median } from './median.ts'

// The cost of a checkout with and without listeners, compared with a bare array of free connections: interleaved rounds in one process,
// so that a noisy machine slows all alike. An own loop and not mitata: it would run one case after the other.
const ROUNDS = 15
const OPERATIONS = 100_000

const manager: ConnectionManager<object> = {
  connect: async () => ({}),
  isValid: () => true,
  hasBroken: () => false,
  close: () => {},
}
const pool = new Pool(manager, { maxSize: 10 })
const free: object[] = [{}]
const listen = (): void => {}
const names = [CHANNELS.acquire, CHANNELS.release]
const { start, asyncEnd } = tracingChannel(TRACING_CHANNELS.acquire)
const traces = [String(start.name), String(asyncEnd.name)]

async function checkout(): Promise<void> {
  ;(await pool.acquire()).release()
}

async function bare(): Promise<void> {
  free.push(await Promise.resolve(free.pop() as object))
}

async function listening(to: readonly string[], work: () => Promise<number>): Promise<number> {
  for (const name of to) subscribe(name, listen)
  try {
    return await work()
  } finally {
    for (const name of to) unsubscribe(name, listen)
  }
}

async function time(operation: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  for (let count = 0; count < OPERATIONS; count++) await operation()
  return ((performance.now() - startedAt) * 1e6) / OPERATIONS
}

const cases: Readonly<Record<string, () => Promise<number>>> = {
  'bare array': () => time(bare),
  'nobody listens': () => time(checkout),
  'acquire and release': () => listening(names, () => time(checkout)),
  'acquire traced': () => listening(traces, () => time(checkout)),
}
const nanoseconds: Record<string, number[]> = Object.fromEntries(Object.keys(cases).map((name) => [name, []]))
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, run] of Object.entries(cases)) {
    const took = await run()
    // The first round warms up.
    if (round > 0) nanoseconds[name]?.push(took)
  }
}
await pool.close()
const limit = median(nanoseconds['bare array'] ?? [])
console.log(`acquire and release on the idle path, medians of ${ROUNDS} rounds, Node ${process.version}`)
for (const [name, values] of Object.entries(nanoseconds)) {
  const sorted = values.toSorted((a, b) => a - b)
  const spread = `${Math.round(sorted[0] ?? 0)} to ${Math.round(sorted.at(-1) ?? 0)}`
  console.log(
    `${name.padEnd(20)} ${String(Math.round(median(values))).padStart(5)} ns (${spread})   ${(median(values) / limit).toFixed(1)} x bare`,
  )
}

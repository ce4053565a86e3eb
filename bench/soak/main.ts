import { getEventListeners } from 'node:events'

import { runProgram, seed, whole } from '../../src/cli/arguments.ts'
import { findPostgres, startPostgres } from '../../test/servers/postgres.ts'
import { Random } from '../../test/simulation/random.ts'
import { grown, type Sample } from './growth.ts'
import { memoryLoad, postgresLoad } from './load.ts'

const SAMPLES = 60
const HELP = `Load pools for a long time, and check that memory, handles and listeners do not grow.

  npm run soak -- [options]

  --seconds N   duration in seconds (15 to 86400; default 3600)
  --seed N      seed of the load (0 to 4294967295; default: random, printed)
  --help        print this

Exit code 1: something grew.`

process.exitCode = await runProgram(
  { name: 'soak', help: HELP, options: { seconds: whole(15, 86_400, 3_600), seed } },
  (given) => {
    if (globalThis.gc === undefined) throw new Error('run this with --expose-gc: npm run soak')
    return soak(given.seconds, given.seed)
  },
)

async function soak(seconds: number, number: number): Promise<number> {
  console.log(`seed ${number}, ${seconds} s`)
  const warnings: string[] = []
  process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`))
  const found = await findPostgres()
  const own = found === undefined ? await startPostgres() : undefined
  const url = found ?? (own?.url as string)
  const shared = new AbortController().signal
  const endsAt = performance.now() + seconds * 1_000
  const until = (): boolean => performance.now() >= endsAt
  try {
    const before = process.getActiveResourcesInfo().length
    const sampling = sampleUntil(until, (seconds * 1_000) / SAMPLES, shared)
    const [memory, postgres] = await Promise.all([
      memoryLoad(new Random(number), shared, until),
      postgresLoad(url, new Random(number + 1), shared, until),
    ])
    const samples = await sampling
    const lines = [...grown(samples), ...warnings]
    const left = process.getActiveResourcesInfo().length - before
    if (left > 0) lines.push(`${left} handles are left after close: allowed are none`)
    const listeners = getEventListeners(shared, 'abort').length
    if (listeners > 0) lines.push(`${listeners} listeners are left after close: allowed are none`)
    console.log(
      `${memory.requests} requests in memory, ${memory.failures} failed as they were meant to; ` +
        `${postgres.requests} on PostgreSQL, ${postgres.failures} failed as they were meant to`,
    )
    for (const line of lines) console.log(line)
    console.log(lines.length === 0 ? 'all is flat' : 'something grew')
    return lines.length === 0 ? 0 : 1
  } finally {
    await own?.destroy()
  }
}

async function sampleUntil(until: () => boolean, everyMs: number, shared: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = []
  const startedAt = performance.now()
  while (!until()) {
    await new Promise((resolve) => setTimeout(resolve, everyMs))
    globalThis.gc?.()
    const { heapUsed: heap, external } = process.memoryUsage()
    const sample: Sample = {
      atMs: Math.round(performance.now() - startedAt),
      heap,
      external,
      handles: process.getActiveResourcesInfo().length,
      listeners: getEventListeners(shared, 'abort').length,
    }
    samples.push(sample)
    if (samples.length % 10 === 0) {
      const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
      console.log(
        `${Math.round(sample.atMs / 1_000)} s: heap ${mib(heap)} MiB, external ${mib(external)} MiB, ${sample.handles} handles, ${sample.listeners} listeners`,
      )
    }
  }
  return samples
}

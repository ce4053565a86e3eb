import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { Histogram } from '../../src/core/runtime/histogram.ts'
import { Random } from '../../test/simulation/random.ts'
import { CONTENDERS, type ContenderName } from './contenders.ts'
import { type Load, LOADS, type LoadName } from './loads.ts'
import type { Server } from './server.ts'

const STATEMENT = 'select pg_sleep(0.005)'
// A caller that waits longer hangs.
const HANG_MS = 15_000
const WARM_MS = 1_000

/** What one contender did under one load. */
export interface Result {
  readonly load: LoadName
  readonly contender: ContenderName
  /** All callers that were served, per second. */
  readonly perSecond: number
  /** Waits and statements of the callers that count, in milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Those of the first second, or of the first with dead roles. */
  readonly firstP99: number
  /** Highest number of backends of the roles that the server showed. */
  readonly mostBackends: number
  readonly errors: number
  readonly hanging: number
}

/** Runs one contender under one load. */
export async function run(
  server: Server,
  load: LoadName,
  contender: ContenderName,
  seconds: number,
): Promise<Result> {
  const { callers, roleOf, counts, deadFrom }: Load = LOADS[load]
  await using silent = await silentServer()
  const subject = CONTENDERS[contender]((role) =>
    Number(role) >= deadFrom ? `postgres://x@127.0.0.1:${silent.port}/x` : server.urlOf(role),
  )
  const waits = new Histogram()
  const first = new Histogram()
  let served = 0
  let errors = 0
  let mostBackends = 0
  const startedAt = performance.now()
  const endsAt = startedAt + seconds * 1_000
  const caller = async (index: number): Promise<void> => {
    const random = new Random(index + 1)
    // Dead roles come to a service that runs.
    if (deadFrom < Infinity && !counts(index, 0)) await sleep(WARM_MS)
    while (performance.now() < endsAt) {
      const role = roleOf(index, random)
      const since = performance.now()
      try {
        await subject.run(String(role), STATEMENT)
        const now = performance.now()
        if (counts(index, role)) {
          served++
          waits.record(now - since)
          const after = now - startedAt - (deadFrom < Infinity ? WARM_MS : 0)
          if (after >= 0 && after < 1_000) first.record(now - since)
        }
      } catch {
        if (role < deadFrom) errors++
        await sleep(1)
      }
    }
  }
  const watch = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      mostBackends = Math.max(mostBackends, await server.backends())
      await sleep(5)
    }
  }
  let hanging = callers
  const all = Array.from({ length: callers }, async (_, index) => {
    await caller(index)
    hanging--
  })
  await watch()
  const dead = Array.from({ length: callers }, (_, index) => !counts(index, 0) && deadFrom < Infinity).filter(
    Boolean,
  ).length
  const deadline = performance.now() + HANG_MS
  while (hanging > dead && performance.now() < deadline) await sleep(50)
  const hung = Math.max(0, hanging - dead)
  await Promise.race([subject.close(), sleep(12_000)])
  void all
  const [p50 = 0, p99 = 0] = waits.percentiles([0.5, 0.99])
  const [firstP99 = 0] = first.percentiles([0.99])
  for (let look = 0; look < 40 && (await server.backends()) > 0; look++) await sleep(50)
  return {
    load,
    contender,
    perSecond: served / seconds,
    p50,
    p99,
    firstP99,
    mostBackends,
    errors,
    hanging: hung,
  }
}

// Accepts connections, and never answers.
async function silentServer(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

// One contender under one load, in a process of its own: prints the figures.
import { CONTENDERS } from './contenders.ts'
import type { Figures, Load } from './loads.ts'

const load = JSON.parse(process.argv[2] ?? '{}') as Load
const contender = await CONTENDERS[load.contender]!(load, load.connections, load.perConnection)
const waits: number[] = []
const send = async (isSlow: boolean): Promise<void> => {
  const startedAt = performance.now()
  await contender.send(isSlow)
  if (!isSlow) waits.push(performance.now() - startedAt)
}

async function closed(forMs: number): Promise<void> {
  const end = performance.now() + forMs
  const caller = async (): Promise<void> => {
    while (performance.now() < end) await send(false)
  }
  await Promise.all(Array.from({ length: load.callers }, caller))
}

// Statements arrive at this rate whatever their answers do; one in a hundred is slow, the same ones for each contender.
let seed = 1
const isSlow = (): boolean => {
  seed = (seed * 48_271) % 2_147_483_647
  return seed % 100 === 0
}
async function open(forMs: number, perSecond: number): Promise<void> {
  const startedAt = performance.now()
  const running: Promise<void>[] = []
  let sent = 0
  while (performance.now() - startedAt < forMs) {
    for (const due = ((performance.now() - startedAt) * perSecond) / 1_000; sent < due; sent++)
      running.push(send(isSlow()))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(running)
}

const run = (forMs: number): Promise<void> =>
  load.perSecond === undefined ? closed(forMs) : open(forMs, load.perSecond)
await run(load.forMs / 3)
waits.length = 0
const cpu = process.cpuUsage()
const startedAt = performance.now()
await run(load.forMs)
const elapsedMs = performance.now() - startedAt
const { user, system } = process.cpuUsage(cpu)
waits.sort((a, b) => a - b)
const figures: Figures = {
  rate: (waits.length / elapsedMs) * 1_000,
  cpuUs: (user + system) / waits.length,
  p50: waits[Math.floor(waits.length * 0.5)] ?? Number.NaN,
  p99: waits[Math.floor(waits.length * 0.99)] ?? Number.NaN,
}
process.stdout.write(JSON.stringify(figures))
await contender.close()
process.exit()

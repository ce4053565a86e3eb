// Prints what a checkout through a group with 100 keys costs beside a pool, and what keys leave in memory. Needs --expose-gc.
import { PoolGroup } from '../../src/group/index.ts'
import { Pool } from '../../src/index.ts'
import type { ConnectionManager } from '../../src/index.ts'

const manager: ConnectionManager<object> = {
  connect: async () => ({}),
  isValid: () => true,
  hasBroken: () => false,
  close: () => {},
}
const CHECKOUTS = 5_000
const TURNS = 200
const KEYS = 10_000
const work = (): void => {}

async function perCheckout(run: (index: number) => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  for (let index = 0; index < CHECKOUTS; index++) await run(index)
  return ((performance.now() - startedAt) * 1e6) / CHECKOUTS
}

function used(): number {
  for (let round = 0; round < 4; round++) globalThis.gc?.()
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
}

async function bytesLeft(manage: () => ConnectionManager<object>, from: number): Promise<number> {
  const group = new PoolGroup(manage, { total: 20, pool: { acquireTimeoutMs: 20 } })
  const use = async (key: string): Promise<void> => {
    await group.run(key, work).catch(() => {})
  }
  const batch = async (first: number, count: number): Promise<void> => {
    for (let index = 0; index < count; index += 100)
      await Promise.all(Array.from({ length: 100 }, (_, each) => use(`${first + index + each}`)))
  }
  await batch(from, 2_000)
  await new Promise((resolve) => setTimeout(resolve, 50))
  const before = used()
  await batch(from + 2_000, KEYS)
  await new Promise((resolve) => setTimeout(resolve, 50))
  const bytes = (used() - before) / KEYS
  await group.close()
  return bytes
}

const names = Array.from({ length: 100 }, (_, index) => `tenant-${index}`)
const group = new PoolGroup(() => manager, { total: 100 })
for (const name of names) await group.run(name, work)
const pool = new Pool(manager, { maxSize: 100 })
await pool.run(work)
// In turns of a few milliseconds, and the quickest turn of each: on a busy machine most turns are interrupted.
let [alone, grouped] = [Infinity, Infinity]
for (let turn = 0; turn < TURNS; turn++) {
  alone = Math.min(alone, await perCheckout(() => pool.run(work)))
  grouped = Math.min(grouped, await perCheckout((index) => group.run(names[index % 100] as string, work)))
}
const forgotten = await bytesLeft(() => manager, 1_000_000)
const kept = new PoolGroup(() => manager, { total: KEYS })
const before = used()
for (let index = 0; index < 2_000; index++) await kept.run(`kept-${index}`, work)
const bytesKept = (used() - before) / 2_000
console.log(
  JSON.stringify({
    poolNs: alone,
    groupNs: grouped,
    ratio: grouped / alone,
    bytesForgotten: forgotten,
    bytesKept,
  }),
)
await Promise.all([group.close(), pool.close(), kept.close()])

// The cost of a seat beside that of an idle checkout, in one process: prints both, in nanoseconds.
import { Pool } from '../../dist/index.js'
import { share } from 'cenote/share'

const manager = {
  connect: async () => ({}),
  isValid: () => true,
  hasBroken: () => false,
  close: () => {},
  share: { perConnection: 64, view: (connection: object) => connection },
}
const pool = new Pool(manager, { maxSize: 10 })
const db = share<object, object>(new Pool(manager, { maxSize: 2 }))
const nothing = (): number => 1
const works = {
  pool: async (count: number) => {
    for (let n = 0; n < count; n++) await pool.run(nothing)
  },
  share: async (count: number) => {
    for (let n = 0; n < count; n++) await db.run(nothing)
  },
}
const best = { pool: Infinity, share: Infinity }
for (const work of Object.values(works)) await work(200_000)
for (let round = 0; round < 100; round++) {
  for (const name of ['pool', 'share'] as const) {
    const startedAt = performance.now()
    await works[name](5_000)
    best[name] = Math.min(best[name], ((performance.now() - startedAt) * 1e6) / 5_000)
  }
}
process.stdout.write(JSON.stringify(best))
process.exit()

import { expect, test } from 'vitest'

import { runScript } from '../scripts.ts'

const run = (body: string): Promise<string> =>
  runScript(`
    import { Pool } from 'SRC/index.ts'
    const manager = { connect: async () => ({}), isValid: () => true, hasBroken: () => false, close: async () => {} }
    ${body}`)

test('promise 22: a process with an idle pool that was never closed ends by itself', async () => {
  const body = `
    const pool = new Pool(manager, { minIdle: 2, keepaliveMs: 60_000, leakThresholdMs: 60_000 })
    const lease = await pool.acquire()
    console.log('done')`
  expect(await run(body)).toBe('done')
})

test('promise 22: a waiting acquire keeps its process alive until its deadline, although nothing else does', async () => {
  const body = `
    const pool = new Pool(manager, { maxSize: 1 })
    const lease = await pool.acquire()
    pool.acquire({ timeoutMs: 200 }).catch((error) => console.log(error.phase))`
  expect(await run(body)).toBe('queue')
})

test('promise 23: an awaited close settles although nothing else keeps the process alive', async () => {
  const body = `
    const pool = new Pool({ ...manager, close: () => new Promise(() => {}) }, { maxSize: 2, closeTimeoutMs: 50 })
    const lease = await pool.acquire()
    ;(await pool.acquire()).release()
    console.log(JSON.stringify(await pool.close({ timeoutMs: 200 })))`
  expect(await run(body)).toBe('{"closed":1,"abandoned":1}')
})

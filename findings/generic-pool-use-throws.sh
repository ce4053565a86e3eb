#!/usr/bin/env bash
# generic-pool 3.9.0. use(fn) releases the resource when fn resolves, and destroys it when fn rejects. If fn throws synchronously, use rejects with the error and the
# resource stays borrowed forever: a pool of one then serves no caller any more.
set -euo pipefail
source "$(dirname "$0")/run.bash"
expected='rejected: borrowed 0, available 0
thrown: borrowed 1, available 0
next caller: ResourceRequest timed out'
finding generic-pool@3.9.0 <<'JS'
import { createPool } from 'generic-pool'

const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 1, acquireTimeoutMillis: 200 })
const settle = () => new Promise((resolve) => setTimeout(resolve, 20))
await pool.use(async () => { throw new Error('x') }).catch(() => {})
await settle()
console.log(`rejected: borrowed ${pool.borrowed}, available ${pool.available}`)
await pool.use(() => { throw new Error('x') }).catch(() => {})
await settle()
console.log(`thrown: borrowed ${pool.borrowed}, available ${pool.available}`)
await pool.acquire().catch((error) => console.log(`next caller: ${error.message}`))
process.exit()
JS

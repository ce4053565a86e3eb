#!/usr/bin/env bash
# lightning-pool 4.14.0. Callers whose acquire timed out are still counted in `pending`, until a resource is released.
set -euo pipefail
source "$(dirname "$0")/run.bash"
expected='Request timed out, Request timed out
pending 2'
finding lightning-pool@4.14.0 <<'JS'
import { createPool } from 'lightning-pool'

const pool = createPool({ create: async () => ({}), destroy: async () => {} }, { max: 1, acquireTimeoutMillis: 50 })
await pool.acquire()
const failures = await Promise.all([pool.acquire(), pool.acquire()].map((acquire) => acquire.catch((error) => error.message)))
console.log(failures.join(', '))
await new Promise((resolve) => setTimeout(resolve, 500))
console.log(`pending ${pool.pending}`)
process.exit()
JS

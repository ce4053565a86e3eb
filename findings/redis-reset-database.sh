#!/usr/bin/env bash
# redis 6.3.1 (node-redis) with Redis 7.0 (REDIS_URL, default redis://127.0.0.1:6379). The doc comment of reset() says that the selected database goes back
# to the default. It is that of the last select(): reset() does a new handshake, and the handshake selects the database that select() had stored.
set -euo pipefail
source "$(dirname "$0")/run.bash"
export REDIS_URL=${REDIS_URL:-redis://127.0.0.1:6379}
expected='before select: db=0
after select(3): db=3
after reset(): db=3'
finding redis@6.3.1 <<'JS'
import { createClient } from 'redis'

const client = await createClient({ url: process.env.REDIS_URL }).connect()
const show = async (when) => console.log(`${when}: ${/\bdb=\d+/.exec(await client.sendCommand(['CLIENT', 'INFO']))[0]}`)
await show('before select')
await client.select(3)
await show('after select(3)')
await client.reset()
await show('after reset()')
await client.close()
JS

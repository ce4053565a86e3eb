#!/usr/bin/env bash
# knex 3.3.0 with PostgreSQL (DATABASE_URL, default postgres://postgres@127.0.0.1:5432/postgres). With a pool of the user's own (connectionPool), destroy() right after
# `await trx.commit()` drops the pool before the transaction has given its connection back: the connection stays in use for good, and pool.end() waits
# forever. Not so one turn of the event loop later.
set -euo pipefail
source "$(dirname "$0")/run.bash"
export DATABASE_URL=${DATABASE_URL:-postgres://postgres@127.0.0.1:5432/postgres}
expected='destroy at once: total 1, idle 0
destroy a turn later: total 1, idle 1'
finding knex@3.3.0 pg@8.23.1 <<'JS'
import knex from 'knex'
import pg from 'pg'

for (const isLater of [false, true]) {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
  const db = knex({ client: 'pg', connectionPool: pool })
  const trx = await db.transaction()
  await trx.raw('select 1')
  await trx.commit()
  if (isLater) await new Promise((resolve) => setTimeout(resolve, 50))
  await db.destroy()
  await new Promise((resolve) => setTimeout(resolve, 200))
  console.log(`destroy ${isLater ? 'a turn later' : 'at once'}: total ${pool.totalCount}, idle ${pool.idleCount}`)
}
process.exit()
JS

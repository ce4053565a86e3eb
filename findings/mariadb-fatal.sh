#!/usr/bin/env bash
# mariadb 3.5.4 with MariaDB 10.11 (MARIADB_URL, default mariadb://root@127.0.0.1:3306/test). The error of a statement that exceeds max_statement_time
# (1969), or that KILL QUERY ends (1317), has `fatal: true`. The connection is not lost: it is valid, and the next statement is answered.
set -euo pipefail
source "$(dirname "$0")/run.bash"
export MARIADB_URL=${MARIADB_URL:-mariadb://root@127.0.0.1:3306/test}
expected='errno 1969, fatal true, isValid true, next statement 1
errno 1317, fatal true, isValid true, next statement 1'
finding mariadb@3.5.4 <<'JS'
import mariadb from 'mariadb'

const connection = await mariadb.createConnection(process.env.MARIADB_URL)
const other = await mariadb.createConnection(process.env.MARIADB_URL)
const show = async ({ errno, fatal }) => {
  const [{ one }] = await connection.query('select 1 as one')
  console.log(`errno ${errno}, fatal ${fatal}, isValid ${connection.isValid()}, next statement ${Number(one)}`)
}
await connection.query('set statement max_statement_time = 0.1 for select sum(a.seq * b.seq) from seq_1_to_100000 a, seq_1_to_100000 b').catch(show)
setTimeout(() => other.query(`kill query ${connection.threadId}`), 200)
await connection.query('select sum(a.seq * b.seq) from seq_1_to_100000 a, seq_1_to_100000 b').catch(show)
await Promise.all([connection.end(), other.end()])
JS

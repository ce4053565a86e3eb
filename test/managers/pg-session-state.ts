import type { PgClient, PgReset } from '../../src/managers/pg/pg.ts'

/** What the next holder of a connection finds of the state that the holder before left. */
export type Found = 'restored' | 'closed' | 'stays'

/** One kind of session state. */
export interface SessionState {
  readonly name: string
  leave(client: PgClient, role: string): Promise<unknown> | void
  /** An SQL expression that is true where nothing is left. */
  readonly isClean: string
}

/** How a pool reaches the server, and what it does at return. */
export interface Column {
  readonly reset: PgReset
  readonly behindPgBouncer: boolean
}

const statement =
  (text: string) =>
  (client: PgClient): Promise<unknown> =>
    client.query(text)

/** Every kind, in the order of the table. */
export const STATES: readonly SessionState[] = [
  {
    name: 'an open transaction, with its cursors and `SET LOCAL`',
    leave: statement('begin; declare left_open cursor for select 1; set local work_mem = 65'),
    isClean: 'now() = statement_timestamp() and not exists (select from pg_cursors)',
  },
  {
    name: 'a failed transaction',
    leave: (client) => client.query('begin').then(() => client.query('no statement').catch(() => {})),
    isClean: 'now() = statement_timestamp()',
  },
  {
    name: 'a statement still running',
    leave: (client) => void client.query('select pg_sleep(20)').catch(() => {}),
    isClean: 'true',
  },
  {
    name: 'the isolation level (`SET SESSION CHARACTERISTICS`)',
    leave: statement('set session characteristics as transaction isolation level serializable'),
    isClean: "current_setting('default_transaction_isolation') = 'read committed'",
  },
  {
    name: 'read-only (`SET default_transaction_read_only`)',
    leave: statement('set default_transaction_read_only = on'),
    isClean: "current_setting('default_transaction_read_only') = 'off'",
  },
  {
    name: '`SET ROLE`',
    leave: (client, role) => client.query(`set role ${role}`),
    isClean: 'current_user = session_user',
  },
  {
    name: '`SET SESSION AUTHORIZATION`',
    leave: (client, role) => client.query(`set session authorization ${role}`),
    isClean: "session_user = 'postgres'",
  },
  {
    name: '`search_path`',
    leave: statement('set search_path = pg_catalog'),
    isClean: `current_setting('search_path') = '"$user", public'`,
  },
  {
    name: 'another variable (`SET`)',
    leave: statement('set lock_timeout = 12345'),
    isClean: "current_setting('lock_timeout') = '0'",
  },
  {
    name: 'a temporary table',
    leave: statement('create temp table left_behind (n int)'),
    isClean: "to_regclass('pg_temp.left_behind') is null",
  },
  {
    name: 'an advisory lock',
    leave: statement('select pg_advisory_lock(pg_backend_pid())'),
    isClean: "not exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())",
  },
  {
    name: 'a prepared statement (`PREPARE`)',
    leave: statement('prepare left_prepared as select 1'),
    isClean: "not exists (select from pg_prepared_statements where name = 'left_prepared')",
  },
  {
    name: '`LISTEN`',
    leave: statement('listen left_listening'),
    isClean: 'not exists (select from pg_listening_channels())',
  },
  {
    name: 'a cursor `WITH HOLD`',
    leave: statement('declare left_held cursor with hold for select 1'),
    isClean: 'not exists (select from pg_cursors)',
  },
]

/** Every way, in the order of the table. */
export const COLUMNS: readonly Column[] = [
  { reset: 'none', behindPgBouncer: false },
  { reset: 'rollback', behindPgBouncer: false },
  { reset: 'discard all', behindPgBouncer: false },
  { reset: 'rollback', behindPgBouncer: true },
  { reset: 'discard all', behindPgBouncer: true },
]

/** The table of docs/managers.md. */
export function sessionTable(found: readonly (readonly Found[])[]): string {
  const head = COLUMNS.map(
    ({ reset, behindPgBouncer }) => `\`'${reset}'\`${behindPgBouncer ? ', PgBouncer' : ''}`,
  )
  return [
    `| the holder left … | ${head.join(' | ')} |`,
    `|---${'|---'.repeat(COLUMNS.length)}|`,
    ...STATES.map(({ name }, row) => `| ${name} | ${(found[row] ?? []).join(' | ')} |`),
  ].join('\n')
}

import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import type { PoolOptions } from '../../core/contract/options.ts'
import { callable, checkArguments, type Rule, whole } from '../../core/contract/rules.ts'
import { Pool } from '../../core/pool.ts'
import type { NodeSqliteDatabase, SqliteDatabase, SqliteDriver } from './driver.ts'

export { type Transaction, TransactionError, type TransactionErrorCode } from '../transaction.ts'
export { type SqliteIsolation, type SqliteTransactionOptions, transaction } from './transaction.ts'
export type {
  NodeSqliteDatabase,
  SqliteDatabase,
  SqliteDriver,
  SqliteStatement,
  SqliteValue,
} from './driver.ts'

/** The purpose of a connection. SQLite has one writer at a time, and any number of readers. */
export type SqliteMode = 'reader' | 'writer'
/** The state to which a returned connection is restored. */
export type SqliteReset = 'none' | 'rollback'

/** Options of {@link SqliteManager}. */
export interface SqliteManagerOptions<D extends object = NodeSqliteDatabase> {
  /** The driver: what `import * as sqlite from 'node:sqlite'` gives, or the class of better-sqlite3. Default: node:sqlite. */
  readonly driver?: SqliteDriver<D> | undefined
  /** Once per new connection, before its first use, for pragmas and functions. A throw or rejection is a connect failure. */
  readonly onConnect?: ((database: D) => unknown) | undefined
  /**
   * The treatment of a returned connection. `rollback`: an open transaction is rolled back; `none`: a connection in a
   * transaction is closed. One with an unfinished iterator is always closed. Default: 'rollback'.
   */
  readonly resetOnRelease?: SqliteReset | undefined
  /** `reader`: the file is opened read-only; `writer`: it is created if need be, and switched to WAL. Default: 'writer'. */
  readonly mode?: SqliteMode | undefined
  /** Time that a statement waits for the lock of another process, in milliseconds. It blocks the thread. Default: 5,000. */
  readonly busyTimeoutMs?: number | undefined
}

const RESETS: readonly unknown[] = ['none', 'rollback']
const MODES: readonly unknown[] = ['reader', 'writer']
const RULES: Readonly<Record<keyof SqliteManagerOptions, Rule>> = {
  driver: {
    allowed: "what `import * as sqlite from 'node:sqlite'` gives, or the class of better-sqlite3",
    accepts: (driver) => typeof driver === 'function' || isNodeSqlite(driver),
  },
  onConnect: callable,
  resetOnRelease: { allowed: "'none' or 'rollback'", accepts: (value) => RESETS.includes(value) },
  mode: { allowed: "'reader' or 'writer'", accepts: (value) => MODES.includes(value) },
  busyTimeoutMs: whole(0, 'finite'),
}
// Redefined at each return: SQLite refuses that while a statement is open, such as that of an unfinished iterator.
const PROBE = 'cenote_is_idle'
const isIdle = (): number => 1
const READERS = 4
// Primary result codes of SQLite. A connection that met one of BROKEN is not to be trusted with the next statement.
const CODES: Readonly<Record<number, string>> = {
  8: 'SQLITE_READONLY',
  10: 'SQLITE_IOERR',
  11: 'SQLITE_CORRUPT',
  14: 'SQLITE_CANTOPEN',
  26: 'SQLITE_NOTADB',
}
const BROKEN = /^SQLITE_(IOERR|CORRUPT|NOTADB|CANTOPEN)/
// Errors that retrying cannot fix. SQLITE_CANTOPEN only if its cause was found: the process may be out of files, too.
const FATAL =
  /^(SQLITE_(NOTADB|CORRUPT|READONLY)|CENOTE_SQLITE|ERR_INVALID_ARG|ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND)/

/**
 * Connections to one SQLite file in WAL mode, with node:sqlite or better-sqlite3: many readers and one writer. {@link openSqlite}
 * makes both pools; with pools of your own give the writers' pool `maxSize: 1`, so that writers queue without blocking the thread.
 *
 * Every call of these drivers is synchronous, so nothing can be cancelled: no signal can abort while a statement runs. A
 * connection whose file was replaced or deleted is not valid any more. A connection that is returned with an unfinished
 * iterator is closed, because the next holder would read an old snapshot.
 *
 * @example
 * ```ts
 * import { mkdtempSync } from 'node:fs'
 * import { tmpdir } from 'node:os'
 * import { join } from 'node:path'
 *
 * import { Pool } from 'cenote'
 * import { SqliteManager } from 'cenote/sqlite'
 *
 * const path = join(mkdtempSync(join(tmpdir(), 'cenote-')), 'answers.db')
 * await using pool = new Pool(new SqliteManager(path), { maxSize: 1 })
 * const row = await pool.run((database) => database.prepare('select 40 + 2 as answer').get())
 * console.log(row) // prints answer: 42
 * ```
 */
export class SqliteManager<D extends object = NodeSqliteDatabase> implements ConnectionManager<D> {
  readonly #path: string
  readonly #options: SqliteManagerOptions<D>
  readonly #mode: SqliteMode
  readonly #files = new WeakMap<D, string>()
  #open: ((readOnly: boolean) => D) | undefined

  /**
   * `path`: a file (':memory:' would be another database for each connection). Throws TypeError for a wrong path,
   * PoolOptionsError for a wrong option.
   */
  constructor(path: string | undefined, options: SqliteManagerOptions<D> = {}) {
    if (typeof path !== 'string' || path === '' || path === ':memory:' || path.startsWith('file:')) {
      throw new TypeError(
        `path must be the path of a file (got '${String(path)}'). All connections share it, so it can be neither in memory nor temporary`,
      )
    }
    this.#options = checkArguments('options of SqliteManager', options, RULES, '')
    this.#path = resolve(path)
    this.#mode = options.mode ?? 'writer'
  }

  async connect({ signal }: ConnectContext): Promise<D> {
    const timeout = this.#options.busyTimeoutMs ?? 5_000
    this.#open ??= opener(this.#options.driver ?? (await loadNodeSqlite()), this.#path, timeout)
    signal.throwIfAborted()
    let opened: D | undefined
    try {
      opened = this.#open(this.#mode === 'reader')
      const database = used(opened)
      if (this.#mode === 'writer') useWal(database, this.#path)
      // A file is read by its first statement, not when it is opened.
      else database.prepare('select count(*) from sqlite_schema').get()
      this.#files.set(opened, identity(this.#path))
      hasOpenStatement(database)
      await this.#options.onConnect?.(opened)
      signal.throwIfAborted()
      return opened
    } catch (error) {
      if (opened !== undefined) closeQuietly(used(opened))
      throw signal.aborted ? signal.reason : explained(error, this.#path, this.#mode)
    }
  }

  isValid(database: D): boolean {
    if (this.#files.get(database) !== identity(this.#path)) return false
    return used(database).prepare('select 1').get() !== undefined
  }

  hasBroken(database: D, error?: unknown): boolean {
    return !isOpen(used(database)) || (error !== undefined && BROKEN.test(codeOf(error)))
  }

  reset(database: D): boolean | void {
    if (hasOpenStatement(used(database))) return false
    if (!isInTransaction(used(database))) return
    if (this.#options.resetOnRelease === 'none') return false
    used(database).exec('ROLLBACK')
  }

  close(database: D): void {
    if (isOpen(used(database))) used(database).close()
  }

  isFatal(error: unknown): boolean {
    return FATAL.test(codeOf(error))
  }
}

/** Options of {@link openSqlite}: those of {@link SqliteManager} for both pools, and how many readers. */
export interface OpenSqliteOptions<D extends object = NodeSqliteDatabase> extends Omit<
  SqliteManagerOptions<D>,
  'mode'
> {
  /** Maximum number of readers. Default: 4. */
  readonly readers?: number | undefined
  /** Options of both pools. `name` gets '-readers' and '-writer' appended. Default: the pool's defaults. */
  readonly pool?: Omit<PoolOptions<D>, 'maxSize' | 'minIdle'> | undefined
}

/** The pools over one file. */
export interface SqlitePools<D extends object = NodeSqliteDatabase> extends AsyncDisposable {
  readonly readers: Pool<D>
  /** Its `maxSize` is 1: writers queue here, and never meet SQLITE_BUSY from one another. */
  readonly writer: Pool<D>
  /** Closes the readers, then the writer, which folds the WAL back into the file. Never rejects. */
  close(): Promise<void>
}

/**
 * Opens (or creates) one SQLite file: `await using db = await openSqlite('data.db')`, then `db.writer.run(…)`, `db.readers.run(…)`.
 * Rejects with ConnectError when the file cannot be opened or is not a database; then nothing is left open.
 *
 * @example
 * ```ts
 * import { mkdtempSync } from 'node:fs'
 * import { tmpdir } from 'node:os'
 * import { join } from 'node:path'
 *
 * import { openSqlite } from 'cenote/sqlite'
 *
 * await using sqlite = await openSqlite(join(mkdtempSync(join(tmpdir(), 'cenote-')), 'visits.db'))
 * await sqlite.writer.run((database) => database.exec('create table visits (at integer)'))
 * const row = await sqlite.readers.run((database) => database.prepare('select count(*) as n from visits').get())
 * console.log(row) // prints n: 0
 * ```
 */
export async function openSqlite<D extends object = NodeSqliteDatabase>(
  path: string | undefined,
  options: OpenSqliteOptions<D> = {},
): Promise<SqlitePools<D>> {
  const { readers: maxSize = READERS, pool = {}, ...common } = options
  const named = (suffix: string) => (pool.name === undefined ? {} : { name: `${pool.name}-${suffix}` })
  // The writer is opened first: it creates the file, and the WAL without which readers would be locked out.
  const writer = await Pool.open(new SqliteManager<D>(path, { ...common, mode: 'writer' }), {
    ...pool,
    ...named('writer'),
    maxSize: 1,
    minIdle: 1,
  })
  let readers: Pool<D>
  try {
    const manager = new SqliteManager<D>(path, { ...common, mode: 'reader' })
    readers = new Pool(manager, { ...pool, ...named('readers'), maxSize })
  } catch (error) {
    await writer.close()
    throw error
  }
  const close = async (): Promise<void> => {
    await readers.close()
    await writer.close()
  }
  return { readers, writer, close, [Symbol.asyncDispose]: close }
}

async function loadNodeSqlite<D extends object>(): Promise<SqliteDriver<D>> {
  try {
    return (await import('node:sqlite')) as unknown as SqliteDriver<D>
  } catch (cause) {
    const message =
      'cenote/sqlite needs node:sqlite (Node 22.13 or newer), or better-sqlite3 as the option driver'
    throw Object.assign(new Error(message, { cause }), { code: 'ERR_MODULE_NOT_FOUND' })
  }
}

function opener<D extends object>(
  driver: SqliteDriver<D>,
  path: string,
  timeout: number,
): (readOnly: boolean) => D {
  type Open = new (path: string, options: object) => D
  if ('DatabaseSync' in driver)
    return (readOnly) => new (driver.DatabaseSync as Open)(path, { readOnly, timeout })
  return (readonly) => new (driver as Open)(path, { readonly, timeout })
}

function isNodeSqlite(driver: unknown): boolean {
  return typeof (driver as { DatabaseSync?: unknown } | null)?.DatabaseSync === 'function'
}

function used(database: object): SqliteDatabase {
  return database as SqliteDatabase
}

function hasOpenStatement(database: SqliteDatabase): boolean {
  try {
    ;(database as { function?(name: string, call: () => number): unknown }).function?.(PROBE, isIdle)
    return false
  } catch {
    return true
  }
}

function useWal(database: SqliteDatabase, path: string): void {
  const row = database.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode?: unknown } | undefined
  if (row?.journal_mode === 'wal') return
  throw fatal(
    `SQLite keeps '${path}' in journal mode '${String(row?.journal_mode)}': WAL needs a file system that can share memory`,
    undefined,
  )
}

function isOpen(database: SqliteDatabase): boolean {
  // With node:sqlite `open` is a method.
  return typeof database.open === 'boolean' ? database.open : database.isOpen !== false
}

function isInTransaction(database: SqliteDatabase): boolean {
  return database.isTransaction === true || database.inTransaction === true
}

function closeQuietly(database: SqliteDatabase): void {
  try {
    database.close()
  } catch {
    // The error of the connect is the one to report.
  }
}

// Returns the identity of the file at a path; '' for none.
function identity(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false, bigint: true })
  return found === undefined ? '' : `${found.dev}:${found.ino}`
}

function fatal(message: string, cause: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'CENOTE_SQLITE_UNUSABLE' })
}

// SQLite says 'unable to open database file' whatever the reason: the file system knows it.
function explained(error: unknown, path: string, mode: SqliteMode): unknown {
  const code = codeOf(error)
  const isUnopenable = code.startsWith('SQLITE_CANTOPEN') || error instanceof TypeError
  const problem = isUnopenable
    ? whatPreventsOpening(path, mode)
    : code.startsWith('SQLITE_NOTADB')
      ? 'it is not a SQLite database'
      : code.startsWith('SQLITE_READONLY')
        ? 'it cannot be written to'
        : undefined
  return problem === undefined ? error : fatal(`cannot open '${path}' as a ${mode}: ${problem}`, error)
}

function whatPreventsOpening(path: string, mode: SqliteMode): string | undefined {
  const folder = statSync(dirname(path), { throwIfNoEntry: false })
  if (folder?.isDirectory() !== true) return `the folder '${dirname(path)}' does not exist`
  const file = statSync(path, { throwIfNoEntry: false })
  if (file === undefined && mode === 'reader') return 'the file does not exist; a writer creates it'
  if (file?.isFile() === false) return 'it is not a file'
  const { R_OK, W_OK } = constants
  try {
    accessSync(file === undefined ? dirname(path) : path, mode === 'reader' ? R_OK : R_OK | W_OK)
    return undefined
  } catch {
    return `this process may not ${mode === 'reader' ? 'read' : 'write'} it`
  }
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return ''
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  // node:sqlite gives the number, with the primary code in its low byte; better-sqlite3 the name.
  if (typeof errcode === 'number') return CODES[errcode & 0xff] ?? `SQLITE_${errcode}`
  return typeof code === 'string' ? code : ''
}

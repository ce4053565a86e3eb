import { accessSync, constants, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

import type { ConnectContext, ConnectionManager } from '../core/manager.ts'
import type { PoolOptions } from '../core/options.ts'
import { Pool } from '../core/pool.ts'

/** What a connection is for. SQLite has one writer at a time, and any number of readers beside it. */
export type SqliteMode = 'reader' | 'writer'
/** What a connection is brought back to when it is returned. */
export type SqliteReset = 'none' | 'rollback'

/** Options of {@link SqliteManager}. */
export interface SqliteManagerOptions {
  /** The driver: what `import * as sqlite from 'node:sqlite'` gives, or the class of better-sqlite3. Default: node:sqlite. */
  readonly driver?: SqliteDriver | undefined
  /** Once per new connection, before its first use, for pragmas and functions. A throw or rejection is a connect failure. */
  readonly onConnect?: ((database: SqliteDatabase) => void | Promise<void>) | undefined
  /**
   * What happens to a connection that is returned: `rollback`: an open transaction is rolled back; `none`: a connection in a
   * transaction is closed. Default: 'rollback'.
   */
  readonly resetOnRelease?: SqliteReset | undefined
  /** `reader`: the file is opened read-only; `writer`: it is created if need be, and switched to WAL. Default: 'writer'. */
  readonly mode?: SqliteMode | undefined
  /** How long a statement waits for another process's lock. The thread is blocked meanwhile. Default: 5,000. */
  readonly busyTimeoutMs?: number | undefined
}

const RESETS: readonly SqliteReset[] = ['none', 'rollback']
const MODES: readonly SqliteMode[] = ['reader', 'writer']
const OPTIONS = ['driver', 'onConnect', 'resetOnRelease', 'mode', 'busyTimeoutMs'] as const
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
// Errors that no retry will mend. Of SQLITE_CANTOPEN only those whose cause was found: the process may be out of files too.
const FATAL =
  /^(SQLITE_(NOTADB|CORRUPT|READONLY)|CENOTE_SQLITE|ERR_INVALID_ARG|ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND)/

/**
 * Connections to one SQLite file in WAL mode, with node:sqlite or better-sqlite3: many readers and one writer. {@link openSqlite}
 * makes both pools; with pools of your own give the writers' pool `maxSize: 1`, so that writers queue without blocking the thread.
 *
 * Every call of these drivers is synchronous. A connection whose file was replaced or deleted meanwhile is not valid any more.
 * An iterator of a statement that is left unfinished keeps its snapshot: finish it before the connection goes back.
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
export class SqliteManager implements ConnectionManager<SqliteDatabase> {
  readonly #path: string
  readonly #options: SqliteManagerOptions
  readonly #mode: SqliteMode
  readonly #files = new WeakMap<SqliteDatabase, string>()
  #open: ((readOnly: boolean) => SqliteDatabase) | undefined

  /** `path`: a file (':memory:' would be another database for each connection). Throws TypeError for a wrong argument. */
  constructor(path: string, options: SqliteManagerOptions = {}) {
    if (typeof path !== 'string' || path === '' || path === ':memory:' || path.startsWith('file:')) {
      throw new TypeError(
        `path is '${String(path)}': allowed is the path of a file. All connections share it, so it can be neither in memory nor temporary`,
      )
    }
    checkOptions(options)
    this.#path = resolve(path)
    this.#options = { ...options }
    this.#mode = options.mode ?? 'writer'
  }

  async connect({ signal }: ConnectContext): Promise<SqliteDatabase> {
    const timeout = this.#options.busyTimeoutMs ?? 5_000
    this.#open ??= opener(this.#options.driver ?? (await loadNodeSqlite()), this.#path, timeout)
    signal.throwIfAborted()
    let database: SqliteDatabase | undefined
    try {
      database = this.#open(this.#mode === 'reader')
      if (this.#mode === 'writer') useWal(database, this.#path)
      // A file is looked at by its first statement, not when it is opened.
      else database.prepare('select count(*) from sqlite_schema').get()
      this.#files.set(database, identity(this.#path))
      await this.#options.onConnect?.(database)
      signal.throwIfAborted()
      return database
    } catch (error) {
      if (database !== undefined) closeQuietly(database)
      throw signal.aborted ? signal.reason : explained(error, this.#path, this.#mode)
    }
  }

  isValid(database: SqliteDatabase): boolean {
    if (this.#files.get(database) !== identity(this.#path)) return false
    return database.prepare('select 1').get() !== undefined
  }

  hasBroken(database: SqliteDatabase, error?: unknown): boolean {
    return !isOpen(database) || (error !== undefined && BROKEN.test(codeOf(error)))
  }

  reset(database: SqliteDatabase): boolean | void {
    if (!isInTransaction(database)) return
    if (this.#options.resetOnRelease === 'none') return false
    database.exec('ROLLBACK')
  }

  close(database: SqliteDatabase): void {
    if (isOpen(database)) database.close()
  }

  isFatal(error: unknown): boolean {
    return FATAL.test(codeOf(error))
  }
}

/** Options of {@link openSqlite}: those of {@link SqliteManager} for both pools, and how many readers. */
export interface OpenSqliteOptions extends Omit<SqliteManagerOptions, 'mode'> {
  /** Readers at once, at the most. Default: 4. */
  readonly readers?: number | undefined
  /** Options of both pools. `name` gets '-readers' and '-writer' appended. Default: the pool's defaults. */
  readonly pool?: Omit<PoolOptions<SqliteDatabase>, 'maxSize' | 'minIdle'> | undefined
}

/** The pools over one file. */
export interface SqlitePools extends AsyncDisposable {
  readonly readers: Pool<SqliteDatabase>
  /** Its `maxSize` is 1: writers queue here, and never meet SQLITE_BUSY from one another. */
  readonly writer: Pool<SqliteDatabase>
  /** Closes the readers, then the writer, which folds the WAL back into the file. Never rejects. */
  close(): Promise<void>
}

/**
 * Opens (or creates) one SQLite file: `await using db = await openSqlite('data.db')`, then `db.writer.run(…)`, `db.readers.run(…)`.
 * Rejects with ConnectError when the file cannot be opened or is no database; then nothing is left open.
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
export async function openSqlite(path: string, options: OpenSqliteOptions = {}): Promise<SqlitePools> {
  const { readers: maxSize = READERS, pool = {}, ...common } = options
  const named = (suffix: string) => (pool.name === undefined ? {} : { name: `${pool.name}-${suffix}` })
  // The writer first: it makes the file, and the WAL without which readers would be locked out.
  const writer = await Pool.open(new SqliteManager(path, { ...common, mode: 'writer' }), {
    ...pool,
    ...named('writer'),
    maxSize: 1,
    minIdle: 1,
  })
  let readers: Pool<SqliteDatabase>
  try {
    const manager = new SqliteManager(path, { ...common, mode: 'reader' })
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

async function loadNodeSqlite(): Promise<SqliteDriver> {
  try {
    return await import('node:sqlite')
  } catch (cause) {
    const message =
      'cenote/sqlite needs node:sqlite (Node 22.13 or newer), or better-sqlite3 as the option driver'
    throw Object.assign(new Error(message, { cause }), { code: 'ERR_MODULE_NOT_FOUND' })
  }
}

function opener(driver: SqliteDriver, path: string, timeout: number): (readOnly: boolean) => SqliteDatabase {
  if ('DatabaseSync' in driver) {
    return (readOnly) =>
      new (driver.DatabaseSync as new (path: string, options: object) => SqliteDatabase)(path, {
        readOnly,
        timeout,
      })
  }
  return (readonly) =>
    new (driver as new (path: string, options: object) => SqliteDatabase)(path, { readonly, timeout })
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
    // The error of the connect is the one to tell.
  }
}

// Which file a path means now; '' for none.
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
  if (file === undefined && mode === 'reader') return 'there is no such file; a writer creates it'
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

function checkOptions(options: SqliteManagerOptions): void {
  for (const key of Object.keys(options)) {
    if (!(OPTIONS as readonly string[]).includes(key))
      throw new TypeError(
        `${key} is not one of the options of SqliteManager: known are ${OPTIONS.join(', ')}`,
      )
  }
  const { driver, onConnect, resetOnRelease, mode, busyTimeoutMs } = options
  if (driver !== undefined && typeof driver !== 'function' && typeof driver?.DatabaseSync !== 'function')
    throw new TypeError(
      'driver is neither node:sqlite (no class DatabaseSync) nor the class of better-sqlite3',
    )
  if (onConnect !== undefined && typeof onConnect !== 'function')
    throw new TypeError(`onConnect is ${String(onConnect)}: allowed is a function`)
  const quoted = (values: readonly string[]): string => values.map((value) => `'${value}'`).join(', ')
  if (resetOnRelease !== undefined && !RESETS.includes(resetOnRelease))
    throw new TypeError(`resetOnRelease is '${String(resetOnRelease)}': allowed is ${quoted(RESETS)}`)
  if (mode !== undefined && !MODES.includes(mode))
    throw new TypeError(`mode is '${String(mode)}': allowed is ${quoted(MODES)}`)
  if (busyTimeoutMs !== undefined && !(Number.isSafeInteger(busyTimeoutMs) && busyTimeoutMs >= 0))
    throw new TypeError(`busyTimeoutMs is ${String(busyTimeoutMs)}: allowed is whole milliseconds >= 0`)
}

/** The part of node:sqlite, or of better-sqlite3, that is used. */
export type SqliteDriver =
  | { readonly DatabaseSync: new (path: string, options: never) => SqliteDatabase }
  | (new (path: string, options: never) => SqliteDatabase)

/** A value that goes into or comes out of SQLite. */
export type SqliteValue = null | number | bigint | string | Uint8Array

/** A prepared statement. */
export interface SqliteStatement {
  run(...values: SqliteValue[]): { changes: number | bigint; lastInsertRowid: number | bigint }
  // The drivers' own types differ: rows are objects from column names to values.
  get(...values: SqliteValue[]): unknown
  all(...values: SqliteValue[]): unknown[]
}

/** A connection of node:sqlite or better-sqlite3, as far as both agree. */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
  close(): unknown
  readonly open?: unknown
  readonly isOpen?: boolean
  readonly isTransaction?: boolean
  readonly inTransaction?: boolean
}

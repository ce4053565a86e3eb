// Without @types/node the import cannot be resolved, and the type is `any`.
/** @ts-ignore: the types of Node may be missing */
type Installed = import('node:sqlite').DatabaseSync

/** The part of node:sqlite, or of better-sqlite3, that is used. */
export type SqliteDriver<D extends object = SqliteDatabase> =
  | { readonly DatabaseSync: new (path: string, options: never) => D }
  | (new (path: string, options: never) => D)

/** A connection of node:sqlite: the type of @types/node, or what both drivers have in common if that is not installed. */
// A condition on the unresolved type itself would be unresolved, too: hence the objects around it.
export type NodeSqliteDatabase = { is: 1 } extends { is: Installed } ? SqliteDatabase : Installed

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

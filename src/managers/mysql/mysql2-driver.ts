// Without the package the import cannot be resolved, and the type is `any`.
/** @ts-ignore: an optional peer may be missing */
type Installed = import('mysql2/promise').Connection

/** The part of 'mysql2/promise', or of 'mysql2', that is used. */
export interface Mysql2Driver<C extends object> {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  createConnection(config: never): C | Promise<C>
}

/** A connection of 'mysql2/promise': the type of the installed package, or its most used part if there is none. */
// A condition on the unresolved type itself would be unresolved, too: hence the objects around it.
export type Mysql2Connection = { is: 1 } extends { is: Installed } ? StructuralMysql2Connection : Installed

/** A connection of 'mysql2/promise', as far as it is known without the driver's types. */
export interface StructuralMysql2Connection {
  query<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<[R, unknown]>
  execute<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<[R, unknown]>
  beginTransaction(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  readonly threadId: number | null
}

/** The part of 'mysql2/promise', or of 'mysql2', that is used. */
export interface Mysql2Driver<C extends object> {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  createConnection(config: never): C | Promise<C>
}

/** A connection of 'mysql2/promise', as far as it is known without the driver's types. */
export interface Mysql2Connection {
  query<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<[R, unknown]>
  execute<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<[R, unknown]>
  beginTransaction(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  readonly threadId: number | null
}

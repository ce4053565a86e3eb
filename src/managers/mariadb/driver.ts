/** The part of the package `mariadb` that is used. */
export interface MariadbDriver<C extends object> {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  createConnection(config: never): Promise<C>
}

/** A connection of `mariadb`, as far as it is known without the driver's types. */
export interface MariadbConnection {
  query<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<R>
  execute<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<R>
  beginTransaction(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  readonly threadId: number | null
}

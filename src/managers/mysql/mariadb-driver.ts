// Without the package the import cannot be resolved, and the type is `any`.
/** @ts-ignore: an optional peer may be missing */
type Installed = import('mariadb').Connection

/** The part of the package `mariadb` that is used. */
export interface MariadbDriver<C extends object> {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  createConnection(config: never): Promise<C>
}

/** A connection of `mariadb`: the type of the installed package, or its most used part if there is none. */
// A condition on the unresolved type itself would be unresolved, too: hence the objects around it.
export type MariadbConnection = { is: 1 } extends { is: Installed } ? StructuralMariadbConnection : Installed

/** A connection of `mariadb`, as far as it is known without the driver's types. */
export interface StructuralMariadbConnection {
  query<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<R>
  execute<R = Record<string, unknown>[]>(sql: string | object, values?: unknown): Promise<R>
  beginTransaction(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
  readonly threadId: number | null
}

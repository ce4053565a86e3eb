/** The parameter of `new pg.Client`; its options are the driver's. */
export interface PgConfig {
  /** May name several hosts: `postgres://u@h1:5432,h2:5433/db?target_session_attrs=read-write`. */
  readonly connectionString?: string | undefined
  readonly [option: string]: unknown
}

/** The part of the package `pg` that is used. */
export interface PgDriver<C extends object = PgClient> {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  readonly Client: new (config: never) => C
}

/** A client of `pg`, as far as it is used. */
export interface PgClient {
  connect(): Promise<unknown>
  // A column has any type, as in the driver's own types.
  // oxlint-disable-next-line no-explicit-any
  query<R = any>(
    text: string | { text: string; values?: unknown[]; name?: string },
    values?: unknown[],
  ): Promise<{ rows: R[]; rowCount: number | null; command: string; fields: { name: string }[] }>
  end(): Promise<void>
  on(event: 'error' | 'end' | 'notification' | 'notice', listener: (payload?: unknown) => void): unknown
  ref?(): void
  unref?(): void
  readonly host?: string
  readonly port?: number
  readonly processID?: number | null
  readonly secretKey?: number | null
  readonly ssl?: unknown
  readonly sslNegotiation?: string
  readonly readyForQuery?: boolean
  readonly connection?: {
    on(event: string, listener: (message?: unknown) => void): unknown
    removeListener(event: string, listener: (message?: unknown) => void): unknown
    parsedStatements?: Record<string, unknown>
    submittedNamedStatements?: Record<string, unknown>
    readonly stream?: {
      destroy(): unknown
      write?(bytes: Uint8Array): unknown
      resume?(): unknown
      readonly destroyed?: boolean
      readonly remoteAddress?: string | undefined
      readonly remotePort?: number | undefined
    }
  }
  readonly _ended?: boolean
  readonly _queryable?: boolean
  readonly _txStatus?: string | null
  readonly _activeQuery?: unknown
  /** Statements that are not sent. */
  readonly _queryQueue?: readonly unknown[]
  /** In pipeline mode: statements that are sent, behind the active one. */
  readonly _sentQueryQueue?: readonly unknown[]
}

/** Ends a connection immediately; the driver then reports it to its queries and to the manager. */
export function destroySocket(client: PgClient): void {
  client.connection?.stream?.destroy()
}

/** Whether a statement is running, or sent and unanswered, or queued. */
export function isBusy(client: PgClient): boolean {
  return (
    (client._activeQuery ?? null) !== null ||
    (client._sentQueryQueue?.length ?? 0) > 0 ||
    (client._queryQueue?.length ?? 0) > 0
  )
}

/** Every statement that the holder has issued and the server has not answered. */
export function unanswered(client: PgClient): ReadonlySet<unknown> {
  const issued = new Set([
    client._activeQuery ?? undefined,
    ...(client._sentQueryQueue ?? []),
    ...(client._queryQueue ?? []),
  ])
  issued.delete(undefined)
  return issued
}

/** Makes the driver prepare every named statement again at its next use. */
export function forgetStatements(client: PgClient): void {
  const { connection } = client
  if (connection?.parsedStatements !== undefined) connection.parsedStatements = {}
  if (connection?.submittedNamedStatements !== undefined) connection.submittedNamedStatements = {}
}

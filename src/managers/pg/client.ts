/** What `new pg.Client` takes; its options are the driver's. */
export interface PgConfig {
  /** May name several hosts: `postgres://u@h1:5432,h2:5433/db?target_session_attrs=read-write`. */
  readonly connectionString?: string | undefined
  readonly [option: string]: unknown
}

/** The part of the package `pg` that is used. */
export interface PgDriver {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  readonly Client: new (config: never) => PgClient
}

/** A client of `pg`, as far as it is used. */
export interface PgClient {
  connect(): Promise<unknown>
  query<R extends Record<string, unknown> = Record<string, unknown>>(
    text: string | { text: string; values?: unknown[]; name?: string },
    values?: unknown[],
  ): Promise<{ rows: R[]; rowCount: number | null }>
  end(): Promise<void>
  on(event: 'error' | 'end' | 'notification' | 'notice', listener: (payload?: unknown) => void): unknown
  readonly host?: string
  readonly port?: number
  readonly processID?: number | null
  readonly secretKey?: number | null
  readonly ssl?: unknown
  readonly sslNegotiation?: string
  readonly readyForQuery?: boolean
  readonly connection?: {
    on(event: string, listener: (message: unknown) => void): unknown
    readonly stream?: {
      destroy(): unknown
      readonly remoteAddress?: string | undefined
      readonly remotePort?: number | undefined
    }
  }
  readonly _ended?: boolean
  readonly _queryable?: boolean
  readonly _txStatus?: string | null
  readonly _activeQuery?: unknown
  readonly _queryQueue?: { readonly length: number }
}

/** Ends a connection at once; the driver then tells its queries and the manager. */
export function destroySocket(client: PgClient): void {
  client.connection?.stream?.destroy()
}

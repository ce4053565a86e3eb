import {
  type AbortableOperationOptions,
  AbortedTransactionError,
  CompiledQuery,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  PostgresAdapter,
  type PostgresCursorConstructor,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'

import type { Lease, Pool } from '../index.ts'
import { cancellable, type PgClient } from '../managers/pg.ts'
import { type LeasedConnection, PoolDriver } from './driver.ts'

/** What {@link PostgresPoolDialect} needs. */
export interface PostgresPoolDialectConfig {
  /** A pool of a `PgManager`. `db.destroy()` closes it. */
  readonly pool: Pool<PgClient>
  /** The default export of `pg-cursor`, for `stream`. Default: none: streaming fails. */
  readonly cursor?: PostgresCursorConstructor | undefined
}

/**
 * Kysely on PostgreSQL over a pool of cenote: `new Kysely({ dialect: new PostgresPoolDialect({ pool }) })`.
 *
 * The signal of a query, transaction or connection reaches the pool: who gives up leaves the queue at once. Cancelling a
 * running query (`inflightQueryAbortStrategy`) takes no connection of the pool: it is a cancel request of the protocol, and
 * the connection goes to nobody before the server has dealt with it. Time-outs and refusals are the pool's own errors.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PostgresPoolDialect } from 'cenote/kysely'
 * import { PgManager } from 'cenote/pg'
 * import { Kysely, sql } from 'kysely'
 *
 * const pool = new Pool(new PgManager(process.env.DATABASE_URL))
 * const db = new Kysely<object>({ dialect: new PostgresPoolDialect({ pool }) })
 * const { rows } = await sql<{ answer: number }>`select 40 + 2 as answer`.execute(db)
 * console.log(rows) // prints [ { answer: 42 } ]
 * await db.destroy()
 * await pool.close()
 * ```
 */
export class PostgresPoolDialect implements Dialect {
  readonly #config: PostgresPoolDialectConfig

  constructor(config: PostgresPoolDialectConfig) {
    this.#config = { ...config }
  }

  createDriver(): Driver {
    const { pool, cursor } = this.#config
    return new PoolDriver(pool, (lease) => new PostgresConnection(lease, cursor), {
      begin,
      releaseSavepoint: 'release',
    })
  }

  createQueryCompiler(): QueryCompiler {
    return new PostgresQueryCompiler()
  }

  createAdapter(): DialectAdapter {
    return new PostgresAdapter()
  }

  createIntrospector(db: Kysely<any>): DatabaseIntrospector {
    return new PostgresIntrospector(db)
  }
}

const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

class PostgresConnection implements LeasedConnection {
  readonly #lease: Lease<PgClient>
  readonly #cursor: PostgresCursorConstructor | undefined
  /** Of the query that runs now, if it has a signal. */
  #canceller: AbortController | undefined
  #failure: unknown
  #isDiscarded = false

  constructor(lease: Lease<PgClient>, cursor: PostgresCursorConstructor | undefined) {
    this.#lease = lease
    this.#cursor = cursor
  }

  async executeQuery<R>(
    compiled: CompiledQuery,
    { signal }: AbortableOperationOptions = {},
  ): Promise<QueryResult<R>> {
    const { command, rows, rowCount } = await this.#query(compiled, signal)
    const isChange = command !== undefined && CHANGES.has(command)
    return {
      rows: (rows ?? []) as R[],
      ...(isChange ? { numAffectedRows: BigInt(rowCount ?? 0) } : {}),
    }
  }

  async *streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    if (this.#cursor === undefined) {
      throw new Error(
        "streaming needs the package 'pg-cursor': new PostgresPoolDialect({ pool, cursor: Cursor })",
      )
    }
    this.#mustBeGood()
    type Submit = (cursor: unknown) => { read(count: number): Promise<R[]>; close(): Promise<void> }
    const client = this.#lease.connection as unknown as { query: Submit }
    const cursor = client.query(new this.#cursor<R>(compiled.sql, [...compiled.parameters]))
    try {
      for (;;) {
        const rows = await cursor.read(chunkSize)
        if (rows.length === 0) return
        yield { rows }
      }
    } catch (error) {
      this.#failure = error
      throw error
    } finally {
      await cursor.close()
    }
  }

  /** Kysely calls it when a query's signal has aborted. */
  async cancelQuery(): Promise<void> {
    this.#canceller?.abort()
  }

  async killSession(): Promise<void> {
    this.discard()
    this.#canceller?.abort()
  }

  async commit(): Promise<void> {
    // PostgreSQL answers so when a statement of the transaction had failed.
    const { command } = await this.#query(CompiledQuery.raw('commit'))
    if (command === 'ROLLBACK') throw new AbortedTransactionError()
  }

  release(): void {
    if (this.#isDiscarded) this.#lease.destroy()
    else this.#lease.release(this.#failure)
  }

  discard(): void {
    this.#isDiscarded = true
  }

  async #query(compiled: CompiledQuery, signal?: AbortSignal): Promise<PgResult> {
    this.#mustBeGood()
    const work = (client: PgClient): Promise<PgResult> =>
      client.query(compiled.sql, compiled.parameters as unknown[])
    if (signal === undefined) return await this.#noting(work(this.#lease.connection))
    const canceller = new AbortController()
    this.#canceller = canceller
    try {
      return await this.#noting(cancellable(canceller.signal, work)(this.#lease.connection))
    } catch (error) {
      // Nobody waits for a query that was cancelled, and Kysely would write its error to the console.
      if (canceller.signal.aborted) return {}
      throw error
    } finally {
      this.#canceller = undefined
    }
  }

  async #noting<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  #mustBeGood(): void {
    if (this.#isDiscarded) throw new Error('the session of this connection has been killed')
  }
}

interface PgResult {
  readonly command?: string
  readonly rows?: readonly unknown[]
  readonly rowCount?: number | null
}

function begin({ isolationLevel, accessMode }: TransactionSettings): string[] {
  const parts = [
    'start transaction',
    ...(isolationLevel === undefined ? [] : [`isolation level ${isolationLevel}`]),
    ...(accessMode === undefined ? [] : [accessMode]),
  ]
  return [parts.join(' ')]
}

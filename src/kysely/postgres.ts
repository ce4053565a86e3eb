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
import { cancellable, type PgClient, type PgSharedView } from '../managers/pg/pg.ts'
import { share, type ShareOptions } from '../share/index.ts'
import { withCallersStack } from './callers-stack.ts'
import { type LeasedConnection, PoolDriver } from './driver.ts'
import { SharedConnection } from './shared-connection.ts'
import { type Losable, mustNotStream, OpenStream, rejectBehindStreams } from './open-stream.ts'
import { type PgResult, resultOf } from './postgres-result.ts'

/** The configuration of {@link PostgresPoolDialect}. */
export interface PostgresPoolDialectConfig {
  /** A pool of a `PgManager`. `db.destroy()` closes it. */
  readonly pool: Pool<PgClient>
  /** The default export of `pg-cursor`, for `stream`. Default: none: streaming fails. */
  readonly cursor?: PostgresCursorConstructor | undefined
  /**
   * Whether statements outside transactions share connections: the pool's `PgManager` needs `share: true`. A transaction has
   * a connection of its own, and so has whatever `db.connection()` runs from the first statement on that needs it (SET,
   * LISTEN, CREATE TEMP, …). Such a pool cannot stream. Default: false.
   */
  readonly share?: boolean | ShareOptions | undefined
}

/**
 * Kysely on PostgreSQL over a pool of cenote: `new Kysely({ dialect: new PostgresPoolDialect({ pool }) })`.
 *
 * The signal of a query, transaction or connection reaches the pool: an aborted caller leaves the queue immediately. Cancelling a
 * running query (`inflightQueryAbortStrategy`) takes no connection of the pool: it is a cancel request of the protocol, and
 * the connection reaches no other caller before the server has handled it. Timeouts and rejections are the pool's own errors.
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
    rejectBehindStreams()
  }

  createDriver(): Driver {
    const { pool, cursor, share: options = false } = this.#config
    const connectionOf = (lease: Lease<PgClient>): PostgresConnection => new PostgresConnection(lease, cursor)
    const sql = { begin, releaseSavepoint: 'release' }
    if (options === false) return new PoolDriver(pool, connectionOf, sql)
    const shared = share<PgClient, PgSharedView<PgClient>>(pool, options === true ? {} : options)
    return new PoolDriver(pool, connectionOf, sql, {
      close: () => shared.close(),
      connection: () => new SharedConnection(shared, pool, connectionOf),
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

class PostgresConnection implements LeasedConnection {
  readonly #lease: Lease<PgClient>
  readonly #cursor: PostgresCursorConstructor | undefined
  /** The signal of the query that runs now, if it has one. */
  #canceller: AbortController | undefined
  /** The process id of the last query. */
  #command: string | undefined
  #failure: unknown
  #isDiscarded = false
  isStreaming = false

  constructor(lease: Lease<PgClient>, cursor: PostgresCursorConstructor | undefined) {
    this.#lease = lease
    this.#cursor = cursor
  }

  async executeQuery<R>(
    compiled: CompiledQuery,
    { signal }: AbortableOperationOptions = {},
  ): Promise<QueryResult<R>> {
    try {
      const result = await this.#query(compiled, signal)
      this.#command = result.command
      return resultOf(result)
    } catch (error) {
      throw withCallersStack(error)
    }
  }

  async *streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    if (this.#cursor === undefined) {
      throw new Error(
        "streaming needs the package 'pg-cursor': new PostgresPoolDialect({ pool, cursor: Cursor })",
      )
    }
    this.#mustBeGood()
    type Cursor = { read(count: number): Promise<R[]>; close(): Promise<void> }
    const client = this.#lease.connection as unknown as Losable & { query(cursor: unknown): Cursor }
    const stream = new OpenStream(client)
    this.isStreaming = true
    const cursor = client.query(new this.#cursor<R>(compiled.sql, [...compiled.parameters]))
    try {
      for (;;) {
        const rows = await stream.wait(cursor.read(chunkSize))
        if (rows.length === 0) return
        yield { rows }
      }
    } catch (error) {
      this.#failure = error
      throw error
    } finally {
      // The cursor of a lost connection waits forever for the answer to its close.
      await stream.wait(cursor.close()).catch((error: unknown) => (this.#failure ??= error))
      if (stream.lost !== undefined) this.#failure ??= stream.lost
      stream.end()
      this.isStreaming = false
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
    // Calls the method that Kysely replaces for its log.
    await this.executeQuery(CompiledQuery.raw('commit'))
    // PostgreSQL sends this answer when a statement of the transaction had failed.
    if (this.#command === 'ROLLBACK') throw new AbortedTransactionError()
  }

  release(): void {
    // The next holder's first query would wait behind an open cursor.
    if (this.#isDiscarded || this.isStreaming) this.#lease.destroy()
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
      // No caller waits for a query that was cancelled, and Kysely would write its error to the console.
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
    mustNotStream(this.isStreaming)
  }
}

function begin({ isolationLevel, accessMode }: TransactionSettings): string[] {
  const parts = [
    'start transaction',
    ...(isolationLevel === undefined ? [] : [`isolation level ${isolationLevel}`]),
    ...(accessMode === undefined ? [] : [accessMode]),
  ]
  return [parts.join(' ')]
}

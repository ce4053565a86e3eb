import type { Socket } from 'node:net'

import {
  CompiledQuery,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  type Kysely,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  type QueryCompiler,
  type QueryResult,
  type TransactionSettings,
} from 'kysely'

import type { Lease, Pool } from '../index.ts'
import { share } from '../share/index.ts'
import { withCallersStack } from './callers-stack.ts'
import { type LeasedConnection, PoolDriver } from './driver.ts'
import { type Losable, mustNotStream, rejectBehindStreams } from './open-stream.ts'

/** The configuration of {@link MysqlPoolDialect}. */
export interface MysqlPoolDialectConfig {
  /** A pool of a `Mysql2Manager`, its connections with promises or with callbacks. `db.destroy()` closes it. */
  readonly pool: Pool<any>
  /** Whether statements outside transactions share connections. mysql2 cannot: true throws PoolOptionsError. Default: false. */
  readonly share?: boolean | undefined
}

/**
 * Kysely on MySQL and MariaDB over a pool of cenote: `new Kysely({ dialect: new MysqlPoolDialect({ pool }) })`.
 *
 * The signal of a query, transaction or connection reaches the pool: an aborted caller leaves the queue immediately. Cancelling a
 * running query (`inflightQueryAbortStrategy`) takes no connection of the pool, so it works when all are in use. Timeouts
 * and rejections are the pool's own errors.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { MysqlPoolDialect } from 'cenote/kysely'
 * import { Mysql2Manager } from 'cenote/mysql2'
 * import { Kysely, sql } from 'kysely'
 *
 * const pool = new Pool(new Mysql2Manager(process.env.MYSQL_URL ?? ''))
 * const db = new Kysely<object>({ dialect: new MysqlPoolDialect({ pool }) })
 * const { rows } = await sql<{ answer: number }>`select 40 + 2 as answer`.execute(db)
 * console.log(rows) // prints answer: 42
 * await db.destroy()
 * await pool.close()
 * ```
 */
export class MysqlPoolDialect implements Dialect {
  readonly #pool: Pool<any>

  constructor(config: MysqlPoolDialectConfig) {
    this.#pool = config.pool
    // A share throws: the driver sends one command at a time.
    if (config.share === true) share(config.pool)
    rejectBehindStreams()
  }

  createDriver(): Driver {
    const pool = this.#pool
    const kill: Kill = async (sql, isWanted) => {
      const connection = coreOf(await pool.dedicated())
      try {
        if (isWanted()) await ask(connection, CompiledQuery.raw(sql))
      } finally {
        connection.destroy()
      }
    }
    return new PoolDriver(pool, (lease) => new MysqlConnection(lease, kill), {
      begin,
      releaseSavepoint: 'release savepoint',
    })
  }

  createQueryCompiler(): QueryCompiler {
    return new MysqlQueryCompiler()
  }

  createAdapter(): DialectAdapter {
    return new MysqlAdapter()
  }

  createIntrospector(db: Kysely<any>): DatabaseIntrospector {
    return new MysqlIntrospector(db)
  }
}

/** Sends a KILL over a connection of its own, if it is still wanted when that is open. */
type Kill = (sql: string, isWanted: () => boolean) => Promise<void>

class MysqlConnection implements LeasedConnection {
  readonly #lease: Lease<object>
  readonly #core: Core
  readonly #kill: Kill
  #isRunning = false
  #isCancelled = false
  #failure: unknown
  #isDiscarded = false
  isStreaming = false

  constructor(lease: Lease<object>, kill: Kill) {
    this.#lease = lease
    this.#core = coreOf(lease.connection)
    this.#kill = kill
  }

  async executeQuery<R>(compiled: CompiledQuery): Promise<QueryResult<R>> {
    this.#mustBeGood()
    this.#isRunning = true
    this.#isCancelled = false
    try {
      return resultOf<R>(await ask(this.#core, compiled))
    } catch (error) {
      this.#failure = error
      // No caller waits for a query that was cancelled, and Kysely would write its error to the console.
      if (this.#isCancelled) return { rows: [] }
      throw withCallersStack(error)
    } finally {
      this.#isRunning = false
    }
  }

  async *streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    this.#mustBeGood()
    this.isStreaming = true
    let isEnded = false
    const lost = new AbortController()
    const onLoss = (error?: Error): void =>
      lost.abort(error ?? new Error('the connection ended while a stream was open'))
    const { stream: socket } = this.#core
    // Before the query: a closed connection reports its state as an event.
    this.#core.on('error', onLoss)
    this.#core.on('end', onLoss)
    socket.on('close', onLoss)
    try {
      if (socket.destroyed) onLoss()
      lost.signal.throwIfAborted()
      const query = this.#core.query(compiled.sql, compiled.parameters)
      // The driver does not report a lost connection to a stream.
      const rows = query.stream({ objectMode: true, signal: lost.signal })
      for await (const row of rows) {
        const chunk = [row as R]
        for (let next; chunk.length < chunkSize && (next = rows.read()) !== null;) chunk.push(next as R)
        yield { rows: chunk }
      }
      isEnded = true
    } catch (error) {
      const reason: unknown = lost.signal.aborted ? lost.signal.reason : error
      this.#failure = reason
      throw reason
    } finally {
      if (lost.signal.aborted && !isEnded) this.#failure ??= lost.signal.reason
      this.#core.off('error', onLoss)
      this.#core.off('end', onLoss)
      socket.off('close', onLoss)
      this.isStreaming = false
    }
  }

  /** Kysely calls it when a query's signal has aborted, and gives the connection back when both are done. */
  async cancelQuery(): Promise<void> {
    if (!this.#isRunning) return
    this.#isCancelled = true
    await this.#kill(`kill query ${this.#core.threadId}`, () => this.#isRunning)
  }

  async killSession(): Promise<void> {
    this.discard()
    if (!this.#isRunning) return
    this.#isCancelled = true
    await this.#kill(`kill connection ${this.#core.threadId}`, () => this.#isRunning)
  }

  async commit(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw('commit'))
  }

  release(): void {
    // A stream that is not read keeps the rest of its rows in the connection.
    if (this.#isDiscarded || this.isStreaming) this.#lease.destroy()
    else this.#lease.release(this.#failure)
  }

  discard(): void {
    this.#isDiscarded = true
  }

  #mustBeGood(): void {
    if (this.#isDiscarded) throw new Error('the session of this connection has been killed')
    mustNotStream(this.isStreaming)
  }
}

/** A connection of 'mysql2', as far as it is used. */
interface Core extends Losable {
  readonly stream: Pick<Socket, 'on' | 'off' | 'destroyed'>
  query(
    sql: string,
    values: readonly unknown[],
    done?: (error: Error | null, result: unknown) => void,
  ): { stream(options: object): AsyncIterable<unknown> & { read(): unknown } }
  destroy(): void
  readonly threadId: number
}

// A connection of 'mysql2/promise' wraps one of 'mysql2'.
function coreOf(connection: object): Core {
  return (connection as { connection?: Core }).connection ?? (connection as Core)
}

function ask(core: Core, { sql, parameters }: CompiledQuery): Promise<unknown> {
  return new Promise((resolve, reject) => {
    core.query(sql, parameters, (error, result) =>
      (error ?? undefined) === undefined ? resolve(result) : reject(error as Error),
    )
  })
}

function resultOf<R>(result: unknown): QueryResult<R> {
  if (Array.isArray(result)) return { rows: result as R[] }
  const { insertId, affectedRows, changedRows } = result as Partial<Record<string, number | bigint>>
  return {
    rows: [],
    ...(insertId === undefined || String(insertId) === '0' ? {} : { insertId: BigInt(insertId) }),
    ...(affectedRows === undefined ? {} : { numAffectedRows: BigInt(affectedRows) }),
    ...(changedRows === undefined ? {} : { numChangedRows: BigInt(changedRows) }),
  }
}

function begin({ isolationLevel, accessMode }: TransactionSettings): string[] {
  // The setting applies only to the next transaction.
  const next = isolationLevel === undefined ? [] : [`set transaction isolation level ${isolationLevel}`]
  return [...next, `start transaction${accessMode === undefined ? '' : ` ${accessMode}`}`]
}

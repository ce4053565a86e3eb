import {
  type AbortableOperationOptions,
  CompiledQuery,
  createQueryId,
  type DatabaseConnection,
  type Driver,
  type QueryCompiler,
  sql,
  type TransactionSettings,
} from 'kysely'

import type { Lease, Pool } from '../index.ts'

/** A lease of the pool, as Kysely's idea of a connection. */
export interface LeasedConnection extends DatabaseConnection {
  /** Throws when the database did not commit. */
  commit(): Promise<void>
  /** Gives the lease back. */
  release(): void
  /** Closes the connection when it is returned. */
  discard(): void
}

/** The statements with which a dialect of SQL begins, ends and partly undoes a transaction. */
export interface TransactionSql {
  begin(settings: TransactionSettings): readonly string[]
  readonly releaseSavepoint: string
}

/** Connections that share those of the pool. */
export interface SharedConnections {
  connection(): LeasedConnection
  close(): Promise<unknown>
}

/** Kysely's driver over a pool: a checkout for each query, transaction or connection, with the signal of its caller. */
export class PoolDriver<C> implements Driver {
  readonly #pool: Pool<C>
  readonly #connectionOf: (lease: Lease<C>) => LeasedConnection
  readonly #sql: TransactionSql
  readonly #shared: SharedConnections | undefined

  constructor(
    pool: Pool<C>,
    connectionOf: (lease: Lease<C>) => LeasedConnection,
    sql: TransactionSql,
    shared?: SharedConnections,
  ) {
    this.#shared = shared
    this.#pool = pool
    this.#connectionOf = connectionOf
    this.#sql = sql
  }

  async init(): Promise<void> {}

  acquireConnection({ signal }: AbortableOperationOptions = {}): Promise<LeasedConnection> {
    if (this.#shared !== undefined) return Promise.resolve(this.#shared.connection())
    // An async function would return another promise. Kysely races this one against the signal and writes to the console if it loses.
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal?.reason)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#pool
        .acquire({ signal })
        .then((lease) => {
          // The signal aborted after the lease was handed out.
          if (signal?.aborted === true) lease.release()
          else resolve(this.#connectionOf(lease))
        }, reject)
        .finally(() => signal?.removeEventListener('abort', onAbort))
    })
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    ;(connection as LeasedConnection).release()
  }

  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings): Promise<void> {
    for (const sql of this.#sql.begin(settings)) await connection.executeQuery(CompiledQuery.raw(sql))
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await (connection as LeasedConnection).commit()
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await connection.executeQuery(CompiledQuery.raw('rollback'))
    } catch (error) {
      // Not every version of Kysely releases it then.
      ;(connection as LeasedConnection).discard()
      ;(connection as LeasedConnection).release()
      throw error
    }
  }

  savepoint(
    connection: DatabaseConnection,
    name: string,
    compile: QueryCompiler['compileQuery'],
  ): Promise<void> {
    return run(connection, 'savepoint', name, compile)
  }

  rollbackToSavepoint(
    connection: DatabaseConnection,
    name: string,
    compile: QueryCompiler['compileQuery'],
  ): Promise<void> {
    return run(connection, 'rollback to', name, compile)
  }

  releaseSavepoint(
    connection: DatabaseConnection,
    name: string,
    compile: QueryCompiler['compileQuery'],
  ): Promise<void> {
    return run(connection, this.#sql.releaseSavepoint, name, compile)
  }

  async destroy(): Promise<void> {
    await this.#shared?.close()
    await this.#pool.close()
  }
}

async function run(
  connection: DatabaseConnection,
  command: string,
  name: string,
  compile: QueryCompiler['compileQuery'],
): Promise<void> {
  const node = sql`${sql.raw(command)} ${sql.id(name)}`.toOperationNode()
  await connection.executeQuery(compile(node, createQueryId()))
}

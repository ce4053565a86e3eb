import type { AbortableOperationOptions, CompiledQuery, ControlConnectionProvider, QueryResult } from 'kysely'

import type { Lease, Pool } from '../index.ts'
import type { PgClient, PgSharedView } from '../managers/pg/pg.ts'
import { refusalOf } from '../managers/pg/refused.ts'
import type { Share } from '../share/index.ts'
import type { LeasedConnection } from './driver.ts'
import { resultOf } from './postgres-result.ts'

/** A connection of Kysely that runs statements on a share, until one needs a connection of its own: BEGIN, SET, a stream. */
export class SharedConnection implements LeasedConnection {
  readonly #share: Share<PgSharedView<PgClient>>
  readonly #pool: Pool<PgClient>
  readonly #connectionOf: (lease: Lease<PgClient>) => LeasedConnection
  #own: LeasedConnection | undefined

  constructor(
    share: Share<PgSharedView<PgClient>>,
    pool: Pool<PgClient>,
    connectionOf: (lease: Lease<PgClient>) => LeasedConnection,
  ) {
    this.#share = share
    this.#pool = pool
    this.#connectionOf = connectionOf
  }

  async executeQuery<R>(
    compiled: CompiledQuery,
    options: AbortableOperationOptions = {},
  ): Promise<QueryResult<R>> {
    if (this.#own === undefined && refusalOf(compiled.sql) === undefined)
      return await this.#shared(compiled, options)
    return await (await this.#exclusive(options)).executeQuery<R>(compiled, options)
  }

  async *streamQuery<R>(compiled: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    yield* (await this.#exclusive({})).streamQuery<R>(compiled, chunkSize)
  }

  /** An abort settles a shared statement by itself; it is not cancelled, because the server could stop another caller's. */
  async cancelQuery(provider: ControlConnectionProvider): Promise<void> {
    await this.#own?.cancelQuery?.(provider)
  }

  async killSession(provider: ControlConnectionProvider): Promise<void> {
    await this.#own?.killSession?.(provider)
  }

  async commit(): Promise<void> {
    await this.#own?.commit()
  }

  release(): void {
    this.#own?.release()
  }

  discard(): void {
    this.#own?.discard()
  }

  async #shared<R>(compiled: CompiledQuery, { signal }: AbortableOperationOptions): Promise<QueryResult<R>> {
    const { sql, parameters } = compiled
    return resultOf(
      await this.#share.run(({ query }) => query(sql, parameters as unknown[]), {
        signal: signal ?? undefined,
      }),
    )
  }

  async #exclusive({ signal }: AbortableOperationOptions): Promise<LeasedConnection> {
    this.#own ??= this.#connectionOf(await this.#pool.acquire({ signal: signal ?? undefined }))
    return this.#own
  }
}

import type { Pool } from '../../index.ts'
import { refusalOf } from '../../managers/pg/refused.ts'
import { type Share, share } from '../../share/index.ts'
import { translate } from './callers.ts'
import type { DriverClient } from './clients.ts'

interface View {
  query(text: unknown, ...values: readonly unknown[]): Promise<unknown>
}

/** The queries of `pool.query` that share clients. */
export class Pipeline {
  readonly #share: Share<View>
  readonly #timeoutMs: number

  constructor(core: Pool<DriverClient>, maxPipeline: number, timeoutMs: number) {
    this.#share = share<DriverClient, View>(core, {
      connections: core.options.maxSize,
      perConnection: maxPipeline,
    })
    this.#timeoutMs = timeoutMs
  }

  /** Whether a query may share a client. */
  takes(query: unknown): boolean {
    if (typeof query === 'string') return refusalOf(query) === undefined
    const { text, rows, query_timeout } = (query ?? {}) as Record<string, unknown>
    return typeof text === 'string' && refusalOf(text) === undefined && !rows && !query_timeout
  }

  async query(text: unknown, values: readonly unknown[]): Promise<unknown> {
    try {
      return await this.#share.run((view) => view.query(text, ...values), { timeoutMs: this.#timeoutMs })
    } catch (error) {
      throw translate(error)
    }
  }

  /** Waits for the queries that are not answered. */
  async end(): Promise<void> {
    await this.#share.close({ timeoutMs: Infinity })
  }
}

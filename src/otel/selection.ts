import type { Attributes } from '@opentelemetry/api'

import { livePools } from '../core/live-pools.ts'
import type { InsightSource, PoolEvent, ServerInfo } from '../index.ts'
import { ATTRIBUTES } from './names.ts'

/** The pools that are instrumented: those that were named, or all of the process. */
export class Selection {
  readonly #named: readonly InsightSource[] | undefined
  readonly #ids: ReadonlySet<number> | undefined

  constructor(pools: Iterable<InsightSource> | undefined) {
    this.#named = pools === undefined ? undefined : [...pools]
    this.#ids = this.#named && new Set(this.#named.map((pool) => pool.look().poolId))
  }

  has({ poolId }: PoolEvent): boolean {
    return this.#ids?.has(poolId) ?? true
  }

  pools(): Iterable<InsightSource> {
    return this.#named ?? livePools()
  }

  /** What the pool's manager tells of its server. */
  serverOf({ poolId }: PoolEvent): ServerInfo | undefined {
    for (const pool of this.pools()) {
      const { poolId: id, server } = pool.look()
      if (id === poolId) return server
    }
    return undefined
  }
}

/** A server as attributes of a span: never a credential. */
export function describeServer(server: ServerInfo | undefined): Attributes {
  if (server === undefined) return {}
  const { system, address, port, namespace } = server
  return {
    [ATTRIBUTES.system]: system,
    ...(address === undefined ? {} : { [ATTRIBUTES.address]: address }),
    ...(port === undefined ? {} : { [ATTRIBUTES.port]: port }),
    ...(namespace === undefined ? {} : { [ATTRIBUTES.namespace]: namespace }),
  }
}

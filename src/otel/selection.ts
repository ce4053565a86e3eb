import type { Attributes } from '@opentelemetry/api'

import { livePools } from '../core/inspection/live-pools.ts'
import type { InsightSource, PoolEvent, ServerInfo } from '../index.ts'
import { ATTRIBUTES } from './names.ts'

/** What does not change in the life of a pool. */
interface Known {
  readonly poolId: number
  readonly server: ServerInfo | undefined
}

/** The pools that are instrumented: those that were named, or all of the process. */
export class Selection {
  readonly #named: readonly InsightSource[] | undefined
  readonly #ids: ReadonlySet<number> | undefined
  readonly #known = new WeakMap<InsightSource, Known>()
  #servers: Map<number, ServerInfo | undefined> = new Map()

  constructor(pools: Iterable<InsightSource> | undefined) {
    this.#named = pools === undefined ? undefined : [...pools]
    this.#ids = this.#named && new Set(this.#named.map((pool) => this.#knownOf(pool).poolId))
  }

  has({ poolId }: Pick<PoolEvent, 'poolId'>): boolean {
    return this.#ids?.has(poolId) ?? true
  }

  pools(): Iterable<InsightSource> {
    return this.#named ?? livePools()
  }

  /** The server of the pool, as its manager describes it. Each pool is inspected once, whatever number of spans it has. */
  serverOf({ poolId }: PoolEvent): ServerInfo | undefined {
    if (this.#servers.has(poolId)) return this.#servers.get(poolId)
    // A pool that was created since the last time. Closed pools are dropped from the map here.
    this.#servers = new Map(Array.from(this.pools(), (pool) => this.#entryOf(pool)))
    // The pool may be closed already: its later spans do not repeat the search.
    const server = this.#servers.get(poolId)
    this.#servers.set(poolId, server)
    return server
  }

  #entryOf(pool: InsightSource): readonly [number, ServerInfo | undefined] {
    const { poolId, server } = this.#knownOf(pool)
    return [poolId, server]
  }

  #knownOf(pool: InsightSource): Known {
    let known = this.#known.get(pool)
    if (known === undefined) {
      const { poolId, server } = pool.look()
      this.#known.set(pool, (known = { poolId, server }))
    }
    return known
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

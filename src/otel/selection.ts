import type { Attributes } from '@opentelemetry/api'

import { liveGroups, livePools } from '../core/inspection/live-pools.ts'
import type { GroupInsightSource } from '../group/index.ts'
import type { InsightSource, PoolEvent, ServerInfo } from '../index.ts'
import { ATTRIBUTES } from './names.ts'

/** Facts that do not change in the life of a pool. */
interface Known {
  readonly poolId: number
  readonly server: ServerInfo | undefined
}

/** The pools that are instrumented: those that were named, or all of the process. */
export class Selection {
  readonly #pools: readonly InsightSource[] | undefined
  readonly #groups: readonly GroupInsightSource[] | undefined
  readonly #ids: ReadonlySet<number> | undefined
  readonly #known = new WeakMap<InsightSource, Known>()
  #servers: Map<number, ServerInfo | undefined> = new Map()

  constructor(named: Iterable<InsightSource | GroupInsightSource> | undefined) {
    if (named === undefined) return
    const sources = [...named]
    this.#pools = sources.filter((source): source is InsightSource => !isGroup(source))
    this.#groups = sources.filter(isGroup)
    this.#ids = new Set(sources.map((source) => source.look().poolId))
  }

  has({ poolId, groupId }: Pick<PoolEvent, 'poolId' | 'groupId'>): boolean {
    const ids = this.#ids
    return ids === undefined || ids.has(poolId) || (groupId !== undefined && ids.has(groupId))
  }

  pools(): Iterable<InsightSource> {
    return this.#pools ?? livePools()
  }

  groups(): Iterable<GroupInsightSource> {
    return this.#groups ?? liveGroups()
  }

  /**
   * The server of the pool, as its manager describes it. Each pool is inspected once, whatever number of spans it has. Undefined
   * for a key of a group.
   */
  serverOf({ poolId, groupId }: PoolEvent): ServerInfo | undefined {
    if (groupId !== undefined) return undefined
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

function isGroup(source: InsightSource | GroupInsightSource): source is GroupInsightSource {
  return 'total' in source.options
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

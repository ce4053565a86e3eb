import type { Pool } from './pool.ts'

interface Registry {
  lastId: number
  readonly pools: Set<WeakRef<Pool<unknown>>>
}

// One for all copies of the package that a process has loaded.
const REGISTRY: unique symbol = Symbol.for('cenote.pools') as never
const registry: Registry = /* @__PURE__ */ shared()

function shared(): Registry {
  return ((globalThis as { [REGISTRY]?: Registry })[REGISTRY] ??= { lastId: 0, pools: new Set() })
}

const forget = /* @__PURE__ */ new FinalizationRegistry<WeakRef<Pool<unknown>>>((reference) =>
  registry.pools.delete(reference),
)

/** A number for a pool, unique in the process. */
export function nextPoolId(): number {
  return ++registry.lastId
}

/** Remembers a pool until it is closed or collected. Returns how to forget it. */
export function register<C>(pool: Pool<C>): () => void {
  const reference = new WeakRef(pool as unknown as Pool<unknown>)
  registry.pools.add(reference)
  forget.register(pool, reference, reference)
  return () => {
    forget.unregister(reference)
    registry.pools.delete(reference)
  }
}

/**
 * Every pool of the process that is not closed, in the order in which they were made. A pool that nobody refers to is not kept.
 *
 * @example
 * ```ts
 * import { livePools, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * console.log(livePools().map(({ options }) => options.name)) // prints [ 'orders' ]
 * await pool.close()
 * console.log(livePools().length) // prints 0
 * ```
 */
export function livePools(): Pool<unknown>[] {
  return [...registry.pools].flatMap((reference) => reference.deref() ?? [])
}

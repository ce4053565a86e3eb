import type { PoolEngine } from './engine.ts'

const engines = /* @__PURE__ */ new WeakMap<object, PoolEngine<never>>()

/** Records the engine of a pool, for `engineOf`. */
export function keepEngine<C>(pool: object, engine: PoolEngine<C>): void {
  engines.set(pool, engine as unknown as PoolEngine<never>)
}

/** Returns the engine of a pool: the seam for shares. Undefined for a pool of another installed copy of the package. */
export function engineOf<C>(pool: object): PoolEngine<C> | undefined {
  return engines.get(pool) as unknown as PoolEngine<C> | undefined
}

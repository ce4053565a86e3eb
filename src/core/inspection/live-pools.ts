interface Registry {
  lastId: number
  readonly pools: Set<WeakRef<object>>
  /** Number of pools that are not closed, by name. */
  readonly names: Map<string, number>
  /** Names that were reported as shared by many pools. */
  readonly shared: Set<string>
}

// So many pools of one name are a module that is evaluated again and again, not a design.
const MANY = 8

// One registry for all copies of the package that a process has loaded.
const REGISTRY: unique symbol = Symbol.for('cenote.pools') as never
const registry: Registry = /* @__PURE__ */ shared()

function shared(): Registry {
  return ((globalThis as { [REGISTRY]?: Registry })[REGISTRY] ??= {
    lastId: 0,
    pools: new Set(),
    names: new Map(),
    shared: new Set(),
  })
}

const collected = /* @__PURE__ */ new FinalizationRegistry<() => void>((forget) => forget())

/** A number for a pool, unique in the process. */
export function nextPoolId(): number {
  return ++registry.lastId
}

/** Remembers a pool until it is closed or collected. Returns the function that forgets it. */
export function register(pool: object, name: string): () => void {
  const reference = new WeakRef(pool)
  const { pools, names } = registry
  pools.add(reference)
  names.set(name, (names.get(name) ?? 0) + 1)
  const forget = (): void => {
    if (!pools.delete(reference)) return
    const left = (names.get(name) ?? 1) - 1
    if (left === 0) names.delete(name)
    else names.set(name, left)
  }
  collected.register(pool, forget, reference)
  return () => {
    collected.unregister(reference)
    forget()
  }
}

/** Warns, once per name, when many open pools have one name: a module that is evaluated again creates its pool again. */
export function warnOfMany(name: string): void {
  const count = registry.names.get(name) ?? 0
  if (count < MANY || registry.shared.has(name)) return
  registry.shared.add(name)
  const text = `${count} pools are named '${name}'. Create one pool and share it: a module that is evaluated again (hot reload) must keep its pool on globalThis`
  globalThis.process?.emitWarning?.(text, { type: 'PoolWarning', code: 'DUPLICATE_NAME' })
}

/** Every registered pool that is not collected, in the order of registration. */
export function livePools<P extends object>(): P[] {
  return [...registry.pools].flatMap((reference) => (reference.deref() as P | undefined) ?? [])
}

interface Registry {
  lastId: number
  readonly pools: Set<WeakRef<object>>
  readonly groups: Set<WeakRef<object>>
  /** Number of pools that are not closed, by name. */
  readonly names: Map<string, number>
  /** Names that were reported as shared by many pools. */
  readonly shared: Set<string>
}

// This many pools of one name mean that a module is evaluated repeatedly.
const MANY = 8

// One registry for all copies of the package that a process has loaded.
const REGISTRY: unique symbol = Symbol.for('cenote.pools') as never
const registry: Registry = /* @__PURE__ */ shared()

function shared(): Registry {
  return ((globalThis as { [REGISTRY]?: Registry })[REGISTRY] ??= {
    lastId: 0,
    pools: new Set(),
    groups: new Set(),
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
  const { pools, names } = registry
  names.set(name, (names.get(name) ?? 0) + 1)
  return remember(pools, pool, () => {
    const left = (names.get(name) ?? 1) - 1
    if (left === 0) names.delete(name)
    else names.set(name, left)
  })
}

/** Remembers a group of pools until it is closed or collected. Returns the function that forgets it. */
export function registerGroup(group: object): () => void {
  return remember(registry.groups, group, () => {})
}

function remember(list: Set<WeakRef<object>>, item: object, forgotten: () => void): () => void {
  const reference = new WeakRef(item)
  list.add(reference)
  const forget = (): void => {
    if (list.delete(reference)) forgotten()
  }
  collected.register(item, forget, reference)
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
  return alive(registry.pools)
}

/** Every registered group that is not collected, in the order of registration. */
export function liveGroups<G extends object>(): G[] {
  return alive(registry.groups)
}

function alive<T extends object>(list: ReadonlySet<WeakRef<object>>): T[] {
  return [...list].flatMap((reference) => (reference.deref() as T | undefined) ?? [])
}

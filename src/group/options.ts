import type { Clock } from '../core/contract/clock.ts'
import { systemClock } from '../core/contract/clock.ts'
import type { ConnectionManager } from '../core/contract/manager.ts'
import {
  clockRule,
  type PoolOptions,
  type ResolvedPoolOptions,
  resolveOptions,
} from '../core/contract/options.ts'
import { checkArguments, duration, type Rule, text, whole, wrongValue } from '../core/contract/rules.ts'

/** Options of a {@link PoolGroup}. Durations are milliseconds. */
export interface GroupOptions<C> {
  /** The group's name; `pool` in errors and payloads is `<group>/<key>`. Default: `group-1`, `group-2`, … */
  readonly name?: string | undefined
  /** Maximum number of connections that are open, opening or closing, over all keys. */
  readonly total: number
  /**
   * The same maximum for one key. A function is called when a key is created and at `resize`; a wrong value rejects the
   * callers of that key. Never above `total`. Default: `total`.
   */
  readonly perKey?: number | ((key: string) => number) | undefined
  /** Time for which a key keeps its only connection while a key without one waits, in milliseconds. Default: 50. */
  readonly turnMs?: number | undefined
  /**
   * Part of `total` (0 to 1) that connect attempts of failing keys may hold, at least 1. A key is failing while its last
   * attempt failed. Default: 0.25.
   */
  readonly failingShare?: number | undefined
  /** A key without connections and callers is forgotten after this time, in milliseconds. Default: 0. */
  readonly forgetAfterMs?: number | undefined
  /** Maximum number of keys of which a caller waits or holds a lease. Default: Infinity. */
  readonly maxKeys?: number | undefined
  /** Options of each key's pool. `maxSize` and `name` are the group's; `minIdle` must be 0. Default: those of a pool. */
  readonly pool?: Omit<PoolOptions<C>, 'maxSize' | 'name'> | undefined
  /** Source of time, timers and random numbers, for tests. Default: the system's monotonic clock. */
  readonly clock?: Clock | undefined
}

/** The options of a group with defaults filled in. */
export interface ResolvedGroupOptions<C> {
  readonly name: string
  readonly total: number
  readonly perKey: number | ((key: string) => number) | undefined
  readonly turnMs: number
  readonly failingShare: number
  readonly forgetAfterMs: number
  readonly maxKeys: number
  readonly clock: Clock
  /** The options of each key's pool, with those of a key of any name. */
  readonly pool: ResolvedPoolOptions<C>
  /** The maxIdle that was given. */
  readonly maxIdle: number | undefined
}

const size = whole(1, 'finite')
const RULES: Readonly<Record<keyof GroupOptions<never>, Rule>> = {
  name: text,
  total: size,
  perKey: {
    allowed: `${size.allowed}, or a function of the key`,
    accepts: (value) => typeof value === 'function' || size.accepts(value),
  },
  turnMs: duration('from 0', 'or Infinity'),
  failingShare: {
    allowed: 'a number from 0 to 1',
    accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1,
  },
  forgetAfterMs: duration('from 0', 'or Infinity'),
  maxKeys: whole(1, 'or Infinity'),
  pool: { allowed: 'an object', accepts: (value) => typeof value === 'object' && value !== null },
  clock: clockRule,
}
const CALLS = {
  resize: { total: RULES.total, perKey: RULES.perKey },
}

// A manager with every method that an option may require: the manager of a key is known later.
const ANY_MANAGER: ConnectionManager<never> = {
  connect: () => Promise.reject(new Error('no manager')),
  isValid: () => false,
  hasBroken: () => true,
  close: () => {},
  ref: () => {},
  unref: () => {},
}

let groupsNamed = 0

/** Checks the options and fills in the defaults. Throws PoolOptionsError before anything is opened. */
export function resolveGroupOptions<C>(options: GroupOptions<C>): ResolvedGroupOptions<C> {
  const given = checkArguments('group options', options, RULES, '') as Partial<GroupOptions<C>>
  const name = given.name ?? `group-${++groupsNamed}`
  const { total, clock = systemClock, pool = {} } = given
  if (total === undefined) throw wrongValue(name, 'total', undefined, RULES.total.allowed)
  const { maxSize, name: poolName, minIdle } = pool as PoolOptions<C>
  if (maxSize !== undefined)
    throw wrongValue(name, 'maxSize', maxSize, "absent from the group's pool options: use perKey")
  if (poolName !== undefined)
    throw wrongValue(name, 'name', poolName, "absent from the group's pool options: a key names its pool")
  const resolved = resolveOptions(ANY_MANAGER as ConnectionManager<C>, {
    ...pool,
    name,
    clock: given.clock ?? pool.clock ?? clock,
  })
  if (minIdle !== undefined && minIdle > 0)
    throw wrongValue(
      name,
      'minIdle',
      minIdle,
      '0 in a group: an idle connection belongs to any key that needs its slot',
    )
  return {
    name,
    total,
    perKey: given.perKey,
    turnMs: given.turnMs ?? 50,
    failingShare: given.failingShare ?? 0.25,
    forgetAfterMs: given.forgetAfterMs ?? 0,
    maxKeys: given.maxKeys ?? Infinity,
    clock: resolved.clock,
    pool: resolved,
    maxIdle: pool.maxIdle,
  }
}

/** Checks the argument of `resize`. Throws PoolOptionsError. */
export function checkResize(options: unknown, group: string): void {
  checkArguments('resize options', options, CALLS.resize, group)
}

/** The limit of one key, before it is capped. Throws PoolOptionsError for a wrong value of the function. */
export function limitOf(
  perKey: number | ((key: string) => number) | undefined,
  total: number,
  key: string,
  pool: string,
): number {
  if (perKey === undefined) return total
  if (typeof perKey === 'number') return Math.min(perKey, total)
  const value: unknown = perKey(key)
  if (!size.accepts(value)) throw wrongValue(pool, 'perKey', value, size.allowed)
  return Math.min(value as number, total)
}

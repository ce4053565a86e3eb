import { checkArguments, duration, type Rule, text, whole, wrongValue } from '../core/contract/rules.ts'
import type { FleetStore } from './store.ts'

/** Options of `joinFleet`. */
export interface FleetOptions {
  /** The store in which the members meet. */
  readonly store: FleetStore
  /** Connections that all members together may have. The same for all of them. */
  readonly budget: number
  /**
   * Connections that this member has in any case, also when it cannot reach the store. The floors of all processes that live at one time
   * must fit into the budget. Default: 1.
   */
  readonly floor?: number | undefined
  /** The member's weight: among members that are short, twice the weight gets twice as much. Default: 1. */
  readonly weight?: number | undefined
  /** The name of the fleet: one for each server with connections to divide. Default: 'default'. */
  readonly fleet?: string | undefined
  /**
   * For how long the store keeps a member's share without hearing of it; a fifth of it is the time between two beats.
   * The same for all of a fleet is best. Default: 5,000.
   */
  readonly leaseMs?: number | undefined
  /** Receives the error of each failed beat. An error that it throws is ignored. Default: none. */
  readonly onError?: ((error: unknown) => void) | undefined
}

/** The options with defaults filled in. */
export interface ResolvedFleetOptions {
  readonly store: FleetStore
  readonly budget: number
  readonly floor: number
  readonly weight: number
  readonly fleet: string
  readonly leaseMs: number
  readonly onError: (error: unknown) => void
}

const RULES: Readonly<Record<keyof FleetOptions, Rule>> = {
  store: {
    allowed: 'a MemoryStore, RedisStore or PostgresStore, or an object with beat and leave',
    accepts: (value) =>
      typeof value === 'object' &&
      value !== null &&
      typeof Reflect.get(value, 'beat') === 'function' &&
      typeof Reflect.get(value, 'leave') === 'function',
  },
  budget: whole(1, 'finite'),
  floor: whole(1, 'finite'),
  weight: {
    allowed: 'a finite number > 0',
    accepts: (value) => typeof value === 'number' && value > 0 && value < Infinity,
  },
  fleet: text,
  leaseMs: duration('above 0', 'finite'),
  onError: { allowed: 'a function', accepts: (value) => typeof value === 'function' },
}

/** Checks the options and fills in the defaults. Throws PoolOptionsError, which names the option, its value and what is allowed. */
export function resolveFleetOptions(pool: string, options: FleetOptions): ResolvedFleetOptions {
  const given = checkArguments('options of joinFleet', options, RULES, pool) as Partial<FleetOptions>
  for (const name of ['store', 'budget'] as const) {
    if (given[name] === undefined) throw wrongValue(pool, name, undefined, RULES[name].allowed)
  }
  const resolved = {
    store: given.store as FleetStore,
    budget: given.budget as number,
    floor: given.floor ?? 1,
    weight: given.weight ?? 1,
    fleet: given.fleet ?? 'default',
    leaseMs: given.leaseMs ?? 5_000,
    onError: given.onError ?? (() => {}),
  }
  const { floor, budget } = resolved
  if (floor > budget) {
    throw wrongValue(pool, 'floor', floor, `an integer from 1 to budget (${budget})`)
  }
  return resolved
}

import type { PlanOptions } from './plan.ts'
import type { Random } from './random.ts'

/** How a server fails that accepts connections all the same. */
export interface Storm {
  /** Of a hundred connections, so many die before they can serve anybody. */
  readonly dies: number
  /** After so many milliseconds; 0: with the connect. */
  readonly afterMs: number
  /** Whether the driver reports it; else only hasBroken does. */
  readonly isReported: boolean
  /** Of a hundred hooks, so many refuse their connection. */
  readonly refuses: number
  /** Of a hundred failed connects, so many are fatal. */
  readonly fatal: number
  /** Of a hundred connects, so many fail. */
  readonly fails: number
}

/** The storm that belongs to a life; most have none. */
export function stormOf(random: Random): Storm | undefined {
  if (!random.chance(0.25)) return undefined
  return {
    dies: random.pick([0, 50, 100]),
    afterMs: random.pick([0, 0, 1, 20]),
    isReported: random.chance(0.6),
    refuses: random.pick([0, 0, 50, 100]),
    fatal: random.pick([10, 50, 100]),
    fails: random.pick([0, 0, 50, 100]),
  }
}

/** What a life with a storm changes of its options. */
export function stormOptions(random: Random, options: PlanOptions): PlanOptions {
  return random.chance(0.4) ? { ...options, retryConnect: false } : options
}

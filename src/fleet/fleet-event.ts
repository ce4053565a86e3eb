import type { Claimant } from './allocate.ts'

/**
 * The name of the channel on which each member publishes its fleet after each beat: a {@link FleetEvent}.
 *
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 *
 * import { Pool } from 'cenote'
 * import { FLEET_CHANNEL, joinFleet, MemoryStore } from 'cenote/fleet'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * subscribe(FLEET_CHANNEL, (event) => console.log(event)) // prints share: 2
 * const pool = new Pool(new ScriptedManager(), { maxSize: 20 })
 * await using membership = await joinFleet(pool, { store: new MemoryStore(), budget: 80, floor: 2 })
 * ```
 */
export const FLEET_CHANNEL = 'cenote:fleet' as const

/** The fleet as one member knows it. */
export interface FleetEvent {
  readonly pool: string
  /** As in the other channels of the pool. */
  readonly poolId: number
  readonly fleet: string
  readonly budget: number
  readonly members: readonly FleetMember[]
}

/** One member of the fleet, as of the last beat. */
export interface FleetMember extends Claimant {
  /** Whether it is this one. */
  readonly isSelf: boolean
}

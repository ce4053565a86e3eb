import type { Claimant } from './allocate.ts'

/** The name of the channel on which each member tells its fleet after each beat: a {@link FleetEvent}. */
export const FLEET_CHANNEL = 'cenote:fleet' as const

/** A member heard of its fleet. */
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

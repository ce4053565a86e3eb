import { type BeatAnswer, PROTOCOL } from './roster.ts'

/** Why a pool could not join its fleet. */
export type FleetErrorCode =
  | 'FLEET_BUDGET'
  | 'FLEET_PROTOCOL'
  | 'FLEET_FLOORS'
  | 'FLEET_NO_ROOM'
  | 'FLEET_STORE'
  | 'FLEET_LEFT'

/**
 * A pool could not join its fleet, or is not a member any more. `FLEET_BUDGET`: the other members have another budget;
 * `FLEET_PROTOCOL`: they are of an incompatible version; `FLEET_FLOORS`: the floors exceeded the budget for three leases;
 * `FLEET_NO_ROOM`: no member gave way in three leases; `FLEET_STORE`: the store did not answer for three leases (`cause`);
 * `FLEET_LEFT`: the pool was closed while it joined.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { FleetError, joinFleet, MemoryStore } from 'cenote/fleet'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const store = new MemoryStore()
 * const [a, b] = [new Pool(new ScriptedManager()), new Pool(new ScriptedManager())]
 * await using membership = await joinFleet(a, { store, budget: 80, floor: 2 })
 * const error = await joinFleet(b, { store, budget: 90, floor: 2 }).catch((error: unknown) => error)
 * if (error instanceof FleetError) console.log(error.code) // prints FLEET_BUDGET
 * ```
 */
export class FleetError extends Error {
  readonly code: FleetErrorCode

  constructor(code: FleetErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
Object.defineProperty(FleetError.prototype, 'name', {
  value: 'FleetError',
  configurable: true,
  writable: true,
})

/** The error for a beat that the store refused. */
export function refusal(
  { refused, instead }: Extract<BeatAnswer, { instead: number }>,
  { fleet, budget, floor }: { fleet: string; budget: number; floor: number },
): FleetError {
  switch (refused) {
    case 'budget':
      return new FleetError(
        'FLEET_BUDGET',
        `budget must be ${instead}, as for all members of the fleet '${fleet}' (got ${budget}). To change it, let all of them leave, or name another fleet`,
      )
    case 'protocol':
      return new FleetError(
        'FLEET_PROTOCOL',
        `protocol must be ${instead}, as for all members of the fleet '${fleet}' (got ${PROTOCOL}). Name another fleet for this version`,
      )
    case 'floors':
      return new FleetError(
        'FLEET_FLOORS',
        `floor must be at most ${Math.max(0, budget - instead)} (got ${floor}): the other floors of the fleet '${fleet}' add up to ${instead} of its budget of ${budget}`,
      )
  }
}

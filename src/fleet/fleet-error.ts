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
 * `FLEET_PROTOCOL`: they are of a version that does not go with this one; `FLEET_FLOORS`: the floors are more than the budget;
 * `FLEET_NO_ROOM`: nobody gave way in time; `FLEET_STORE`: the store did not answer (`cause`); `FLEET_LEFT`: the pool was closed meanwhile.
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
        `budget is ${budget}: allowed is ${instead}, as all members of the fleet '${fleet}' have it; to change it let all of them leave, or name another fleet`,
      )
    case 'protocol':
      return new FleetError(
        'FLEET_PROTOCOL',
        `protocol is ${PROTOCOL}: allowed is ${instead}, which the members of the fleet '${fleet}' speak; name another fleet for this version`,
      )
    case 'floors':
      return new FleetError(
        'FLEET_FLOORS',
        `floor is ${floor}: allowed is at most ${Math.max(0, budget - instead)}, as the floors of the fleet '${fleet}' add up to ${instead} of its budget of ${budget}`,
      )
  }
}

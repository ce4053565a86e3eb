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

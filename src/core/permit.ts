/** The right to open one connection. It is spent by `Slots.fill` or given up by `Slots.forfeit`, once. */
export class Permit {
  /** The number of the connection to be. */
  readonly id: number
  /** A connection whose permit is older than the last clear is closed when it arrives. */
  readonly generation: number
  /** Failures of attempts that began in the same round count as one. */
  readonly round: number
  readonly startedAt: number
  readonly controller: AbortController = new AbortController()
  spent = false
  /** Gives up the call that it waits for. */
  abandon: (() => void) | undefined = undefined
  /** The driver reported the connection's end before it was handed over. */
  lost = false

  constructor(id: number, generation: number, round: number, startedAt: number) {
    this.id = id
    this.generation = generation
    this.round = round
    this.startedAt = startedAt
  }
}

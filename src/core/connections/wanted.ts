/** The numbers from which the number of connections to open is computed. */
export interface Demand {
  /** Callers in the queue. */
  readonly queued: number
  readonly minIdle: number
  readonly idle: number
  /** Idle connections so near the end of their lifetime that they need a replacement. */
  readonly retiring: number
  /** Connections that are checked or prepared for a caller. */
  readonly checking: number
  /** Connect attempts that began after the last clear: only their connections will be kept. */
  readonly opening: number
  /** All connect attempts. */
  readonly attempts: number
  /** Slots that count against maxSize: open, opening or closing. */
  readonly slots: number
  readonly maxSize: number
  /** Maximum of concurrent attempts: maxConnecting, or 1 while the server fails, or 0 between two probes. */
  readonly attemptLimit: number
}

/** Returns how many connect attempts to begin now: as many as are lacking, within every limit. */
export function wanted(demand: Demand): number {
  const target = demand.queued + demand.minIdle
  const supply = demand.idle - demand.retiring + demand.checking + demand.opening
  const room = demand.maxSize - demand.slots
  return Math.max(0, Math.min(target - supply, room, demand.attemptLimit - demand.attempts))
}

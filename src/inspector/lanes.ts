import type { ConnectionInsight } from '../index.ts'

const NOBODY = 0

interface Lane {
  /** 0: no caller. */
  connection: number
  /** Time for which it was leased within the tick, without its present lease. */
  busyMs: number
}

/** One tick of the lanes. */
export interface LanesTick {
  /** A code for each lane. */
  readonly lanes: string
  /** The connection in each lane; the same array as long as they are the same. */
  readonly ids: readonly number[]
}

/** A lane for each connection, reused when the connection is closed: there are never more lanes than concurrent connections. */
export class Lanes {
  readonly #lanes: Lane[] = []
  readonly #of = new Map<number, Lane>()
  #ids: readonly number[] = []

  /** Records the end of a lease that was held for this time. Only the part within the tick counts. */
  released(connection: number, heldMs: number, sinceTickMs: number): void {
    const lane = this.#of.get(connection)
    if (lane !== undefined) lane.busyMs += Math.min(heldMs, sinceTickMs)
  }

  laneOf(connection: number): number {
    return this.#ids.indexOf(connection)
  }

  /** Ends the tick with what the connections do now. */
  tick(connections: readonly ConnectionInsight[], tickMs: number): LanesTick {
    const present = new Map(connections.map((each) => [each.connection, each]))
    let hasMoved = this.#leave(present)
    for (const connection of present.keys()) hasMoved = this.#enter(connection) || hasMoved
    if (hasMoved) this.#ids = this.#lanes.map(({ connection }) => connection)
    const lanes = this.#lanes
      .map((lane) => codeOf(present.get(lane.connection), lane.busyMs, tickMs))
      .join('')
    for (const lane of this.#lanes) lane.busyMs = 0
    return { lanes, ids: this.#ids }
  }

  #enter(connection: number): boolean {
    if (this.#of.has(connection)) return false
    const free = this.#lanes.find((lane) => lane.connection === NOBODY)
    const lane = free ?? { connection, busyMs: 0 }
    lane.connection = connection
    if (free === undefined) this.#lanes.push(lane)
    this.#of.set(connection, lane)
    return true
  }

  #leave(present: ReadonlyMap<number, unknown>): boolean {
    let hasMoved = false
    for (const [connection, lane] of this.#of) {
      if (present.has(connection)) continue
      this.#of.delete(connection)
      Object.assign(lane, { connection: NOBODY, busyMs: 0 })
      hasMoved = true
    }
    while (this.#lanes.at(-1)?.connection === NOBODY) this.#lanes.pop()
    return hasMoved
  }
}

const CODES: Readonly<Record<Exclude<ConnectionInsight['doing'], 'idle' | 'leased'>, string>> = {
  opening: 'o',
  checking: 'k',
  returning: 'r',
  closing: 'x',
}

function codeOf(connection: ConnectionInsight | undefined, busyMs: number, tickMs: number): string {
  if (connection === undefined) return '.'
  const { doing, heldMs } = connection
  if (doing !== 'idle' && doing !== 'leased') return CODES[doing]
  const share = (busyMs + Math.min(heldMs, tickMs)) / Math.max(1, tickMs)
  return String.fromCharCode((doing === 'leased' ? 65 : 97) + Math.min(9, Math.floor(share * 10)))
}

const NOBODY = 0

interface Lane {
  /** 0: an attempt to connect, or nothing. */
  connection: number
  state: 'empty' | 'opening' | 'idle' | 'checking' | 'leased' | 'returning' | 'closing'
  leasedAt: number
  /** How long it was leased within the tick, before its present lease. */
  busyMs: number
  by: string | undefined
}

/** What a pool says of itself that events do not tell. */
export interface LaneCounts {
  readonly opening: number
  readonly closing: number
}

/** A lane for each connection, used again when that one has gone: so there are never more than the pool had at once. */
export class Lanes {
  readonly #lanes: Lane[] = []
  readonly #of = new Map<number, Lane>()
  #ids: readonly number[] = []
  #hasMoved = true

  opened(connection: number, at: number): Lane {
    const lane = this.#lanes.find(({ state }) => state === 'opening') ?? this.#free()
    this.#of.set(connection, lane)
    Object.assign(lane, { connection, state: 'idle', leasedAt: at, busyMs: 0, by: undefined })
    this.#hasMoved = true
    return lane
  }

  acquired(connection: number, at: number, by: string | undefined): void {
    const lane = this.#laneOf(connection, at)
    Object.assign(lane, { state: 'leased', leasedAt: at, by })
  }

  released(connection: number, at: number, tickStartedAt: number): void {
    const lane = this.#laneOf(connection, at)
    if (lane.state === 'leased') lane.busyMs += at - Math.max(lane.leasedAt, tickStartedAt)
    Object.assign(lane, { state: 'idle', by: undefined })
  }

  /** It is busy for the pool itself: being checked on its way to a caller, or reset after a return. */
  became(connection: number, state: 'checking' | 'returning' | 'idle', at: number): void {
    this.#laneOf(connection, at).state = state
  }

  closing(connection: number, at: number): void {
    this.#laneOf(connection, at).state = 'closing'
  }

  /** It has gone: closed, or detached. */
  gone(connection: number): void {
    const lane = this.#of.get(connection)
    if (lane === undefined) return
    this.#of.delete(connection)
    Object.assign(lane, { connection: NOBODY, state: 'empty', by: undefined })
    this.#hasMoved = true
  }

  /** Who holds what, the longest first, at the most so many. */
  held(
    now: number,
    limit: number,
  ): { lane: number; connection: number; heldMs: number; by: string | undefined }[] {
    return this.#lanes
      .flatMap(({ state, connection, leasedAt, by }, lane) =>
        state === 'leased' ? [{ lane, connection, heldMs: now - leasedAt, by }] : [],
      )
      .sort((a, b) => b.heldMs - a.heldMs)
      .slice(0, limit)
  }

  /** The tick's end: a code for each lane, and its connection. The ids are the same array as long as they are the same. */
  take(now: number, tickStartedAt: number, counts: LaneCounts): { lanes: string; ids: readonly number[] } {
    this.#settle(counts)
    const tickMs = Math.max(1, now - tickStartedAt)
    const lanes = this.#lanes.map((lane) => codeOf(lane, now, tickStartedAt, tickMs)).join('')
    for (const lane of this.#lanes) lane.busyMs = 0
    if (this.#hasMoved) this.#ids = this.#lanes.map(({ connection }) => connection)
    this.#hasMoved = false
    return { lanes, ids: this.#ids }
  }

  // Attempts to connect have no id yet: as many lanes are opening as the pool says.
  #settle({ opening }: LaneCounts): void {
    const attempts = this.#lanes.filter(({ state }) => state === 'opening')
    for (const lane of attempts.slice(opening)) lane.state = 'empty'
    for (let missing = opening - attempts.length; missing > 0; missing--) this.#free().state = 'opening'
    while (this.#lanes.at(-1)?.state === 'empty') {
      this.#lanes.pop()
      this.#hasMoved = true
    }
  }

  // One that was opened before we listened has its first event now.
  #laneOf(connection: number, at: number): Lane {
    return this.#of.get(connection) ?? this.opened(connection, at)
  }

  #free(): Lane {
    const free = this.#lanes.find(({ state }) => state === 'empty')
    if (free !== undefined) return free
    const lane: Lane = { connection: NOBODY, state: 'empty', leasedAt: 0, busyMs: 0, by: undefined }
    this.#lanes.push(lane)
    return lane
  }
}

function codeOf(lane: Lane, now: number, tickStartedAt: number, tickMs: number): string {
  switch (lane.state) {
    case 'empty':
      return '.'
    case 'opening':
      return 'o'
    case 'checking':
      return 'k'
    case 'returning':
      return 'r'
    case 'closing':
      return 'x'
    default: {
      const isLeased = lane.state === 'leased'
      const busyMs = lane.busyMs + (isLeased ? now - Math.max(lane.leasedAt, tickStartedAt) : 0)
      const tenths = Math.min(9, Math.floor((busyMs / tickMs) * 10))
      return String.fromCharCode((isLeased ? 65 : 97) + tenths)
    }
  }
}

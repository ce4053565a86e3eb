import type { ConnectContext, ConnectionManager, ServerInfo } from '../core/contract/manager.ts'

/** The right to one seat, on whichever connection has the fewest taken when it is used. The pool of a share pools these. */
export class Place {
  /** Whether it has never been used. Its end would count as a failed connect. */
  isFresh = true
  /** Whether it was found to be needed just now. */
  isJudged = false
  isGone = false
}

/** The parts of the connections that places use. */
export interface Capacity {
  /** Seats that the usable connections have together. */
  readonly capacity: number
  /** A place is wanted that no connection has. Resolves when one has it; rejects with the connect error. */
  place(signal: AbortSignal): Promise<void>
  /** A place ended. */
  trim(): void
  isFinal(error: unknown): boolean
}

/** Opens and closes places: as many as the connections have seats. */
export class Places implements ConnectionManager<Place> {
  readonly #connections: Capacity
  readonly #server: () => ServerInfo | undefined
  /** Places that exist. */
  count = 0

  constructor(connections: Capacity, server: () => ServerInfo | undefined) {
    this.#connections = connections
    this.#server = server
  }

  get server(): ServerInfo {
    return this.#server() as ServerInfo
  }

  /** Whether more places exist than the connections have seats. */
  get hasSurplus(): boolean {
    return this.count > this.#connections.capacity
  }

  async connect({ signal }: ConnectContext): Promise<Place> {
    if (this.count < this.#connections.capacity) this.count++
    else await this.#connections.place(signal)
    return new Place()
  }

  isValid(): boolean {
    return true
  }

  hasBroken(place: Place): boolean {
    if (place.isJudged) {
      place.isJudged = false
      return false
    }
    if (place.isGone) return true
    if (place.isFresh || !this.hasSurplus) return false
    this.#forget(place)
    return true
  }

  close(place: Place): void {
    this.#forget(place)
    this.#connections.trim()
  }

  isFatal(error: unknown): boolean {
    return this.#connections.isFinal(error)
  }

  #forget(place: Place): void {
    if (place.isGone) return
    place.isGone = true
    this.count--
  }
}

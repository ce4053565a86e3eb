/** An object that emits the events of a socket: a driver's client, or the socket itself. */
export interface SocketEvents {
  on(event: string, listener: (payload?: unknown) => void): unknown
}

/**
 * Records that the socket under one connection is lost, and reports it to the pool if the pool holds the connection at
 * that moment. One for each connection; the same for every manager.
 */
export class LostSocket {
  readonly #lost: (error?: unknown) => void
  #isBroken = false
  #isHeld = false

  /** `lost` is that of the manager's `ConnectContext`. */
  constructor(lost: (error?: unknown) => void) {
    this.#lost = lost
  }

  /** Whether the socket was reported as lost, at any time. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  /**
   * Counts each of these events as a loss. The listeners stay for the life of the emitter, because an unhandled 'error'
   * event would crash the process, also after the close.
   */
  watch(emitter: SocketEvents, ...events: readonly string[]): this {
    // The payload of a socket's 'close' event is a flag.
    for (const event of events)
      emitter.on(event, (payload) => this.report(typeof payload === 'boolean' ? undefined : payload))
    return this
  }

  /** Marks the connection as broken. The pool gets the first error only. */
  report(error?: unknown): void {
    if (this.#isBroken) return
    this.#isBroken = true
    if (this.#isHeld) this.#lost(error)
  }

  /** Called when the connection goes to the pool. Throws if the socket was lost while it was prepared. */
  hold(): void {
    if (this.#isBroken) throw new Error('the server closed the connection while it was prepared')
    this.#isHeld = true
  }

  /** Called when the pool gives the connection up: a later loss is reported to no pool. */
  letGo(): void {
    this.#isHeld = false
  }
}

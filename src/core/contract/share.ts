/** One caller's use of a shared connection, as the view of that caller reports it. */
export interface Seat {
  /** The name of the share, for errors. */
  readonly share: string
  /**
   * Reports a statement, before it is sent. The seat stays taken until each sent statement is answered. Throws
   * LeaseReleasedError when the seat has ended, and the loss when the connection is lost: then nothing may be sent.
   */
  sent(): void
  /** Reports that the server answered the oldest statement that is still unanswered. */
  answered(): void
  /**
   * Reports that a statement changed the session for the other callers. `reason` names what was left open. The
   * statement's run rejects, and the connection is closed without a drain.
   */
  dirty(reason: string): void
  /** Calls back when the caller's work has settled, or was aborted: what the view keeps open for it may end. */
  onSettled(ended: () => void): void
}

// A method's type, so that a manager of one connection type is assignable to a manager of a wider one, as before.
type SeatsOf<C> = { of(connection: C): number }['of']

/** The sharing of a manager's connections: many concurrent callers, each with one view. */
export interface ShareableConnection<C, V = unknown> {
  /** Maximum number of seats on one connection. A function is called again whenever a seat is given. */
  readonly perConnection: number | SeatsOf<C>
  /** Creates the part of a connection that one caller may use. It rejects what needs a connection of its own. */
  view(connection: C, seat: Seat): V
  /** Whether the path to the server can pipeline: sends three statements together. Default: it can. */
  probe?(connection: C, signal: AbortSignal): Promise<boolean>
  /** Whether a pooler stands before the server: it releases its server connection only when this one is empty. */
  isPooled?(connection: C): boolean
  /** Holds back writes until `uncork`. Called once per turn of the event loop. */
  cork?(connection: C): void
  /** Sends what `cork` held back. A throw breaks the connection. */
  uncork?(connection: C): void
}

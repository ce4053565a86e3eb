/** What the pool gives a manager for one connect attempt. */
export interface ConnectContext {
  /**
   * Aborted when the attempt is no longer wanted: it took longer than `connectTimeoutMs`, the pool was closed,
   * or the caller of `dedicated` gave up. Stop connecting and free the socket; what `connect` settles with
   * after that is closed or ignored.
   */
  readonly signal: AbortSignal
  /**
   * Tell the pool that this connection died, the moment the driver says so. An idle connection is removed at
   * once, a leased one is closed when it comes back. Safe to call at any time, any number of times.
   */
  readonly lost: (error?: unknown) => void
}

/** The server that a manager connects to, for telemetry: never a credential. */
export interface ServerInfo {
  /** As OpenTelemetry names it in `db.system.name`: 'postgresql', 'mysql', 'mariadb', 'redis', … */
  readonly system: string
  readonly address?: string | undefined
  readonly port?: number | undefined
  /** The database, or what the server has in its place. */
  readonly namespace?: string | undefined
}

/**
 * Opens, checks and closes the connections of one pool. The manager knows the driver, the pool decides when.
 *
 * Any call may throw, reject, hang or resolve too late: to the pool that is just a failure of this call.
 * All calls run in the async context in which the pool was made.
 */
export interface ConnectionManager<C> {
  /** Opens one connection. `undefined` or `null` counts as a failure. Bounded by `connectTimeoutMs`. */
  connect(context: ConnectContext): Promise<C>
  /**
   * A round trip to the server, before a connection is handed out. `false`, a throw or a rejection: it is closed
   * and replaced. Bounded by `validationTimeoutMs`, after which `signal` is aborted and the check has failed.
   */
  isValid(connection: C, signal: AbortSignal): boolean | Promise<boolean>
  /**
   * Whether the connection is known to be unusable. Synchronous and cheap (no input or output): it is called at
   * every checkout and every return. `error` is what the caller's work failed with, if it did.
   */
  hasBroken(connection: C, error?: unknown): boolean
  /**
   * Closes one connection, broken or not. Called once per connection, never twice. Bounded by `closeTimeoutMs`;
   * until it settles the connection counts against `maxSize`.
   */
  close(connection: C): void | Promise<void>
  /**
   * Brings a connection that comes back into a state fit for the next caller (rolls back, discards session state).
   * Called at return, after `hasBroken` and before the hook `afterRelease`; nobody gets the connection until it
   * settles. `false`, a throw or a rejection: it is closed. Return nothing at once when there is nothing to do: a
   * promise costs the next caller a turn. Bounded by `validationTimeoutMs`, after which `signal` aborts; a reset with a
   * single parameter is called without one, as to make it would be a fifth of a return. Default: nothing is reset.
   */
  reset?(connection: C, signal: AbortSignal): boolean | void | Promise<boolean | void>
  /**
   * Whether a connect error is one that no retry will mend (wrong password, no such database). The head waiter
   * gets it at once. Default: no error is fatal.
   */
  isFatal?(error: unknown): boolean
  /** What it connects to, as far as it knows. Default: unknown. */
  readonly server?: ServerInfo | undefined
}

import type { ShareableConnection } from './share.ts'

/** The argument of a manager's `connect`, for one attempt. */
export interface ConnectContext {
  /**
   * Aborted when the attempt is no longer needed: it took longer than `connectTimeoutMs`, the pool was closed, or the
   * caller of `dedicated` aborted. Stop connecting and free the socket. A connection that arrives after the abort is
   * closed, an error is ignored.
   */
  readonly signal: AbortSignal
  /**
   * Reports that this connection died, as soon as the driver notices. An idle connection is removed immediately, a
   * leased one is closed at return. Safe to call at any time and more than once.
   */
  readonly lost: (error?: unknown) => void
}

/** The server that a manager connects to, for telemetry. It never holds a credential. */
export interface ServerInfo {
  /** The name that OpenTelemetry uses in `db.system.name`: 'postgresql', 'mysql', 'mariadb', 'redis', … */
  readonly system: string
  readonly address?: string | undefined
  readonly port?: number | undefined
  /** The database, or the server's counterpart of one. */
  readonly namespace?: string | undefined
}

/**
 * Opens, checks and closes the connections of one pool. The manager knows the driver; the pool decides when.
 *
 * Any method may throw, reject, hang or settle too late: the pool treats it as a failure of that call. A method may call
 * any method of the pool; the effect follows after the pool's current step. All methods run in the async context in
 * which the pool was created.
 */
export interface ConnectionManager<C> {
  /** Opens one connection. `undefined` and `null` count as a failure. Bounded by `connectTimeoutMs`. */
  connect(context: ConnectContext): Promise<C>
  /**
   * Checks a connection with a round trip to the server, before it is handed out. Anything but `true` closes and
   * replaces the connection. A result that is neither true nor false is also reported. Bounded by
   * `validationTimeoutMs`; after that `signal` aborts and the check has failed.
   */
  isValid(connection: C, signal: AbortSignal): boolean | Promise<boolean>
  /**
   * Whether a connection is known to be unusable. Must be synchronous and cheap (no input or output), because it runs
   * at every checkout and every return. `error` is the error that the holder's work failed with, if it failed.
   */
  hasBroken(connection: C, error?: unknown): boolean
  /**
   * Closes one connection, broken or not. Called once per connection. Cancel what a busy connection is running first,
   * so that the server is free of it when the promise settles. Bounded by `closeTimeoutMs`; the connection counts
   * against `maxSize` until then.
   */
  close(connection: C): void | Promise<void>
  /**
   * Whether retrying cannot fix a connect error (wrong password, no such database). Every caller that no open
   * connection can serve then gets the error immediately. Default: no error is fatal.
   */
  isFatal?(error: unknown): boolean
  /**
   * Prepares a returned connection for the next caller (rolls back, discards session state). Runs at return, after
   * `hasBroken` and before the hook `afterRelease`; no caller gets the connection until it settles. `false`, a throw
   * or a rejection closes it. Return nothing, synchronously, when there is nothing to reset: a promise delays the next
   * caller by a turn. Bounded by `validationTimeoutMs`; after that `signal` aborts. A reset that declares one
   * parameter gets no signal, because creating one costs a fifth of a return. Default: nothing is reset.
   */
  reset?(connection: C, signal: AbortSignal): boolean | void | Promise<boolean | void>
  /**
   * Stops the statement that a leased connection is running, without harm to the connection. `run` calls it when its
   * signal aborts. Bounded by `closeTimeoutMs`. Default: the signal of `run` ends only the wait for a connection.
   */
  cancel?(connection: C, signal: AbortSignal): void | Promise<void>
  /** Makes an open connection keep the process alive again. Called when it stops being idle, with `allowExitOnIdle`. */
  ref?(connection: C): void
  /** Lets the process end while this connection is open. Called when it becomes idle, with `allowExitOnIdle`. */
  unref?(connection: C): void
  /** The parts that `cenote/share` uses to lend one connection to many callers. Default: connections are not shared. */
  readonly share?: ShareableConnection<C> | undefined
  /** The server that the manager connects to, as far as it is known. Default: unknown. */
  readonly server?: ServerInfo | undefined
}

import type { ConnectionManager } from '../../core/contract/manager.ts'

/** The address on which a server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/**
 * Creates the manager under test. An address is passed only if {@link ManagerFaults.server} is given: connections then go
 * to that address, a proxy with a faulty network in front of the server.
 */
export type MakeManager<C> = (address?: ServerAddress) => ConnectionManager<C>

/** A state in which no connection may reach its next holder. */
export interface DirtyState<C> {
  /** Leaves the connection in that state: an open transaction, a subscription, a running query. */
  leave(connection: C): unknown
  /** Whether a connection that was handed out shows nothing of that state. */
  isClean(connection: C): boolean | Promise<boolean>
}

/**
 * Means to make a manager's connections fail. All are optional. A case that needs a missing one is reported as skipped, with
 * the name of what it needs.
 */
export interface ManagerFaults<C> {
  /**
   * Does work that only a usable connection can do, and compares the answer with the question. Rejects or throws if it
   * cannot. Default: `isValid` returns true.
   */
  use?(connection: C): unknown
  /** Ends one connection on the server's side, and resolves when the server has done so. */
  kill?(connection: C): Promise<unknown>
  /** The server's address. With it, the suite calls `makeManager` with the address of a proxy. */
  readonly server?: ServerAddress | undefined
  /** Number of connections of these managers that the server counts at this moment. */
  count?(): Promise<number>
  /** Managers whose connect can never succeed, by what is wrong with them: a wrong password, no such database. */
  readonly fatal?: Readonly<Record<string, () => ConnectionManager<C>>> | undefined
  /**
   * Starts a statement that the server works on for at least 10 s, and settles when it ends. The suite closes the connection while the
   * statement runs, or cancels the statement.
   */
  longWork?(connection: C): Promise<unknown>
  /** States in which a holder may leave a connection, by name. */
  readonly dirty?: Readonly<Record<string, DirtyState<C>>> | undefined
  /** Maximum duration of one step of the suite, in milliseconds. Default: 5000. */
  readonly timeoutMs?: number | undefined
}

import type { ConnectionManager } from '../../core/manager.ts'

/** Where a server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/**
 * Makes the manager under test. With an address (only where {@link ManagerFaults.server} is given) its connections go
 * there instead of to the server: the suite puts a faulty network between.
 */
export type MakeManager<C> = (address?: ServerAddress) => ConnectionManager<C>

/** A state in which no connection may reach its next borrower. */
export interface DirtyState<C> {
  /** Leaves the connection in that state: a transaction open, a subscription made, a query running. */
  leave(connection: C): unknown
  /** Whether a connection that was handed out shows nothing of it. */
  isClean(connection: C): boolean | Promise<boolean>
}

/**
 * What the suite needs from outside to make a manager's connections fail. All are optional; the cases that need one which
 * is missing are reported as skipped, with the name of what they need.
 */
export interface ManagerFaults<C> {
  /** Work that only a usable connection can do. Rejects, or throws, where it cannot. Default: `isValid` says true. */
  use?(connection: C): unknown
  /** Ends one connection by the server's own means, and resolves when the server has done so. */
  kill?(connection: C): Promise<unknown>
  /** The server's address. With it, `makeManager` is called with the address of a proxy that fails as it is told. */
  readonly server?: ServerAddress | undefined
  /** How many connections of the managers made here the server counts at this moment. */
  count?(): Promise<number>
  /** Managers whose connect can never succeed, by what is wrong with them: a wrong password, no such database. */
  readonly fatal?: Readonly<Record<string, () => ConnectionManager<C>>> | undefined
  /** States in which a borrower may leave a connection, by name. */
  readonly dirty?: Readonly<Record<string, DirtyState<C>>> | undefined
  /** How long one step of the suite may take, in milliseconds. Default: 5000. */
  readonly timeoutMs?: number | undefined
}

import type { PgDriver } from './client.ts'
import type { HostOrder, PgHost } from './hosts.ts'
import type { PgClient as InstalledClient } from './installed.ts'
import type { TargetSessionAttrs } from './target.ts'

/** The state to which a returned connection is restored. */
export type PgReset = 'none' | 'rollback' | 'discard all'

/** Options of {@link PgManager}. */
export interface PgManagerOptions<C extends object = InstalledClient> {
  /** The driver: what `import pg from 'pg'` gives. Default: the installed package `pg`, loaded at the first connect. */
  readonly driver?: PgDriver<C> | undefined
  /**
   * Once per new connection, before its first use: session settings. Also after each `DISCARD ALL`, which forgets them. A
   * throw or rejection, or a transaction left open, is a connect failure.
   */
  readonly onConnect?: ((client: C) => void | Promise<void>) | undefined
  /**
   * The treatment of a returned connection: `rollback`: an open transaction is rolled back, at no cost where there is
   * none; `discard all`: session state too, one round trip each; `none`: a connection in a transaction is closed.
   * One with a query still running is always closed. Default: 'rollback'.
   */
  readonly resetOnRelease?: PgReset | undefined
  /** Several hosts, of which each connection is to one. They replace those of the config. Default: those of the config. */
  readonly hosts?: readonly PgHost[] | undefined
  /**
   * The role that a host must have. A connection whose server has changed its role is not valid any more. `prefer-standby`: a
   * primary when there is no standby. Default: `target_session_attrs` of the connection string, or 'any'.
   */
  readonly targetSessionAttrs?: TargetSessionAttrs | undefined
  /** Whether hosts are tried as they are listed, or in a new random order for each connect. Default: 'ordered'. */
  readonly hostOrder?: HostOrder | undefined
  /** Time that one of several hosts has to answer before the next is tried, in milliseconds. Default: 3,000. */
  readonly hostTimeoutMs?: number | undefined
  /**
   * Interval at which the host names are looked up again. A connection to an address that its name no longer has is drained:
   * closed immediately if it is idle, at return if it is leased. Leave it off for a name that answers with some of its
   * addresses in turn. Default: Infinity (off).
   */
  readonly dnsRefreshMs?: number | undefined
  /**
   * Whether the connections can be shared (`share` of cenote/share): they pipeline, which needs pg 8.23. Leases of the same
   * pool cannot use cursors and streams then, and `query_timeout` is rejected: use `statement_timeout`. Default: false.
   */
  readonly share?: boolean | undefined
}

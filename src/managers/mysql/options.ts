import { callable, checkArguments, duration, type Rule } from '../../core/contract/rules.ts'
import type { MysqlAdapter } from './session.ts'

/** The state to which a returned connection is restored. */
export type MysqlReset = 'none' | 'rollback' | 'reset'

/** A config of the driver, or a connection string. */
export type MysqlConfigOrUrl = object | string

/**
 * The configuration of a manager. A function is called for every connect (rotating credentials); its failure is a connect
 * failure. `undefined`, as of a missing environment variable, is rejected by the constructor.
 */
export type MysqlConfigSource =
  | MysqlConfigOrUrl
  | undefined
  | (() => MysqlConfigOrUrl | Promise<MysqlConfigOrUrl>)

/** The options that both managers share. */
export interface MysqlOptions<C> {
  /**
   * The treatment of a returned connection. `rollback`: an open transaction is rolled back, autocommit and the
   * database are restored; this costs nothing if they are unchanged. `reset`: the rest of the session too (variables,
   * temporary tables, locks, prepared statements), one round trip each. `none`: a connection that is not as it was is
   * closed. A connection with a command still running is always closed, and so is one whose user was changed. A failed
   * statement counts as an open transaction until the next one succeeds. Default: 'rollback'.
   */
  readonly resetOnRelease?: MysqlReset | undefined
  /**
   * Session settings: called with each new connection, and again after each `reset`, which forgets them. A throw or a
   * rejection fails the connect. Default: none.
   */
  readonly onConnect?: ((connection: C) => unknown) | undefined
  /**
   * Interval, in milliseconds, at which the host name is looked up again. A connection to an address that its name no longer
   * has is drained: closed immediately if it is idle, at return if it is leased. Default: Infinity (off).
   */
  readonly dnsRefreshMs?: number | undefined
}

const RESETS: readonly unknown[] = ['none', 'rollback', 'reset']
const resetOnRelease: Rule = {
  allowed: "'none', 'rollback' or 'reset'",
  accepts: (value) => RESETS.includes(value),
}

/** Checks the options of a manager. Throws PoolOptionsError for a wrong one. */
export function checkOptions<O extends object>(adapter: MysqlAdapter, options: O): O {
  const driver: Rule = {
    allowed: adapter.driverRule,
    accepts: (value) =>
      typeof (value as { createConnection?: unknown } | null)?.createConnection === 'function',
  }
  const rules = {
    driver,
    resetOnRelease,
    onConnect: callable,
    dnsRefreshMs: duration('above 0', 'or Infinity'),
  }
  return checkArguments(`options of ${adapter.manager}`, options, rules, '') as O
}

/** The config for the driver. Throws TypeError for a wrong one. */
export function configOf(adapter: MysqlAdapter, config: unknown): Readonly<Record<string, unknown>> {
  if (typeof config === 'string') return adapter.parse(config)
  if (typeof config !== 'object' || config === null)
    throw new TypeError(
      `config must be a connection string, an object for createConnection, or a function (got ${String(config)})`,
    )
  const { stream } = config as { stream?: unknown }
  if (stream !== undefined && typeof stream !== 'function')
    throw new TypeError(
      'config.stream must be a function that opens a stream for each connection (got one stream)',
    )
  return { ...config }
}

import type { ConnectContext, ConnectionManager } from '../core/manager.ts'

/** What a connection is brought back to when it is returned. */
export type PgReset = 'none' | 'rollback' | 'discard all'

/** Options of {@link PgManager}. */
export interface PgManagerOptions {
  /** The driver: what `import pg from 'pg'` gives. Default: the installed package `pg`, loaded at the first connect. */
  readonly driver?: PgDriver | undefined
  /**
   * What happens to a connection that is returned: `rollback`: an open transaction is rolled back, at no cost where there is
   * none; `discard all`: session state too, one round trip each; `none`: a connection in a transaction is closed.
   * One with a query still running is always closed. Default: 'rollback'.
   */
  readonly resetOnRelease?: PgReset | undefined
}

const RESETS: readonly PgReset[] = ['none', 'rollback', 'discard all']
// How long an orderly end of a connection may take before its socket is destroyed.
const GRACE_MS = 1_000
// Errors that no retry will mend: authorization, no such database, no privilege, and what a config gets wrong.
const FATAL_STATES = /^(28|3D000|42501|0A000|22023|42704)/
const MISCONFIGURED = new Set([
  'ERR_INVALID_URL',
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_SOCKET_BAD_PORT',
  'MODULE_NOT_FOUND',
  'ERR_MODULE_NOT_FOUND',
])

/** What the manager knows of a client beyond what the driver tells. */
interface Health {
  broken: boolean
  closing: boolean
}

/**
 * Connections to PostgreSQL with the driver `pg`: `new Pool(new PgManager('postgres://…'))`.
 *
 * A client whose socket ends, or that hears a FATAL error, is known to be broken at once. A connection that comes back in
 * a transaction, or with a query still running, is never handed on as it is.
 */
export class PgManager implements ConnectionManager<PgClient> {
  readonly #config: PgConfig
  readonly #reset: PgReset
  readonly #health = new WeakMap<PgClient, Health>()
  #driver: PgDriver | undefined

  /** `config`: what `new pg.Client(config)` takes, or a connection string. Throws TypeError for a wrong argument. */
  constructor(config: PgConfig | string, options: PgManagerOptions = {}) {
    if (typeof config !== 'string' && (typeof config !== 'object' || config === null)) {
      throw new TypeError(
        `config is ${String(config)}: allowed is a connection string or an object for pg.Client`,
      )
    }
    for (const key of Object.keys(options)) {
      if (key !== 'driver' && key !== 'resetOnRelease') {
        throw new TypeError(`${key} is not one of the options of PgManager: known are driver, resetOnRelease`)
      }
    }
    const { driver, resetOnRelease = 'rollback' } = options
    if (!RESETS.includes(resetOnRelease)) {
      throw new TypeError(
        `resetOnRelease is '${String(resetOnRelease)}': allowed is ${RESETS.map((reset) => `'${reset}'`).join(', ')}`,
      )
    }
    if (driver !== undefined && typeof driver.Client !== 'function') {
      throw new TypeError("driver has no class Client: allowed is what `import pg from 'pg'` gives")
    }
    this.#config = typeof config === 'string' ? { connectionString: config } : { ...config }
    this.#reset = resetOnRelease
    this.#driver = driver
  }

  async connect({ signal, lost }: ConnectContext): Promise<PgClient> {
    const driver = (this.#driver ??= await loadDriver())
    signal.throwIfAborted()
    const client = new (driver.Client as new (config: PgConfig) => PgClient)(this.#config)
    const health: Health = { broken: false, closing: false }
    this.#health.set(client, health)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    client.on('error', broke)
    client.on('end', broke)
    // The server says FATAL before its socket ends, and to a client with a query running the driver tells only the query.
    client.connection?.on('errorMessage', (message) => {
      if (isFatalMessage(message)) broke(message)
    })
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort)
    try {
      await client.connect()
      signal.throwIfAborted()
      return client
    } catch (error) {
      health.closing = true
      destroySocket(client)
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(client: PgClient, signal: AbortSignal): Promise<boolean> {
    // A check that takes too long leaves a query behind: the socket goes with it.
    const onAbort = (): void => destroySocket(client)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await client.query('')
      return true
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(client: PgClient, error?: unknown): boolean {
    const health = this.#health.get(client)
    if (health?.broken === true || client._ended === true || client._queryable === false) return true
    return error !== undefined && isFatalMessage(error)
  }

  reset(client: PgClient): boolean | void | Promise<boolean> {
    if (isBusy(client)) return false
    const isClean = client.readyForQuery !== false && (client._txStatus ?? 'I') === 'I'
    if (this.#reset === 'discard all')
      return run(client, isClean ? ['DISCARD ALL'] : ['ROLLBACK', 'DISCARD ALL'])
    if (isClean) return
    return this.#reset === 'none' ? false : run(client, ['ROLLBACK'])
  }

  async close(client: PgClient): Promise<void> {
    const health = this.#health.get(client)
    const isDead = this.hasBroken(client) || isBusy(client)
    if (health !== undefined) health.closing = true
    if (isDead) {
      destroySocket(client)
      return
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        destroySocket(client)
        resolve()
      }, GRACE_MS)
      timer.unref()
      client.end().then(
        () => {
          clearTimeout(timer)
          resolve()
        },
        () => {
          clearTimeout(timer)
          destroySocket(client)
          resolve()
        },
      )
    })
  }

  isFatal(error: unknown): boolean {
    const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
    if (typeof code === 'string') return FATAL_STATES.test(code) || MISCONFIGURED.has(code)
    // The driver's own errors of a wrong config have no code.
    return error instanceof Error && /SASL|does not support SSL|password must be a string/.test(error.message)
  }
}

async function loadDriver(): Promise<PgDriver> {
  try {
    const name = 'pg'
    const loaded = (await import(name)) as { default?: PgDriver } & PgDriver
    return loaded.default ?? loaded
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    throw Object.assign(new Error("cenote/pg needs the package 'pg': npm install pg", { cause }), {
      code: 'ERR_MODULE_NOT_FOUND',
    })
  }
}

async function run(client: PgClient, statements: readonly string[]): Promise<boolean> {
  for (const statement of statements) await client.query(statement)
  return true
}

function isBusy(client: PgClient): boolean {
  return (client._activeQuery ?? null) !== null || (client._queryQueue?.length ?? 0) > 0
}

function isFatalMessage(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { severity } = error as { severity?: unknown }
  return severity === 'FATAL' || severity === 'PANIC'
}

function destroySocket(client: PgClient): void {
  client.connection?.stream?.destroy()
}

/** What `new pg.Client` takes; its options are the driver's. */
export interface PgConfig {
  readonly connectionString?: string | undefined
  readonly [option: string]: unknown
}

/** The part of the package `pg` that is used. */
export interface PgDriver {
  // The driver's own config type is wider in some places and narrower in others than any that could be written here.
  readonly Client: new (config: never) => PgClient
}

/** A client of `pg`, as far as it is used. */
export interface PgClient {
  connect(): Promise<unknown>
  query<R extends Record<string, unknown> = Record<string, unknown>>(
    text: string | { text: string; values?: unknown[]; name?: string },
    values?: unknown[],
  ): Promise<{ rows: R[]; rowCount: number | null }>
  end(): Promise<void>
  on(event: 'error' | 'end' | 'notification' | 'notice', listener: (payload?: unknown) => void): unknown
  readonly processID?: number | null
  readonly readyForQuery?: boolean
  readonly connection?: {
    on(event: string, listener: (message: unknown) => void): unknown
    readonly stream?: { destroy(): unknown }
  }
  readonly _ended?: boolean
  readonly _queryable?: boolean
  readonly _txStatus?: string | null
  readonly _activeQuery?: unknown
  readonly _queryQueue?: { readonly length: number }
}

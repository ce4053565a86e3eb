import { type ConnectContext, type ConnectionManager, type Lease } from '../../index.ts'
import { Mysql2Manager } from '../../managers/mysql/mysql2.ts'
import type { DriverConnection, Mysql2Module } from './driver.ts'

/** Time for which idle connections above `maxIdle` are kept. */
const SURPLUS_MS = 1_000

/** The reports of connections to their pool. */
export interface ConnectionOwner {
  readonly maxIdle: number
  /** A connection was released, and may already belong to the next caller. */
  released(connection: DriverConnection): void
}

/** Opens and ends the connections of one pool: instances of the driver's PoolConnection, which release themselves. */
export class Connections implements ConnectionManager<DriverConnection> {
  readonly #owner: ConnectionOwner
  readonly #manager: Mysql2Manager<DriverConnection>
  readonly #lost = new WeakMap<DriverConnection, ConnectContext['lost']>()
  readonly #leases = new Map<DriverConnection, Lease<DriverConnection>>()
  readonly #idle = new Set<DriverConnection>()
  #timer: NodeJS.Timeout | undefined

  constructor(
    owner: ConnectionOwner,
    pool: object,
    driver: Mysql2Module,
    config: Record<string, unknown>,
    resetOnRelease: boolean,
  ) {
    this.#owner = owner
    const Connection = connectionClass(this, driver)
    this.#manager = new Mysql2Manager(config, {
      driver: {
        createConnection: (given: object) =>
          new Connection(pool, { config: new driver.ConnectionConfig({ ...given, pool }) }),
      },
      resetOnRelease: resetOnRelease ? 'reset' : 'rollback',
    })
  }

  async connect(context: ConnectContext): Promise<DriverConnection> {
    const connection = await this.#manager.connect(context)
    this.#lost.set(connection, context.lost)
    return connection
  }

  isValid(connection: DriverConnection, signal: AbortSignal): Promise<boolean> {
    return this.#manager.isValid(connection, signal)
  }

  hasBroken(connection: DriverConnection, error?: unknown): boolean {
    return this.#manager.hasBroken(connection, error)
  }

  reset(connection: DriverConnection): boolean | void | Promise<boolean> {
    return this.#manager.reset(connection)
  }

  isFatal(error: unknown): boolean {
    return this.#manager.isFatal(error)
  }

  close(connection: DriverConnection): Promise<void> {
    this.#idle.delete(connection)
    connection._pool = null
    return this.#manager.close(connection)
  }

  cancel(connection: DriverConnection, signal: AbortSignal): Promise<void> {
    return this.#manager.cancel(connection, signal)
  }

  ref(connection: DriverConnection): void {
    this.#manager.ref(connection)
  }

  unref(connection: DriverConnection): void {
    this.#manager.unref(connection)
  }

  /** Number of connections in use. */
  get lent(): number {
    return this.#leases.size
  }

  /** Makes a lease the driver's kind of checkout: the connection, whose `release` and `destroy` end the lease. */
  lend(lease: Lease<DriverConnection>): DriverConnection {
    const { connection } = lease
    this.#idle.delete(connection)
    this.#leases.set(connection, lease)
    connection._released = false
    return connection
  }

  /** Releases a connection; does nothing if it is not leased. */
  giveBack(connection: DriverConnection): void {
    const lease = this.#leases.get(connection)
    if (lease === undefined) return
    this.#leases.delete(connection)
    connection._released = true
    connection.lastActiveTime = Date.now()
    this.#idle.add(connection)
    lease.release()
    this.#owner.released(connection)
    if (this.#idle.size > this.#owner.maxIdle) this.#closeSurplusSoon()
  }

  /** Closes a leased connection; does nothing if it is not leased. */
  discard(connection: DriverConnection): void {
    const lease = this.#leases.get(connection)
    if (lease === undefined) return
    this.#leases.delete(connection)
    connection._released = true
    lease.destroy()
  }

  /** Lets every connection in use end after the commands that it was given. */
  endLent(): void {
    clearTimeout(this.#timer)
    for (const connection of this.#leases.keys()) connection._realEnd()
  }

  #closeSurplusSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      let surplus = this.#idle.size - this.#owner.maxIdle
      // Connections that are idle for longest come first.
      for (const connection of this.#idle) {
        if (surplus-- <= 0) break
        this.#idle.delete(connection)
        this.#lost.get(connection)?.()
      }
    }, SURPLUS_MS).unref()
  }
}

// The driver's connections, whose methods end the lease of the pool underneath.
function connectionClass(connections: Connections, driver: Mysql2Module): Mysql2Module['PoolConnection'] {
  return class PooledConnection extends driver.PoolConnection {
    override release(): void {
      connections.giveBack(this)
    }

    override destroy(): void {
      this.close()
      connections.discard(this)
    }

    override end(callback?: (error?: unknown) => unknown): unknown {
      if (this.config.gracefulEnd === true) return this._realEnd(callback)
      this.release()
      callback?.()
      return undefined
    }

    // The driver calls it when the connection has ended or failed.
    override _removeFromPool(): void {
      connections.discard(this)
    }
  }
}

import { AcquireTimeoutError, ConnectError, type Lease, type Pool, PoolClosedError } from '../../index.ts'

import type { ClientManager, DriverClient } from './clients.ts'

export const ENDED = 'Cannot use a pool after calling end on the pool'

/** A caller that waits for a client. */
interface Caller {
  resolve(client: DriverClient): void
  reject(error: unknown): void
  /** The attempts to connect that were begun before the caller came. */
  readonly since: number
  /** On the clock of `performance`. */
  readonly deadline: number
}

/** The parts of the pool that the callers use. */
interface Host {
  /** Makes a lease the client of a caller. */
  lend(lease: Lease<DriverClient>): DriverClient
  /** A caller came, or was served or rejected. */
  changed(): void
}

/** The callers that wait for a client of one pool. */
export class Callers {
  readonly #core: Pool<DriverClient>
  readonly #manager: ClientManager
  readonly #host: Host
  readonly #waiting = new Set<Caller>()

  constructor(core: Pool<DriverClient>, manager: ClientManager, host: Host) {
    this.#core = core
    this.#manager = manager
    this.#host = host
  }

  get size(): number {
    return this.#waiting.size
  }

  connect(limitMs: number): Promise<DriverClient> {
    const deadline = performance.now() + limitMs
    const since = this.#manager.attempts
    return new Promise((resolve, reject) => void this.#serve({ resolve, reject, deadline, since }))
  }

  /** Rejects the callers for whom there is neither a client nor room for one: they would wait for a client in use. */
  refuseWithoutRoom(): void {
    const { waiting, maxSize, inUse } = this.#core.state()
    const served = this.#waiting.size - waiting + Math.max(0, maxSize - inUse)
    for (const caller of [...this.#waiting].slice(served)) {
      this.#waiting.delete(caller)
      caller.reject(new Error(ENDED))
    }
  }

  async #serve(caller: Caller): Promise<void> {
    this.#waiting.add(caller)
    this.#host.changed()
    try {
      const lease = await this.#acquire(caller)
      // `end` has rejected the caller in the meantime.
      if (this.#waiting.delete(caller)) caller.resolve(this.#host.lend(lease))
      else lease.release()
    } catch (error) {
      this.#waiting.delete(caller)
      caller.reject(translate(error))
    }
    this.#host.changed()
  }

  // The failure of an attempt that began before the caller came is not the caller's: it gets an attempt of its own.
  async #acquire(caller: Caller): Promise<Lease<DriverClient>> {
    for (let timeoutMs = Infinity; ; timeoutMs = caller.deadline - performance.now()) {
      try {
        return await this.#core.acquire(timeoutMs === Infinity ? undefined : { timeoutMs })
      } catch (error) {
        const isOlder = error instanceof ConnectError && this.#manager.isOlder(error.cause, caller.since)
        if (!isOlder || !this.#waiting.has(caller) || performance.now() >= caller.deadline) throw error
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }
}

/** The error that pg-pool has for an error of the pool underneath. */
export function translate(error: unknown): unknown {
  if (error instanceof AcquireTimeoutError) {
    const message =
      error.phase === 'queue'
        ? 'timeout exceeded when trying to connect'
        : 'Connection terminated due to connection timeout'
    return new Error(message, { cause: error })
  }
  if (error instanceof PoolClosedError) return new Error(ENDED, { cause: error })
  if (!(error instanceof ConnectError)) return error
  return error.cause
}

import { Lease } from '../core/callers/lease.ts'
import { isPoolError, type PoolError } from '../core/contract/errors.ts'
import type { Need } from '../core/contract/options.ts'
import type { PoolEngine } from '../core/engine.ts'
import type { Limits } from './options.ts'
import type { Probe } from './probe.ts'

// Time after a failure in which no connection is opened without a waiting caller.
const QUIET_MS = 1_000

interface WantedPlace {
  readonly signal: AbortSignal
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** The connections for which leases are taken. */
export interface Opened<C> {
  /** Connections that the share holds. */
  readonly held: number
  /** Seats that the usable connections have together, and places that exist. */
  readonly capacity: number
  readonly places: number
  /** Seats that one more connection is expected to have. */
  readonly expected: number
  readonly losses: number
  /** A lease that may carry seats. `losses` had happened when it was asked for. */
  arrived(lease: Lease<C>, losses: number): void
  /** The share waits for one lease less: another waiter of the pool below is seen from now on. */
  waited(): void
  /** A place is given to a caller. */
  granted(): void
}

/** Takes leases of the pool below, as many as there are callers for whom no connection has a seat. */
export class Opening<C> {
  /** Leases that are waited for in the pool below. */
  waiting = 0
  readonly #pool: PoolEngine<C>
  readonly #limits: Limits
  readonly #probe: Probe<C>
  readonly #opened: Opened<C>
  readonly #wanted: WantedPlace[] = []
  readonly #abort = new AbortController()
  // Errors after which the pool below does not retry.
  readonly #finals = new WeakSet<object>()
  #opening = 0
  #quietUntil = -Infinity

  constructor(pool: PoolEngine<C>, limits: Limits, probe: Probe<C>, opened: Opened<C>) {
    this.#pool = pool
    this.#limits = limits
    this.#probe = probe
    this.#opened = opened
  }

  get isWanted(): boolean {
    return this.#wanted.length > 0
  }

  place(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ signal, resolve, reject })
      this.openWanted()
    })
  }

  isFinal(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#finals.has(error)
  }

  /** Opens one more connection, although no caller waits: each has as many seats taken as `depth`. */
  openDeeper(): void {
    if (this.#pool.calls.clock.now() >= this.#quietUntil && this.#opening === 0) this.#openIfAllowed()
  }

  openWanted(): void {
    const { capacity, places, expected } = this.#opened
    let lacking = this.#wanted.length - Math.max(0, capacity - places) - this.#opening * expected
    for (; lacking > 0; lacking -= expected) if (!this.#openIfAllowed()) return
  }

  /** Gives a place to each caller for whom a connection has one now. */
  pump(): void {
    while (this.#wanted.length > 0 && this.#opened.places < this.#opened.capacity) {
      const wanted = this.#wanted.shift()
      if (wanted === undefined || wanted.signal.aborted) continue
      this.#opened.granted()
      wanted.resolve()
    }
    this.openWanted()
  }

  /** Opens nothing any more. */
  shut(): void {
    this.#abort.abort(new Error('the share was closed'))
  }

  #openIfAllowed(): boolean {
    const isProbing = this.#probe.result === undefined && this.#opening > 0
    const isFull = this.#opened.held + this.#opening >= this.#limits.connections
    if (this.#abort.signal.aborted || isProbing || isFull) return false
    this.#opening++
    this.#pool.calls.inPoolContext(() => void this.#open())
    return true
  }

  async #open(): Promise<void> {
    const { losses } = this.#opened
    try {
      // 'retry' would overtake the exclusive callers of the pool below.
      const lease = await this.#acquire(losses > 0 ? 'fresh' : 'any')
      this.#opening--
      if (lease !== undefined) {
        this.#quietUntil = -Infinity
        this.#opened.arrived(lease, losses)
      }
    } catch (error) {
      this.#opening--
      this.#failed(error)
    }
    this.pump()
  }

  // Acquires a lease that may carry seats. Resolves with undefined if it may not: another one is needed.
  async #acquire(need: Need): Promise<Lease<C> | undefined> {
    const { signal } = this.#abort
    this.waiting++
    let lease: Lease<C>
    try {
      lease = await this.#pool.checkout.acquire({ signal }, need)
    } finally {
      this.waiting--
      this.#opened.waited()
    }
    let lost: { readonly cause: unknown } | undefined
    Lease.watch(lease, (cause) => (lost ??= { cause }))
    const isFit = this.#probe.result !== undefined || (await this.#probe.passes(lease))
    if (!isFit) return undefined
    Lease.watch(lease, undefined)
    if (!signal.aborted && lost === undefined && Lease.reasonToClose(lease, undefined) !== 'lost')
      return lease
    lease.release(lost?.cause)
    return undefined
  }

  #failed(error: unknown): void {
    this.#quietUntil = this.#pool.calls.clock.now() + QUIET_MS
    const code = isPoolError(error) ? error.code : undefined
    const hasOwnCause = code === 'CONNECT_FAILED' || code === 'ACQUIRE_TIMEOUT'
    const cause = hasOwnCause ? ((error as PoolError).cause ?? error) : error
    const isFinal = code === 'CONNECT_FAILED' || code === 'POOL_CLOSED'
    if (isFinal && typeof cause === 'object' && cause !== null) this.#finals.add(cause)
    for (const wanted of this.#wanted.splice(0)) wanted.reject(cause)
  }
}

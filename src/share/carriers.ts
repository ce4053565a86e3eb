import { Lease } from '../core/callers/lease.ts'
import { PoolError } from '../core/contract/errors.ts'
import { textOf } from '../core/contract/messages.ts'
import type { ShareableConnection } from '../core/contract/share.ts'
import type { PoolEngine } from '../core/engine.ts'
import { Carrier } from './carrier.ts'
import { type Opened, Opening } from './opening.ts'
import { type Inspected, Inspection } from './inspection.ts'
import type { Limits } from './options.ts'
import type { Capacity } from './places.ts'
import { Probe } from './probe.ts'
import type { Yielding } from './yielding.ts'

// Behind a pooler a connection takes no new seat when it has not been empty for so long.
const POOLED_MS = 20
// Seats that are assumed of a connection whose limit is known only when it is open.
const ASSUMED_SEATS = 100

/** The counters of places. */
interface Counting {
  /** Places that exist. */
  places(): number
  /** One more exists. */
  granted(): void
  /** `largest` has changed. */
  grown(): void
}

/** The connections that a share holds: opens, drains and returns them, and chooses the one for each seat. */
export class Carriers<C> implements Capacity, Opened<C>, Inspected<C> {
  readonly all: Carrier<C>[] = []
  /** Connections that were lost or dirty. */
  losses = 0
  dirtied = 0
  /** The most seats that one connection was seen to have. */
  largest = 1
  readonly limits: Limits
  readonly shared: ShareableConnection<C>

  readonly #pool: PoolEngine<C>
  readonly #places: () => number
  readonly granted: () => void
  readonly #grown: () => void
  readonly #probe: Probe<C>
  readonly #opening: Opening<C>
  readonly #inspection: Inspection<C>
  #yielding: Yielding<C> | undefined = undefined
  #isQueued: () => boolean = () => false
  #isLimitKnown: boolean
  #isClosed = false

  constructor(
    pool: PoolEngine<C>,
    shared: ShareableConnection<C>,
    limits: Limits,
    { places, granted, grown }: Counting,
  ) {
    this.#pool = pool
    this.shared = shared
    this.limits = limits
    this.#places = places
    this.granted = granted
    this.#grown = grown
    this.#isLimitKnown = typeof shared.perConnection === 'number'
    this.#probe = new Probe(pool, shared, limits.name)
    this.largest = Math.min(
      limits.perConnection,
      typeof shared.perConnection === 'number' ? shared.perConnection : ASSUMED_SEATS,
    )
    this.#opening = new Opening(pool, limits, this.#probe, this)
    this.#inspection = new Inspection(pool, this)
  }

  /** Gives connections to other callers of the pool below from now on. `isQueued`: whether callers wait for a seat. */
  yieldTo(yielding: Yielding<C>, isQueued: () => boolean): void {
    this.#yielding = yielding
    this.#isQueued = isQueued
  }

  /** Leases that the share waits for in the pool below. */
  get waiting(): number {
    return this.#opening.waiting
  }

  /** Connections that count against the limit: a silent one is replaced. */
  get held(): number {
    return this.all.reduce((sum, { isSilent }) => (isSilent ? sum : sum + 1), 0)
  }

  /** Seats that are taken on silent connections: no other caller can have them. */
  get stuck(): number {
    return this.all.reduce((sum, { isSilent, taken }) => (isSilent ? sum + taken : sum), 0)
  }

  get places(): number {
    return this.#places()
  }

  get expected(): number {
    return this.isPipelining ? this.largest : 1
  }

  get isAwaited(): boolean {
    return this.#isQueued()
  }

  get isPipelining(): boolean {
    return this.#probe.result !== false
  }

  get capacity(): number {
    let seats = this.stuck
    for (const carrier of this.all) if (this.#isUsable(carrier)) seats += this.limitOf(carrier)
    return seats
  }

  /** Seats of all connections, also of those that are drained. */
  get seats(): number {
    return this.all.reduce((sum, carrier) => sum + this.limitOf(carrier), 0)
  }

  get taken(): number {
    return this.all.reduce((sum, { taken }) => sum + taken, 0)
  }

  /** Maximum number of seats on one connection at the moment. */
  limitOf({ connection, taken }: Carrier<C>): number {
    if (!this.isPipelining) return 1
    const { perConnection } = this.shared
    const { perConnection: most } = this.limits
    if (typeof perConnection === 'number') return perConnection < most ? perConnection : most
    let limit = 0
    try {
      limit = this.shared.perConnection instanceof Function ? this.shared.perConnection(connection) : 0
    } catch (error) {
      this.#pool.reports.report(error)
    }
    // An empty connection is full only if it is broken.
    if (!(limit >= 1)) return taken === 0 ? 1 : 0
    if (limit > this.largest && this.largest < most) {
      this.largest = Math.min(limit, most)
      this.#grown()
    }
    return limit < most ? limit : most
  }

  /** The usable connection with the fewest seats taken, for one more. Prefers those known to work after so many losses. */
  pick(provenAfter: number): Carrier<C> | undefined {
    for (;;) {
      const carrier = this.#best(provenAfter)
      if (carrier === undefined) return undefined
      if (!this.#hasBroken(carrier, undefined)) {
        if (carrier.taken >= this.limits.depth) this.#opening.openDeeper()
        return carrier
      }
      this.lose(carrier, new Error('the connection broke'))
    }
  }

  take(carrier: Carrier<C>): void {
    if (carrier.taken === 0 && carrier.isPooled) carrier.emptyAt = this.#pool.calls.clock.now()
    carrier.taken++
    carrier.cork()
  }

  leave(carrier: Carrier<C>): void {
    carrier.taken--
    if (carrier.loss !== undefined) return
    if (!carrier.hasServed) {
      carrier.hasServed = true
      Lease.served(carrier.lease)
    }
    if (carrier.taken === 0 && (carrier.isDraining || this.#isClosed || this.#yielding?.isAsked === true))
      this.#giveBack(carrier)
    if (this.#opening.isWanted) this.#opening.pump()
  }

  /** Takes no new seat on the connection, and returns it when it is empty. */
  drain(carrier: Carrier<C>): void {
    carrier.isDraining = true
    if (carrier.taken === 0) this.#giveBack(carrier)
  }

  /** The connection broke: every seat of it has the same cause. */
  lose(carrier: Carrier<C>, cause: unknown): void {
    if (carrier.loss !== undefined) return
    const { name } = this.limits
    const text = `a connection of share '${name}' was lost: ${textOf(cause)}. Set retries for work that may run twice`
    this.#end(carrier, new PoolError('CONNECTION_LOST', text, { pool: name, cause }), (lease) => {
      const reason = Lease.reasonToClose(lease, cause)
      if (reason === undefined) lease.destroy()
      else lease.release(cause)
    })
  }

  /** A statement changed the session for all: the connection is closed, and what was sent behind it is lost. */
  soil(carrier: Carrier<C>, cause: PoolError): void {
    if (carrier.loss !== undefined) return
    const { name } = this.limits
    const text = `a connection of share '${name}' was closed before it answered, because another caller changed its session. Set retries for work that may run twice`
    this.dirtied++
    this.#pool.reports.report(cause)
    this.#end(carrier, new PoolError('CONNECTION_LOST', text, { pool: name, cause }), (lease) =>
      lease.destroy(),
    )
  }

  lossBy(carrier: Carrier<C>, error: unknown): PoolError | undefined {
    if (carrier.loss === undefined && this.#hasBroken(carrier, error)) this.lose(carrier, error)
    return carrier.loss
  }

  place(signal: AbortSignal): Promise<void> {
    return this.#opening.place(signal)
  }

  isFinal(error: unknown): boolean {
    return this.#opening.isFinal(error)
  }

  /** Returns empty connections that no place needs. */
  trim(): void {
    for (const carrier of this.all.toReversed()) {
      if (carrier.taken > 0 || carrier.isDraining) continue
      const others = this.all.filter((other) => other !== carrier && this.#isUsable(other))
      const seats = others.reduce((sum, other) => sum + Math.min(this.limits.depth, this.limitOf(other)), 0)
      if (this.#places() - this.stuck <= seats) this.#giveBack(carrier)
    }
  }

  /** Whether the connection answers, for work that runs again after a loss. */
  async prove(carrier: Carrier<C>): Promise<void> {
    if (carrier.unanswered > 0) {
      await new Promise<void>((resolve) => carrier.onProof.add(resolve))
      return
    }
    const { calls, manager, options } = this.#pool
    const controller = new AbortController()
    const bounds = { what: 'isValid', limitMs: options.validationTimeoutMs, controller }
    const outcome = await calls.outcome(bounds, () => manager.isValid(carrier.connection, controller.signal))
    if (outcome.ok && outcome.value === true) carrier.provenAfter = this.losses
    else this.lose(carrier, outcome.ok ? new Error('isValid returned false') : outcome.error)
  }

  /** Opens nothing any more, and returns each connection when it is empty. */
  shut(): void {
    this.#isClosed = true
    this.#opening.shut()
    for (const carrier of [...this.all]) if (carrier.taken === 0) this.#giveBack(carrier)
  }

  /** Closes what is not empty. */
  stop(): void {
    for (const carrier of [...this.all]) {
      if (carrier.taken === 0) this.#giveBack(carrier)
      else this.lose(carrier, new Error('the share was closed'))
    }
    this.#inspection.stop()
    this.#yielding?.stop()
  }

  #isUsable(carrier: Carrier<C>): boolean {
    if (carrier.isDraining) return false
    return (
      !carrier.isPooled || carrier.taken === 0 || this.#pool.calls.clock.now() - carrier.emptyAt < POOLED_MS
    )
  }

  #best(provenAfter: number): Carrier<C> | undefined {
    let best: Carrier<C> | undefined
    for (const carrier of this.all) {
      if (!this.#isUsable(carrier) || carrier.taken >= this.limitOf(carrier)) continue
      if (best === undefined || isBetter(carrier, best, provenAfter)) best = carrier
    }
    return best
  }

  #hasBroken(carrier: Carrier<C>, error: unknown): boolean {
    try {
      return this.#pool.manager.hasBroken(carrier.connection, error)
    } catch (thrown) {
      this.#pool.reports.report(thrown)
      return true
    }
  }

  #end(carrier: Carrier<C>, loss: PoolError, close: (lease: Lease<C>) => void): void {
    this.losses++
    carrier.loss = loss
    this.#remove(carrier)
    close(carrier.lease)
    carrier.settleProofs()
    carrier.end(loss)
    this.#opening.openWanted()
  }

  #giveBack(carrier: Carrier<C>): void {
    carrier.uncork()
    if (!this.#remove(carrier)) return
    carrier.lease.release()
    this.#opening.openWanted()
  }

  #remove(carrier: Carrier<C>): boolean {
    const index = this.all.indexOf(carrier)
    if (index === -1) return false
    this.all.splice(index, 1)
    Lease.watch(carrier.lease, undefined)
    this.#yielding?.gaveBack(carrier)
    if (carrier.isSilent) this.#grown()
    if (this.all.length === 0) this.#inspection.end()
    return true
  }

  waited(): void {
    this.#yielding?.look()
  }

  silenced(): void {
    this.#grown()
  }

  inspected(): void {
    this.#opening.pump()
  }

  arrived(lease: Lease<C>, losses: number): void {
    const now = this.#pool.calls.clock.now()
    const carrier = new Carrier(lease, this.shared, now, losses, (error) => this.lose(carrier, error))
    Lease.watch(lease, (cause) => this.lose(carrier, cause ?? new Error('the connection was lost')))
    this.all.push(carrier)
    this.#inspection.begin(now)
    this.#yielding?.holds(carrier)
    const limit = this.limitOf(carrier)
    if (this.#isLimitKnown) return
    this.#isLimitKnown = true
    this.largest = limit
    this.#grown()
  }
}

function isBetter<C>(one: Carrier<C>, other: Carrier<C>, provenAfter: number): boolean {
  const [isProven, wasProven] = [one.provenAfter >= provenAfter, other.provenAfter >= provenAfter]
  if (isProven !== wasProven) return isProven
  if (one.taken !== other.taken) return one.taken < other.taken
  // A connection that waits for a slow statement has not answered lately.
  return one.unanswered > 0 && other.unanswered > 0
    ? one.lastAnswer > other.lastAnswer
    : one.unanswered < other.unanswered
}

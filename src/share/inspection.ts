import { Lease } from '../core/callers/lease.ts'
import type { PoolEngine } from '../core/engine.ts'
import { Alarm } from '../core/runtime/alarm.ts'
import type { Carrier } from './carrier.ts'

// Interval of inspections: an expired connection is returned within 1 s.
const INSPECT_MS = 500

/** The connections of a share, and what is done with those that are no longer fit. */
export interface Inspected<C> {
  readonly limits: { readonly name: string }
  readonly all: readonly Carrier<C>[]
  lose(carrier: Carrier<C>, cause: unknown): void
  drain(carrier: Carrier<C>): void
  /** A connection is silent from now on: another one may be opened in addition. */
  silenced(): void
  /** All connections were inspected. */
  inspected(): void
}

interface Seen {
  readonly answer: number
  readonly at: number
}

/**
 * Finds connections that are broken, expired or silent. A silent one has statements that are unanswered, and has answered none
 * for `validationTimeoutMs`: the statement may be slow, or the connection may be dead. The share cannot distinguish the two, so it sends
 * nothing more there, leaves it to the callers that wait for it, and closes it when none does.
 */
export class Inspection<C> {
  readonly #pool: PoolEngine<C>
  readonly #carriers: Inspected<C>
  readonly #alarm: Alarm
  // Looked at here, because a clock reading for each statement would cost as much as the seat.
  readonly #seen = new WeakMap<Carrier<C>, Seen>()

  constructor(pool: PoolEngine<C>, carriers: Inspected<C>) {
    this.#pool = pool
    this.#carriers = carriers
    this.#alarm = new Alarm(pool.calls.clock, false, () => this.#inspect())
  }

  /** A connection has arrived. */
  begin(now: number): void {
    this.#alarm.setBy(now + INSPECT_MS)
  }

  /** No connection is left. */
  end(): void {
    this.#alarm.clear()
  }

  stop(): void {
    this.#alarm.stop()
  }

  #inspect(): void {
    const now = this.#pool.calls.clock.now()
    for (const carrier of [...this.#carriers.all]) {
      const reason = Lease.reasonToClose(carrier.lease, undefined)
      if (reason === 'broken' || reason === 'lost')
        this.#carriers.lose(carrier, new Error('the connection broke'))
      else if (carrier.isSilent ? !carrier.isAwaited : this.#isSilent(carrier, now)) this.#silence(carrier)
      else if (reason !== undefined && !carrier.isDraining) this.#carriers.drain(carrier)
    }
    this.#carriers.inspected()
    if (this.#carriers.all.length > 0) this.#alarm.setBy(now + INSPECT_MS)
  }

  #isSilent(carrier: Carrier<C>, now: number): boolean {
    const { lastAnswer: answer, unanswered } = carrier
    const seen = this.#seen.get(carrier)
    if (unanswered === 0) this.#seen.delete(carrier)
    else if (seen?.answer !== answer) this.#seen.set(carrier, { answer, at: now })
    else return now - seen.at >= this.#pool.options.validationTimeoutMs
    return false
  }

  #silence(carrier: Carrier<C>): void {
    const { validationTimeoutMs } = this.#pool.options
    const { name } = this.#carriers.limits
    const error = new Error(`a connection of share '${name}' has not answered for ${validationTimeoutMs} ms`)
    if (!carrier.isAwaited) return this.#carriers.lose(carrier, error)
    carrier.isSilent = true
    this.#carriers.drain(carrier)
    this.#carriers.silenced()
    this.#pool.reports.report(error)
  }
}

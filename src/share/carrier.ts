import type { Lease } from '../core/callers/lease.ts'
import type { PoolError } from '../core/contract/errors.ts'
import type { ShareableConnection } from '../core/contract/share.ts'

let answers = 0

/** A caller that uses a connection. */
export interface Occupant {
  /** The connection is lost, with this error for all its callers. */
  lost(loss: PoolError): void
  /** Whether the caller still waits for its outcome. */
  readonly isOpen: boolean
  previous: Occupant | undefined
  next: Occupant | undefined
}

/** A connection that the share holds, and its callers. Only Carriers changes its counts. */
export class Carrier<C> {
  readonly lease: Lease<C>
  readonly connection: C
  /** Seats that are taken. */
  taken = 0
  /** Statements that are sent and not answered. */
  unanswered = 0
  /** The number of its last answer, among all answers of the process. */
  lastAnswer = 0
  /** Takes no new seat, and is returned when it is empty. */
  isDraining = false
  /** Has not answered for long: it is drained, and the share may hold another connection in addition. */
  isSilent = false
  /** Whether a seat has ended on it. */
  hasServed = false
  /** The error of every seat, once the connection is lost or dirty. */
  loss: PoolError | undefined = undefined
  /** When it was last empty. */
  emptyAt: number
  /** The number of losses of the share after which it was last known to work. */
  provenAfter: number
  readonly isPooled: boolean
  /** Called at the next answer, or at the loss. */
  readonly onProof: Set<() => void> = new Set()

  readonly #shared: ShareableConnection<C>
  readonly #failed: (error: unknown) => void
  // A linked list: a set would cost as much as the rest of a seat.
  #first: Occupant | undefined = undefined
  #isCorked = false
  readonly #uncork: (() => void) | undefined

  /** `failed` is called when a write could not be held back or sent. */
  constructor(
    lease: Lease<C>,
    shared: ShareableConnection<C>,
    now: number,
    losses: number,
    failed: (error: unknown) => void,
  ) {
    this.lease = lease
    this.connection = lease.connection
    this.#shared = shared
    this.#failed = failed
    this.emptyAt = now
    this.provenAfter = losses
    this.isPooled = shared.isPooled?.(this.connection) === true
    this.#uncork = shared.cork === undefined ? undefined : (): void => this.uncork()
  }

  add(seat: Occupant): void {
    const first = this.#first
    if (first !== undefined) first.previous = seat
    seat.next = first
    this.#first = seat
  }

  remove(seat: Occupant): void {
    const { previous, next } = seat
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next !== undefined) next.previous = previous
    seat.previous = undefined
    seat.next = undefined
  }

  /** Whether any caller still waits for an answer. */
  get isAwaited(): boolean {
    for (let seat = this.#first; seat !== undefined; seat = seat.next) if (seat.isOpen) return true
    return false
  }

  /** Notifies every caller that the connection is lost. */
  end(loss: PoolError): void {
    const seats: Occupant[] = []
    for (let seat = this.#first; seat !== undefined; seat = seat.next) seats.push(seat)
    for (const seat of seats) seat.lost(loss)
  }

  /** Holds back writes until the end of the event loop's turn: all callers of one turn share one write. */
  cork(): void {
    if (this.#isCorked || this.#uncork === undefined) return
    this.#isCorked = true
    try {
      this.#shared.cork?.(this.connection)
      setImmediate(this.#uncork)
    } catch (error) {
      this.#isCorked = false
      this.#failed(error)
    }
  }

  uncork(): void {
    if (!this.#isCorked) return
    this.#isCorked = false
    try {
      this.#shared.uncork?.(this.connection)
    } catch (error) {
      this.#failed(error)
    }
  }

  answered(losses: number): void {
    this.unanswered--
    this.lastAnswer = ++answers
    this.provenAfter = losses
    if (this.onProof.size > 0) this.settleProofs()
  }

  settleProofs(): void {
    const waiting = [...this.onProof]
    this.onProof.clear()
    for (const proved of waiting) proved()
  }
}

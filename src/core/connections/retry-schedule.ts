import type { Clock } from '../contract/clock.ts'
import { Alarm } from '../runtime/alarm.ts'
import { type BackoffLimits, nextDelay } from './backoff.ts'
import { type Slot, SlotState } from './slot.ts'

/** The round of an added connection: it says nothing about connecting. */
export const ADDED = -1

const FAILING = 1
const FINAL = 2

/** The part of a schedule that outlives its pool: small, because there may be very many. Whole milliseconds. */
export class RetryRecord {
  readonly failingSince: number
  readonly failedAt: number
  readonly delayMs: number
  readonly dueAt: number
  readonly flags: number

  constructor(failingSince: number, failedAt: number, delayMs: number, dueAt: number, flags: number) {
    this.failingSince = failingSince
    this.failedAt = failedAt
    this.delayMs = delayMs
    this.dueAt = dueAt
    this.flags = flags
  }
}

/**
 * When the next connect attempt may begin, one schedule for the pool. It begins with the first failure, allows one attempt
 * at a time with growing waits, and ends when a connection has served.
 */
export class RetrySchedule<C> {
  /** The last failure; undefined once a connection has served, or has survived the wait after its connect. */
  lastError: unknown = undefined
  /** Whether retrying cannot fix the last failure, or no retry is wanted. */
  isFinal = false
  /** One attempt at a time, because the last one failed. */
  isProbing = false
  /** Whether the last attempt failed. */
  isFailing = false
  /** Failures of attempts that began in the same round count as one. */
  round = 0

  readonly #limits: BackoffLimits
  readonly #clock: Clock
  readonly #random: () => number
  readonly #retry: Alarm
  #failingSince: number | undefined = undefined
  #failedAt = -Infinity
  #delayMs: number
  // The last failure that retrying cannot fix.
  #final: { readonly error: unknown; readonly at: number } | undefined = undefined
  // The connection that the last attempt opened, until it has survived the next wait.
  #probe: Slot<C> | undefined = undefined

  /** `onDue` runs when a wait is over. */
  constructor(limits: BackoffLimits, clock: Clock, random: () => number, onDue: () => void) {
    this.#limits = limits
    this.#clock = clock
    this.#random = random
    this.#delayMs = limits.minMs
    this.#retry = new Alarm(clock, false, onDue)
  }

  /** The state that outlives the pool; undefined when connecting works. */
  save(): RetryRecord | undefined {
    if (this.#failingSince === undefined || !this.isProbing) return undefined
    return new RetryRecord(
      Math.floor(this.#failingSince),
      Math.floor(this.#failedAt),
      Math.ceil(this.#delayMs),
      Math.ceil(this.#retry.isSet ? this.#retry.due : this.#failedAt),
      (this.isFailing ? FAILING : 0) | (this.isFinal ? FINAL : 0),
    )
  }

  /** Goes on where another schedule ended. `final`: its last final error, while it is fresh. */
  restore(record: RetryRecord, final: { readonly error: unknown; readonly at: number } | undefined): void {
    this.#failingSince = record.failingSince
    this.#failedAt = record.failedAt
    this.#delayMs = record.delayMs
    this.isProbing = true
    this.isFailing = (record.flags & FAILING) !== 0
    this.isFinal = (record.flags & FINAL) !== 0
    this.#final = final
    this.lastError = final?.error
    // After a final error the first caller starts a probe as soon as the error is no longer fresh.
    if (record.dueAt > this.#clock.now() && (!this.isFinal || final !== undefined))
      this.#retry.set(record.dueAt)
  }

  /** Forgets every failure. */
  reset(): void {
    this.#end()
    this.#retry.clear()
    this.#forgive()
    this.#failedAt = -Infinity
    this.isFailing = false
    this.round++
  }

  /** No attempt could begin, because what it needs could not be loaded. */
  loadFailed(error: unknown): void {
    const { isFailing } = this
    this.failed({ round: this.round }, error, false)
    this.isFailing = isFailing
  }

  /** The last final error, with its time. */
  get lastFinal(): { readonly error: unknown; readonly at: number } | undefined {
    return this.#final
  }

  /** Whether no attempt may begin now. */
  get isWaiting(): boolean {
    return this.#retry.isSet
  }

  /** When the next attempt is due, in milliseconds; undefined when no attempt waits. */
  get retryInMs(): number | undefined {
    return this.#retry.isSet ? Math.max(0, this.#retry.due - this.#clock.now()) : undefined
  }

  /** The last final error, while it is fresh: a caller that no open connection can serve gets it instead of waiting. */
  get freshError(): { readonly error: unknown } | undefined {
    const isFresh = this.#final !== undefined && this.#clock.now() - this.#final.at < this.#limits.minMs
    return isFresh ? this.#final : undefined
  }

  /** A caller arrived that nothing else can serve: after a final error its probe does not wait. */
  probeNow(): void {
    if (this.isFinal) this.#retry.clear()
  }

  /** An attempt failed, or its connection ended before it served a caller. */
  failed(slot: Pick<Slot<C>, 'round'>, error: unknown, isFinal: boolean): void {
    const now = this.#clock.now()
    this.isFailing = true
    // A schedule that saw no failure for longer than its longest wait is over.
    if (!this.isProbing && now - this.#failedAt > 2 * this.#limits.maxMs) this.#end()
    this.lastError = error
    this.isFinal = isFinal
    if (isFinal) this.#final = { error, at: now }
    this.#failedAt = now
    this.#failingSince ??= now
    this.isProbing = true
    this.#probe = undefined
    // Attempts that began together fail together: they lengthen the wait once.
    if (slot.round === this.round) {
      this.round++
      this.#delayMs = nextDelay(this.#limits, this.#delayMs, now - this.#failingSince, this.#random)
      this.#retry.set(now + this.#delayMs)
    } else this.#retry.set(Math.max(this.#retry.isSet ? this.#retry.due : 0, now + this.#limits.minMs))
  }

  /** A connection opened. It may break before it serves: the next attempt waits, unless this one serves sooner. */
  opened(slot: Slot<C>): void {
    if (slot.round !== ADDED) this.isFailing = false
    if (this.#failingSince === undefined || slot.round === ADDED) return
    this.#probe = slot
    this.#retry.set(this.#clock.now() + this.#delayMs)
  }

  /** A holder returned a connection unbroken: the server is well. */
  served(slot: Slot<C>): void {
    slot.hasServed = true
    // A connection that opened before the last failure proves nothing.
    if (this.#failingSince === undefined || slot.round === ADDED || slot.openedAt <= this.#failedAt) return
    this.#end()
    this.#retry.clear()
    this.#forgive()
  }

  /** The wait is over. A probe that is still open has survived it: more connections may open. */
  waited(): void {
    const state = this.#probe?.state
    if (state !== undefined && state !== SlotState.closing && state !== SlotState.gone) this.#forgive()
  }

  /** Leaves no timer behind. */
  stop(): void {
    this.#retry.stop()
  }

  #forgive(): void {
    this.isProbing = false
    this.#probe = undefined
    this.lastError = undefined
    this.isFinal = false
    this.#final = undefined
  }

  #end(): void {
    this.#failingSince = undefined
    this.#delayMs = this.#limits.minMs
  }
}

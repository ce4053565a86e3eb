import { Alarm } from './alarm.ts'
import { nextDelay } from './backoff.ts'
import type { Outcome } from './calls.ts'
import { nameAndCode } from './events.ts'
import type { Permit } from './permit.ts'
import type { Parts } from './parts.ts'
import type { Slot } from './slot.ts'
import { isTraced, type OpenTrace, traceEnd, traceStart, tracing } from './tracing.ts'
import { wanted } from './wanted.ts'

/** What the connector tells the circulation. */
export interface ConnectorEvents<C> {
  /** How many callers wait. */
  queued(): number
  /** Whether nothing may be opened: paused or closed. */
  halted(): boolean
  /** A connection is open, counted as being checked; nobody has used it. */
  opened(slot: Slot<C>): void
  /** An attempt failed, its permit is given up. */
  failed(error: unknown): void
  /** The driver reported that a connection died. */
  lost(slot: Slot<C>): void
}

// So many attempts may run at once whatever is open: a pool of the default size fills at once.
const LEAST_BURST = 10

// What a traced attempt ended with that was given up, since its pool was closed.
class AbandonedError extends Error {
  override name = 'AbandonedError'
}

function nothing(): void {}

/** The one path that opens connections: as many as are wanted, with one backoff for all after a failure. */
export class Connector<C> {
  /** The last failure since a connect succeeded. */
  lastError: unknown = undefined

  readonly #parts: Parts<C>
  readonly #on: ConnectorEvents<C>
  readonly #retry: Alarm
  #failingSince: number | undefined = undefined
  #delayMs: number
  #retryAt = 0
  #round = 0

  constructor(parts: Parts<C>, on: ConnectorEvents<C>) {
    this.#parts = parts
    this.#on = on
    this.#delayMs = parts.options.connectBackoff.minMs
    this.#retry = new Alarm(parts.calls.clock, false, () => this.openWanted())
  }

  /** Whether the last attempt failed and the next one waits for its turn. */
  get isFailing(): boolean {
    return this.#failingSince !== undefined
  }

  /** When the next attempt is due, after a failure. */
  get retryInMs(): number | undefined {
    return this.#retry.isSet ? Math.max(0, this.#retryAt - this.#parts.calls.clock.now()) : undefined
  }

  /** Begins as many attempts as there is demand for, now. */
  openWanted(): void {
    while (!this.#on.halted() && this.#wanted() > 0) this.#open()
  }

  /** Gives up every attempt; a connection that arrives all the same is closed. */
  abandonAll(): void {
    this.#retry.stop()
    for (const permit of [...this.#parts.slots.permits()]) {
      this.#parts.slots.forfeit(permit)
      permit.controller.abort(new Error('the pool was closed'))
      permit.abandon?.()
    }
  }

  /** When a connection born now reaches its lifetime. */
  expiresAt(now: number): number {
    const { maxLifetimeMs, lifetimeJitter, clock } = this.#parts.options
    const chance = clock.random?.() ?? Math.random()
    return now + maxLifetimeMs * (1 - lifetimeJitter * chance)
  }

  /** One connect with afterConnect, outside the pool's count. */
  dedicated(signal: AbortSignal | undefined): Promise<C> {
    const controller = new AbortController()
    return new Promise<C>((resolve, reject) => {
      let giveUp: () => void = () => {}
      const onAbort = (): void => {
        giveUp()
        controller.abort(signal?.reason)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', onAbort)
      this.#connect(
        controller,
        () => {},
        (outcome) => {
          signal?.removeEventListener('abort', onAbort)
          if (outcome.ok) resolve(outcome.value)
          else reject(outcome.error as Error)
        },
        (abandon) => (giveUp = abandon),
      )
    })
  }

  /** Closes a connection that never became the pool's. */
  closeStray(connection: C, then: () => void = () => {}): void {
    const { closeTimeoutMs } = this.#parts.options
    this.#parts.calls.bounded(
      { what: 'close', limitMs: closeTimeoutMs, run: () => this.#parts.manager.close(connection) },
      (outcome) => {
        if (!outcome.ok) this.#parts.calls.report(outcome.error)
        then()
      },
    )
  }

  #wanted(): number {
    const slots = this.#parts.slots
    const { maxSize, minIdle } = slots.limits
    // Every acquire of a busy pool asks.
    if (slots.taken >= maxSize) return 0
    return wanted({
      queued: this.#on.queued(),
      minIdle,
      idle: slots.idle,
      retiring: slots.retiring,
      checking: slots.checking,
      opening: slots.openingCurrent,
      attempts: slots.opening,
      slots: slots.taken,
      maxSize,
      attemptLimit: this.#retry.isSet ? 0 : this.isFailing ? 1 : this.#burst,
    })
  }

  // Without a limit of the user's, a burst of short requests must not open as many connections as it has callers: those
  // that are open serve it while the others are still being opened.
  get #burst(): number {
    const { maxConnecting } = this.#parts.options
    return maxConnecting < Infinity ? maxConnecting : Math.max(LEAST_BURST, this.#parts.slots.open)
  }

  #open(): void {
    const permit = this.#parts.slots.reserve(this.#round, this.#parts.calls.clock.now())
    let slot: Slot<C> | undefined
    const lost = (): void => {
      if (slot === undefined) permit.lost = true
      else this.#on.lost(slot)
    }
    const attempt = (ended: (error: unknown) => void): void =>
      this.#connect(
        permit.controller,
        lost,
        (outcome) => {
          ended(outcome.ok ? undefined : outcome.error)
          if (outcome.ok) this.#fill(permit, outcome.value, (opened) => (slot = opened))
          else this.#fail(permit, outcome.error)
        },
        (abandon) => {
          permit.abandon = () => {
            abandon()
            ended(new AbandonedError())
          }
        },
      )
    if (isTraced(tracing.open)) this.#traced(permit, attempt)
    else attempt(nothing)
  }

  #traced(permit: Permit, attempt: (ended: (error: unknown) => void) => void): void {
    const { pool, poolId } = this.#parts.events
    const context: OpenTrace = { pool, poolId, connection: permit.id }
    const ended = (error: unknown): void => {
      context.connectMs = this.#parts.calls.clock.now() - permit.startedAt
      if (error !== undefined) context.error = nameAndCode(error)
      traceEnd(tracing.open, context)
    }
    traceStart(tracing.open, context, () => attempt(ended))
  }

  // One connect, then afterConnect. `own` is told how to give it up, anew for each step.
  #connect(
    controller: AbortController,
    lost: (error?: unknown) => void,
    done: (outcome: Outcome<C>) => void,
    own: (abandon: () => void) => void,
  ): void {
    const { connectTimeoutMs } = this.#parts.options
    const isOpen = (connection: C): boolean => connection !== undefined && connection !== null
    let isConnected = false
    const abandon = this.#parts.calls.bounded(
      {
        what: 'connect',
        limitMs: connectTimeoutMs,
        run: (): PromiseLike<C> => this.#parts.manager.connect({ signal: controller.signal, lost }),
        controller,
      },
      (outcome) => {
        isConnected = true
        if (!outcome.ok) return done(outcome)
        if (isOpen(outcome.value)) return this.#prepare(outcome.value, done, own)
        const error = new TypeError(`manager.connect gave ${String(outcome.value)} instead of a connection`)
        done({ ok: false, error })
      },
      (late) => {
        if (isOpen(late)) this.closeStray(late)
      },
    )
    if (!isConnected) own(abandon)
  }

  #prepare(connection: C, done: (outcome: Outcome<C>) => void, own: (abandon: () => void) => void): void {
    const { afterConnect, validationTimeoutMs } = this.#parts.options
    if (afterConnect === undefined) return done({ ok: true, value: connection })
    let isPrepared = false
    const abandon = this.#parts.calls.bounded(
      { what: 'afterConnect', limitMs: validationTimeoutMs, run: () => afterConnect(connection) },
      (outcome) => {
        isPrepared = true
        if (outcome.ok) return done({ ok: true, value: connection })
        // The attempt keeps its place until the connection that it did open is closed.
        this.closeStray(connection, () => done(outcome))
      },
    )
    if (isPrepared) return
    own(() => {
      if (isPrepared) return
      abandon()
      this.closeStray(connection)
    })
  }

  #fill(permit: Permit, connection: C, own: (slot: Slot<C>) => void): void {
    if (permit.spent) {
      this.closeStray(connection)
      return
    }
    const now = this.#parts.calls.clock.now()
    this.#failingSince = undefined
    this.#delayMs = this.#parts.options.connectBackoff.minMs
    this.lastError = undefined
    this.#retry.clear()
    const slot = this.#parts.slots.fill(permit, connection, now, this.expiresAt(now))
    slot.lost = permit.lost
    // Before anybody is told of it: from here on its end is the slot's.
    own(slot)
    this.#parts.events.opened(slot.id, now - permit.startedAt)
    this.#on.opened(slot)
  }

  #fail(permit: Permit, error: unknown): void {
    if (permit.spent) return
    const now = this.#parts.calls.clock.now()
    this.#parts.slots.forfeit(permit)
    this.lastError = error
    this.#failingSince ??= now
    // Attempts that began together fail together: they lengthen the wait once.
    if (permit.round === this.#round) {
      this.#round++
      const random = (): number => this.#parts.options.clock.random?.() ?? Math.random()
      this.#delayMs = nextDelay(
        this.#parts.options.connectBackoff,
        this.#delayMs,
        now - this.#failingSince,
        random,
      )
      this.#retryAt = now + this.#delayMs
      this.#retry.set(this.#retryAt)
    }
    this.#on.failed(error)
  }
}

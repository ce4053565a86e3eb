import type { Clock } from '../contract/clock.ts'
import { type Slot, SlotState } from '../connections/slot.ts'
import { Alarm } from '../runtime/alarm.ts'
import type { Mailbox } from '../runtime/mailbox.ts'
import type { Lease } from './lease.ts'

// The first frames belong to the pool and to a tracer.
const DEEPEST_STACK = 30

/** An error whose stack shows the caller of acquire. */
export function acquiredHere(): Error {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Math.max(stackTraceLimit, DEEPEST_STACK)
  try {
    return new Error('acquired here')
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

interface Watched<C> {
  readonly slot: Slot<C>
  readonly leasedAt: number
  readonly trace: Error | undefined
  isReported: boolean
}

/** Receives a lease that is held for too long, or was garbage-collected. */
type OnLeak<C> = (slot: Slot<C>, heldMs: number, trace: Error | undefined) => void

/** Finds leases that are held for too long, and those that were garbage-collected. */
export class Leaks<C> {
  readonly #thresholdMs: number
  readonly #clock: Clock
  readonly #onLeak: OnLeak<C>
  // In the order of checkout: the first lease that is not reported is the first to be due.
  readonly #held = new Map<Slot<C>, Watched<C>>()
  readonly #alarm: Alarm
  readonly #registry: FinalizationRegistry<Watched<C>> | undefined

  constructor(
    options: { leakThresholdMs: number; reclaimAbandoned: boolean },
    clock: Clock,
    turns: Mailbox,
    onLeak: OnLeak<C>,
    onAbandoned: OnLeak<C>,
  ) {
    this.#thresholdMs = options.leakThresholdMs
    this.#clock = clock
    this.#onLeak = onLeak
    this.#alarm = new Alarm(clock, false, () => turns.run(() => this.#reportDue()))
    if (options.reclaimAbandoned) {
      this.#registry = new FinalizationRegistry((watched) => {
        turns.run(() => {
          // A lease after a forced close is collected as well.
          if (this.#held.get(watched.slot) !== watched || watched.slot.state !== SlotState.leased) return
          onAbandoned(watched.slot, this.#clock.now() - watched.leasedAt, watched.trace)
        })
      })
    }
  }

  watch(lease: Lease<C>, slot: Slot<C>, trace: Error | undefined): void {
    const watched = { slot, leasedAt: this.#clock.now(), trace, isReported: false }
    this.#registry?.register(lease, watched, lease)
    this.#held.set(slot, watched)
    if (!this.#alarm.isSet) this.#alarm.set(watched.leasedAt + this.#thresholdMs)
  }

  unwatch(lease: Lease<C> | undefined, slot: Slot<C>): void {
    if (lease !== undefined) this.#registry?.unregister(lease)
    this.#held.delete(slot)
  }

  traceOf(slot: Slot<C>): Error | undefined {
    return this.#held.get(slot)?.trace
  }

  stop(): void {
    this.#alarm.stop()
  }

  #reportDue(): void {
    const now = this.#clock.now()
    for (const watched of this.#held.values()) {
      if (watched.isReported) continue
      const { slot, leasedAt, trace } = watched
      if (leasedAt + this.#thresholdMs > now) {
        this.#alarm.set(leasedAt + this.#thresholdMs)
        return
      }
      watched.isReported = true
      this.#onLeak(slot, now - leasedAt, trace)
    }
  }
}

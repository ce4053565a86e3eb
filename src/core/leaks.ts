import { Alarm } from './alarm.ts'
import type { Clock } from './clock.ts'
import type { Lease } from './lease.ts'
import { type Slot, SlotState } from './slot.ts'

// The first ones are the pool's own, and a tracer's.
const DEEPEST_STACK = 30

/** An error whose stack tells who acquires. */
export function acquiredHere(): Error {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = Math.max(stackTraceLimit, DEEPEST_STACK)
  const error = new Error('acquired here')
  Error.stackTraceLimit = stackTraceLimit
  return error
}

interface Watched<C> {
  readonly slot: Slot<C>
  readonly leasedAt: number
  readonly trace: Error | undefined
}

/** Reports leases that are held for too long, and takes back those that were garbage-collected. */
export class Leaks<C> {
  readonly #thresholdMs: number
  readonly #clock: Clock
  readonly #onLeak: (slot: Slot<C>, heldMs: number, trace: Error | undefined) => void
  // In the order of their checkout, so the first is the first to be due.
  readonly #held = new Map<Slot<C>, Watched<C>>()
  readonly #reported = new Map<Slot<C>, Watched<C>>()
  readonly #alarm: Alarm
  readonly #registry: FinalizationRegistry<Watched<C>> | undefined

  constructor(
    options: { leakThresholdMs: number; reclaimAbandoned: boolean; clock: Clock },
    onLeak: (slot: Slot<C>, heldMs: number, trace: Error | undefined) => void,
    onAbandoned: (slot: Slot<C>, heldMs: number, trace: Error | undefined) => void,
  ) {
    this.#thresholdMs = options.leakThresholdMs
    this.#clock = options.clock
    this.#onLeak = onLeak
    this.#alarm = new Alarm(options.clock, false, () => this.#look())
    if (options.reclaimAbandoned) {
      // A lease that was given back is not registered any more; one whose connection was closed by force may be.
      this.#registry = new FinalizationRegistry(({ slot, leasedAt, trace }) => {
        if (slot.state === SlotState.leased) onAbandoned(slot, this.#clock.now() - leasedAt, trace)
      })
    }
  }

  watch(lease: Lease<C>, slot: Slot<C>, trace: Error | undefined): void {
    const watched = { slot, leasedAt: this.#clock.now(), trace }
    this.#registry?.register(lease, watched, lease)
    this.#held.set(slot, watched)
    if (!this.#alarm.isSet) this.#alarm.set(watched.leasedAt + this.#thresholdMs)
  }

  unwatch(lease: Lease<C> | undefined, slot: Slot<C>): void {
    if (lease !== undefined) this.#registry?.unregister(lease)
    this.#held.delete(slot)
    this.#reported.delete(slot)
  }

  traceOf(slot: Slot<C>): Error | undefined {
    return (this.#held.get(slot) ?? this.#reported.get(slot))?.trace
  }

  stop(): void {
    this.#alarm.stop()
  }

  #look(): void {
    const now = this.#clock.now()
    for (const [slot, watched] of this.#held) {
      const { leasedAt, trace } = watched
      if (leasedAt + this.#thresholdMs > now) {
        this.#alarm.set(leasedAt + this.#thresholdMs)
        return
      }
      this.#held.delete(slot)
      this.#reported.set(slot, watched)
      this.#onLeak(slot, now - leasedAt, trace)
    }
  }
}

import { Alarm } from '../runtime/alarm.ts'
import type { Checks } from './checks.ts'
import type { Closer } from './closer.ts'
import type { Connector } from './connector.ts'
import type { PoolContext } from './pool-context.ts'
import { SlotState } from './slot.ts'

// This many background checks run concurrently, or an eighth of the idle connections, if that is more.
const LEAST_CHECKS = 4

/** Sweeps old and idle connections, checks idle ones before a server or a firewall drops them, and spreads a clear over time. */
export class Housekeeping<C> {
  /** Whether background checks are due that wait for the running ones. */
  isBehind = false

  readonly #context: PoolContext<C>
  readonly #closer: Closer<C>
  readonly #checks: Checks<C>
  readonly #connector: Connector<C>
  readonly #sweep: Alarm
  readonly #keepalive: Alarm
  readonly #clearing: Alarm

  constructor(context: PoolContext<C>, closer: Closer<C>, checks: Checks<C>, connector: Connector<C>) {
    this.#context = context
    this.#closer = closer
    this.#checks = checks
    this.#connector = connector
    const alarm = (ring: () => void): Alarm =>
      new Alarm(context.calls.clock, false, () => context.turns.run(ring))
    this.#sweep = alarm(() => this.#sweepNow())
    this.#keepalive = alarm(() => this.checkIdle())
    this.#clearing = alarm(() => this.#clearDue())
  }

  /** A connection is idle: from now on there is something to sweep and to check. */
  wake(): void {
    const { reapIntervalMs, keepaliveMs } = this.#context.options
    const { clock } = this.#context.calls
    if (!this.#sweep.isSet) this.#sweep.set(clock.now() + reapIntervalMs)
    if (keepaliveMs < Infinity && !this.#keepalive.isSet) this.#keepalive.set(clock.now() + keepaliveMs)
  }

  /** Begins a new generation: the connections of now are closed evenly over a time, idle ones; leased ones at return. */
  clear(overMs: number): void {
    const { slots, calls } = this.#context
    const now = calls.clock.now()
    slots.nextGeneration()
    const old = [...slots.all()]
    old.forEach((slot, index) => {
      slot.clearAt = overMs === 0 ? 0 : now + (overMs * (index + 1)) / old.length
    })
    this.#clearDue()
  }

  /** Begins the background checks that are due, a few at a time, and sets the alarm for the next. */
  checkIdle(): void {
    const { slots, options, calls } = this.#context
    const { keepaliveMs } = options
    if (keepaliveMs === Infinity) return
    const now = calls.clock.now()
    this.isBehind = false
    let free = Math.max(LEAST_CHECKS, slots.idle >> 3) - slots.count(SlotState.doubted)
    let next = Infinity
    for (const slot of slots.idleSlots()) {
      const due = Math.max(slot.lastUsedAt, slot.checkStartedAt) + keepaliveMs
      if (due > now) next = Math.min(next, due)
      else if (free-- > 0) this.#checks.validateIdle(slot)
      else this.isBehind = true
    }
    if (slots.count(SlotState.doubted) > 0) next = Math.min(next, now + keepaliveMs)
    if (next < Infinity) this.#keepalive.set(next)
  }

  stop(): void {
    this.#sweep.stop()
    this.#keepalive.stop()
    this.#clearing.stop()
  }

  #sweepNow(): void {
    const { slots, options, calls } = this.#context
    const now = calls.clock.now()
    const { minIdle } = slots.limits
    // With minIdle 0, only expired connections are replaced, at their next use.
    const aheadMs = minIdle === 0 ? 0 : Math.min(2 * options.reapIntervalMs, options.maxLifetimeMs / 2)
    let retiring = 0
    // Expired connections first: idle reaping never goes below minIdle.
    for (const slot of slots.idleSlots()) {
      if (slot.expiresAt <= now) this.#closer.close(slot, 'lifetime')
      else if (slot.expiresAt <= now + aheadMs) retiring++
    }
    for (const slot of slots.idleSlots()) {
      if (now - slot.lastUsedAt < options.idleTimeoutMs || slots.idle <= minIdle) break
      this.#closer.close(slot, 'idle')
    }
    // A replacement is open before its predecessor expires.
    this.#connector.openWanted(0, retiring)
    if (slots.taken > 0) this.#sweep.set(now + options.reapIntervalMs)
  }

  #clearDue(): void {
    const { slots, calls } = this.#context
    const now = calls.clock.now()
    let next = Infinity
    for (const slot of slots.all()) {
      if (slot.generation === slots.generation) continue
      if (slot.clearAt > now) next = Math.min(next, slot.clearAt)
      else if (slot.state === SlotState.idle) this.#closer.close(slot, 'cleared')
    }
    if (next < Infinity) this.#clearing.set(next)
  }
}

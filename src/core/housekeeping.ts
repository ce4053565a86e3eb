import { Alarm } from './alarm.ts'
import type { Clock } from './clock.ts'
import type { CloseReason } from './close-reason.ts'
import type { ResolvedPoolOptions } from './options.ts'
import { type Slot, SlotState } from './slot.ts'
import type { Slots } from './slots.ts'

/** What housekeeping asks for. */
export interface HousekeepingActions<C> {
  close(slot: Slot<C>, reason: CloseReason): void
  /** Checks an idle connection in the background. */
  check(slot: Slot<C>): void
  /** A sweep is over. */
  done(): void
}

/** Sweeps old and idle connections, in time that grows with those it closes and not with those it keeps. */
export class Housekeeping<C> {
  readonly #options: ResolvedPoolOptions<C>
  readonly #slots: Slots<C>
  readonly #clock: Clock
  readonly #actions: HousekeepingActions<C>
  readonly #everyMs: number
  readonly #alarm: Alarm
  // So near their expiry that they need a replacement where minIdle counts on them.
  readonly #expiring = new Set<Slot<C>>()

  constructor(
    options: ResolvedPoolOptions<C>,
    slots: Slots<C>,
    clock: Clock,
    actions: HousekeepingActions<C>,
  ) {
    this.#options = options
    this.#slots = slots
    this.#clock = clock
    this.#actions = actions
    this.#everyMs = Math.min(options.reapIntervalMs, options.keepaliveMs)
    this.#alarm = new Alarm(clock, false, () => this.#sweep())
  }

  /** A connection is idle: from now on there is something to sweep. */
  wake(): void {
    if (!this.#alarm.isSet && this.#everyMs < Infinity) this.#alarm.set(this.#clock.now() + this.#everyMs)
  }

  stop(): void {
    this.#alarm.stop()
  }

  #sweep(): void {
    const now = this.#clock.now()
    this.#sweepExpired(now)
    this.#sweepIdle(now)
    this.#keepAlive(now)
    this.#actions.done()
    if (this.#slots.taken > 0) this.wake()
  }

  #sweepExpired(now: number): void {
    const { maxLifetimeMs } = this.#options
    const aheadMs = this.#slots.limits.minIdle === 0 ? 0 : Math.min(2 * this.#everyMs, maxLifetimeMs / 2)
    for (
      let slot = this.#slots.firstToExpire();
      slot !== undefined && slot.expiresAt <= now + aheadMs;
      slot = this.#slots.firstToExpire()
    ) {
      this.#slots.forgetExpiry(slot)
      this.#expiring.add(slot)
    }
    for (const slot of this.#expiring) {
      const isOver = slot.state === SlotState.closing || slot.state === SlotState.gone
      if (!isOver && slot.expiresAt > now) {
        this.#slots.retire(slot)
        continue
      }
      this.#expiring.delete(slot)
      if (slot.state === SlotState.idle) this.#actions.close(slot, 'lifetime')
    }
  }

  #sweepIdle(now: number): void {
    const { idleTimeoutMs } = this.#options
    for (const slot of this.#slots.idleSlots()) {
      if (now - slot.lastUsedAt < idleTimeoutMs || this.#slots.idle <= this.#slots.limits.minIdle) return
      this.#actions.close(slot, 'idle')
    }
  }

  #keepAlive(now: number): void {
    const { keepaliveMs } = this.#options
    if (keepaliveMs === Infinity) return
    for (const slot of this.#slots.idleSlots()) {
      if (now - slot.lastUsedAt < keepaliveMs) return
      if (now - slot.checkedAt >= keepaliveMs) this.#actions.check(slot)
    }
  }
}

import { Alarm } from './alarm.ts'
import type { CloseReason } from './close-reason.ts'
import type { Parts } from './parts.ts'
import { type Slot, SlotState } from './slot.ts'

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
  readonly #parts: Parts<C>
  readonly #actions: HousekeepingActions<C>
  readonly #everyMs: number
  readonly #alarm: Alarm
  // So near their expiry that they need a replacement where minIdle counts on them.
  readonly #expiring = new Set<Slot<C>>()

  constructor(parts: Parts<C>, actions: HousekeepingActions<C>) {
    this.#parts = parts
    this.#actions = actions
    this.#everyMs = Math.min(parts.options.reapIntervalMs, parts.options.keepaliveMs)
    this.#alarm = new Alarm(parts.calls.clock, false, () => this.#sweep())
  }

  /** A connection is idle: from now on there is something to sweep. */
  wake(): void {
    if (!this.#alarm.isSet) this.#alarm.set(this.#parts.calls.clock.now() + this.#everyMs)
  }

  stop(): void {
    this.#alarm.stop()
  }

  #sweep(): void {
    const now = this.#parts.calls.clock.now()
    this.#sweepExpired(now)
    this.#sweepIdle(now)
    this.#keepAlive(now)
    this.#actions.done()
    if (this.#parts.slots.taken > 0) this.wake()
  }

  #sweepExpired(now: number): void {
    const { maxLifetimeMs } = this.#parts.options
    // Where no replacement is wanted, nobody is looked at before his time.
    const aheadMs =
      this.#parts.slots.limits.minIdle === 0 ? 0 : Math.min(2 * this.#everyMs, maxLifetimeMs / 2)
    for (
      let slot = this.#parts.slots.firstToExpire();
      slot !== undefined && slot.expiresAt <= now + aheadMs;
      slot = this.#parts.slots.firstToExpire()
    ) {
      this.#parts.slots.forgetExpiry(slot)
      this.#expiring.add(slot)
    }
    for (const slot of this.#expiring) {
      if (slot.expiresAt > now) {
        this.#parts.slots.retire(slot)
        continue
      }
      this.#expiring.delete(slot)
      if (slot.state === SlotState.idle) this.#actions.close(slot, 'lifetime')
    }
  }

  #sweepIdle(now: number): void {
    const { idleTimeoutMs } = this.#parts.options
    for (const slot of this.#parts.slots.idleSlots()) {
      if (now - slot.lastUsedAt < idleTimeoutMs || this.#parts.slots.idle <= this.#parts.slots.limits.minIdle)
        return
      this.#actions.close(slot, 'idle')
    }
  }

  #keepAlive(now: number): void {
    const { keepaliveMs } = this.#parts.options
    for (const slot of this.#parts.slots.idleSlots()) {
      if (now - slot.lastUsedAt < keepaliveMs) return
      if (now - slot.checkedAt >= keepaliveMs) this.#actions.check(slot)
    }
  }
}

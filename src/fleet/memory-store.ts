import { type Clock, systemClock } from '../core/contract/clock.ts'
import { applyBeat, applyLeave, type Beat, type BeatAnswer, type Roster } from './roster.ts'
import type { FleetStore } from './store.ts'

/**
 * The roster in this process: for tests, for several pools of one process, and as the model of every other store.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { joinFleet, MemoryStore } from 'cenote/fleet'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * // Two pools of one process, and one budget for both.
 * const store = new MemoryStore()
 * const [a, b] = [new Pool(new ScriptedManager()), new Pool(new ScriptedManager())]
 * await using first = await joinFleet(a, { store, budget: 10, floor: 1 })
 * await using second = await joinFleet(b, { store, budget: 10, floor: 1 })
 * console.log(first.share + second.share <= 10) // prints true
 * ```
 */
export class MemoryStore implements FleetStore {
  readonly #rosters = new Map<string, Roster>()
  readonly #clock: Clock

  /** `clock`: default the system's. */
  constructor(options: { readonly clock?: Clock | undefined } = {}) {
    this.#clock = options.clock ?? systemClock
  }

  async beat(fleet: string, beat: Beat): Promise<BeatAnswer> {
    const { roster, answer } = applyBeat(this.#rosters.get(fleet), beat, this.#clock.now(), true)
    this.#rosters.set(fleet, roster)
    return answer
  }

  async leave(fleet: string, id: string): Promise<void> {
    const roster = this.#rosters.get(fleet)
    if (roster !== undefined) this.#rosters.set(fleet, applyLeave(roster, id))
  }
}

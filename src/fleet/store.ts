import type { Beat, BeatAnswer } from './roster.ts'

/**
 * The store in which the members of a fleet meet: an engine that all of them reach. Never on the path of a checkout: a member beats once in a while and
 * goes on with what it has while the store does not answer.
 *
 * Each beat is one atomic step by the rule `applyBeat`, with the store's own clock, which must not run backwards by more than a lease.
 */
export interface FleetStore {
  /**
   * Applies a beat. Rejects when the store cannot be reached; it is then unknown whether the beat was applied. `signal` is aborted when
   * the member no longer waits for the answer: a beat that has not been sent by then should not be sent.
   */
  beat(fleet: string, beat: Beat, signal?: AbortSignal): Promise<BeatAnswer>
  /** Takes a member off the roster, if it is there. */
  leave(fleet: string, id: string): Promise<void>
}

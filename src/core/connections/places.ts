/** The facts about a connection that {@link Places} uses. */
export interface Returned {
  readonly uses: number
  readonly openedAt: number
}

/**
 * The slots that several pools share. Each pool takes a place before a connect attempt, and frees it when the attempt
 * has failed or the close has settled. All calls come from inside a transition of the pool.
 */
export interface Places {
  /** Takes one place, for one of the attempts that the pool lacks. False: not now; the pool is refilled later. */
  take(lacking: number): boolean
  /** A place is free. `hasClosed`: its close was under way before. */
  give(hasClosed: boolean): void
  /** A close begins: its place is free when the close has settled. */
  closing(): void
  /** Whether a returned connection is closed for another pool, instead of serving a caller or resting. */
  claims(slot: Returned, now: number): boolean
  /** The transition is settled: so many attempts still lack a place. */
  settled(lacking: number): void
  /** Whether another pool waits for a place. */
  readonly areWanted: boolean
  /** Connections of all pools that are neither opening nor closing. */
  readonly open: number
}

import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS, type Pool, type PoolState } from '../../src/index.ts'
import type { SimConnection } from './server.ts'

/** What a state says, without the times in it. */
function textOf({ statistics, ...state }: PoolState): string {
  return JSON.stringify({ ...state, headWaitMs: 0, ...statistics, waitMs: 0 })
}

/** A subscriber of a pool's channels: what it is told must fit what it sees. */
export class Witness {
  /** The most attempts that may be under way after a failure: those that were, and then one at a time. */
  allowedOpening: number = Infinity
  readonly #pool: Pool<SimConnection>
  readonly #violated: (rule: string) => void
  readonly #inconsistent: () => string | undefined
  #seen: { readonly channel: string; readonly state: string }[] = []

  readonly #hasUserCode: boolean

  constructor(
    pool: Pool<SimConnection>,
    hasUserCode: boolean,
    inconsistent: () => string | undefined,
    violated: (rule: string) => void,
  ) {
    this.#pool = pool
    this.#hasUserCode = hasUserCode
    this.#inconsistent = inconsistent
    this.#violated = violated
  }

  /** Subscribes. Gives what ends it. */
  listens(): () => void {
    const { poolId } = this.#pool.look()
    const ends = Object.values(CHANNELS).map((channel) => {
      const hear = (message: unknown): void => {
        const event = message as { poolId: number; reason?: string }
        if (event.poolId === poolId) this.#hears(channel, event)
      }
      subscribe(channel, hear)
      return () => unsubscribe(channel, hear)
    })
    return () => ends.forEach((end) => end())
  }

  /** User code calls the pool: what was seen before need not be what is seen after. */
  forgets(): void {
    if (this.#seen.length > 0) this.#seen = []
  }

  /** One transition is over, with nothing called in between: what a subscriber saw in it is what is there. */
  compares(): void {
    if (this.#seen.length === 0) return
    const now = textOf(this.#pool.state())
    const other = this.#seen.find(({ state }) => state !== now)
    if (other !== undefined)
      this.#violated(`a subscriber of ${other.channel} saw ${differences(other.state, now)}`)
    this.#seen = []
  }

  #hears(channel: string, { reason }: { reason?: string }): void {
    const state = this.#pool.state()
    if (channel === CHANNELS.open) this.allowedOpening = Infinity
    if (channel === CHANNELS.openError) this.allowedOpening = Math.min(this.allowedOpening, state.opening)
    // User code in the close may have taken an idle connection.
    if (channel === CHANNELS.close && reason === 'idle' && !this.#hasUserCode && state.idle < state.minIdle)
      this.#violated(`reaped to ${state.idle} idle, minIdle is ${state.minIdle}`)
    const broken = this.#inconsistent()
    if (broken !== undefined) this.#violated(`a subscriber of ${channel} saw that ${broken}`)
    this.#seen.push({ channel, state: textOf(state) })
  }
}

function differences(before: string, after: string): string {
  const [one, other] = [before, after].map((text) => JSON.parse(text) as Record<string, unknown>)
  const changed = Object.keys(one ?? {}).filter(
    (key) => JSON.stringify(one?.[key]) !== JSON.stringify(other?.[key]),
  )
  return changed
    .map((key) => `${key} ${JSON.stringify(one?.[key])} that became ${JSON.stringify(other?.[key])}`)
    .join(', ')
}

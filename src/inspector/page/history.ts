import type { Frame, Hello, PoolCard, Tick } from '../protocol.ts'

/** A frame whose lanes have their connections. */
export interface FullFrame extends Frame {
  readonly ids: readonly number[]
}

/** What the page remembers of one pool. */
export interface PoolHistory {
  card: PoolCard
  readonly frames: FullFrame[]
}

/** All that the page knows: what the inspector sent, the oldest dropped. */
export class History {
  readonly pools = new Map<number, PoolHistory>()
  #keepMs = 0
  tickMs = 0

  restart({ tickMs, keepMs, pools }: Hello): void {
    this.tickMs = tickMs
    this.#keepMs = keepMs
    this.pools.clear()
    for (const { key, card, frames } of pools) {
      this.pools.set(key, { card, frames: [] })
      for (const frame of frames) this.#add(key, frame)
    }
  }

  add({ pools }: Tick): void {
    for (const { key, card, frame } of pools) {
      const pool = this.pools.get(key)
      if (pool === undefined && card !== undefined) this.pools.set(key, { card, frames: [] })
      else if (pool !== undefined && card !== undefined) pool.card = card
      this.#add(key, frame)
    }
    const present = new Set(pools.map(({ key }) => key))
    for (const key of this.pools.keys()) if (!present.has(key)) this.pools.delete(key)
  }

  #add(key: number, frame: Frame): void {
    const frames = this.pools.get(key)?.frames
    if (frames === undefined) return
    frames.push({ ...frame, ids: frame.ids ?? frames.at(-1)?.ids ?? [] })
    const oldest = frame.at - this.#keepMs
    let dropped = 0
    while ((frames[dropped]?.at ?? Infinity) < oldest) dropped++
    frames.splice(0, dropped)
  }
}

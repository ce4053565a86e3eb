import type { Frame, Hello, History, PoolCard, Tick } from '../protocol.ts'

/** A frame whose lanes have their connections. */
export interface FullFrame extends Frame {
  readonly ids: readonly number[]
}

/** The page's memory of one pool. */
export interface PoolHistory {
  card: PoolCard
  readonly frames: FullFrame[]
  // Number of frames that came as history, which is older than every tick.
  old: number
}

/** The page's memory of all pools: the messages of the inspector, without the oldest. */
export class Memory {
  readonly pools = new Map<number, PoolHistory>()
  #keepMs = 0

  restart({ keepMs, pools }: Hello): void {
    this.#keepMs = keepMs
    this.pools.clear()
    for (const { key, card } of pools) this.pools.set(key, { card, frames: [], old: 0 })
  }

  /** The cards of all pools, after some changes were missed. */
  refresh({ pools }: Hello): void {
    for (const { key, card } of pools) {
      const pool = this.pools.get(key)
      if (pool === undefined) this.pools.set(key, { card, frames: [], old: 0 })
      else pool.card = card
    }
  }

  /** Frames from before the page was opened. Ticks may have arrived in the meantime. */
  addHistory({ key, frames }: History): void {
    const pool = this.pools.get(key)
    if (pool === undefined) return
    let ids = pool.frames[pool.old - 1]?.ids ?? []
    const full = frames.map((frame) => ({ ...frame, ids: (ids = frame.ids ?? ids) }))
    const newest = pool.frames[pool.old]?.at ?? Infinity
    const missing = full.filter(({ at }) => at < newest)
    pool.frames.splice(pool.old, 0, ...missing)
    pool.old += missing.length
  }

  add({ pools }: Tick): void {
    for (const { key, card, frame } of pools) {
      const pool = this.pools.get(key)
      if (pool === undefined && card !== undefined) this.pools.set(key, { card, frames: [], old: 0 })
      else if (pool !== undefined && card !== undefined) pool.card = card
      this.#add(key, frame)
    }
    const present = new Set(pools.map(({ key }) => key))
    for (const key of this.pools.keys()) if (!present.has(key)) this.pools.delete(key)
  }

  #add(key: number, frame: Frame): void {
    const pool = this.pools.get(key)
    if (pool === undefined) return
    const { frames } = pool
    frames.push({ ...frame, ids: frame.ids ?? [] })
    const oldest = frame.at - this.#keepMs
    let dropped = 0
    while ((frames[dropped]?.at ?? Infinity) < oldest) dropped++
    frames.splice(0, dropped)
    pool.old = Math.max(0, pool.old - dropped)
  }
}

/** Whether nothing is known of the time before a frame. */
export function isAfterGap(frame: Frame, before: Frame | undefined): boolean {
  return before !== undefined && frame.at - frame.ms - before.at > frame.ms / 2
}

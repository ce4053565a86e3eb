import type { PoolEngine } from './engine.ts'

/** Default time that close waits for holders, in milliseconds. */
export const CLOSE_TIMEOUT_MS = 10_000
// Time that close waits, after its deadline, for forced closes.
const FORCED_CLOSE_MS = 1_000

/** The result of `close`. */
export interface CloseResult {
  /** Number of connections that were closed in time. */
  readonly closed: number
  /** Number of connections still leased at the deadline, whose close was forced. */
  readonly abandoned: number
}

/** Closes all that a pool has; leased connections are awaited for `timeoutMs`. Leaves no timer behind. */
export async function closeEngine<C>(engine: PoolEngine<C>, timeoutMs: number): Promise<CloseResult> {
  const { slots, options } = engine
  const freedBefore = slots.freed
  const isEmpty = (): boolean => engine.closed && slots.taken === 0
  engine.shut()
  await engine.until(isEmpty, timeoutMs)
  const closed = slots.freed - freedBefore
  const abandoned = engine.closeByForce()
  if (abandoned > 0) await engine.until(isEmpty, Math.min(options.closeTimeoutMs, FORCED_CLOSE_MS))
  engine.stop()
  return { closed, abandoned }
}

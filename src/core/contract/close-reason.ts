/**
 * Why the pool closed a connection:
 * `broken` hasBroken returned true; `invalid` isValid failed; `lifetime` it reached its lifetime; `idle` unused for
 * `idleTimeoutMs`; `uses` it reached `maxUses`; `cleared` it is of a generation before `clear()`; `surplus` above a lowered
 * `maxSize`, or above `maxIdle`; `hook` a hook or reset refused it; `destroyed` the holder destroyed it, or lost its lease;
 * `lost` the driver reported its end; `poolClosed` the pool was closed.
 */
export type CloseReason =
  | 'broken'
  | 'invalid'
  | 'lifetime'
  | 'idle'
  | 'uses'
  | 'cleared'
  | 'surplus'
  | 'hook'
  | 'destroyed'
  | 'lost'
  | 'poolClosed'

/**
 * Every {@link CloseReason}, in the order in which `statistics.closed` lists them.
 *
 * @example
 * ```ts
 * import { CLOSE_REASONS, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager())
 * ;(await pool.acquire()).destroy()
 * const { closed } = pool.state().statistics
 * console.log(CLOSE_REASONS.filter((reason) => closed[reason] > 0)) // prints [ 'destroyed' ]
 * ```
 */
export const CLOSE_REASONS: readonly CloseReason[] = Object.freeze([
  'broken',
  'invalid',
  'lifetime',
  'idle',
  'uses',
  'cleared',
  'surplus',
  'hook',
  'destroyed',
  'lost',
  'poolClosed',
])

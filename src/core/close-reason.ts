/**
 * Why the pool closed a connection:
 * `broken` hasBroken said so; `invalid` isValid failed; `lifetime` older than its lifetime; `idle` unused for
 * `idleTimeoutMs`; `uses` reached `maxUses`; `cleared` of a generation before `clear()`; `surplus` above a lowered
 * `maxSize`; `hook` a hook refused it; `destroyed` the caller said so, or lost its lease; `lost` the driver
 * reported its end; `poolClosed` the pool was closed.
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

/** Every {@link CloseReason}, in the order in which `statistics.closed` lists them. */
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

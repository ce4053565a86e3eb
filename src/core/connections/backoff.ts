// Recovery is noticed within this part of the outage's length, however long the schedule has grown.
const SHARE_OF_OUTAGE = 0.025
// Probes of many processes spread over at least this multiple of `minMs`, however short the outage.
const SPREAD = 1.5

/** The limits of the wait between connect attempts, in milliseconds. */
export interface BackoffLimits {
  readonly minMs: number
  readonly maxMs: number
}

/**
 * The wait before the next connect attempt, with decorrelated jitter: at random between `minMs` and three times the
 * last wait, at most `maxMs`. A short outage is probed more often than a long one: no wait is longer than 2.5 %
 * of the time since the first failure, or 1.5 times `minMs`. Pass `minMs` as the last wait of the first.
 */
export function nextDelay(
  limits: BackoffLimits,
  lastDelayMs: number,
  outageMs: number,
  random: () => number,
): number {
  const { minMs, maxMs } = limits
  const ceiling = Math.min(maxMs, lastDelayMs * 3, Math.max(SPREAD * minMs, outageMs * SHARE_OF_OUTAGE))
  return minMs + Math.max(0, ceiling - minMs) * random()
}

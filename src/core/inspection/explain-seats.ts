import type { PoolInsight } from './insight.ts'

type Judgement = readonly [
  condition: 'closed' | 'cannotConnect' | 'healthy' | 'connecting' | 'held' | 'busy',
  severity: 'ok' | 'notice' | 'problem',
  text: string,
]

/** The numbers of a judgement, in words. */
interface Words {
  readonly queue: string
  readonly longest: string
  readonly longestMs: number
  readonly error: string | undefined
}

// A seat that is taken for longer belongs to a slow statement.
const LONG_MS = 1_000

/** Explains the pool of seats of a share: its connections are seats, which cannot be hung, reset or checked. */
export function judgeSeats(
  { state, connections }: PoolInsight,
  { queue, longest, longestMs, error }: Words,
): Judgement {
  const taken = connections.filter(({ doing }) => doing === 'leased').length
  const { waiting, closed, maxSize, headWaitMs } = state
  if (closed) {
    const left = taken === 0 ? '' : `: close() waits for ${count(taken)}`
    return ['closed', taken === 0 ? 'ok' : 'notice', `the share is closed${left}.`]
  }
  const use = `${taken} of ${maxSize} seats taken`
  if (error !== undefined)
    return [
      'cannotConnect',
      waiting > 0 ? 'problem' : 'notice',
      `the share gets no connection (${error}), ${use}, ${waiting > 0 ? queue : 'no caller waits'}. Check the server, and the pool below.`,
    ]
  if (waiting === 0) return ['healthy', 'ok', `all is well: ${use}, no caller waits.`]
  if (taken < maxSize)
    return [
      'connecting',
      headWaitMs > LONG_MS ? 'problem' : 'notice',
      `${use}, and the share waits for one more connection of the pool below; ${queue}. If this lasts, release exclusive leases sooner, or raise maxSize.`,
    ]
  if (longestMs >= LONG_MS)
    return [
      'held',
      'problem',
      `${use}, one for ${longest}; ${queue}: a slow statement holds up those behind it. Run slow statements with pool.run instead.`,
    ]
  return [
    'busy',
    headWaitMs > LONG_MS ? 'problem' : 'notice',
    `${use}, each for a short time (the longest for ${longest}), but ${queue}: more statements than seats. Raise connections or perConnection.`,
  ]
}

function count(seats: number): string {
  return seats === 1 ? '1 seat' : `${seats} seats`
}

import type { ContenderName } from './contenders.ts'
import type { Outcome, Request } from './messages.ts'

/** A fault that happened, on the shared clock. */
export interface Happened {
  readonly name: string
  readonly beganAt: number
  readonly endedAt: number
}

/** What the callers of one pool saw, and what it left behind. */
export interface Columns {
  readonly requests: number
  readonly errors: number
  /** How often each message was seen, without its numbers. */
  readonly messages: Readonly<Record<string, number>>
  readonly hung: number
  /** Of any request, served or failed. */
  readonly longestMs: number
  /** After each fault, in their order: until full service, or to the next fault if there was none. */
  readonly recoveriesMs: readonly number[]
  readonly medianRecoveryMs: number
  readonly worstRecoveryMs: number
  readonly unhandled: number
  /** Connections at the server after close. */
  readonly leaked: number
  readonly closed: boolean
}

/** A request that takes longer is no full service; without faults one takes about 12 ms. */
export const SLOW_MS = 250
// Full service: of the requests that come in so long a time from now on, so many are served within SLOW_MS.
const WINDOW_MS = 500
const SHARE = 0.95

// What is noise on a busy machine, and no better pool.
const NOISE = { longestMs: 250, medianRecoveryMs: 100, worstRecoveryMs: 250 } as const

/** Sums up the outcome of one pool. */
export function columnsOf(
  { requests, hung, unhandled, closed }: Outcome,
  faults: readonly Happened[],
  leaked: number,
): Columns {
  const inOrder = requests.toSorted((a, b) => a.at - b.at)
  const failures = requests.filter(({ error }) => error !== undefined)
  const recoveriesMs = faults.map(({ beganAt, endedAt }, n) => {
    const until = faults[n + 1]?.beganAt ?? Infinity
    return timeToFullService(
      inOrder.filter(({ at }) => at >= beganAt && at < until),
      endedAt,
    )
  })
  const sorted = recoveriesMs.toSorted((a, b) => a - b)
  return {
    requests: requests.length + hung,
    errors: failures.length,
    messages: tally(failures.map(({ error = '' }) => error.replaceAll(/\d+/g, '…'))),
    hung,
    longestMs: requests.reduce((longest, { tookMs }) => Math.max(longest, tookMs), 0),
    recoveriesMs,
    medianRecoveryMs: sorted[Math.floor(sorted.length / 2)] ?? 0,
    worstRecoveryMs: sorted.at(-1) ?? 0,
    unhandled,
    leaked,
    closed,
  }
}

/** Each column in which a peer did better, as a line of text; and errors of cenote with retries, which must have none. */
export function worseThanPeers(table: ReadonlyMap<ContenderName, Columns>): string[] {
  const ours = table.get('cenote with retries')
  if (ours === undefined) return ['cenote with retries did not run']
  const lines: string[] = []
  if (ours.errors > 0) lines.push(`cenote with retries: ${ours.errors} errors: allowed are none`)
  if (!ours.closed) lines.push('cenote with retries: close did not end')
  for (const [name, theirs] of table) {
    if (name.startsWith('cenote')) continue
    for (const column of ['errors', 'hung', 'unhandled', 'leaked'] as const) {
      if (ours[column] > theirs[column])
        lines.push(`${column}: ${ours[column]}, ${name} has ${theirs[column]}`)
    }
    for (const column of ['longestMs', 'medianRecoveryMs', 'worstRecoveryMs'] as const) {
      if (ours[column] > theirs[column] + NOISE[column])
        lines.push(`${column}: ${Math.round(ours[column])}, ${name} has ${Math.round(theirs[column])}`)
    }
  }
  return lines
}

function timeToFullService(requests: readonly Request[], endedAt: number): number {
  const isGood = ({ error, tookMs }: Request): boolean => error === undefined && tookMs <= SLOW_MS
  for (const [first, { at }] of requests.entries()) {
    if (at < endedAt) continue
    let count = 0
    let good = 0
    for (let n = first; n < requests.length; n++) {
      const request = requests[n] as Request
      if (request.at > at + WINDOW_MS) break
      count++
      if (isGood(request)) good++
    }
    // A good one begins it, and those before the fault's end do not count.
    if (isGood(requests[first] as Request) && good >= SHARE * count) return at - endedAt
  }
  return Math.max(0, (requests.at(-1)?.at ?? endedAt) - endedAt)
}

function tally(texts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1
  return counts
}

import { type ContenderName, LIMITS } from './contenders.ts'
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
  /** Most statements of the pool that the server ran at any sample. */
  readonly atServer: number
  readonly closed: boolean
}

/** A request that takes longer is no full service; without faults one takes about 12 ms. */
export const SLOW_MS = 250
// Full service: of the requests that come in so long a time from now on, so many are served within SLOW_MS.
const WINDOW_MS = 500
const SHARE = 0.95

const SHARING: ContenderName = 'cenote share with retries'

// A difference of two recoveries that is noise on a busy machine.
const NOISE_MS = 250
// At random, a fault hits idle or busy connections of a pool: fewer repeats compare luck.
const REPEATS = 3

/** What a run proves. */
export interface Verdict {
  /** Each rule that was broken, and each fault after which a peer recovered faster. */
  readonly worse: readonly string[]
  /** What the run was too short to measure. */
  readonly notMeasured: readonly string[]
  /** All of it in one line. */
  readonly text: string
}

/** Sums up the outcome of one pool. */
export function columnsOf(
  { requests, hung, unhandled, closed }: Outcome,
  faults: readonly Happened[],
  { leaked, atServer }: Pick<Columns, 'leaked' | 'atServer'>,
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
  return {
    requests: requests.length + hung,
    errors: failures.length,
    messages: tally(failures.map(({ error = '' }) => error.replaceAll(/\d+/g, '…'))),
    hung,
    longestMs: requests.reduce((longest, { tookMs }) => Math.max(longest, tookMs), 0),
    recoveriesMs,
    medianRecoveryMs: median(recoveriesMs),
    worstRecoveryMs: Math.max(0, ...recoveriesMs),
    unhandled,
    leaked,
    atServer,
    closed,
  }
}

/**
 * Judges each row of cenote with retries: it must show no error, leave nothing behind and keep its limits. Its recovery from a
 * fault is compared with each peer's, by the medians of at least 3 repeats; in a run with a share, only that of the share.
 */
export function judge(table: ReadonlyMap<ContenderName, Columns>, faults: readonly Happened[]): Verdict {
  const judged = [...table].filter(([name]) => /^cenote.* with retries$/.test(name))
  if (!table.has('cenote with retries')) return verdictOf(['cenote with retries did not run'], [])
  const worse = judged.flatMap(([name, columns]) => brokenRules(name, columns))
  const notMeasured: string[] = []
  const hasShare = table.has(SHARING)
  for (const [fault, repeats] of Map.groupBy(faults.keys(), (n) => faults[n]?.name ?? '')) {
    if (repeats.length < REPEATS) {
      notMeasured.push(`recovery after '${fault}' (${repeats.length} of ${REPEATS} repeats)`)
      continue
    }
    const of = ({ recoveriesMs }: Columns): number => median(repeats.map((n) => recoveriesMs[n] ?? 0))
    const peers = [...table].filter(([name]) => !name.startsWith('cenote'))
    for (const [name, ours] of hasShare ? judged.filter(([each]) => each === SHARING) : judged) {
      const own = name === 'cenote with retries' ? '' : `${name}, `
      for (const [peer, theirs] of peers) {
        if (of(ours) <= of(theirs) + NOISE_MS) continue
        const text = `${Math.round(of(ours))} ms, ${peer} has ${Math.round(of(theirs))} ms`
        worse.push(`${own}recovery after '${fault}': ${text}`)
      }
    }
  }
  return verdictOf(worse, notMeasured)
}

function brokenRules(name: ContenderName, ours: Columns): string[] {
  const lines: string[] = []
  for (const column of ['errors', 'hung', 'unhandled', 'leaked'] as const)
    if (ours[column] > 0) lines.push(`${name}: ${column} must be 0 (got ${ours[column]})`)
  if (!ours.closed) lines.push(`${name}: close did not end`)
  const { maxSize, acquireTimeoutMs } = LIMITS
  if (ours.atServer > maxSize)
    lines.push(`${name}: statements at the server must be at most ${maxSize} (got ${ours.atServer})`)
  // A share has no limit of a statement: on a half-open connection its caller waits until the connection ends.
  if (name !== SHARING && ours.longestMs > acquireTimeoutMs)
    lines.push(
      `${name}: the longest wait must be at most ${acquireTimeoutMs} ms (got ${Math.round(ours.longestMs)})`,
    )
  return lines
}

function verdictOf(worse: readonly string[], notMeasured: readonly string[]): Verdict {
  const broken = worse.length === 0 ? 'no rule broken, no peer better' : worse.join('; ')
  const unknown = notMeasured.length === 0 ? '' : `; not measured: ${notMeasured.join(', ')}`
  return { worse, notMeasured, text: `verdict: ${broken}${unknown}` }
}

/** The middle of some numbers; 0 if there is none. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
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

import { callerOf } from './caller.ts'
import { nestedAdvice } from '../contract/messages.ts'
import { redact } from '../contract/redact.ts'
import { nameAndCode } from '../telemetry/events.ts'
import { judgeSeats } from './explain-seats.ts'
import type { ConnectionInsight, InsightSource, PoolInsight } from './insight.ts'

/** The condition that keeps callers waiting, or that none does. */
export type PoolCondition =
  | 'healthy'
  | 'closed'
  | 'paused'
  | 'cannotConnect'
  | 'connecting'
  | 'checking'
  | 'resetting'
  | 'closing'
  | 'shrinking'
  | 'nested'
  | 'held'
  | 'busy'

/** The present problem of a pool, and its remedy. */
export interface Explanation {
  readonly condition: PoolCondition
  /** `problem`: callers wait, or cannot be served, for a reason that does not pass by itself. */
  readonly severity: 'ok' | 'notice' | 'problem'
  /** One or two sentences: what is wrong, and what to do. */
  readonly text: string
  /** The holders of connections, the largest first; `by` is undefined when the pool does not know. */
  readonly holders: readonly Holder[]
}

/** One place in the program that holds connections. */
export interface Holder {
  /** `createOrder (orders.ts:41)`. */
  readonly by: string | undefined
  readonly connections: number
  readonly longestMs: number
}

/** Options of {@link explain}. */
export interface ExplainOptions {
  /** Names the holder of a connection. Default: the stack that the pool keeps if `leakThresholdMs` is set. */
  readonly holderOf?: ((connection: number) => string | undefined) | undefined
}

// A lease held for longer is worth a notice, and a queue behind such leases is a problem.
const LONG_MS = 1_000
const VERY_LONG_MS = 30_000
const LONGEST_ERROR = 200

/**
 * Explains what is wrong with a pool at this instant and what to do: why callers wait, or that all is well. It costs time
 * that grows with the number of connections, and never throws.
 *
 * @example
 * ```ts
 * import { explain, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * console.log(explain(pool).text) // prints all is well: 0 of 10 in use, no caller waits.
 * ```
 */
export function explain(pool: InsightSource, options: ExplainOptions = {}): Explanation {
  const insight = pool.look()
  const leased = insight.connections.filter(({ doing }) => doing === 'leased')
  const byWhom = (leases: readonly ConnectionInsight[]): Holder[] => holdersOf(leases, options.holderOf)
  const [condition, severity, text] = judge(pool.options, insight, leased, byWhom)
  return { condition, severity, text, holders: byWhom(leased) }
}

type Judgement = readonly [PoolCondition, Explanation['severity'], string]

function judge(
  { maxSize: wanted, validationTimeoutMs, closeTimeoutMs, leakThresholdMs }: InsightSource['options'],
  insight: PoolInsight,
  leased: readonly ConnectionInsight[],
  byWhom: (leases: readonly ConnectionInsight[]) => readonly Holder[],
): Judgement {
  const { state, connections, connectError, retryInMs, nested = 0 } = insight
  const { waiting, headWaitMs, maxSize, paused, closed } = state
  const queue = `${count(waiting, 'caller waits', 'callers wait')}, the first for ${duration(headWaitMs)}`
  const doing = (what: ConnectionInsight['doing']): ConnectionInsight[] =>
    connections.filter((each) => each.doing === what)
  const long = leased.filter(({ heldMs }) => heldMs >= Math.min(LONG_MS, leakThresholdMs ?? Infinity))
  const longest = most(leased.map(({ heldMs }) => heldMs))
  if (insight.unit === 'seat')
    return judgeSeats(insight, {
      queue,
      longest: duration(longest),
      longestMs: longest,
      error: connectError === undefined ? undefined : describeError(connectError),
    })
  if (closed) {
    const left = leased.length === 0 ? '' : `: close() waits for ${count(leased.length, 'lease', 'leases')}`
    return ['closed', leased.length === 0 ? 'ok' : 'notice', `the pool is closed${left}.`]
  }
  if (paused)
    return [
      'paused',
      waiting > 0 ? 'problem' : 'notice',
      `the pool is paused, ${waiting > 0 ? queue : 'no caller waits'}: call resume().`,
    ]
  if (connectError !== undefined) {
    const next =
      retryInMs === undefined ? 'an attempt is running' : `the next attempt is in ${duration(retryInMs)}`
    const others =
      state.connections === 0
        ? 'no connection is open'
        : `${count(state.connections, 'connection is', 'connections are')} still open`
    return [
      'cannotConnect',
      waiting > 0 || state.connections === 0 ? 'problem' : 'notice',
      `connecting fails (${describeError(connectError)}), ${others}, ${waiting > 0 ? queue : 'no caller waits'}; ${next}. Check the server, its address, its limit of connections and the credentials.`,
    ]
  }
  if (nested > 0) return ['nested', 'problem', `${nestedAdvice(nested, leased.length)}; ${queue}.`]
  if (waiting === 0) return calm(insight, leased.length, longest, leakThresholdMs, byWhom(long))
  const taken = connections.length
  if (taken > maxSize)
    return [
      'shrinking',
      'notice',
      `${taken} connections are open or closing, above maxSize ${maxSize} that was lowered from ${wanted}; ${queue}: nothing is handed out until the surplus is released.`,
    ]
  const closing = doing('closing')
  if (closing.length > 0 && closing.length >= taken - leased.length && closing.length >= leased.length)
    return [
      'closing',
      'problem',
      `${count(closing.length, 'slot is', 'slots are')} taken by connections whose close has not settled (it may take closeTimeoutMs, ${duration(closeTimeoutMs)}); ${queue}. Find out what the manager's close waits for.`,
    ]
  const checking = doing('checking')
  if (checking.length > leased.length)
    return [
      'checking',
      'notice',
      `${count(checking.length, 'connection is', 'connections are')} being checked (a check may take validationTimeoutMs, ${duration(validationTimeoutMs)}); ${queue}. If this lasts, the server or a hook is slow.`,
    ]
  const returning = doing('returning')
  if (returning.length > leased.length)
    return [
      'resetting',
      'notice',
      `${count(returning.length, 'connection is', 'connections are')} being reset after ${returning.length === 1 ? 'its' : 'their'} return; ${queue}. Check afterRelease, and the manager's reset.`,
    ]
  const opening = doing('opening')
  if (opening.length > 0 && leased.length < maxSize) {
    const since = most(opening.map(({ ageMs }) => ageMs))
    return [
      'connecting',
      since > LONG_MS ? 'problem' : 'notice',
      `${count(opening.length, 'connection is', 'connections are')} being opened, the first for ${duration(since)}; ${queue}.${since > LONG_MS ? ' The server is slow to accept connections: keep some ready with minIdle.' : ''}`,
    ]
  }
  const shortest = leased.reduce((least, { heldMs }) => Math.min(least, heldMs), Infinity)
  const all = leased.length === 1 ? 'the only connection' : `all ${leased.length} connections`
  if (leased.length > 0 && shortest >= LONG_MS)
    return [
      'held',
      'problem',
      `${all} ${leased.length === 1 ? 'has' : 'have'} been held for at least ${duration(shortest)}${heldBy(byWhom(long))}; ${queue}: a slow query or a missing release.`,
    ]
  if (longest >= LONG_MS)
    return [
      'held',
      'notice',
      `${count(long.length, 'connection has', 'connections have')} been held for more than ${duration(LONG_MS)}, the longest for ${duration(longest)}${heldBy(byWhom(long))}; ${queue}: a slow query or a missing release.`,
    ]
  return [
    'busy',
    headWaitMs > LONG_MS ? 'problem' : 'notice',
    `${all} ${leased.length === 1 ? 'is' : 'are'} in use, each for a short time (the longest is held for ${duration(longest)}), but ${queue}: more work than connections. Raise maxSize if the server can sustain it, or send fewer requests.`,
  ]
}

function calm(
  { state }: PoolInsight,
  leased: number,
  longest: number,
  leakThresholdMs: number | undefined,
  holders: readonly Holder[],
): Judgement {
  const use = `${leased} of ${state.maxSize} in use, no caller waits`
  if (longest < Math.min(VERY_LONG_MS, leakThresholdMs ?? Infinity))
    return ['healthy', 'ok', `all is well: ${use}.`]
  return [
    'held',
    'notice',
    `${use}, but a connection has been held for ${duration(longest)}${heldBy(holders)}: a slow query or a missing release.`,
  ]
}

function holdersOf(
  leases: readonly ConnectionInsight[],
  holderOf: ((connection: number) => string | undefined) | undefined,
): Holder[] {
  const groups = Map.groupBy(leases, ({ connection, stack }) => holderOf?.(connection) ?? callerOf(stack))
  return Array.from(groups, ([by, group]) => ({
    by,
    connections: group.length,
    longestMs: most(group.map(({ heldMs }) => heldMs)),
  })).sort((a, b) => b.connections - a.connections || b.longestMs - a.longestMs)
}

function heldBy(holders: readonly Holder[]): string {
  const known = holders.find(({ by }) => by !== undefined)
  if (known === undefined) return ' (set leakThresholdMs to see the holder)'
  const isAll = holders.length === 1
  return isAll ? ` by ${known.by}` : `, ${known.connections} by ${known.by}`
}

// One line, without secrets.
function describeError(error: unknown): string {
  const message = redact(error instanceof Error ? error.message : String(error))
  const line = message.replaceAll(/\s+/g, ' ')
  const text = line.length > LONGEST_ERROR ? `${line.slice(0, LONGEST_ERROR)}…` : line
  return line === '' ? nameAndCode(error) : text
}

function most(numbers: readonly number[]): number {
  return numbers.reduce((largest, each) => Math.max(largest, each), 0)
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`
}

/** Formats milliseconds for a reader. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${Math.round(ms / 100) / 10} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
}

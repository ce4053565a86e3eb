import type { PoolState } from '../src/index.ts'
import type { Failure } from './load.ts'

/** What happened to the server, and what came of it. */
export interface Fault {
  readonly what: string
  /** From the moment at which the server could serve again until the pool was at full throughput. */
  readonly recoveryMs: number
  readonly failures: readonly Failure[]
}

/** All that the demonstration found. */
export interface Findings {
  readonly seconds: number
  readonly seed: number
  readonly retries: number
  readonly size: number
  readonly completed: number
  readonly failures: readonly Failure[]
  readonly longestRequestMs: number
  readonly perCaller: readonly number[]
  readonly faults: readonly Fault[]
  /** What `size` connects at once and a query on each take on this machine without a pool: the limit of any recovery. */
  readonly bareConnectsMs: number
  readonly unhandled: number
  /** undefined: the run was interrupted before they could be counted. */
  readonly connectionsAtServer: number | undefined
  readonly state: PoolState
}

/** One expectation, and whether it held. */
export interface Verdict {
  readonly expectation: string
  readonly found: string
  readonly holds: boolean
}

// The absolute deadline of one acquire, which no caller may wait beyond, and some time for its query.
const LONGEST_MS = 31_000
// On top of what the connects themselves cost: to notice that the server is back.
const NOTICE_MS = 120

/** Jain's index of fairness: 1 when all got the same, 1/n when one got everything. */
export function jain(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0)
  const squares = shares.reduce((total, share) => total + share * share, 0)
  return squares === 0 ? 1 : (sum * sum) / (shares.length * squares)
}

/** Holds the findings against what the pool promises. */
export function judge(findings: Findings): Verdict[] {
  const { faults, retries, size, failures, state, connectionsAtServer, unhandled, longestRequestMs } =
    findings
  const worst = Math.max(0, ...faults.map((fault) => fault.failures.length))
  const inFaults = faults.reduce((total, fault) => total + fault.failures.length, 0)
  const recoveryMs = Math.round(NOTICE_MS + findings.bareConnectsMs)
  const slowest = Math.max(0, ...faults.map((fault) => fault.recoveryMs))
  return [
    {
      expectation: 'no caller waits for ever',
      found: `longest ${Math.round(longestRequestMs)} ms`,
      holds: longestRequestMs < LONGEST_MS,
    },
    { expectation: 'nothing unhandled', found: String(unhandled), holds: unhandled === 0 },
    retries >= 2
      ? {
          expectation: 'with retries no caller sees an error',
          found: `${failures.length} errors`,
          holds: failures.length === 0,
        }
      : {
          expectation: `only queries in flight at a fault fail: at most ${size} each`,
          found: `at most ${worst}, ${failures.length - inFaults} at other times`,
          holds: worst <= size && failures.length === inFaults,
        },
    {
      expectation: `full throughput within ${recoveryMs} ms of the server's return (${size} bare connects and ${NOTICE_MS} ms)`,
      found: `${Math.round(slowest)} ms`,
      holds: slowest <= recoveryMs,
    },
    {
      expectation: 'connections at the server = pool.state()',
      found: `${connectionsAtServer ?? 'not counted'} = ${state.connections}`,
      holds: connectionsAtServer === undefined || connectionsAtServer === state.connections,
    },
  ]
}

/** The findings as text for a person. */
export function formatReport(findings: Findings, verdicts: readonly Verdict[]): string {
  const { state, faults, failures, perCaller, completed, seconds } = findings
  const { acquires, waitMs, connects, closed } = state.statistics
  const byError = Object.entries(Object.groupBy(failures, ({ error }) => error)).map(
    ([error, each]) => `${error} x ${each?.length ?? 0}`,
  )
  const reasons = Object.entries(closed)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
  return [
    '',
    `What callers saw (seed ${findings.seed}, retries ${findings.retries})`,
    `  requests      ${completed} completed (${Math.round(completed / seconds)}/s), ${failures.length} failed${byError.length > 0 ? `: ${byError.join(', ')}` : ''}`,
    `  waits         p50 ${waitMs.p50.toFixed(1)} ms, p99 ${waitMs.p99.toFixed(1)} ms, longest ${Math.round(waitMs.max)} ms; ${acquires.timedOut} timed out`,
    `  fairness      Jain index ${jain(perCaller).toFixed(4)} over ${perCaller.length} callers`,
    'Faults',
    ...faults.map(
      ({ what, recoveryMs, failures: failed }) =>
        `  ${what}: ${failed.length} requests failed, full throughput again after ${Math.round(recoveryMs)} ms`,
    ),
    'Connections',
    `  opened ${connects.opened}, attempts failed ${connects.failed}, closed: ${reasons.join(', ') || 'none'}`,
    'Verdict',
    ...verdicts.map(
      ({ expectation, found, holds }) => `  ${holds ? 'ok    ' : 'FAILED'}  ${expectation} (${found})`,
    ),
    '',
  ].join('\n')
}

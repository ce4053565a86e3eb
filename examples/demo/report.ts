import { styleText } from 'node:util'

import type { PoolState } from '../../src/index.ts'
import type { Failure } from './load.ts'

/** What happened to the server, and what came of it. */
export interface Fault {
  readonly what: FaultName
  /**
   * From the moment at which the server could serve again until the pool was at full throughput, in milliseconds.
   * undefined: the run was interrupted before.
   */
  readonly recoveryMs: number | undefined
  readonly failures: readonly Failure[]
}

/** Every fault of a run. */
export const FAULTS = ['every backend killed', 'server stopped for 2 s'] as const
export type FaultName = (typeof FAULTS)[number]

/** All that the demonstration found. */
export interface Findings {
  /** How long the load ran, in seconds. */
  readonly seconds: number
  readonly seed: number
  readonly retries: number
  readonly size: number
  readonly completed: number
  readonly failures: readonly Failure[]
  readonly longestRequestMs: number
  readonly perCaller: readonly number[]
  readonly faults: readonly Fault[]
  /** Duration of `size` concurrent connects and a query on each, without a pool, in milliseconds: the limit of any recovery. */
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
  /** Whether the run did what shows it. An expectation that was not tried holds. */
  readonly wasTried: boolean
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

/** Compares the findings with what the pool promises. */
export function judge(findings: Findings): Verdict[] {
  const { faults, retries, size, failures, state, connectionsAtServer, unhandled, longestRequestMs } =
    findings
  const worst = Math.max(0, ...faults.map((fault) => fault.failures.length))
  const inFaults = faults.reduce((total, fault) => total + fault.failures.length, 0)
  const recoveryMs = Math.round(NOTICE_MS + findings.bareConnectsMs)
  const recoveries = faults.flatMap((fault) => fault.recoveryMs ?? [])
  const slowest = Math.max(0, ...recoveries)
  const hasFault = faults.length > 0
  const verdict = (expectation: string, found: string, holds: boolean, wasTried = true): Verdict => ({
    expectation,
    found: wasTried ? found : 'not tried',
    holds: holds || !wasTried,
    wasTried,
  })
  return [
    verdict(
      'no caller waits forever',
      `longest ${Math.round(longestRequestMs)} ms`,
      longestRequestMs < LONGEST_MS,
    ),
    verdict('nothing is unhandled', String(unhandled), unhandled === 0),
    retries >= 2
      ? verdict(
          'with retries no caller sees an error',
          `${failures.length} errors`,
          failures.length === 0,
          hasFault || failures.length > 0,
        )
      : verdict(
          `a fault fails at most ${size} queries`,
          `${worst}; ${failures.length - inFaults} at other times`,
          worst <= size && failures.length === inFaults,
          hasFault || failures.length > 0,
        ),
    verdict(
      `full throughput within ${recoveryMs} ms after a fault`,
      `${Math.round(slowest)} ms`,
      slowest <= recoveryMs,
      recoveries.length > 0,
    ),
    verdict(
      'connections at the server = pool.state()',
      `${connectionsAtServer} = ${state.connections}`,
      connectionsAtServer === state.connections,
      connectionsAtServer !== undefined,
    ),
  ]
}

/** The state of a run, as one line of at most 80 columns. */
export function progressLine(
  { inUse, idle, waiting, statistics }: PoolState,
  { perSecond, errors }: { readonly perSecond: number; readonly errors: number },
): string {
  const { p50, p99 } = statistics.waitMs
  const columns = [
    `${String(inUse).padStart(4)} in use`,
    `${String(idle).padStart(3)} idle`,
    `${String(waiting).padStart(5)} waiting`,
    `${String(Math.round(perSecond)).padStart(6)}/s`,
    `${String(errors).padStart(4)} errors`,
    `p50 ${shortMs(p50)} p99 ${shortMs(p99)}`,
  ]
  return columns.join(' ')
}

function shortMs(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(ms < 100 ? 1 : 0)}ms` : `${(ms / 1_000).toFixed(1)}s`
}

const WIDTH = 80

/** The findings as text for a person, in lines of at most 80 columns. `colour`: for a terminal. */
export function formatReport(
  findings: Findings,
  verdicts: readonly Verdict[],
  { colour = false }: { readonly colour?: boolean } = {},
): string {
  const { state, faults, failures, perCaller, completed, seconds } = findings
  const { acquires, waitMs, connects, closed } = state.statistics
  const paint = (style: 'bold' | 'green' | 'red' | 'yellow', text: string): string =>
    colour ? styleText(style, text, { validateStream: false }) : text
  const byError = Object.entries(Object.groupBy(failures, ({ error }) => error)).map(
    ([error, each]) => `${error} x ${each?.length ?? 0}`,
  )
  const reasons = Object.entries(closed)
    .filter(([, count]) => count > 0)
    .map(([reason, count]) => `${reason} ${count}`)
  const mark = ({ holds, wasTried }: Verdict): string => {
    if (!wasTried) return paint('yellow', 'skipped')
    return holds ? paint('green', 'ok     ') : paint('red', 'FAILED ')
  }
  return [
    '',
    paint('bold', `What callers saw (seed ${findings.seed}, retries ${findings.retries})`),
    ...item('requests', [
      `${completed} completed (${Math.round(completed / seconds)}/s), ${failures.length} failed`,
      ...byError,
    ]),
    ...item('waits', [
      `p50 ${waitMs.p50.toFixed(1)} ms`,
      `p99 ${waitMs.p99.toFixed(1)} ms`,
      `longest ${Math.round(waitMs.max)} ms`,
      `${acquires.timedOut} timed out`,
    ]),
    ...item('fairness', [`Jain index ${jain(perCaller).toFixed(4)} over ${perCaller.length} callers`]),
    paint('bold', 'Faults'),
    ...FAULTS.map((what) => faultLine(what, faults)),
    paint('bold', 'Connections'),
    ...item('opened', [`${connects.opened}`, `${connects.failed} attempts failed`]),
    ...item('closed', reasons.length > 0 ? reasons : ['none']),
    paint('bold', 'Verdict'),
    ...verdicts.map((verdict) => `  ${mark(verdict)} ${verdict.expectation} (${verdict.found})`),
    '',
  ].join('\n')
}

function faultLine(what: FaultName, faults: readonly Fault[]): string {
  const fault = faults.find((each) => each.what === what)
  if (fault === undefined) return `  ${what}: not tried`
  const { failures, recoveryMs } = fault
  const recovery = recoveryMs === undefined ? 'interrupted' : `recovered in ${Math.round(recoveryMs)} ms`
  return `  ${what}: ${failures.length} requests failed, ${recovery}`
}

// A name and its parts, continued on further lines where 80 columns are not enough.
function item(name: string, parts: readonly string[]): string[] {
  const lines: string[] = []
  let line = `  ${name.padEnd(9)}`
  for (const [index, part] of parts.entries()) {
    const text = index < parts.length - 1 ? `${part},` : part
    if (line.length + text.length + 1 > WIDTH && line.trim() !== '') {
      lines.push(line)
      line = ' '.repeat(11)
    }
    line += ` ${text}`
  }
  return [...lines, line]
}

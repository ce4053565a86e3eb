/** One setting of the experiment. */
export interface Point {
  readonly size: number
  /** Number of concurrent callers. */
  readonly callers: number
}

/** The measurements at one point, over all rounds. Durations are milliseconds. */
export interface Result extends Point {
  /** Medians of the rounds. */
  readonly perSecond: number
  /** The part of the time for which this process was busy, from 0 to 1. */
  readonly busy: number
  /** Durations of the statement, and of the whole request with the wait for a connection. */
  readonly query: Percentiles
  readonly request: Percentiles
  readonly errors: number
}

/** Percentiles of durations, in milliseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p95: number
}

/** The chosen size and its reasons. */
export interface Advice {
  /** The smallest size with nearly the best throughput. */
  readonly size: number
  /** Reasons and warnings, a sentence each. */
  readonly reasons: readonly string[]
}

// A size with this part of the best throughput is as good: the rest is noise, and more connections cost latency.
const NEARLY = 0.95
// Above it this process cannot load the server harder.
const BUSY = 0.9

/** Finds the knee of throughput against latency. `results`: by size, ascending, at least one. */
export function findKnee(results: readonly Result[]): Advice {
  const best = Math.max(...results.map(({ perSecond }) => perSecond))
  const knee = results.find(({ perSecond }) => perSecond >= best * NEARLY)
  const last = results.at(-1)
  if (knee === undefined || last === undefined) throw new RangeError('results must not be empty')
  const reasons = [
    `${knee.size} connections answered ${rate(knee.perSecond)} requests per second, ${percent(knee.perSecond / best)} of the best throughput (${rate(best)}).`,
  ]
  if (last.size > knee.size) {
    reasons.push(
      `${last.size} connections answered ${rate(last.perSecond)}, and a statement took ${duration(last.query.p95)} at the 95th percentile instead of ${duration(knee.query.p95)}: a larger pool adds a queue inside the server.`,
    )
  } else {
    reasons.push(
      `It is the largest size that was tried, and throughput still grew. Try a larger --max-size with more --callers.`,
    )
  }
  const inUse = (knee.perSecond * knee.query.p50) / 1_000
  reasons.push(
    `Little's law: ${rate(knee.perSecond)} per second x ${duration(knee.query.p50)} each keep ${inUse.toFixed(1)} connections busy. With ${knee.callers} concurrent callers, each waits ${duration(Math.max(0, knee.request.p50 - knee.query.p50))} for a connection.`,
  )
  const errors = results.reduce((sum, result) => sum + result.errors, 0)
  if (errors > 0) reasons.push(`${errors} requests failed: the figures are those of the others.`)
  if (knee.busy >= BUSY) {
    reasons.push(
      `This process was busy for ${percent(knee.busy)} of the time: it may be the limit instead of the server. Use statements as heavy as your own (--sql).`,
    )
  }
  return { size: knee.size, reasons }
}

/** The load up to which the latency of the chosen size stays low. `results`: by callers, ascending, at least one. */
export function sustainedLoad(results: readonly Result[]): string {
  const [alone] = results
  if (alone === undefined) throw new RangeError('results must not be empty')
  const limit = alone.request.p95 * 2
  const sustained = results.filter(({ request }) => request.p95 <= limit).at(-1) ?? alone
  return `Up to ${sustained.callers} concurrent callers (${rate(sustained.perSecond)} requests per second), 95 % of the requests take at most twice the time of a single caller (${duration(alone.request.p95)}).`
}

/** Numbers to try: each a third to a half larger than the last, up to the largest. */
export function ladder(most: number): number[] {
  const steps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768]
  return [...steps.filter((step) => step < most), most]
}

/** Formats a number of requests per second for a reader. */
export function rate(perSecond: number): string {
  return Math.round(perSecond).toLocaleString('en-US')
}

/** Formats milliseconds for a reader. */
export function duration(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString('en-US')} ms`
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}

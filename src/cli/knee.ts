/** One setting of the experiment. */
export interface Point {
  readonly size: number
  /** How many ask at once. */
  readonly callers: number
}

/** What was measured at one point, over all rounds. Durations are milliseconds. */
export interface Result extends Point {
  /** Medians of the rounds. */
  readonly perSecond: number
  /** How busy this process was, from 0 to 1. */
  readonly busy: number
  /** Of the statement alone, and of the whole request with the wait for a connection. */
  readonly query: Percentiles
  readonly request: Percentiles
  readonly errors: number
}

/** Of some durations in milliseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p95: number
}

/** What the results mean. */
export interface Advice {
  /** The smallest size that does nearly as much as any. */
  readonly size: number
  /** Why, and what to be careful about: a sentence each. */
  readonly reasons: readonly string[]
}

// A size that does so much of the best throughput is as good: the rest is noise, and more connections cost latency.
const NEARLY = 0.95
// From here on this process has no time left to load the server harder.
const BUSY = 0.9

/** Finds the knee of throughput against latency. `results`: by size, ascending, at least one. */
export function findKnee(results: readonly Result[]): Advice {
  const best = Math.max(...results.map(({ perSecond }) => perSecond))
  const knee = results.find(({ perSecond }) => perSecond >= best * NEARLY)
  const last = results.at(-1)
  if (knee === undefined || last === undefined) throw new RangeError('there are no results')
  const reasons = [
    `With ${knee.size} connections ${rate(knee.perSecond)} requests a second were answered, ${percent(knee.perSecond / best)} of the most that any size reached (${rate(best)}).`,
  ]
  if (last.size > knee.size) {
    reasons.push(
      `${last.size} connections made it ${rate(last.perSecond)}, and a statement took ${duration(last.query.p95)} at the 95th percentile instead of ${duration(knee.query.p95)}: what a larger pool adds is a queue inside the server.`,
    )
  } else {
    reasons.push(
      `That is the largest size that was tried, and throughput still grew: a larger --max-size, with more --callers, may find more.`,
    )
  }
  const inUse = (knee.perSecond * knee.query.p50) / 1_000
  reasons.push(
    `Little's law: ${rate(knee.perSecond)} a second x ${duration(knee.query.p50)} each keep ${inUse.toFixed(1)} connections busy. Of ${knee.callers} callers at once each waits ${duration(Math.max(0, knee.request.p50 - knee.query.p50))} for one.`,
  )
  const errors = results.reduce((sum, result) => sum + result.errors, 0)
  if (errors > 0) reasons.push(`${errors} requests failed: the figures are of those that did not.`)
  if (knee.busy >= BUSY) {
    reasons.push(
      `This process was busy for ${percent(knee.busy)} of the time: it may be what limits, and not the server. Take statements that are as heavy as your own (--sql).`,
    )
  }
  return { size: knee.size, reasons }
}

/** How much load the chosen size bears before its callers feel it. `results`: by callers, ascending, at least one. */
export function bearableLoad(results: readonly Result[]): string {
  const [alone] = results
  if (alone === undefined) throw new RangeError('there are no results')
  const limit = alone.request.p95 * 2
  const bearable = results.filter(({ request }) => request.p95 <= limit).at(-1) ?? alone
  return `Up to ${bearable.callers} callers at once (${rate(bearable.perSecond)} requests a second), 95 % of the requests take no more than twice what they take alone (${duration(alone.request.p95)}).`
}

/** Numbers to try: each a third to a half larger than the last, up to the largest. */
export function ladder(most: number): number[] {
  const steps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768]
  return [...steps.filter((step) => step < most), most]
}

/** A number of requests a second, as a person reads it. */
export function rate(perSecond: number): string {
  return Math.round(perSecond).toLocaleString('en-US')
}

/** Milliseconds, as a person reads them. */
export function duration(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString('en-US')} ms`
}

function percent(part: number): string {
  return `${Math.round(part * 100)} %`
}

import { type MeterProvider, metrics, trace, type TracerProvider } from '@opentelemetry/api'

import type { GroupInsightSource } from '../group/index.ts'
import type { InsightSource } from '../index.ts'
import { Metrics } from './metrics.ts'
import { Selection } from './selection.ts'
import { Spans } from './spans.ts'
import { Subscriptions } from './subscriptions.ts'

export { ATTRIBUTES, type Instrument, type InstrumentKey, INSTRUMENTS } from './names.ts'

/** Options of {@link instrument}: its subjects and its receivers. */
export interface InstrumentOptions {
  /** Receives the metrics. Default: the global provider, also one that is set later. null: no metrics. */
  readonly meterProvider?: MeterProvider | null | undefined
  /** Receives the spans. Default: the global provider, also one that is set later. null: no spans. */
  readonly tracerProvider?: TracerProvider | null | undefined
  /** Pools and groups to report. Default: every pool and every group of the process, also those created later. */
  readonly pools?: Iterable<InsightSource | GroupInsightSource> | undefined
}

/** A running instrumentation, as {@link instrument} returns it. */
export interface Instrumentation extends Disposable {
  /** Ends it. Safe to call twice. */
  end(): void
}

const SCOPE = 'cenote'
const NAMES = new Set(['meterProvider', 'tracerProvider', 'pools'])

/**
 * Reports pools to OpenTelemetry: the metrics `db.client.connection.*` of the semantic conventions, `cenote.*` in addition to them, and a
 * span of each acquire and each connect. A group is measured under its own name, whatever number of keys it has. `instrument` may be called before the SDK is set up, and several times: what two instrumentations of the same
 * provider select is reported once. Times are in seconds, as in the conventions. Never reports a credential. Throws TypeError for a wrong option.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { instrument } from 'cenote/otel'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * // Before the first pool, so that its first connects are measured too.
 * using instrumentation = instrument()
 * const pool = new Pool(new ScriptedManager())
 * ;(await pool.acquire()).release()
 * console.log(pool.state().idle) // prints 1
 * ```
 */
export function instrument(options: InstrumentOptions = {}): Instrumentation {
  check(options)
  const { meterProvider = metrics, tracerProvider = trace, pools } = options
  const selection = new Selection(pools)
  const subscriptions = new Subscriptions()
  if (meterProvider !== null) new Metrics(meterProvider, SCOPE, selection, subscriptions)
  if (tracerProvider !== null) new Spans(tracerProvider, SCOPE, selection, subscriptions)
  const end = (): void => subscriptions.end()
  return { end, [Symbol.dispose]: end }
}

function check(options: InstrumentOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(`the argument of instrument must be an object (got ${String(options)})`)
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name))
      throw new TypeError(
        `${name} is not one of the options of instrument: known are ${[...NAMES].join(', ')}`,
      )
  }
  const { meterProvider, tracerProvider, pools } = options
  if (meterProvider !== undefined && meterProvider !== null && typeof meterProvider.getMeter !== 'function')
    throw new TypeError(
      'meterProvider must be a MeterProvider, or null for no metrics (got an object without getMeter)',
    )
  if (
    tracerProvider !== undefined &&
    tracerProvider !== null &&
    typeof tracerProvider.getTracer !== 'function'
  )
    throw new TypeError(
      'tracerProvider must be a TracerProvider, or null for no spans (got an object without getTracer)',
    )
  if (pools === undefined) return
  if (typeof pools !== 'object' || pools === null || !(Symbol.iterator in pools))
    throw new TypeError(`pools must be an array of pools (got ${String(pools)})`)
  for (const pool of pools) {
    if (typeof pool?.look !== 'function')
      throw new TypeError(`pools must be an array of pools (got an array with ${typeof pool})`)
  }
}

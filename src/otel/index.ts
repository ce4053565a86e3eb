import { type MeterProvider, metrics, trace, type TracerProvider } from '@opentelemetry/api'

import type { InsightSource } from '../index.ts'
import { measure } from './metrics.ts'
import { Selection } from './selection.ts'
import { Spans } from './spans.ts'
import { Subscriptions } from './subscriptions.ts'

export { ATTRIBUTES, type Instrument, type InstrumentKey, INSTRUMENTS } from './names.ts'

/** What {@link instrument} reports, and to whom. */
export interface InstrumentOptions {
  /** Who takes the metrics. Default: the global one. null: no metrics. */
  readonly meterProvider?: MeterProvider | null | undefined
  /** Who takes the spans. Default: the global one. null: no spans. */
  readonly tracerProvider?: TracerProvider | null | undefined
  /** Which pools. Default: every pool of the process, also those made later. */
  readonly pools?: Iterable<InsightSource> | undefined
}

/** What {@link instrument} began. */
export interface Instrumentation extends Disposable {
  /** Ends it. Safe to call twice. */
  end(): void
}

const SCOPE = 'cenote'
const NAMES = new Set(['meterProvider', 'tracerProvider', 'pools'])

/**
 * Reports pools to OpenTelemetry: the metrics `db.client.connection.*` of the semantic conventions and `cenote.*` beside them, and a span of
 * each acquire and each connect. Call it once, when the SDK has been set up. Times are in seconds, as the conventions have it. Never reports a
 * credential. Throws TypeError for a wrong option.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { instrument } from 'cenote/otel'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * // Before the first pool, after the SDK of OpenTelemetry has been started.
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
  const meter = meterProvider?.getMeter(SCOPE)
  const stopObserving = meter === undefined ? undefined : measure(meter, selection, subscriptions)
  if (tracerProvider !== null) new Spans(tracerProvider.getTracer(SCOPE), selection, subscriptions)
  const end = (): void => {
    subscriptions.end()
    stopObserving?.()
  }
  return { end, [Symbol.dispose]: end }
}

function check(options: InstrumentOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(`the argument of instrument is ${String(options)}: allowed is an object`)
  for (const name of Object.keys(options)) {
    if (!NAMES.has(name))
      throw new TypeError(
        `${name} is not one of the options of instrument: known are ${[...NAMES].join(', ')}`,
      )
  }
  const { meterProvider, tracerProvider, pools } = options
  if (meterProvider !== undefined && meterProvider !== null && typeof meterProvider.getMeter !== 'function')
    throw new TypeError(
      'meterProvider has no method getMeter: allowed is a MeterProvider, or null for no metrics',
    )
  if (
    tracerProvider !== undefined &&
    tracerProvider !== null &&
    typeof tracerProvider.getTracer !== 'function'
  )
    throw new TypeError(
      'tracerProvider has no method getTracer: allowed is a TracerProvider, or null for no spans',
    )
  if (pools === undefined) return
  if (typeof pools !== 'object' || pools === null || !(Symbol.iterator in pools))
    throw new TypeError(`pools is ${String(pools)}: allowed is an array of pools`)
  for (const pool of pools) {
    if (typeof pool?.look !== 'function')
      throw new TypeError(`pools holds ${typeof pool}: allowed is an array of pools`)
  }
}

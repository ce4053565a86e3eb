import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { PoolEvent } from './channels.ts'
import type { Clock } from './clock.ts'
import { type Events, nameOf } from './events.ts'
import { Lease } from './lease.ts'

/**
 * What one acquire carries through the events of `tracing:cenote:acquire`. The last three are filled in before `asyncEnd`;
 * `retries` of run are acquires of their own. A direct hand-off has all of the events too.
 */
export interface AcquireTrace extends PoolEvent {
  /** Callers in the queue when it came. */
  readonly waiting: number
  connection?: number | undefined
  waitMs?: number
  /** The name of what it failed with. */
  error?: string
}

/** What one connect attempt carries through the events of `tracing:cenote:open`. */
export interface OpenTrace extends PoolEvent {
  /** The connection that it is to be. */
  readonly connection: number
  connectMs?: number
  /** The name and code of what it failed with. */
  error?: string
}

/**
 * The names of the tracing channels: `tracing:cenote:acquire:start`, `:end`, `:asyncStart`, `:asyncEnd`, `:error`, and so on.
 *
 * @example
 * ```ts
 * import { tracingChannel } from 'node:diagnostics_channel'
 *
 * import { Pool, TRACING_CHANNELS } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * tracingChannel(TRACING_CHANNELS.acquire).asyncEnd.subscribe((trace) => console.log(trace)) // prints waiting: 0
 * const pool = new Pool(new ScriptedManager())
 * ;(await pool.acquire()).release()
 * ```
 */
export const TRACING_CHANNELS: { readonly acquire: 'cenote:acquire'; readonly open: 'cenote:open' } =
  Object.freeze({ acquire: 'cenote:acquire', open: 'cenote:open' })

type Tracing<T extends object> = TracingChannel<unknown, T>

/** The tracing channels themselves: ask `isTraced` before a context is built. */
export const tracing: { readonly acquire: Tracing<AcquireTrace>; readonly open: Tracing<OpenTrace> } =
  Object.freeze({
    acquire: tracingChannel<unknown, AcquireTrace>(TRACING_CHANNELS.acquire),
    open: tracingChannel<unknown, OpenTrace>(TRACING_CHANNELS.open),
  })

/** Whether anybody listens to any of its events. */
export function isTraced(channel: Tracing<AcquireTrace> | Tracing<OpenTrace>): boolean {
  // Runtimes that lack the sum of the five have undefined here.
  return channel.hasSubscribers ?? true
}

/** Begins work within the stores that tracers bind to `start`. */
export function traceStart<T extends object, R>(channel: Tracing<T>, context: T, begin: () => R): R {
  return channel.start.runStores(context, () => {
    try {
      return begin()
    } finally {
      channel.end.publish(context)
    }
  })
}

/** Tells that the work has ended: well, or as `context.error` says. */
export function traceEnd<T extends { error?: string }>(channel: Tracing<T>, context: T): void {
  if (context.error !== undefined) channel.error.publish(context)
  channel.asyncStart.publish(context)
  channel.asyncEnd.publish(context)
}

/** Traces one acquire from its call to its lease or error. */
export function traceAcquire<C>(
  { pool, poolId }: Events,
  clock: Clock,
  waiting: number,
  begin: () => Promise<Lease<C>>,
): Promise<Lease<C>> {
  const context: AcquireTrace = { pool, poolId, waiting }
  const startedAt = clock.now()
  const end = (): void => {
    context.waitMs = clock.now() - startedAt
    traceEnd(tracing.acquire, context)
  }
  return traceStart(tracing.acquire, context, () =>
    begin().then(
      (lease) => {
        context.connection = Lease.connectionOf(lease)
        end()
        return lease
      },
      (error: unknown) => {
        context.error = nameOf(error)
        end()
        throw error
      },
    ),
  )
}

import { tracingChannel } from 'node:diagnostics_channel'
import type { PoolEvent } from './channels.ts'
import type { Clock } from '../contract/clock.ts'
import { type Events, nameOf } from './events.ts'

/**
 * The context of one acquire in all events of `tracing:cenote:acquire`. The last three are filled in before `asyncEnd`;
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

/** The context of one connect attempt in all events of `tracing:cenote:open`. */
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

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

// The parameters of Node's own type changed their order in @types/node 26.
interface Tracing<T extends object> {
  readonly start: Published<T> & { runStores<R>(context: T, work: () => R): R }
  readonly end: Published<T>
  readonly asyncStart: Published<T>
  readonly asyncEnd: Published<T>
  readonly error: Published<T>
  readonly hasSubscribers?: boolean
}
interface Published<T> {
  readonly hasSubscribers: boolean
  publish(context: T): void
}

/** The tracing channels themselves: ask `isTraced` before a context is built. */
export const tracing: { readonly acquire: Tracing<AcquireTrace>; readonly open: Tracing<OpenTrace> } =
  Object.freeze({
    acquire: tracingChannel(TRACING_CHANNELS.acquire) as unknown as Tracing<AcquireTrace>,
    open: tracingChannel(TRACING_CHANNELS.open) as unknown as Tracing<OpenTrace>,
  })

/** Whether any of its events has subscribers. */
export function isTraced(channel: Tracing<AcquireTrace> | Tracing<OpenTrace>): boolean {
  // Undefined on Bun.
  return channel.hasSubscribers ?? EVENTS.some((event) => channel[event].hasSubscribers)
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

/** Publishes the end of the work: success, or the failure in `context.error`. */
export function traceEnd<T extends { error?: string }>(channel: Tracing<T>, context: T): void {
  if (context.error !== undefined) channel.error.publish(context)
  channel.asyncStart.publish(context)
  channel.asyncEnd.publish(context)
}

/** Traces one acquire from its call to its lease or error. `connectionOf` returns the number of a lease's connection. */
export function traceAcquire<L>(
  { subject }: Events,
  clock: Clock,
  waiting: number,
  connectionOf: (lease: L) => number | undefined,
  begin: () => Promise<L>,
): Promise<L> {
  const context: AcquireTrace = { ...subject, waiting }
  const startedAt = clock.now()
  const end = (): void => {
    context.waitMs = clock.now() - startedAt
    traceEnd(tracing.acquire, context)
  }
  return traceStart(tracing.acquire, context, () =>
    begin().then(
      (lease) => {
        context.connection = connectionOf(lease)
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

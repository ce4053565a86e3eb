import { type Channel, channel } from 'node:diagnostics_channel'
import type { CloseReason } from '../contract/close-reason.ts'
import type { AcquirePhase } from '../contract/errors.ts'

/** The fields of every payload. */
export interface PoolEvent {
  /** The pool's name. */
  readonly pool: string
  /** A number that is unique in the process; names may repeat. */
  readonly poolId: number
  /** The name of its group, if this is the pool of one key: `pool` is `<group>/<key>` then. */
  readonly group?: string | undefined
  /** The number of its group, among those of the pools. */
  readonly groupId?: number | undefined
}
/** A caller got a connection. */
export interface AcquireEvent extends PoolEvent {
  readonly connection: number
  /** Wait of the caller, in milliseconds; 0 if it did not wait. */
  readonly waitMs: number
}
/** A lease was released, destroyed, detached or reclaimed. */
export interface ReleaseEvent extends PoolEvent {
  readonly connection: number
  readonly heldMs: number
}
/** A connection was opened, or adopted by `add`. */
export interface OpenEvent extends PoolEvent {
  readonly connection: number
  /** Duration of the connect, in milliseconds; 0 for an added connection. */
  readonly connectMs: number
}
/** A connect attempt failed. */
export interface OpenErrorEvent extends PoolEvent {
  /** The error's name and code; never its message, which may hold an address or a user name. */
  readonly error: string
  /** Whether the manager's isFatal returned true: retrying cannot fix it. */
  readonly isFatal: boolean
}
/** isValid was called for a connection. */
export interface CheckEvent extends PoolEvent {
  readonly connection: number
  readonly passed: boolean
  readonly checkMs: number
}
/** A connection began to be closed. */
export interface CloseEvent extends PoolEvent {
  readonly connection: number
  readonly reason: CloseReason
  readonly ageMs: number
}
/** The close of a connection settled or timed out: its slot is free. */
export interface ClosedEvent extends PoolEvent {
  readonly connection: number
  readonly closeMs: number
}
/** An acquire timed out. */
export interface TimeoutEvent extends PoolEvent {
  readonly phase: AcquirePhase
  readonly waitMs: number
}
/** A caller's signal was aborted while it waited. */
export interface AbortEvent extends PoolEvent {
  readonly waitMs: number
}
/** An acquire was shed from the queue, or rejected because the queue was full. */
export interface RefuseEvent extends PoolEvent {
  readonly why: 'queueFull' | 'overloaded'
}
/** A lease was held for longer than leakThresholdMs, or garbage-collected unreleased. */
export interface LeakEvent extends PoolEvent {
  readonly connection: number
  readonly heldMs: number
  /** The stack of its acquire, if leaks are reported. */
  readonly stack: string | undefined
}
/** A method of the pool was called that changes it. */
export interface ChangeEvent extends PoolEvent {
  readonly what: 'made' | 'paused' | 'resumed' | 'cleared' | 'resized' | 'closing' | 'closed'
  readonly maxSize: number
  readonly minIdle: number
}
/** A failure that belongs to no caller. */
export interface ErrorEvent extends PoolEvent {
  /** The error's name. */
  readonly error: string
}

/** A channel of `node:diagnostics_channel` with one type of payload. */
export interface TypedChannel<T> {
  readonly name: string
  readonly hasSubscribers: boolean
  publish(message: T): void
}

/**
 * The names of the channels that pools publish to.
 *
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel'
 *
 * import { CHANNELS, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * subscribe(CHANNELS.open, (event) => console.log(event)) // prints pool: 'orders'
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * ;(await pool.acquire()).release()
 * ```
 */
export const CHANNELS: {
  readonly acquire: 'cenote:acquire'
  readonly release: 'cenote:release'
  readonly open: 'cenote:open'
  readonly openError: 'cenote:open:error'
  readonly check: 'cenote:check'
  readonly close: 'cenote:close'
  readonly closed: 'cenote:closed'
  readonly timeout: 'cenote:timeout'
  readonly abort: 'cenote:abort'
  readonly refuse: 'cenote:refuse'
  readonly leak: 'cenote:leak'
  readonly change: 'cenote:change'
  readonly error: 'cenote:error'
} = Object.freeze({
  acquire: 'cenote:acquire',
  release: 'cenote:release',
  open: 'cenote:open',
  openError: 'cenote:open:error',
  check: 'cenote:check',
  close: 'cenote:close',
  closed: 'cenote:closed',
  timeout: 'cenote:timeout',
  abort: 'cenote:abort',
  refuse: 'cenote:refuse',
  leak: 'cenote:leak',
  change: 'cenote:change',
  error: 'cenote:error',
})

/** The payload of each channel. */
export interface ChannelPayloads {
  readonly acquire: AcquireEvent
  readonly release: ReleaseEvent
  readonly open: OpenEvent
  readonly openError: OpenErrorEvent
  readonly check: CheckEvent
  readonly close: CloseEvent
  readonly closed: ClosedEvent
  readonly timeout: TimeoutEvent
  readonly abort: AbortEvent
  readonly refuse: RefuseEvent
  readonly leak: LeakEvent
  readonly change: ChangeEvent
  readonly error: ErrorEvent
}

/** The channels themselves. Test `hasSubscribers` before a payload is built. */
export const channels: { readonly [K in keyof ChannelPayloads]: TypedChannel<ChannelPayloads[K]> } =
  Object.freeze({
    acquire: channel(CHANNELS.acquire) as Channel,
    release: channel(CHANNELS.release) as Channel,
    open: channel(CHANNELS.open) as Channel,
    openError: channel(CHANNELS.openError) as Channel,
    check: channel(CHANNELS.check) as Channel,
    close: channel(CHANNELS.close) as Channel,
    closed: channel(CHANNELS.closed) as Channel,
    timeout: channel(CHANNELS.timeout) as Channel,
    abort: channel(CHANNELS.abort) as Channel,
    refuse: channel(CHANNELS.refuse) as Channel,
    leak: channel(CHANNELS.leak) as Channel,
    change: channel(CHANNELS.change) as Channel,
    error: channel(CHANNELS.error) as Channel,
  }) as never

import { type Channel, channel } from 'node:diagnostics_channel'
import type { CloseReason } from './close-reason.ts'
import type { AcquirePhase } from './errors.ts'

/** A caller got a connection. */
export interface AcquireEvent {
  readonly pool: string
  readonly connection: number
  /** 0 where the caller did not wait. */
  readonly waitMs: number
}
/** A lease was given back, destroyed or detached. */
export interface ReleaseEvent {
  readonly pool: string
  readonly connection: number
  readonly heldMs: number
}
/** A connection was opened. */
export interface OpenEvent {
  readonly pool: string
  readonly connection: number
  readonly connectMs: number
}
/** A connect attempt failed. */
export interface OpenErrorEvent {
  readonly pool: string
  /** The error's name and code, never its message: that may hold an address or a user's name. */
  readonly error: string
}
/** A connection began to be closed. */
export interface CloseEvent {
  readonly pool: string
  readonly connection: number
  readonly reason: CloseReason
  readonly ageMs: number
}
/** An acquire ran out of time. */
export interface TimeoutEvent {
  readonly pool: string
  readonly phase: AcquirePhase
  readonly waitMs: number
}
/** An acquire was shed from the queue, or refused since it was full. */
export interface RefuseEvent {
  readonly pool: string
  readonly why: 'queueFull' | 'overloaded'
}
/** A lease was held for longer than leakThresholdMs, or collected unreleased. */
export interface LeakEvent {
  readonly pool: string
  readonly connection: number
  readonly heldMs: number
  /** The stack of its acquire, where leaks are looked for. */
  readonly stack: string | undefined
}
/** A failure that belongs to no caller. */
export interface ErrorEvent {
  readonly pool: string
  /** The error's name. */
  readonly error: string
}

/** A channel of `node:diagnostics_channel` with one type of payload. */
export interface TypedChannel<T> {
  readonly name: string
  readonly hasSubscribers: boolean
  publish(message: T): void
}

/** The names of the channels that pools publish to. */
export const CHANNELS: {
  readonly acquire: 'cenote:acquire'
  readonly release: 'cenote:release'
  readonly open: 'cenote:open'
  readonly openError: 'cenote:open:error'
  readonly close: 'cenote:close'
  readonly timeout: 'cenote:timeout'
  readonly refuse: 'cenote:refuse'
  readonly leak: 'cenote:leak'
  readonly error: 'cenote:error'
} = Object.freeze({
  acquire: 'cenote:acquire',
  release: 'cenote:release',
  open: 'cenote:open',
  openError: 'cenote:open:error',
  close: 'cenote:close',
  timeout: 'cenote:timeout',
  refuse: 'cenote:refuse',
  leak: 'cenote:leak',
  error: 'cenote:error',
})

function typed<T>(name: string): TypedChannel<T> {
  return channel(name) as Channel as TypedChannel<T>
}

/** The channels themselves: ask `hasSubscribers` before a payload is built. */
export const channels: {
  readonly acquire: TypedChannel<AcquireEvent>
  readonly release: TypedChannel<ReleaseEvent>
  readonly open: TypedChannel<OpenEvent>
  readonly openError: TypedChannel<OpenErrorEvent>
  readonly close: TypedChannel<CloseEvent>
  readonly timeout: TypedChannel<TimeoutEvent>
  readonly refuse: TypedChannel<RefuseEvent>
  readonly leak: TypedChannel<LeakEvent>
  readonly error: TypedChannel<ErrorEvent>
} = Object.freeze({
  acquire: typed<AcquireEvent>(CHANNELS.acquire),
  release: typed<ReleaseEvent>(CHANNELS.release),
  open: typed<OpenEvent>(CHANNELS.open),
  openError: typed<OpenErrorEvent>(CHANNELS.openError),
  close: typed<CloseEvent>(CHANNELS.close),
  timeout: typed<TimeoutEvent>(CHANNELS.timeout),
  refuse: typed<RefuseEvent>(CHANNELS.refuse),
  leak: typed<LeakEvent>(CHANNELS.leak),
  error: typed<ErrorEvent>(CHANNELS.error),
})

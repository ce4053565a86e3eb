import {
  type ChangeEvent,
  type ChannelPayloads,
  channels,
  type PoolEvent,
  type TypedChannel,
} from './channels.ts'
import type { CloseReason } from '../contract/close-reason.ts'
import type { AcquirePhase } from '../contract/errors.ts'
import type { Mailbox } from '../runtime/mailbox.ts'

/**
 * Publishes what happens in one pool, after the transition in which it happened. A payload is built only when the channel
 * has subscribers.
 */
export class Events {
  readonly pool: string
  readonly poolId: number
  /** The fields that every payload has. */
  readonly subject: PoolEvent
  readonly #mailbox: Mailbox

  constructor(
    pool: string,
    poolId: number,
    mailbox: Mailbox,
    group?: { readonly name: string; readonly id: number },
  ) {
    this.pool = pool
    this.poolId = poolId
    this.subject =
      group === undefined ? { pool, poolId } : { pool, poolId, group: group.name, groupId: group.id }
    this.#mailbox = mailbox
  }

  acquired(connection: number, waitMs: number): void {
    if (channels.acquire.hasSubscribers) this.#publish(channels.acquire, { connection, waitMs })
  }

  released(connection: number, heldMs: number): void {
    if (channels.release.hasSubscribers) this.#publish(channels.release, { connection, heldMs })
  }

  opened(connection: number, connectMs: number): void {
    if (channels.open.hasSubscribers) this.#publish(channels.open, { connection, connectMs })
  }

  openFailed(error: unknown, isFatal: boolean): void {
    if (channels.openError.hasSubscribers)
      this.#publish(channels.openError, { error: nameAndCode(error), isFatal })
  }

  checked(connection: number, passed: boolean, checkMs: number): void {
    if (channels.check.hasSubscribers) this.#publish(channels.check, { connection, passed, checkMs })
  }

  closing(connection: number, reason: CloseReason, ageMs: number): void {
    if (channels.close.hasSubscribers) this.#publish(channels.close, { connection, reason, ageMs })
  }

  closed(connection: number, closeMs: number): void {
    if (channels.closed.hasSubscribers) this.#publish(channels.closed, { connection, closeMs })
  }

  timedOut(phase: AcquirePhase, waitMs: number): void {
    if (channels.timeout.hasSubscribers) this.#publish(channels.timeout, { phase, waitMs })
  }

  aborted(waitMs: number): void {
    if (channels.abort.hasSubscribers) this.#publish(channels.abort, { waitMs })
  }

  refused(why: 'queueFull' | 'overloaded'): void {
    if (channels.refuse.hasSubscribers) this.#publish(channels.refuse, { why })
  }

  leaked(connection: number, heldMs: number, stack: string | undefined): void {
    if (channels.leak.hasSubscribers) this.#publish(channels.leak, { connection, heldMs, stack })
  }

  changed(what: ChangeEvent['what'], { maxSize, minIdle }: { maxSize: number; minIdle: number }): void {
    if (channels.change.hasSubscribers) this.#publish(channels.change, { what, maxSize, minIdle })
  }

  failed(error: unknown): void {
    if (channels.error.hasSubscribers) this.#publish(channels.error, { error: nameOf(error) })
  }

  #publish<T extends ChannelPayloads[keyof ChannelPayloads]>(
    channel: TypedChannel<T>,
    payload: Omit<T, keyof PoolEvent>,
  ): void {
    const message = { ...this.subject, ...payload } as T
    this.#mailbox.notify(() => channel.publish(message))
  }
}

/** An error's name. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error
}

/** An error's name and its code, if it has one: never its message. */
export function nameAndCode(error: unknown): string {
  const { code } = (typeof error === 'object' && error !== null ? error : {}) as { code?: unknown }
  return typeof code === 'string' && code !== '' ? `${nameOf(error)} ${code}` : nameOf(error)
}

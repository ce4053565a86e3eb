import {
  type ChangeEvent,
  type ChannelPayloads,
  channels,
  type PoolEvent,
  type TypedChannel,
} from './channels.ts'
import type { CloseReason } from './close-reason.ts'
import type { AcquirePhase } from './errors.ts'

/** Publishes what happens in one pool. A payload is built only when somebody listens. */
export class Events {
  readonly pool: string
  readonly poolId: number

  constructor(pool: string, poolId: number) {
    this.pool = pool
    this.poolId = poolId
  }

  acquired(connection: number, waitMs: number): void {
    if (channels.acquire.hasSubscribers) this.#tell(channels.acquire, { connection, waitMs })
  }

  released(connection: number, heldMs: number): void {
    if (channels.release.hasSubscribers) this.#tell(channels.release, { connection, heldMs })
  }

  opened(connection: number, connectMs: number): void {
    if (channels.open.hasSubscribers) this.#tell(channels.open, { connection, connectMs })
  }

  openFailed(error: unknown, isFatal: boolean): void {
    if (channels.openError.hasSubscribers)
      this.#tell(channels.openError, { error: nameAndCode(error), isFatal })
  }

  checked(connection: number, passed: boolean, checkMs: number): void {
    if (channels.check.hasSubscribers) this.#tell(channels.check, { connection, passed, checkMs })
  }

  closing(connection: number, reason: CloseReason, ageMs: number): void {
    if (channels.close.hasSubscribers) this.#tell(channels.close, { connection, reason, ageMs })
  }

  closed(connection: number, closeMs: number): void {
    if (channels.closed.hasSubscribers) this.#tell(channels.closed, { connection, closeMs })
  }

  timedOut(phase: AcquirePhase, waitMs: number): void {
    if (channels.timeout.hasSubscribers) this.#tell(channels.timeout, { phase, waitMs })
  }

  aborted(waitMs: number): void {
    if (channels.abort.hasSubscribers) this.#tell(channels.abort, { waitMs })
  }

  refused(why: 'queueFull' | 'overloaded'): void {
    if (channels.refuse.hasSubscribers) this.#tell(channels.refuse, { why })
  }

  leaked(connection: number, heldMs: number, stack: string | undefined): void {
    if (channels.leak.hasSubscribers) this.#tell(channels.leak, { connection, heldMs, stack })
  }

  changed(what: ChangeEvent['what'], { maxSize, minIdle }: { maxSize: number; minIdle: number }): void {
    if (channels.change.hasSubscribers) this.#tell(channels.change, { what, maxSize, minIdle })
  }

  failed(error: unknown): void {
    if (channels.error.hasSubscribers) this.#tell(channels.error, { error: nameOf(error) })
  }

  #tell<T extends ChannelPayloads[keyof ChannelPayloads]>(
    channel: TypedChannel<T>,
    payload: Omit<T, keyof PoolEvent>,
  ): void {
    channel.publish({ pool: this.pool, poolId: this.poolId, ...payload } as T)
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

import type { Calls } from './calls.ts'
import { channels } from './channels.ts'
import {
  ConnectError,
  LeaseReleasedError,
  PoolClosedError,
  PoolError,
  type PoolErrorDetails,
  textOf,
} from './errors.ts'
import type { Events } from './events.ts'
import type { ResolvedPoolOptions } from './options.ts'
import type { Slot } from './slot.ts'
import type { PoolState } from './state.ts'

/** Makes the errors that name the pool and its state, and reports those that belong to no caller. */
export class Reports<C> {
  readonly #options: ResolvedPoolOptions<C>
  readonly #calls: Calls
  readonly #events: Events
  readonly #state: () => PoolState

  constructor(options: ResolvedPoolOptions<C>, calls: Calls, events: Events, state: () => PoolState) {
    this.#options = options
    this.#calls = calls
    this.#events = events
    this.#state = state
  }

  /** What every error of this pool is made of. */
  details(cause?: unknown): PoolErrorDetails {
    return { pool: this.#options.name, state: this.#state(), cause }
  }

  closed(details: PoolErrorDetails = this.details()): PoolClosedError {
    return new PoolClosedError(details)
  }

  released(use: string): LeaseReleasedError {
    return new LeaseReleasedError(use, this.details())
  }

  connect(cause: unknown): ConnectError {
    const { name } = this.#options
    const advice = 'Check the server, its address and the credentials'
    return new ConnectError(`'${name}' could not connect: ${textOf(cause)}. ${advice}`, this.details(cause))
  }

  /** Reports a failure that belongs to no caller. */
  failure(
    code: 'CHECK_FAILED' | 'HOOK_FAILED' | 'CLOSE_FAILED' | 'CONNECT_FAILED',
    what: string,
    cause: unknown,
  ): void {
    const { name, onError } = this.#options
    if (onError === undefined && !channels.error.hasSubscribers) return
    const message = `${what} of '${name}' failed: ${textOf(cause)}`
    this.#calls.report(new PoolError(code, message, this.details(cause)))
  }

  /** Reports a lease that is held for too long, or was lost, with the stack of its acquire. */
  leak(
    code: 'LEASE_LEAKED' | 'LEASE_ABANDONED',
    slot: Slot<C>,
    heldMs: number,
    trace: Error | undefined,
  ): void {
    const { name } = this.#options
    const time = `${Math.round(heldMs)} ms`
    const what =
      code === 'LEASE_LEAKED'
        ? `has been held for ${time}`
        : `was garbage-collected unreleased after ${time} and its connection closed`
    const advice = 'release it when the work is done. It was acquired where the stack says'
    const error = new PoolError(code, `a lease of '${name}' ${what}: ${advice}`, this.details())
    const stack = trace?.stack
    if (stack !== undefined)
      error.stack = `${error.name}: ${error.message}${stack.slice(stack.indexOf('\n'))}`
    this.#events.leaked(slot.id, heldMs, stack)
    this.#calls.report(error)
  }
}

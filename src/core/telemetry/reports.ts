import {
  ConnectError,
  LeaseReleasedError,
  PoolClosedError,
  PoolError,
  type PoolErrorDetails,
} from '../contract/errors.ts'
import { textOf } from '../contract/messages.ts'
import { withoutSecrets } from '../contract/redact.ts'
import type { PoolState } from '../contract/state.ts'
import type { Mailbox } from '../runtime/mailbox.ts'
import type { UserCalls } from '../runtime/user-calls.ts'
import { channels } from './channels.ts'
import type { Events } from './events.ts'

/** The failures that belong to no caller. */
export type FailureCode = 'CANCEL_FAILED' | 'CHECK_FAILED' | 'HOOK_FAILED' | 'CLOSE_FAILED' | 'CONNECT_FAILED'

/** Creates the errors that name the pool and its state, and reports failures that belong to no caller. */
export class Reports {
  readonly #pool: string
  readonly #onError: ((error: unknown) => void) | undefined
  readonly #calls: UserCalls
  readonly #events: Events
  readonly #mailbox: Mailbox
  readonly #state: () => PoolState
  readonly #misused = new Set<string>()

  constructor(
    { name, onError }: { readonly name: string; readonly onError: ((error: unknown) => void) | undefined },
    calls: UserCalls,
    events: Events,
    mailbox: Mailbox,
    state: () => PoolState,
  ) {
    this.#pool = name
    this.#onError = onError
    this.#calls = calls
    this.#events = events
    this.#mailbox = mailbox
    this.#state = state
  }

  /** Returns the details of every error of this pool. */
  details(cause?: unknown): PoolErrorDetails {
    return { pool: this.#pool, state: this.#state(), cause }
  }

  closed(details: PoolErrorDetails = this.details()): PoolClosedError {
    return new PoolClosedError(details)
  }

  released(): LeaseReleasedError {
    return new LeaseReleasedError(this.details())
  }

  connect(cause: unknown, details: PoolErrorDetails = this.details(cause)): ConnectError {
    const advice = 'Check the server, its address and the credentials'
    return new ConnectError(`pool '${this.#pool}' could not connect: ${textOf(cause)}. ${advice}`, details)
  }

  /** The error of a hook that acquires from its own pool. */
  nestedIn(hook: string): PoolError<'NESTED_ACQUIRE'> {
    const advice = 'Use the connection that the hook receives'
    const text = `hook ${hook} of pool '${this.#pool}' must not acquire from its own pool. ${advice}`
    return new PoolError('NESTED_ACQUIRE', text, this.details())
  }

  /** The error of a holder that awaits a close or a resize of its own pool. */
  awaitedByHolder(call: 'close()' | 'resize()'): PoolError<'NESTED_ACQUIRE'> {
    const text = `${call} of pool '${this.#pool}' was called by a holder: it waits for the connection of its own caller. Release the connection first`
    return new PoolError('NESTED_ACQUIRE', text, this.details())
  }

  /** A failure with the pool's name and state. */
  failed<Code extends FailureCode>(code: Code, what: string, cause: unknown): PoolError<Code> {
    return new PoolError(
      code,
      `${what} of pool '${this.#pool}' failed: ${textOf(cause)}`,
      this.details(withoutSecrets(cause)),
    )
  }

  /** Reports a failure that belongs to no caller. */
  failure(code: FailureCode, what: string, cause: unknown): void {
    if (this.#onError === undefined && !channels.error.hasSubscribers) return
    this.report(this.failed(code, what, cause))
  }

  /** Reports once per method that it returned something that the pool cannot use. */
  misuse(method: string, got: string, effect: string): void {
    if (this.#misused.has(method)) return
    this.#misused.add(method)
    const message = `${method} of pool '${this.#pool}' returned ${got}. ${effect}`
    this.report(new PoolError('INVALID_RESULT', message, this.details()))
  }

  /** Reports a promise of a method that must be synchronous, and handles its rejection. */
  promised(method: string, promise: PromiseLike<unknown>, effect: string): void {
    void Promise.resolve(promise).catch(() => {})
    this.misuse(method, 'a promise', `It must return a boolean synchronously; ${effect}`)
  }

  /** Reports a lease that is held for too long, or was garbage-collected, with the stack of its acquire. */
  leak(
    code: 'LEASE_LEAKED' | 'LEASE_ABANDONED',
    connection: number,
    heldMs: number,
    trace: Error | undefined,
  ): void {
    const time = `${Math.round(heldMs)} ms`
    const what =
      code === 'LEASE_LEAKED'
        ? `has been held for ${time}`
        : `was garbage-collected unreleased after ${time}, and its connection closed`
    const advice = 'Release it when the work is done. The stack shows where it was acquired'
    const error = new PoolError(code, `a lease of pool '${this.#pool}' ${what}. ${advice}`, this.details())
    const stack = trace?.stack
    if (stack !== undefined)
      error.stack = `${error.name}: ${error.message}${stack.slice(stack.indexOf('\n'))}`
    this.#events.leaked(connection, heldMs, stack)
    this.report(error)
  }

  /** Hands an error to onError and its channel, after the running transition. */
  report(failure: unknown): void {
    const error = withoutSecrets(failure)
    this.#events.failed(error)
    const onError = this.#onError
    if (onError === undefined) return
    // A failure of onError itself cannot be reported anywhere.
    this.#mailbox.notify(() => {
      void this.#calls.outcome({ what: 'onError', limitMs: Infinity }, () => onError(error) as unknown)
    })
  }
}

/** An acquire that has begun. */
export interface PendingAcquire<R> {
  readonly promise: Promise<R>
  /** Gives up: the promise rejects with an Error 'aborted'. */
  abort(): void
  /** Gives up with an error of one's own. */
  reject(error: unknown): void
  /** Gives up, and settles the promise with a value from elsewhere. */
  resolve(value: R): void
  readonly isRejected: boolean
  /** The last error of a create while it waited. */
  readonly possibleTimeoutCause: unknown
}

/** An acquire that can be settled from outside. */
export class Pending<R> implements PendingAcquire<R> {
  promise!: Promise<R>
  isRejected = false
  possibleTimeoutCause: unknown = null
  readonly #controller = new AbortController()
  readonly #elsewhere = Promise.withResolvers<{ value: R }>()

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  abort(): void {
    this.reject(new Error('aborted'))
  }

  reject(error: unknown): void {
    this.#controller.abort(error)
  }

  resolve(value: R): void {
    this.#elsewhere.resolve({ value })
    this.#controller.abort()
  }

  /** Resolves with the result of the acquire, or with the value from elsewhere if that comes first. */
  orElse<L>(acquire: Promise<L>): Promise<L | { value: R }> {
    return Promise.race([this.#elsewhere.promise, acquire])
  }
}

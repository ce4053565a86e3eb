/**
 * Passes the outcome of a promise to a callback. It runs outside of the promise: what it throws is an uncaught exception, as it
 * is with the pools that call back.
 */
export function settle<T>(
  promise: Promise<T>,
  onDone: (value: T) => unknown,
  onError: (error: Error) => unknown,
): void {
  promise.then(
    (value) => process.nextTick(onDone, value),
    (error: Error) => process.nextTick(onError, error),
  )
}

/** Binds a callback to the current async context, for one call. */
export function inOwnContext<A extends unknown[]>(callback: (...args: A) => unknown): (...args: A) => void {
  const { promise, resolve } = Promise.withResolvers<A>()
  void promise.then((args) => process.nextTick(callback, ...args))
  return (...args) => resolve(args)
}

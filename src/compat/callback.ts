/**
 * Tells a callback what a promise settled with. It runs outside of the promise: what it throws is an uncaught exception, as it
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

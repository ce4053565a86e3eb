import type { TarnPoolOptions } from './options.ts'

/** Returns the result of a create function, which returns a promise or calls back. */
export async function callbackOrPromise<R>(create: TarnPoolOptions<R>['create']): Promise<R> {
  const called = Promise.withResolvers<R>()
  const result = create((error, resource) => {
    if (error !== undefined && error !== null && error !== false) called.reject(error)
    else called.resolve(resource as R)
  })
  called.promise.catch(() => {})
  const resource = await result
  // A falsy result means that the callback will be called.
  return resource ? resource : await called.promise
}

/** The promise, unless the signal comes first: then what arrives late goes to `late`. */
export async function timely<R>(
  promise: Promise<R>,
  signal: AbortSignal,
  late: (value: R) => unknown,
): Promise<R> {
  const aborted = Promise.withResolvers<never>()
  const onAbort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } catch (error) {
    if (signal.aborted) promise.then(late).catch(() => {})
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Runs a function that may be asynchronous. Rejects with `late()` if it takes longer than `ms`. */
export async function withinTime(run: () => unknown, ms: number, late: () => Error): Promise<void> {
  const limit = Promise.withResolvers<never>()
  const timer = setTimeout(() => limit.reject(late()), ms)
  try {
    await Promise.race([(async () => await run())(), limit.promise])
  } finally {
    clearTimeout(timer)
  }
}

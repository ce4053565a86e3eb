import type { DriverClient } from './clients.ts'

/** Runs one query on a client and releases it: for good if the query failed. */
export function queryOnce(client: DriverClient, text: unknown, values: readonly unknown[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let isDone = false
    const done = (error: Error | null | undefined, result?: unknown): void => {
      if (isDone) return
      isDone = true
      client.off('error', done)
      const failure = error ?? undefined
      client.release(failure)
      if (failure === undefined) resolve(result)
      else reject(failure)
    }
    // When a client dies, the driver may emit only its 'error' event and not answer the query.
    client.once('error', done)
    try {
      client.query(text, ...values, done)
    } catch (error) {
      done(error as Error)
    }
  })
}

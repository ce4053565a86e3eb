import { sendCancelRequest } from './cancel-request.ts'
import { destroySocket, type PgClient, unanswered } from './client.ts'
import type { PgClient as InstalledClient } from './installed.ts'

const QUERY_CANCELED = '57014'
// The server ignores a request that overtakes its statement, and a pooler drops one while the statement waits for a server
// connection. So the request is repeated while the same statement runs, and in the end the client is given up.
const AGAIN_AFTER_MS = { first: 50, most: 1_000 }
const MAX_REQUESTS = 6
const LIMIT_MS = 4_000

/**
 * Work whose running query is cancelled on the server when a signal aborts:
 * `pool.run(cancellable(signal, (client) => client.query('…')), { signal })`.
 *
 * The request uses a connection of its own, with TLS if the client uses TLS. The work then rejects with the signal's reason,
 * and its connection stays usable. The work always settles, but not before the server has closed the connection of the
 * request: a request can reach no later query. If the request fails, or 6 requests within 4,000 ms have no effect (a pooler
 * has no server connection for the client), the client's own connection is destroyed, and the work rejects with the reason.
 *
 * The queries that the work has issued at the abort are cancelled, later ones are not: call `signal.throwIfAborted()` between
 * two queries. The work's own outcome after the rejection passes through, and so does a result that arrives in spite of the abort.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { cancellable, PgManager } from 'cenote/pg'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL))
 * const signal = AbortSignal.timeout(100)
 * const work = cancellable(signal, (client) => client.query('select pg_sleep(60)'))
 * await pool.run(work, { signal }).catch((error) => console.log(error.name)) // prints TimeoutError
 * ```
 */
export function cancellable<C extends PgClient = InstalledClient, T = unknown>(
  signal: AbortSignal,
  work: (client: C) => T | PromiseLike<T>,
): (client: C) => Promise<T> {
  return async (client) => {
    signal.throwIfAborted()
    const done = Promise.withResolvers<void>()
    let cancelling: Promise<CancelOutcome> | undefined
    const onAbort = (): void => {
      cancelling = cancelRunning(client, done.promise)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await work(client)
    } catch (error) {
      done.resolve()
      if (cancelling === undefined) throw error
      const isDestroyed = (await cancelling) === 'destroyed'
      throw isDestroyed || (error as { code?: unknown } | null)?.code === QUERY_CANCELED
        ? signal.reason
        : error
    } finally {
      done.resolve()
      signal.removeEventListener('abort', onAbort)
      await cancelling
    }
  }
}

/** The outcome of a cancellation. */
export type CancelOutcome = 'settled' | 'destroyed'

/**
 * Cancels each statement that a client has issued and the server has not answered; later ones are left alone. Settles when
 * they are answered, or `done` resolves, or the client's socket was destroyed because the requests had no effect. Does
 * nothing for an idle client. No request is under way when it settles.
 */
export async function cancelRunning(
  client: PgClient,
  done?: Promise<unknown>,
  onRequest: () => void = () => {},
  limitMs: number = LIMIT_MS,
): Promise<CancelOutcome> {
  const issued = unanswered(client)
  const deadline = performance.now() + limitMs
  let isDone = false
  void done?.then(() => (isDone = true))
  let [statement, requests, waitMs]: [unknown, number, number] = [undefined, 0, 0]
  while (!isDone && issued.has(client._activeQuery ?? undefined)) {
    if (client._activeQuery !== statement)
      [statement, requests, waitMs] = [client._activeQuery, 0, AGAIN_AFTER_MS.first]
    const leftMs = deadline - performance.now()
    try {
      if (requests++ === MAX_REQUESTS || leftMs <= 0) throw new Error('the requests had no effect')
      await sendCancelRequest(client, leftMs)
    } catch {
      destroySocket(client)
      return 'destroyed'
    }
    onRequest()
    if (client._activeQuery === statement) await answerOf(client, done, waitMs)
    waitMs = Math.min(waitMs * 2, AGAIN_AFTER_MS.most)
  }
  return 'settled'
}

// Resolves when the server is ready for the next statement, the client is lost, or a time has passed.
async function answerOf(
  client: PgClient,
  done: Promise<unknown> | undefined,
  limitMs: number,
): Promise<void> {
  const { connection } = client
  const answered = Promise.withResolvers<unknown>()
  const timer = setTimeout(answered.resolve, limitMs)
  const onAnswer = (): void => answered.resolve(undefined)
  connection?.on('readyForQuery', onAnswer)
  connection?.on('end', onAnswer)
  void done?.then(answered.resolve)
  await answered.promise
  clearTimeout(timer)
  connection?.removeListener('readyForQuery', onAnswer)
  connection?.removeListener('end', onAnswer)
}

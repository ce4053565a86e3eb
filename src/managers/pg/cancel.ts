import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

import { destroySocket, type PgClient } from './client.ts'

const CANCEL_REQUEST = 80_877_102
const SSL_REQUEST = 80_877_103
const QUERY_CANCELED = '57014'
// How long the server may take to answer a cancel request by closing its connection.
const CANCEL_TIMEOUT_MS = 5_000
// A request that overtakes its query is ignored by the server, so it is sent again while the same query runs.
const AGAIN_AFTER_MS = { first: 50, most: 1_000 }

/**
 * Work whose running query is cancelled on the server when a signal aborts:
 * `pool.run(cancellable(signal, (client) => client.query('…')), { signal })`.
 *
 * The request goes over a connection of its own, with TLS where the client uses it. The work then rejects with the signal's
 * reason, and its connection stays usable. It never settles before the server has closed the connection of the request: from
 * then on the request can reach no query any more, so the next borrower's is safe. Where that cannot be known (no answer for
 * 5,000 ms, a reset), the client's own connection is destroyed instead.
 *
 * One query is cancelled, the one that runs at the abort: work of several asks `signal.throwIfAborted()` in between. What the
 * work makes of the rejection, and a result that arrives all the same, pass through.
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
export function cancellable<C extends PgClient, T>(
  signal: AbortSignal,
  work: (client: C) => T | PromiseLike<T>,
): (client: C) => Promise<T> {
  return async (client) => {
    signal.throwIfAborted()
    const done = Promise.withResolvers<void>()
    let cancelling: Promise<'settled' | 'destroyed'> | undefined
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

async function cancelRunning(client: PgClient, done: Promise<void>): Promise<'settled' | 'destroyed'> {
  const query = client._activeQuery ?? undefined
  let isDone = false
  void done.then(() => (isDone = true))
  let waitMs = AGAIN_AFTER_MS.first
  while (query !== undefined && client._activeQuery === query && !isDone) {
    try {
      await sendCancelRequest(client)
    } catch {
      destroySocket(client)
      return 'destroyed'
    }
    let timer: NodeJS.Timeout | undefined
    await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, waitMs)))])
    clearTimeout(timer)
    waitMs = Math.min(waitMs * 2, AGAIN_AFTER_MS.most)
  }
  return 'settled'
}

/** Resolves when the server has closed the connection of the request, which it does after it has acted on it. */
async function sendCancelRequest(client: PgClient): Promise<void> {
  const { processID, secretKey, host = 'localhost', port = 5_432, connection } = client
  if (typeof processID !== 'number' || typeof secretKey !== 'number')
    throw new TypeError('the server gave the client no key to cancel with')
  // The very address that the client is connected to: its name may mean another server by now.
  const { remoteAddress = host, remotePort = port } = connection?.stream ?? {}
  const isUnix = host.startsWith('/')
  let socket: Socket = isUnix
    ? connectTcp(`${host}/.s.PGSQL.${port}`)
    : connectTcp({ host: remoteAddress, port: remotePort })
  // What goes wrong is told by the promise that is waited for; an 'error' that nobody hears would end the process.
  socket.on('error', () => {})
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer to the cancel request')), CANCEL_TIMEOUT_MS)
  })
  try {
    await Promise.race([tooLate, event(socket, 'connect')])
    if (client.ssl) {
      if (client.sslNegotiation !== 'direct') {
        socket.write(int32(8, SSL_REQUEST))
        const [answer] = (await Promise.race([tooLate, event(socket, 'data')])) as [Buffer]
        if (answer.toString() !== 'S') throw new Error('the server refused TLS for the cancel request')
        socket.removeAllListeners('data')
      }
      socket = connectTls(tlsOptions(client, socket, isUnix ? undefined : host))
      socket.on('error', () => {})
      await Promise.race([tooLate, event(socket, 'secureConnect')])
    }
    const closed = event(socket, 'end')
    socket.resume()
    socket.write(int32(16, CANCEL_REQUEST, processID, secretKey))
    await Promise.race([tooLate, closed])
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

function tlsOptions(client: PgClient, socket: Socket, host: string | undefined): ConnectionOptions {
  return {
    socket,
    ...(host === undefined ? {} : { host }),
    ...(host !== undefined && isIP(host) === 0 ? { servername: host } : {}),
    ...(client.sslNegotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
    ...(client.ssl === true ? {} : (client.ssl as ConnectionOptions)),
  }
}

function event(socket: Socket, name: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      socket.removeListener(name, onEvent)
      socket.removeListener('error', onError)
      socket.removeListener('close', onClose)
    }
    const onEvent = (...given: unknown[]): void => {
      leave()
      resolve(given)
    }
    const onError = (error: Error): void => {
      leave()
      reject(error)
    }
    const onClose = (): void => onError(new Error('the connection of the cancel request was closed'))
    socket.on(name, onEvent)
    socket.on('error', onError)
    socket.on('close', onClose)
  })
}

function int32(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) buffer.writeInt32BE(value, index * 4)
  return buffer
}

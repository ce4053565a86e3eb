import { sendCancelRequest, type PeerAddress } from './cancel-request.ts'
import { cancelRunning } from './cancel.ts'
import { destroySocket, isBusy, type PgClient } from './client.ts'
import { isFatalMessage } from './errors.ts'

// Maximum time of an orderly end of a connection, before its socket is destroyed.
const GRACE_MS = 1_000
const LATE_REQUEST_MS = 1_000
// A silent network must not hold the slot for longer than a caller waits.
const CANCEL_LIMIT_MS = 2_000
// CopyFail and Sync: a server that waits for rows of a COPY, or for the next fetch of a cursor, ends the statement and answers.
// A server that runs a statement ignores the first and answers the second when the statement has ended.
const NUDGE = Uint8Array.of(0x66, 0, 0, 0, 5, 0, 0x53, 0, 0, 0, 4)

const peers = new WeakMap<PgClient, PeerAddress>()
// Their socket ended while the server may have been running their statement.
const leftBehind = new WeakSet<PgClient>()
// The server runs nothing for them any more, or nothing worth a cancel request.
const over = new WeakSet<PgClient>()

/** Notes whether a client's socket ends while the server may still run its statement. Called before the client connects. */
export function watchLeftBehind(client: PgClient): void {
  const { connection } = client
  connection?.on('errorMessage', (message) => {
    if (isFatalMessage(message)) over.add(client)
  })
  connection?.on('backendKeyData', () => {
    const { remoteAddress, remotePort } = client.connection?.stream ?? {}
    peers.set(client, { remoteAddress, remotePort })
  })
  // This listener precedes the driver's own, which empties its queues.
  connection?.on('end', () => {
    if (isBusy(client)) leftBehind.add(client)
  })
}

/** Marks a check as running, until the returned function is called: its statement is not worth a cancel request. */
export function beginCheck(client: PgClient): () => void {
  over.add(client)
  return () => {
    if (!client._ended) over.delete(client)
  }
}

/** Cancels what a client is running, so that the server is free of it. Bounded by 2,000 ms, and never rejects. */
export async function freeServer(client: PgClient): Promise<void> {
  if (over.has(client)) return
  const { stream } = client.connection ?? {}
  const isDead = client._ended === true || stream?.destroyed === true
  if (!isDead) {
    const nudge = (): void => {
      if ((client._queryQueue?.length ?? 0) > 0) return
      stream?.resume?.()
      stream?.write?.(NUDGE)
    }
    await cancelRunning(client, undefined, nudge, CANCEL_LIMIT_MS)
  } else if (leftBehind.has(client) || isBusy(client)) {
    // No caller reads the answer, but the server must not continue with the statement.
    await sendCancelRequest(client, LATE_REQUEST_MS, peers.get(client)).catch(() => {})
  }
}

/** Ends a client in an orderly way, or destroys its socket if it is busy, broken or too slow. */
export async function end(client: PgClient): Promise<void> {
  const isLost = over.has(client) || client._ended === true || client._queryable === false
  if (isLost || isBusy(client)) return destroySocket(client)
  const timer = setTimeout(() => destroySocket(client), GRACE_MS)
  try {
    // Destroying the socket settles it too.
    await client.end()
  } catch {
    destroySocket(client)
  } finally {
    clearTimeout(timer)
  }
}

import type { ServerInfo } from '../../core/contract/manager.ts'
import { connect, type Socket } from 'node:net'

// A server greets as soon as it has accepted. Only a slow look-up of the client's name delays the greeting.
const GREETING_MS = 5_000
const PROBE_MS = 1_000
// PostgreSQL's request for TLS, which PostgreSQL answers immediately, with one letter.
const POSTGRES_PROBE = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)
/** The address of a server. */
export interface ServerAddress {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly socketPath?: string | undefined
}

/** Begins to connect, without delay on small packets. Throws RangeError for an invalid port. */
export function openSocket({ host, port, socketPath }: ServerAddress): Socket {
  if (socketPath !== undefined) return connect(socketPath)
  return connect({ port: port ?? 3306, host: host ?? 'localhost', noDelay: true })
}

/**
 * Destroys a connecting socket, and calls `refused` with a clear error, when the other end is not a MySQL or MariaDB server.
 * Code 'NOT_MYSQL': it begins with something else, or answers as PostgreSQL does. Code 'NO_GREETING': it has not greeted after
 * 6 s, which a retry may fix.
 */
export function watchGreeting(socket: Stream, refused: (error: Error) => void): void {
  let timer: NodeJS.Timeout | undefined
  let isProbing = false
  let name = 'the server'
  const end = (): void => {
    clearTimeout(timer)
    socket.off('data', onData)
    socket.off('close', end)
    socket.off('connect', onConnect)
  }
  const refuse = (text: string, code: string): void => {
    end()
    const error = Object.assign(new Error(`${name} ${text}`), { code })
    refused(error)
    // The driver reads the same bytes later and may give the socket up, and its listeners with it.
    queueMicrotask(() => socket.destroyed === true || socket.destroy(error))
  }
  const onData = (chunk: Uint8Array): void => {
    const foreign = greetingOf(chunk, isProbing)
    if (foreign !== undefined) refuse(`${foreign}, not a MySQL or MariaDB server`, 'NOT_MYSQL')
    // A greeting after all, but the probe was sent, which no server of this kind expects.
    else if (isProbing) refuse(`greeted later than ${GREETING_MS} ms`, 'NO_GREETING')
    else end()
  }
  const onSilence = (): void => {
    isProbing = true
    socket.write?.(POSTGRES_PROBE)
    timer = setTimeout(() => {
      const text = `accepted the connection but has not greeted within ${GREETING_MS + PROBE_MS} ms: is it a MySQL or MariaDB server?`
      refuse(text, 'NO_GREETING')
    }, PROBE_MS)
    timer.unref()
  }
  const onConnect = (): void => {
    const { remoteAddress, remotePort } = socket
    if (remoteAddress !== undefined) name = `${remoteAddress}:${remotePort}`
    timer = setTimeout(onSilence, GREETING_MS)
    timer.unref()
  }
  socket.once('connect', onConnect)
  socket.once('close', end)
  socket.on('data', onData)
}

// Returns the greeting of another kind of server. undefined: a greeting of version 9 or 10, or an error such as too many connections.
function greetingOf(chunk: Uint8Array, isProbing: boolean): string | undefined {
  const [letter, , , sequence, first] = chunk
  if (isProbing && chunk.length === 1 && (letter === 0x53 || letter === 0x4e)) return 'is a PostgreSQL server'
  if (first === undefined || (sequence === 0 && (first === 9 || first === 10 || first === 255)))
    return undefined
  const text = String.fromCharCode(
    ...chunk.subarray(0, 20).map((byte) => (byte < 32 || byte > 126 ? 46 : byte)),
  )
  return `begins with '${text}'`
}

/** A socket, or what stands in for one (a tunnel), as far as it is used. */
export interface Stream {
  on(event: string, listener: (data: Uint8Array) => void): unknown
  once(event: string, listener: (data: Uint8Array) => void): unknown
  off(event: string, listener: (data: Uint8Array) => void): unknown
  destroy(error?: Error): unknown
  write?(data: Uint8Array): unknown
  setKeepAlive?(enable: boolean, delayMs?: number): unknown
  ref?(): unknown
  unref?(): unknown
  readonly destroyed?: boolean | undefined
  readonly readableEnded?: boolean | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
  readonly localPort?: number | undefined
}

/** The server that a config of either driver names. It never holds a credential. */
export function serverOf(system: string, config: Readonly<Record<string, unknown>>): ServerInfo {
  const { uri } = config
  const parsed = typeof uri === 'string' && URL.canParse(uri) ? new URL(uri) : undefined
  // A password with an unescaped '/', '?' or '#': the parser takes its parts for the address.
  const isTorn = parsed?.username === '' && /^[^@]*@/.test(parsed.pathname + parsed.search + parsed.hash)
  const url = isTorn ? undefined : parsed
  const { host = url?.hostname, port = url?.port, database = url?.pathname.slice(1) } = config
  return {
    system,
    address: typeof host === 'string' && host !== '' ? host : undefined,
    port: port === undefined || port === '' ? undefined : Number(port),
    namespace: typeof database === 'string' && database !== '' ? database : undefined,
  }
}

import type { ServerInfo } from '../core/manager.ts'
import { connect, type Socket } from 'node:net'

// A server greets as soon as it has accepted; only a slow look-up of our name makes it late.
const GREETING_MS = 5_000
const PROBE_MS = 1_000
// PostgreSQL's request for TLS: the one thing that a PostgreSQL answers at once, with one letter.
const POSTGRES_PROBE = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47)
// Denied, no such database, unknown character set, host or plugin not allowed, password expired, account locked, TLS required.
const FATAL_NUMBERS = new Set([1044, 1045, 1049, 1115, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151])
// The server ended the statement alone: interrupted, or longer than allowed. The driver mariadb calls them fatal.
const STATEMENT_NUMBERS = new Set([1317, 1969, 3024])
// The server ends the connection: shutdown, aborted, killed, idle for too long.
const LAST_NUMBERS = new Set([1053, 1080, 1152, 1184, 1927, 4031])
const FATAL_CODE =
  /^(NOT_MYSQL|HANDSHAKE_NO_SSL_SUPPORT|ER_SERVER_SSL_DISABLED|ER_SELF_SIGNED\w*|ER_TLS_IDENTITY_ERROR|ER_CLEAR_PASSWORD_WITHOUT_SSL|ER_NOT_SUPPORTED_AUTH_PLUGIN|ER_BAD_PARAMETER_VALUE|AUTH_SWITCH_PLUGIN_ERROR|ER_AUTHENTICATION_PLUGIN_NOT_SUPPORTED|(ERR_)?MODULE_NOT_FOUND|ERR_INVALID_\w+|ERR_SOCKET_BAD_PORT|ERR_OUT_OF_RANGE|(ERR_)?(TLS|SSL)_\w+|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|HOSTNAME_MISMATCH)$/
// What the drivers say, without a code, of an option they do not take.
const MISCONFIGURED = /^Unknown (charset|collation|SSL profile)|connection config property must be/

/** The bit of the server's status that says that a transaction is open. */
export const IN_TRANSACTION = 1

/** Where a server is. */
export interface ServerAddress {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly socketPath?: string | undefined
}

/** Begins to connect, without delay on small packets. Throws RangeError for a port that is none. */
export function openSocket({ host, port, socketPath }: ServerAddress): Socket {
  if (socketPath !== undefined) return connect(socketPath)
  return connect({ port: port ?? 3306, host: host ?? 'localhost', noDelay: true })
}

/**
 * Destroys a connecting socket, and tells `refused` a clear error, when the other end is no MySQL or MariaDB: it begins
 * with something else or answers as a PostgreSQL (code 'NOT_MYSQL'), or has not greeted after 6 s ('NO_GREETING', which
 * a retry may mend).
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
    // The driver reads the same bytes after us and may give the socket up, and its listeners with it.
    queueMicrotask(() => socket.destroyed === true || socket.destroy(error))
  }
  const onData = (chunk: Uint8Array): void => {
    const foreign = greetingOf(chunk, isProbing)
    if (foreign !== undefined) refuse(`${foreign}, not a MySQL or MariaDB server`, 'NOT_MYSQL')
    // A greeting after all, but we have said what no server of this kind expects.
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

/** Whether no retry will mend this connect error: denied, no such database, no MySQL, wrong TLS, wrong config. */
export function isFatalConnectError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errno, message } = error as { code?: unknown; errno?: unknown; message?: unknown }
  if (typeof errno === 'number' && FATAL_NUMBERS.has(errno)) return true
  // The driver gives this code to whatever happens while TLS begins, a broken network too.
  if (code === 'HANDSHAKE_SSL_ERROR') return !/disconnected|ECONN|EPIPE|ETIMEDOUT/.test(String(message))
  if (typeof code === 'string' && FATAL_CODE.test(code)) return true
  return typeof message === 'string' && MISCONFIGURED.test(message)
}

/** Whether an error tells that its connection has ended. */
export function isLastError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errno, fatal } = error as { code?: unknown; errno?: unknown; fatal?: unknown }
  if (typeof errno === 'number' && STATEMENT_NUMBERS.has(errno)) return false
  if (fatal === true || (typeof code === 'string' && code.startsWith('PROTOCOL_'))) return true
  return typeof errno === 'number' && LAST_NUMBERS.has(errno)
}

// What somebody who is no MySQL began with; undefined: a greeting of version 9 or 10, or an error such as too many connections.
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
  readonly destroyed?: boolean | undefined
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** What a config of either driver says of its server: never a credential. */
export function serverOf(system: string, config: Readonly<Record<string, unknown>>): ServerInfo {
  const { uri } = config
  const url = typeof uri === 'string' && URL.canParse(uri) ? new URL(uri) : undefined
  const { host = url?.hostname, port = url?.port, database = url?.pathname.slice(1) } = config
  return {
    system,
    address: typeof host === 'string' && host !== '' ? host : undefined,
    port: port === undefined || port === '' ? undefined : Number(port),
    namespace: typeof database === 'string' && database !== '' ? database : undefined,
  }
}

import { firstOfMany } from '../aggregate-error.ts'

// Denied, no such database, unknown character set, host or plugin not allowed, password expired, account locked, TLS required.
const FATAL_NUMBERS = new Set([1044, 1045, 1049, 1115, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151])
// The server ended only the statement: interrupted, or longer than allowed. The driver mariadb calls these errors fatal.
const STATEMENT_NUMBERS = new Set([1317, 1969, 3024])
// The server ends the connection: shutdown, aborted, killed, idle for too long.
const LAST_NUMBERS = new Set([1053, 1080, 1152, 1184, 1927, 4031])
// The server does not write any more: read-only, in a read-only transaction, demoted, or a Galera node without a quorum.
const DEMOTED_NUMBERS = new Set([1047, 1290, 1792, 1836])
const FATAL_CODE =
  /^(NOT_MYSQL|HANDSHAKE_NO_SSL_SUPPORT|ER_SERVER_SSL_DISABLED|ER_SELF_SIGNED\w*|ER_TLS_IDENTITY_ERROR|ER_CLEAR_PASSWORD_WITHOUT_SSL|ER_NOT_SUPPORTED_AUTH_PLUGIN|ER_BAD_PARAMETER_VALUE|AUTH_SWITCH_PLUGIN_ERROR|ER_AUTHENTICATION_PLUGIN_NOT_SUPPORTED|(ERR_)?MODULE_NOT_FOUND|ERR_INVALID_\w+|ERR_SOCKET_BAD_PORT|ERR_OUT_OF_RANGE|(ERR_)?(TLS|SSL)_\w+|CERT_\w+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|HOSTNAME_MISMATCH)$/
// The messages, without a code, of both drivers for an option that they reject.
const MISCONFIGURED = /^Unknown (charset|collation|SSL profile)|connection config property must be/

/** Whether retrying cannot fix this connect error: denied, no such database, no MySQL, wrong TLS, wrong config. */
export function isFatalConnectError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errno, message } = error as { code?: unknown; errno?: unknown; message?: unknown }
  if (typeof errno === 'number' && FATAL_NUMBERS.has(errno)) return true
  // The driver gives this code to whatever happens while TLS begins, a broken network too.
  if (code === 'HANDSHAKE_SSL_ERROR') return !/disconnected|ECONN|EPIPE|ETIMEDOUT/.test(String(message))
  if (typeof code === 'string' && FATAL_CODE.test(code)) return true
  return typeof message === 'string' && MISCONFIGURED.test(message)
}

/** Whether an error reports that its connection has ended. */
export function isLastError(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errno, fatal } = error as { code?: unknown; errno?: unknown; fatal?: unknown }
  if (typeof errno === 'number' && STATEMENT_NUMBERS.has(errno)) return false
  if (fatal === true || (typeof code === 'string' && code.startsWith('PROTOCOL_'))) return true
  return typeof errno === 'number' && LAST_NUMBERS.has(errno)
}

/** Whether an error reports that its server no longer accepts writes: the new primary is elsewhere. */
export function isDemotedError(error: unknown): boolean {
  return DEMOTED_NUMBERS.has((error as { errno?: number } | undefined)?.errno ?? 0)
}

/** Gives a connect error to a name with several addresses the address and the first inner message. */
export function explain(error: unknown, host: string, port: number): unknown {
  const address = `${host}:${port}`
  if (!(error instanceof Error) || error instanceof AggregateError) return firstOfMany(error, address)
  // The driver mariadb wraps the error of its socket.
  if (error.cause instanceof AggregateError)
    error.message = (firstOfMany(error.cause, address) as Error).message
  return error
}

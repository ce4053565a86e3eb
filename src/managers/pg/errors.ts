import { CONFIG_ERRORS } from '../config-errors.ts'
import { PgHostsError } from './hosts.ts'

// Errors that no retry will mend: authorization, no such database, no privilege, a certificate that is not trusted, and what
// a config gets wrong.
const FATAL_STATES = /^(28|3D000|42501|0A000|22023|42704)/
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED))/
const MISCONFIGURED = new Set(['ERR_INVALID_URL', ...CONFIG_ERRORS])

/** Whether no retry will mend this connect error. */
export function isFatalError(error: unknown): boolean {
  if (error instanceof PgHostsError) return error.hosts.every((each) => isFatalError(each.error))
  const code = codeOf(error)
  if (code !== undefined) return FATAL_STATES.test(code) || UNTRUSTED.test(code) || MISCONFIGURED.has(code)
  // The driver's own errors of a wrong config have no code.
  return error instanceof Error && /SASL|does not support SSL|password must be a string/i.test(error.message)
}

/** The SQLSTATE of a server's error, or the code of Node's. */
export function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : undefined
}

/** The driver's query_timeout: whether the server is slow or gone, its answer is still due, so nobody can use the connection. */
export function isReadTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

/** Whether the server ends the session with it. */
export function isFatalMessage(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { severity } = error as { severity?: unknown }
  return severity === 'FATAL' || severity === 'PANIC'
}

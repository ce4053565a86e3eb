import { CONFIG_ERRORS } from '../config-errors.ts'
import { PgHostsError } from './hosts.ts'

// Errors that retrying cannot fix: authorization, no such database, no privilege, a certificate that is not trusted, and
// what a config gets wrong.
const FATAL_STATES = /^(28|3D000|42501|0A000|22023|42704)/
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED))/
const MISCONFIGURED = new Set(['ERR_INVALID_URL', ...CONFIG_ERRORS])
// PgBouncer has one SQLSTATE for nearly all that it reports, so the text decides. An error of the server that PgBouncer only
// quotes ('server login has been failing, cached error: …') may be over soon, so these match the beginning.
const POOLER_STATE = '08P01'
const FATAL_OF_POOLER =
  /^(\S+ authentication failed|auth failed|no such (user|database)|database ".*" does not exist|unsupported startup parameter|(unix socket )?login rejected|SSL required|TLS certificate name mismatch|TLS client certificate required|bouncer config error)/i
const WITHOUT_SERVER = /^server login|server down|cannot connect to server/i
const NO_SUCH_STATEMENT = '26000'
const STALE_PLAN = { code: '0A000', routine: 'RevalidateCachedQuery' } as const
// 57P01 to 57P03: the server shuts down. In an immediate shutdown it sends a warning and no error.
const SHUTTING_DOWN = /^57P0[123]$/
// A server that was demoted rejects every statement that writes.
const READ_ONLY_TRANSACTION = '25006'

/** Whether retrying cannot fix this connect error. */
export function isFatalError(error: unknown): boolean {
  if (error instanceof PgHostsError) return error.hosts.every((each) => isFatalError(each.error))
  const code = codeOf(error)
  if (code === POOLER_STATE) return FATAL_OF_POOLER.test(textOf(error))
  if (code !== undefined) return FATAL_STATES.test(code) || UNTRUSTED.test(code) || MISCONFIGURED.has(code)
  // The driver's own errors of a wrong config have no code.
  return error instanceof Error && /SASL|does not support SSL|password must be a string/i.test(error.message)
}

/** The SQLSTATE of a server's error, or the code of Node's. */
export function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : undefined
}

/** Whether the driver gave up waiting (its `query_timeout`). The answer is still due, so the connection is unusable. */
export function isReadTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}

/** Whether the server ends the session with this error or notice. */
export function isFatalMessage(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return false
  const { severity } = message as { severity?: unknown }
  return severity === 'FATAL' || severity === 'PANIC' || SHUTTING_DOWN.test(codeOf(message) ?? '')
}

/** Whether a pooler ends the session because it cannot log in to its server. It accepts sessions all the same. */
export function isWithoutServer(message: unknown): boolean {
  return codeOf(message) === POOLER_STATE && WITHOUT_SERVER.test(textOf(message))
}

/** Whether the server rejects a write because it is, or has become, a standby. */
export function isReadOnly(error: unknown): boolean {
  return codeOf(error) === READ_ONLY_TRANSACTION
}

/** Whether the server has dropped a named statement that the driver counts as prepared. */
export function isDropped(message: unknown): boolean {
  return codeOf(message) === NO_SUCH_STATEMENT
}

/** Whether the result of a named statement has changed: it fails for good on this connection. */
export function isStalePlan(message: unknown): boolean {
  return (
    codeOf(message) === STALE_PLAN.code && (message as { routine?: unknown }).routine === STALE_PLAN.routine
  )
}

function textOf(error: unknown): string {
  return String((error as { message?: unknown }).message)
}

import { firstOfMany } from '../aggregate-error.ts'
import { CONFIG_ERRORS } from '../config-errors.ts'

// Errors that retrying cannot fix. The server uses the same codes for a limit, which may pass.
const REFUSED = /ACCESS[_-]REFUSED|NOT[_-]ALLOWED/
const FOR_NOW = /limit|is down|not (yet )?(ready|running)|alarm/i
const MISMATCHED =
  /Invalid frame|Unknown frame type|exceeds maxFrameSize|Frame on channel != 0|Expected ConnectionStart|Expected connection\.secure|SASL mechanism|Server frameMax/
// The driver drops the reason of a server that refuses the vhost.
const NO_VHOST = /^Expected ConnectionOpenOk; got <ConnectionClose/
// The text depends on whether the driver reads the end of the socket first, or writes once more.
const HUNG_UP = /^(Socket closed abruptly|(read|write) (EPIPE|ECONNRESET)$)/
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED|PACKET_LENGTH|TLSV1))/
const FATAL = new Set(['AMQP_REFUSED', 'BAD_CONFIG', 'NOT_AMQP', ...CONFIG_ERRORS])

/** Returns the error of a failed connect, reworded if the driver's text only names frames of the protocol. */
export function explained(error: unknown, address: string, vhost: string): unknown {
  if (!(error instanceof Error)) return error
  const text = error.message
  const said = (message: string, code: string): Error =>
    Object.assign(new Error(message, { cause: error }), { code })
  if (REFUSED.test(text)) {
    const reason =
      /(?:ACCESS_REFUSED|NOT_ALLOWED) - [^"\n]*/.exec(text)?.[0].replace(/\\?'\s*,?\s*$/, "'") ?? text
    return said(
      `${address} refused the connection: ${reason}`,
      FOR_NOW.test(text) ? 'AMQP_LIMIT' : 'AMQP_REFUSED',
    )
  }
  if (NO_VHOST.test(text))
    return said(
      `${address} refused the vhost '${vhost}': it does not exist, the user has no access to it, or its limit of connections is reached`,
      'AMQP_REFUSED',
    )
  if (MISMATCHED.test(text)) return said(`${address} does not answer as AMQP 0-9-1: ${text}`, 'NOT_AMQP')
  if (HUNG_UP.test(text))
    return said(
      `${address} closed the connection before it answered: it is not an AMQP 0-9-1 server, or it is stopping`,
      'NO_ANSWER',
    )
  return firstOfMany(error, address)
}

/** Whether retrying cannot fix this connect error: denied, no such vhost, not AMQP, not trusted, wrong config. */
export function isFatalConnectError(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' && (FATAL.has(code) || UNTRUSTED.test(code))
}

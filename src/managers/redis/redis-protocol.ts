import { show } from '../../core/contract/rules.ts'
import { firstOfMany } from '../aggregate-error.ts'
import { CONFIG_ERRORS } from '../config-errors.ts'

/** The commands that restore a session, in this order. */
export type Undo = 'discard' | 'unwatch' | 'select'

// Commands that change a session for good: no command on the same connection undoes them.
const LASTING = new Set([
  'ASKING',
  'AUTH',
  'HELLO',
  'MONITOR',
  'PSYNC',
  'QUIT',
  'READONLY',
  'READWRITE',
  'RESET',
  'SYNC',
])
const LASTING_CLIENT = new Set(['CACHING', 'NO-EVICT', 'NO-TOUCH', 'REPLY', 'SETINFO', 'SETNAME', 'TRACKING'])
// Replies of a server that cannot serve this connection now: demoted, loading its data, or cut off from its primary.
const UNUSABLE = /^(READONLY|LOADING|MASTERDOWN|UNBLOCKED force)\b/
const FATAL_REPLY =
  /^(WRONGPASS|NOAUTH|NOPERM|NOPROTO|DENIED|ERR (invalid DB index|DB index is out of range|AUTH|Client sent AUTH|invalid password|unknown command|wrong number of arguments for 'auth'))/i
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED|PACKET_LENGTH|TLSV1))/
const MISCONFIGURED = new Set(['BAD_CONFIG', 'ERR_INVALID_URL', 'NOT_REDIS', ...CONFIG_ERRORS])
const UNREADABLE = /RESP type|reply type byte|Protocol error|Invalid RESP|unexpected.*type/i
// The text depends on whether the driver reads the end of the socket first, or writes once more.
const HUNG_UP = /^(Socket closed unexpectedly|Connection is closed\.|(read|write) (EPIPE|ECONNRESET))$/
const FULL = /max number of clients reached/i

/** Records the changes that holders made to a session, by the commands that they sent. */
export class RedisSession {
  #database: string
  #selected: string | undefined
  #inTransaction = false
  #isWatching = false
  #isAltered = false

  /** `database`: the database selected at connect. */
  constructor(database: number | string) {
    this.#database = String(database)
  }

  /** The database that a connection is reset to. */
  get database(): number {
    return Number(this.#database)
  }

  /** Whether the session changed in a way that only a new connection undoes. */
  get isAltered(): boolean {
    return this.#isAltered
  }

  /** Whether the session is not as it was at the connect. */
  get isChanged(): boolean {
    return this.#isAltered || this.#inTransaction || this.#isWatching || this.#selected !== undefined
  }

  get inTransaction(): boolean {
    return this.#inTransaction
  }

  saw(command: unknown, argument?: unknown): void {
    const name = String(command).toUpperCase()
    if (name === 'MULTI') this.#inTransaction = true
    else if (name === 'EXEC' || name === 'DISCARD') this.#inTransaction = this.#isWatching = false
    else if (name === 'WATCH') this.#isWatching = true
    // Inside a transaction UNWATCH is only queued, and a discarded transaction never runs it.
    else if (name === 'UNWATCH') this.#isWatching = this.#isWatching && this.#inTransaction
    // The outcome of the command is unknown: every SELECT is undone.
    else if (name === 'SELECT') this.#selected = String(argument)
    else if (LASTING.has(name) || (name === 'CLIENT' && LASTING_CLIENT.has(String(argument).toUpperCase())))
      this.#isAltered = true
  }

  /** Makes the current session, except an open transaction, the state that a connection is reset to. */
  settle(): void {
    this.#database = this.#selected ?? this.#database
    this.#selected = undefined
    this.#isWatching = this.#isAltered = false
  }

  /** The commands that undo the changes. Empty if there are none. */
  undo(): readonly Undo[] {
    const undo: Undo[] = []
    if (this.#inTransaction) undo.push('discard')
    if (this.#isWatching) undo.push('unwatch')
    if (this.#selected !== undefined) undo.push('select')
    return undo
  }

  undone(): void {
    this.#selected = undefined
    this.#inTransaction = this.#isWatching = false
  }
}

/** Whether a reply means that the server cannot serve this connection: it was demoted, or is loading its data. */
export function isUnusableServer(error: unknown): boolean {
  return error instanceof Error && UNUSABLE.test(error.message)
}

/** Whether retrying cannot fix this connect error: denied, no such database, not Redis, not trusted, wrong config. */
export function isFatalConnectError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code: unknown = Reflect.get(error, 'code')
  if (typeof code === 'string' && (UNTRUSTED.test(code) || MISCONFIGURED.has(code))) return true
  return FATAL_REPLY.test(error.message)
}

/** Whether a PING was answered. A refusal counts, because a user may be denied even PING. Rejects with any other error. */
export async function answers(ping: Promise<unknown>): Promise<true> {
  try {
    await ping
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOPERM'))) throw error
  }
  return true
}

/** Returns the error of a failed connect, reworded if the driver's text is empty or misleading. */
export function explained(error: unknown, address: string): unknown {
  if (!(error instanceof Error)) return error
  const { message } = error
  const reworded = (text: string, code: string): Error =>
    Object.assign(new Error(`${address} ${text}`, { cause: error }), { code })
  if (UNREADABLE.test(message)) return reworded(`does not answer as Redis: ${message}`, 'NOT_REDIS')
  if (FULL.test(message))
    return reworded(
      `has reached maxclients: ${message}. Raise maxclients at the server, or lower maxSize`,
      'MAX_CLIENTS',
    )
  // ioredis writes before it reads, and so never reads why the server hung up.
  if (HUNG_UP.test(message))
    return reworded(
      'closed the connection before it answered: it has reached maxclients, is in protected mode, or is not a Redis server',
      'NO_ANSWER',
    )
  return firstOfMany(error, address)
}

/** Creates a client of the driver. An error of the driver is marked as one of the config, which is fatal. */
export function created<T>(create: () => T): T {
  try {
    return create()
  } catch (error) {
    if (error instanceof Error && Reflect.get(error, 'code') === undefined)
      Object.assign(error, { code: 'BAD_CONFIG' })
    throw error
  }
}

/** Throws TypeError for a config that is neither an object nor a connection string of Redis. */
export function checkConfig(config: unknown, taker: string): asserts config is object | string {
  if (typeof config === 'object' && config !== null) return
  const isText = typeof config === 'string'
  if (isText && /^rediss?:\/\//.test(config) && URL.canParse(config)) return
  // A string may hold a password: it is not repeated.
  throw Object.assign(
    new TypeError(
      isText
        ? 'config must be a URL of the form redis://user:password@host:port/database, or rediss:// for TLS (got another string)'
        : `config must be a redis:// URL, an object for ${taker}, or a function that returns one of them (got ${show(config)})`,
    ),
    { code: 'BAD_CONFIG' },
  )
}

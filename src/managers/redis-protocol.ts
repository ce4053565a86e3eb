import { CONFIG_ERRORS } from './config-errors.ts'

/** What brings a session back, in this order. */
export type Undo = 'discard' | 'unwatch' | 'select'

// Commands after which a session is another one, and which no command of the same connection takes back.
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
// What a server says that cannot do the work of this connection now: demoted, loading its data, or cut off from its primary.
const UNUSABLE = /^(READONLY|LOADING|MASTERDOWN|UNBLOCKED force)\b/
const FATAL_REPLY =
  /^(WRONGPASS|NOAUTH|NOPERM|NOPROTO|DENIED|ERR (invalid DB index|DB index is out of range|AUTH|Client sent AUTH|invalid password|unknown command|wrong number of arguments for 'auth'))/i
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED|PACKET_LENGTH|TLSV1))/
const MISCONFIGURED = new Set(['ERR_INVALID_URL', 'NOT_REDIS', ...CONFIG_ERRORS])
const UNREADABLE = /RESP type|reply type byte|Protocol error|Invalid RESP|unexpected.*type/i
// Whether the driver hears of it first, or writes once more.
const HUNG_UP = /^(Socket closed unexpectedly|Connection is closed\.|write (EPIPE|ECONNRESET))$/

/** What borrowers did to a session, as told by the commands that they sent. */
export class RedisSession {
  #database: string
  #selected: string | undefined
  #inTransaction = false
  #isWatching = false
  #isAltered = false

  /** `database`: the one that the connection began with. */
  constructor(database: number | string) {
    this.#database = String(database)
  }

  /** The database that a connection goes back to. */
  get database(): number {
    return Number(this.#database)
  }

  /** Whether the session is no longer what it was, in a way that only a new connection is. */
  get isAltered(): boolean {
    return this.#isAltered
  }

  get inTransaction(): boolean {
    return this.#inTransaction
  }

  saw(command: unknown, argument?: unknown): void {
    const name = String(command).toUpperCase()
    if (name === 'MULTI') this.#inTransaction = true
    else if (name === 'EXEC' || name === 'DISCARD') this.#inTransaction = this.#isWatching = false
    else if (name === 'WATCH') this.#isWatching = true
    // Inside a transaction it is only queued, and one that is discarded never runs.
    else if (name === 'UNWATCH') this.#isWatching = this.#isWatching && this.#inTransaction
    // Whether it succeeded is not known: any of them is undone.
    else if (name === 'SELECT') this.#selected = String(argument)
    else if (LASTING.has(name) || (name === 'CLIENT' && LASTING_CLIENT.has(String(argument).toUpperCase())))
      this.#isAltered = true
  }

  /** Takes what was done until now as what the connection is to be, a transaction excepted. */
  settle(): void {
    this.#database = this.#selected ?? this.#database
    this.#selected = undefined
    this.#isWatching = this.#isAltered = false
  }

  /** What has to be undone. Empty: nothing. */
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

/** Whether an error tells that the server will not do the work of this connection: it was demoted, or is loading its data. */
export function isUnusableServer(error: unknown): boolean {
  return error instanceof Error && UNUSABLE.test(error.message)
}

/** Whether no retry will mend this connect error: denied, no such database, no Redis, not trusted, wrong config. */
export function isFatalConnectError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code: unknown = Reflect.get(error, 'code')
  if (typeof code === 'string' && (UNTRUSTED.test(code) || MISCONFIGURED.has(code))) return true
  // What the driver says of a config that it cannot read.
  return error instanceof TypeError || FATAL_REPLY.test(error.message)
}

/** Whether a PING was answered, be it with a refusal: a user may be denied even that. Throws what else it failed with. */
export async function answers(ping: Promise<unknown>): Promise<true> {
  try {
    await ping
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOPERM'))) throw error
  }
  return true
}

/** The error of a failed connect, in words where the driver's tell nothing. */
export function explained(error: unknown, address: string): unknown {
  if (!(error instanceof Error)) return error
  const { message } = error
  if (UNREADABLE.test(message))
    return Object.assign(new Error(`${address} does not answer as Redis: ${message}`, { cause: error }), {
      code: 'NOT_REDIS',
    })
  if (HUNG_UP.test(message))
    return Object.assign(
      new Error(`${address} closed the connection before it answered: is it a Redis server?`, {
        cause: error,
      }),
      { code: 'NO_ANSWER' },
    )
  return error
}

/** Throws TypeError for a config that is neither an object nor a connection string of Redis. */
export function checkConfig(config: unknown, taker: string): void {
  if (typeof config === 'object' && config !== null) return
  if (typeof config !== 'string')
    throw new TypeError(
      `config is ${String(config)}: allowed is a connection string or an object for ${taker}`,
    )
  // It may hold a password: it is not repeated.
  if (!/^rediss?:\/\//.test(config) || !URL.canParse(config))
    throw new TypeError(
      'config is a string that is not of the form redis://user:password@host:port/database (rediss:// for TLS)',
    )
}

import { loadDriver } from '../driver.ts'
import { isDemotedError } from './errors.ts'
import type { MariadbDriver } from './mariadb-driver.ts'
import { openSocket, type ServerAddress, type Stream, watchGreeting } from './mysql-protocol.ts'
import {
  AUTOCOMMIT,
  type Dial,
  type MysqlAdapter,
  type MysqlSession,
  type RunningStatement,
} from './session.ts'

// A Unix socket is opened by the driver: only its own limit ends an attempt that stays without an answer.
const UNIX_CONNECT_MS = 10_000
const SESSION_TRACK = 1n << 23n
// Options of a URL that stay texts, whatever they look like.
const TEXTS = new Set(['user', 'password', 'database', 'host', 'socketPath'])
/** An option of one statement: called synchronously when the server has answered one of its commands. */
export const SHARED: unique symbol = Symbol('cenote.shared')

/** The driver mariadb, with promises. */
export const MARIADB: MysqlAdapter = {
  manager: 'MariadbManager',
  system: 'mariadb',
  driverRule: "what `import mariadb from 'mariadb'` gives",
  load: () => loadDriver('cenote/mariadb', 'mariadb', () => import('mariadb')),
  parse,
  open,
  session: (connection, socket, report) => new MariadbSession(connection as Connection, socket, report),
}

// The driver's own parser of a URL leaves no room for a socket of the manager, and puts the password into its error.
function parse(text: string): Record<string, unknown> {
  if (!/^(mariadb|mysql):\/\//.test(text) || !URL.canParse(text)) {
    throw new TypeError(
      'config must be a URL of the form mariadb://user:password@host:port/database?option=value (the given string is none)',
    )
  }
  const url = new URL(text)
  const config: Record<string, unknown> = { host: url.hostname.replace(/^\[(.*)\]$/, '$1') }
  if (url.port !== '') config['port'] = Number(url.port)
  if (url.username !== '') config['user'] = decodeURIComponent(url.username)
  if (url.password !== '') config['password'] = decodeURIComponent(url.password)
  if (url.pathname.length > 1) config['database'] = decodeURIComponent(url.pathname.slice(1))
  for (const [option, value] of url.searchParams) {
    // The driver throws in its socket's event, and so ends the process, if a password is a number.
    const isText = TEXTS.has(option)
    config[option] = !isText && /^(true|false|\d+|\{.*\})$/s.test(value) ? JSON.parse(value) : value
  }
  return config
}

async function open(
  driver: unknown,
  config: Readonly<Record<string, unknown>>,
  { address, own, refused }: Dial,
): Promise<object> {
  const createConnection = (own_: object): Promise<object> => {
    const made = ((driver as MariadbDriver<object>).createConnection as (config: object) => Promise<object>)(
      own_,
    )
    if (typeof made.then === 'function') return made
    ;(made as unknown as Connection).destroy()
    throw Object.assign(new TypeError(`driver must be ${MARIADB.driverRule} (got one with callbacks)`), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
  }
  if (config['socketPath'] !== undefined)
    return createConnection({ connectTimeout: UNIX_CONNECT_MS, ...config })
  const watched = (socket: Stream): Stream => {
    own(socket)
    watchGreeting(socket, refused)
    return socket
  }
  const given = config['stream']
  const stream = (done: (error: unknown, socket?: Stream) => void): Stream | undefined => {
    if (typeof given !== 'function') return watched(openSocket({ ...config, ...address } as ServerAddress))
    const made = given((error: unknown, socket?: Stream) =>
      done(error, socket === undefined ? undefined : watched(socket)),
    ) as Stream | undefined
    return made === undefined ? undefined : watched(made)
  }
  // A redirect would lead to the host of the manager's own socket again.
  return createConnection({ connectTimeout: 0, ...config, permitRedirect: false, stream })
}

export class MariadbSession implements MysqlSession {
  readonly isMariadb: boolean
  readonly firstStatus: number
  isSpent = false
  readonly #connection: Connection
  readonly #core: Core | undefined
  readonly #socket: Stream | undefined

  constructor(connection: Connection, socket: Stream | undefined, report: (error?: unknown) => void) {
    this.#connection = connection
    this.#socket = socket
    this.isMariadb = connection.info?.serverVersion?.mariaDb === true
    this.firstStatus = connection.info?.status ?? AUTOCOMMIT
    this.#core = coreUnder(connection)
    for (const event of ['error', 'end']) connection.on(event, report)
    if (this.#core !== undefined) this.#watch(this.#core)
  }

  get threadId(): number {
    return Number(this.#connection.threadId ?? 0)
  }

  get socket(): Stream | undefined {
    return this.#core?.socket ?? this.#socket
  }

  get status(): number | undefined {
    return this.#connection.info?.status ?? undefined
  }

  get database(): string | undefined {
    return this.#connection.info?.database ?? undefined
  }

  get reportsDatabase(): boolean {
    return ((this.#connection.info?.clientCapabilities ?? 0n) & SESSION_TRACK) !== 0n
  }

  /** Options of the driver that concern shares. */
  get options(): { readonly pipelining?: boolean; readonly socketTimeout?: number } {
    return this.#core?.opts ?? {}
  }

  isDead(): boolean {
    return !this.#connection.isValid()
  }

  isBusy(): boolean {
    return this.running() !== undefined || (this.#core?.sendQueue?.length ?? 0) > 0
  }

  running(): RunningStatement | undefined {
    // The queue keeps a command that has ended until the next packet comes.
    if (this.#core?.activeReceiveCmd !== undefined) return this.#core.activeReceiveCmd() ?? undefined
    return (this.#core?.receiveQueue?.length ?? 0) > 0 ? {} : undefined
  }

  ping(): Promise<unknown> {
    return this.#connection.ping()
  }

  query(sql: string): Promise<readonly (readonly unknown[])[]> {
    return this.#connection.query({ sql, rowsAsArray: true, metaAsArray: false })
  }

  forget(): Promise<unknown> {
    return this.#connection.reset()
  }

  end(): void {
    this.#connection.end().catch(() => this.socket?.destroy())
  }

  // An error of a statement goes only to the caller of that statement, which may ignore it.
  #watch(core: Core): void {
    const { receiveQueue, changeUser } = core
    const push = receiveQueue?.push
    if (receiveQueue !== undefined && push !== undefined) {
      receiveQueue.push = (command) => {
        const ended = command.opts?.[SHARED]
        command.once?.('end', (error) => {
          if (isDemotedError(error)) this.isSpent = true
          ended?.(error)
        })
        return push.call(receiveQueue, command)
      }
    }
    if (changeUser !== undefined) {
      core.changeUser = (...args) => {
        this.isSpent = true
        changeUser.apply(core, args)
      }
    }
  }
}

// The driver keeps its inner connection private, but an emitter's listeners are called on it.
function coreUnder(connection: Connection): Core | undefined {
  let core: Core | undefined
  const keep = (emitter: Core): void => void (core = emitter)
  connection.once('newListener', function (this: Core) {
    keep(this)
  })
  connection.once('end', () => {})
  return core
}

/** The driver's connection, with what its structural type leaves out. */
interface Connection {
  ping(): Promise<void>
  reset(): Promise<void>
  query(options: object): Promise<readonly unknown[][]>
  end(): Promise<void>
  destroy(): void
  isValid(): boolean
  on(event: string, listener: (payload?: unknown) => void): unknown
  once(event: string, listener: (this: Core) => void): unknown
  readonly threadId: number | bigint | null
  readonly info: {
    readonly status?: number | null
    readonly database?: string | null
    readonly clientCapabilities?: bigint
    readonly serverVersion?: { readonly mariaDb?: boolean } | null
  } | null
}

interface Command extends RunningStatement {
  readonly opts?: { readonly [SHARED]?: (error: unknown) => void }
  once?(event: 'end', listener: (error?: unknown) => void): unknown
}

/** The inner object of every connection of the driver. */
interface Core {
  readonly opts?: { readonly pipelining?: boolean; readonly socketTimeout?: number }
  activeReceiveCmd?(): RunningStatement | null | undefined
  changeUser?: (...args: unknown[]) => void
  readonly receiveQueue?: { readonly length: number; push?: (command: Command) => unknown }
  readonly sendQueue?: { readonly length: number }
  readonly socket?: Stream
}

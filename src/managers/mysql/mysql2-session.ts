import { loadDriver } from '../driver.ts'
import { isDemotedError, isLastError } from './errors.ts'
import { openSocket, type ServerAddress, type Stream, watchGreeting } from './mysql-protocol.ts'
import type { Mysql2Driver } from './mysql2-driver.ts'
import { watchStatus, type WatchedCore } from './mysql2-status.ts'
import {
  AUTOCOMMIT,
  type Dial,
  type MysqlAdapter,
  type MysqlSession,
  type RunningStatement,
} from './session.ts'

const SESSION_TRACK = 1 << 23

/** The driver mysql2, with promises or callbacks. */
export const MYSQL2: MysqlAdapter = {
  manager: 'Mysql2Manager',
  system: 'mysql',
  driverRule: "what `import mysql from 'mysql2/promise'` or 'mysql2' gives",
  load: () => loadDriver('cenote/mysql2', 'mysql2', () => import('mysql2/promise')),
  parse(url) {
    if (!/^(mysql|mariadb)2?:\/\//.test(url) || !URL.canParse(url)) {
      throw new TypeError(
        'config must be a URL of the form mysql://user:password@host:port/database (the given string is none)',
      )
    }
    return { uri: url }
  },
  open,
  session: (connection, _socket, report) => new Mysql2Session(coreOf(connection), report),
}

async function open(
  driver: unknown,
  config: Readonly<Record<string, unknown>>,
  { address, own, refused }: Dial,
): Promise<object> {
  const given = config['stream']
  const stream = (options: { config: ServerAddress & KeepAlive }): Stream => {
    const target = options.config
    const socket: Stream =
      typeof given === 'function' ? given(options) : openSocket({ ...target, ...address } as ServerAddress)
    if (target.enableKeepAlive === true) {
      socket.once('connect', () => void socket.setKeepAlive?.(true, target.keepAliveInitialDelay))
    }
    own(socket)
    watchGreeting(socket, refused)
    return socket
  }
  const create = (driver as Mysql2Driver<object>).createConnection as (
    config: object,
  ) => object | Promise<object>
  const made = create({ connectTimeout: 0, ...config, stream })
  if (!('then' in made) || typeof made.then !== 'function') await command(made as Core, 'connect')
  return await made
}

class Mysql2Session implements MysqlSession {
  readonly isMariadb: boolean
  readonly reportsDatabase: boolean
  status: number | undefined
  firstStatus: number
  database: string | undefined
  isSpent = false
  readonly #core: Core

  constructor(core: Core, report: (error?: unknown) => void) {
    this.#core = core
    this.isMariadb = core._isMariaDB === true
    this.database = core.config?.database
    const { statusFlags = AUTOCOMMIT, capabilityFlags = 0 } = core._handshakePacket ?? {}
    this.firstStatus = statusFlags
    for (const event of ['error', 'end']) core.on(event, report)
    let isFirst = true
    const isWatched = watchStatus(core, ({ status, errno, database, setsAutocommit }) => {
      // The greeting does not report what the server's init_connect has set. The first statement does, unless it set it.
      if (isFirst && status !== undefined) {
        isFirst = false
        if (setsAutocommit !== true) this.firstStatus = status
      }
      this.status = status
      if (database !== undefined) this.database = database === '' ? undefined : database
      if (errno === undefined) return
      if (isDemotedError({ errno })) this.isSpent = true
      if (isLastError({ errno })) report()
    })
    this.reportsDatabase =
      isWatched && (capabilityFlags & (core.config?.clientFlags ?? 0) & SESSION_TRACK) !== 0
    if (isWatched) this.status = statusFlags
    const { changeUser } = core
    core.changeUser = (...args) => {
      this.isSpent = true
      return changeUser.apply(core, args)
    }
    if (core.reset === undefined) this.#reset = () => changeUserOf(core, changeUser)
  }

  #reset: () => Promise<unknown> = () => command(this.#core, 'reset')

  get threadId(): number {
    return this.#core.threadId ?? 0
  }

  get socket(): Stream {
    return this.#core.stream
  }

  isDead(): boolean {
    const { stream, _closing, _fatalError, _protocolError } = this.#core
    return stream.destroyed === true || _closing === true || Boolean(_fatalError ?? _protocolError)
  }

  // A paused connection with nothing to do would leave its next holder without an answer.
  isBusy(): boolean {
    const core = this.#core
    return this.running() !== undefined || (core._commands?.length ?? 0) > 0 || core._paused === true
  }

  running(): RunningStatement | undefined {
    return this.#core._command ?? undefined
  }

  ping(): Promise<unknown> {
    return command(this.#core, 'ping')
  }

  async query(sql: string): Promise<readonly (readonly unknown[])[]> {
    return (await command(this.#core, 'query', {
      sql,
      rowsAsArray: true,
      typeCast: true,
    })) as readonly unknown[][]
  }

  forget(): Promise<unknown> {
    return this.#reset()
  }

  end(): void {
    // The façade's connections release themselves in `end`.
    const { end, _realEnd = end } = this.#core
    _realEnd.call(this.#core)
  }
}

function changeUserOf(core: Core, changeUser: Core['changeUser']): Promise<unknown> {
  return new Promise((resolve, reject) =>
    changeUser.call(core, {}, (error, result) => (error ? reject(error as Error) : resolve(result))),
  )
}

// A connection of 'mysql2/promise' wraps one of 'mysql2'.
function coreOf(connection: object): Core {
  return ((connection as { connection?: Core }).connection ?? connection) as Core
}

type Done = (error: unknown, result?: unknown) => void

function command(
  core: Core,
  name: 'connect' | 'ping' | 'query' | 'reset',
  argument?: unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done: Done = (error, result) =>
      (error ?? undefined) === undefined ? resolve(result) : reject(error as Error)
    const method = core[name] as (...args: unknown[]) => unknown
    method.apply(core, argument === undefined ? [done] : [argument, done])
  })
}

interface KeepAlive {
  readonly enableKeepAlive?: boolean
  readonly keepAliveInitialDelay?: number
}

/** The inner object of every connection of the driver. */
interface Core extends WatchedCore {
  connect(done: Done): void
  ping(done: Done): void
  query(sql: string | object, done: Done): unknown
  changeUser: (options: object, done: Done) => unknown
  end(): unknown
  on(event: string, listener: (payload?: unknown) => void): unknown
  readonly reset?: (done: Done) => void
  readonly stream: Stream
  readonly threadId?: number | null
  readonly config?: { readonly database?: string | undefined; readonly clientFlags?: number }
  readonly _realEnd?: () => unknown
  readonly _commands?: { readonly length: number }
  readonly _closing?: boolean
  readonly _isMariaDB?: boolean
  readonly _handshakePacket?: { readonly statusFlags?: number; readonly capabilityFlags?: number } | null
  readonly _fatalError?: unknown
  readonly _protocolError?: unknown
}

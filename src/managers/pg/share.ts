import { PoolError, PoolOptionsError } from '../../core/contract/errors.ts'
import { ShareRefusedError } from '../../core/contract/share-refused.ts'
import { show } from '../../core/contract/rules.ts'
import type { Seat, ShareableConnection } from '../../core/contract/share.ts'
import type { PgClient, PgConfig } from './client.ts'
import { misconfigured } from './hosts.ts'
import { refusalOf } from './refused.ts'

// More statements in flight would only wait in the server. A socket that is full takes no more.
const SEATS = 64
// Parameters that the server reports about itself, not about the session.
const OF_SERVER = new Set([
  'in_hot_standby',
  'default_transaction_read_only',
  'server_version',
  'server_encoding',
  'integer_datetimes',
  'scram_iterations',
])
const NOT_IDLE: Readonly<Record<string, string>> = {
  T: 'a transaction left open',
  E: 'a failed transaction left open',
}

export type { PgClient as PgSharedClient } from './client.ts'

/** The part of a shared connection that one caller may use: `query` of the driver, for one statement that needs no session state. */
export interface PgSharedView<C> {
  readonly query: C extends { query: infer Query } ? Query : never
}

type Callback = (error: unknown, result?: unknown) => void

// A query object of the driver.
interface DriverQuery {
  callback: Callback | undefined
  handleReadyForQuery(connection: unknown): void
  handleError(error: unknown, connection: unknown): void
}

interface SharedQuery extends DriverQuery {
  begin(seat: Seat, session: Session): void
}

type SharedQueryClass = new (config: unknown, values: unknown, callback: unknown) => SharedQuery

/** State of a client that may be shared. */
interface Session {
  readonly client: PgClient
  readonly Query: SharedQueryClass
  /** The session's parameters, as the server reported them when no caller shared it. */
  readonly parameters: Map<string, string>
  /** The changes of the statement that is being answered, and of the one answered last. */
  changing: string | undefined
  changed: string | undefined
  /** A statement that failed: the server's report of the session is still to come. */
  failed: { readonly seat: Seat } | undefined
  /** Whether a statement left something open: what comes behind it is not delivered. */
  isDirty: boolean
}

const sessions = new WeakMap<PgClient, Session>()
const classes = new WeakMap<object, SharedQueryClass>()

/** The config with which connections are opened that may be shared. */
export function pipelining(config: PgConfig): PgConfig {
  return { ...config, pipeline: true }
}

/** Prepares a new client for shares. Throws for a driver or a config that does not allow it. Called before it connects. */
export function prepareShared(client: PgClient): void {
  const { pipeline, connectionParameters } = client as PgClient & {
    readonly pipeline?: unknown
    readonly connectionParameters?: { readonly query_timeout?: unknown }
  }
  if (pipeline !== true)
    throw misconfigured('the driver must be pg 8.23 or later for share: true. Update the package pg')
  refuseTimeout(connectionParameters?.query_timeout)
  const session: Session = {
    client,
    Query: queryClass(client),
    parameters: new Map(),
    changing: undefined,
    changed: undefined,
    failed: undefined,
    isDirty: false,
  }
  sessions.set(client, session)
  refuseCursors(client)
  const { connection } = client
  connection?.on('parameterStatus', (message) => {
    const { parameterName, parameterValue } = message as { parameterName: string; parameterValue: string }
    if (OF_SERVER.has(parameterName)) return
    const isReported = session.parameters.has(parameterName)
    if (isReported && session.parameters.get(parameterName) !== parameterValue)
      session.changing = `parameter ${parameterName} changed to '${parameterValue}'`
    session.parameters.set(parameterName, parameterValue)
  })
  // This listener precedes the driver's own, which settles a statement that succeeded.
  connection?.on('readyForQuery', (message) => {
    const { failed } = session
    session.failed = undefined
    session.changed = session.changing
    session.changing = undefined
    if (failed !== undefined)
      settle(session, failed.seat, (message as { status?: string } | undefined)?.status)
  })
}

/** Throws PoolOptionsError for a limit after which the driver ends the connection, for all who share it. */
export function refuseTimeout(value: unknown, share = ''): void {
  if (value === undefined || value === null || value === false || value === 0 || value === '0') return
  throw new PoolOptionsError(
    share,
    'query_timeout',
    value,
    `query_timeout must be unset on a shared connection, because the driver ends the connection for all its callers (got ${show(value)}). Set statement_timeout, or pass a signal to run`,
  )
}

/** Returns the sharing of connections of `pg`. */
export function pgShare<C extends PgClient>(): ShareableConnection<C, PgSharedView<C>> {
  let isPooled = false
  return {
    perConnection: (client) => (streamOf(client)?.writableNeedDrain === true ? 0 : SEATS),
    view: (client, seat) => {
      const session = sessions.get(client)
      const query = (config: unknown, values?: unknown, callback?: unknown): unknown =>
        send(session, seat, config, values, callback)
      return { query } as PgSharedView<C>
    },
    cork: (client) => streamOf(client)?.cork?.(),
    uncork: (client) => streamOf(client)?.uncork?.(),
    probe: async (client) => {
      // A pooler that cannot pipeline forwards the first, and loses the answers of the others or never sends them.
      const text = 'select $1::text as n, pg_backend_pid()::text as pid'
      const stream = streamOf(client)
      // In one write: apart, each could be answered before the next is sent.
      stream?.cork?.()
      const sent = ['1', '2', '3'].map((n) => client.query<{ n: string; pid: string }>(text, [n]))
      stream?.uncork?.()
      const answers = await Promise.all(sent)
      // A pooler sends its clients a process id of its own.
      isPooled = answers.some(({ rows }) => rows[0]?.pid !== String(client.processID))
      return answers.every(({ rows }, index) => rows[0]?.n === String(index + 1))
    },
    isPooled: () => isPooled,
  }
}

interface Corkable {
  cork?(): void
  uncork?(): void
  readonly writableNeedDrain?: boolean
}

function streamOf(client: PgClient): Corkable | undefined {
  return client.connection?.stream as Corkable | undefined
}

function queryClass(client: PgClient): SharedQueryClass {
  const { Query } = client.constructor as unknown as {
    readonly Query: new (config: unknown, values: unknown, callback: unknown) => DriverQuery
  }
  const made = classes.get(Query) ?? sharedQuery(Query)
  classes.set(Query, made)
  return made
}

// A query of the driver that reports to its seat when the server has answered it.
function sharedQuery(
  Query: new (config: unknown, values: unknown, callback: unknown) => DriverQuery,
): SharedQueryClass {
  return class extends Query implements SharedQuery {
    #seat: Seat | undefined
    #session: Session | undefined

    begin(seat: Seat, session: Session): void {
      this.#seat = seat
      this.#session = session
    }

    override handleReadyForQuery(connection: unknown): void {
      const session = this.#session
      const seat = this.#seat
      this.#seat = undefined
      if (session === undefined || seat === undefined) return super.handleReadyForQuery(connection)
      if (session.isDirty) return super.handleError(behind(seat), connection)
      settle(session, seat, session.client._txStatus ?? 'I')
      super.handleReadyForQuery(connection)
    }

    override handleError(error: unknown, connection: unknown): void {
      const session = this.#session
      const seat = this.#seat
      this.#seat = undefined
      if (session === undefined || seat === undefined) return super.handleError(error, connection)
      if (session.isDirty) return super.handleError(behind(seat), connection)
      // The server's error is followed by its report of the session. Any other error means that nothing follows.
      if (typeof (error as { severity?: unknown } | null)?.severity === 'string') session.failed = { seat }
      else seat.answered()
      super.handleError(error, connection)
    }
  }
}

function settle(session: Session, seat: Seat, status: string | undefined): void {
  const reason = NOT_IDLE[status ?? 'I'] ?? session.changed
  if (reason === undefined || session.isDirty) {
    seat.answered()
    return
  }
  session.isDirty = true
  seat.dirty(reason)
}

function behind(seat: Seat): PoolError {
  const text = `a statement of share '${seat.share}' was sent behind one that changed the session, so its answer is not delivered. Set retries for work that may run twice`
  return new PoolError('CONNECTION_LOST', text, { pool: seat.share })
}

function send(
  session: Session | undefined,
  seat: Seat,
  config: unknown,
  values: unknown,
  callback: unknown,
): unknown {
  const given = typeof values === 'function' ? values : callback
  const parameters = typeof values === 'function' ? undefined : values
  const last = typeof given === 'function' ? (given as Callback) : callbackOf(config)
  if (last === undefined)
    return new Promise((resolve, reject) => {
      const settled: Callback = (error, result) => (error ? reject(error as Error) : resolve(result))
      try {
        begin(session, seat, config, parameters, settled)
      } catch (error) {
        reject(error as Error)
      }
    })
  try {
    begin(session, seat, config, parameters, last)
  } catch (error) {
    process.nextTick(last, error)
  }
  return undefined
}

function begin(
  session: Session | undefined,
  seat: Seat,
  config: unknown,
  values: unknown,
  callback: Callback,
): void {
  if (session === undefined) throw new TypeError('the connection must be one of a PgManager with share: true')
  refuse(config, seat.share)
  const query = new session.Query(config, values, undefined)
  query.callback = callback
  seat.sent()
  query.begin(seat, session)
  void session.client.query(query as never)
}

// Throws for a statement that may not run on a shared connection.
function refuse(config: unknown, share: string): void {
  if (typeof config === 'string') return refuseText(config, share)
  if (typeof config !== 'object' || config === null)
    throw new TypeError(`a statement must be a text or a config for query (got ${String(config)})`)
  const { text, submit, rows, query_timeout } = config as Record<string, unknown>
  if (typeof submit === 'function' || rows !== undefined) {
    const what = config.constructor?.name ?? 'a query object'
    throw new ShareRefusedError(what, 'a text or a config: cursors and streams keep the connection', share)
  }
  refuseTimeout(query_timeout, share)
  if (typeof text === 'string') refuseText(text, share)
}

function refuseText(text: string, share: string): void {
  const allowed = refusalOf(text)
  if (allowed !== undefined) throw new ShareRefusedError(text, allowed, share)
}

function callbackOf(config: unknown): Callback | undefined {
  const callback = typeof config === 'object' && config !== null ? Reflect.get(config, 'callback') : undefined
  return typeof callback === 'function' ? (callback as Callback) : undefined
}

// The driver's own text does not say what to change.
function refuseCursors(client: PgClient): void {
  const { query } = client
  const { Query } = client.constructor as unknown as { readonly Query: new () => object }
  Object.defineProperty(client, 'query', {
    configurable: true,
    writable: true,
    value: (...given: unknown[]): unknown => {
      const [first] = given
      const { submit, rows } = (typeof first === 'object' && first !== null ? first : {}) as Record<
        string,
        unknown
      >
      if ((typeof submit === 'function' && !(first instanceof Query)) || Boolean(rows))
        throw new Error(
          'cursors and streams must run on a connection that does not pipeline, and this pool shares its connections. Use a second pool without share',
        )
      return Reflect.apply(query, client, given)
    },
  })
}

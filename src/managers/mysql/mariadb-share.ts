import { PoolError, PoolOptionsError } from '../../core/contract/errors.ts'
import { show } from '../../core/contract/rules.ts'
import { ShareRefusedError } from '../../core/contract/share-refused.ts'
import type { Seat, ShareableConnection } from '../../core/contract/share.ts'
import { type MariadbSession, SHARED } from './mariadb-session.ts'
import { refusalOf } from './refused.ts'
import { IN_TRANSACTION } from './session.ts'

const SEATS = 64

/** The part of a shared connection that one caller may use: `query` and `execute` of the driver, for single statements. */
export type MariadbSharedView<C> = Pick<C, Extract<'query' | 'execute', keyof C>>

interface Held {
  readonly session: MariadbSession
  /** Whether the session is as it was when the pool got it. */
  isUnchanged(): boolean
}

interface Connection {
  query(options: object, values?: unknown): Promise<unknown>
  execute(options: object, values?: unknown): Promise<unknown>
}

// Connections on which a statement left something open: what comes behind it is not delivered.
const dirty = new WeakSet<object>()

/** Throws PoolOptionsError for a limit after which the driver ends the connection, for all who share it. */
export function refuseSocketTimeout(value: unknown, share = ''): void {
  if (value === undefined || value === 0) return
  throw new PoolOptionsError(
    share,
    'socketTimeout',
    value,
    `socketTimeout must be unset on a shared connection, because the driver ends the connection for all its callers (got ${show(value)}). Set queryTimeout, or pass a signal to run`,
  )
}

/** Returns the sharing of connections of `mariadb`. */
export function mariadbShare<C extends object>(
  heldOf: (connection: C) => Held,
): ShareableConnection<C, MariadbSharedView<C>> {
  return {
    // The driver sends one command at a time if pipelining is off, or if local files are permitted.
    perConnection: (connection) => {
      const { options, socket } = heldOf(connection).session
      if (options.pipelining === false) return 1
      return (socket as Corkable | undefined)?.writableNeedDrain === true ? 0 : SEATS
    },
    view: (connection, seat) => {
      const held = heldOf(connection)
      refuseSocketTimeout(held.session.options.socketTimeout, seat.share)
      const statement =
        (method: 'query' | 'execute') =>
        (sql: unknown, values?: unknown): Promise<unknown> =>
          send(connection as unknown as Connection, held, seat, method, sql, values)
      return { query: statement('query'), execute: statement('execute') } as unknown as MariadbSharedView<C>
    },
    cork: (connection) => (heldOf(connection).session.socket as Corkable | undefined)?.cork?.(),
    uncork: (connection) => (heldOf(connection).session.socket as Corkable | undefined)?.uncork?.(),
  }
}

interface Corkable {
  cork?(): void
  uncork?(): void
  readonly writableNeedDrain?: boolean
}

async function send(
  connection: Connection,
  held: Held,
  seat: Seat,
  method: 'query' | 'execute',
  given: unknown,
  values: unknown,
): Promise<unknown> {
  const options = typeof given === 'string' ? { sql: given } : (given as { readonly sql?: unknown } | null)
  const sql = options?.sql
  if (options !== null && typeof sql === 'string') {
    const allowed = refusalOf(sql)
    if (allowed !== undefined) throw new ShareRefusedError(sql, allowed, seat.share)
  }
  if (dirty.has(connection)) throw behind(seat)
  // Returns whether the last answer of this statement came before anything was left open.
  let isDelivered = false
  let change: string | undefined
  const ended = (error: unknown): void => {
    const wasDirty = dirty.has(connection)
    isDelivered = !wasDirty
    if (wasDirty || (error !== undefined && error !== null)) return
    if (held.isUnchanged()) return
    dirty.add(connection)
    change = changeOf(held)
  }
  seat.sent()
  try {
    const result = await connection[method]({ ...options, [SHARED]: ended }, values)
    if (dirty.has(connection) && !isDelivered) throw behind(seat)
    // Not in the driver's event: the answers that came before this one settle their callers first.
    if (change !== undefined) seat.dirty(change)
    return result
  } catch (error) {
    throw dirty.has(connection) && !isDelivered ? behind(seat) : error
  } finally {
    seat.answered()
  }
}

function changeOf({ session }: Held): string {
  if (((session.status ?? 0) & IN_TRANSACTION) !== 0) return 'a transaction left open'
  return `autocommit or the database changed (now ${session.database ?? 'none'})`
}

function behind({ share }: Seat): PoolError {
  const text = `a statement of share '${share}' was sent behind one that changed the session, so its answer is not delivered. Set retries for work that may run twice`
  return new PoolError('CONNECTION_LOST', text, { pool: share })
}

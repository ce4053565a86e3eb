import type { MysqlSession } from './session.ts'

/** A connection whose statement is to be stopped, as it was when it was opened. */
export interface Victim {
  readonly threadId: number
  /** The port of this end of its socket. undefined: a Unix socket. */
  readonly localPort: number | undefined
}

const NO_SUCH_THREAD = 1094
const FIRST_PAUSE_MS = 5
const LONGEST_PAUSE_MS = 100

/**
 * Stops the statement that a connection is running. `isStillRunning` is called last, before the kill is sent. MariaDB
 * stops that one statement by its number, so a later statement of the same connection is never hit.
 */
export async function killQuery(
  killer: MysqlSession,
  victim: Victim,
  sql: unknown,
  isStillRunning: () => boolean,
): Promise<void> {
  const queryId = await find(killer, victim, sql)
  if (queryId === undefined || !isStillRunning()) return
  await ignoring(
    killer.query(killer.isMariadb ? `KILL QUERY ID ${queryId}` : `KILL QUERY ${victim.threadId}`),
  )
}

/** Ends a connection at the server, and waits until the server is free of it, or until `isOver`. */
export async function killConnection(
  killer: MysqlSession,
  victim: Victim,
  sql: unknown,
  isOver: () => boolean,
): Promise<void> {
  if ((await find(killer, victim, sql)) === undefined) return
  let pauseMs = FIRST_PAUSE_MS
  while (!isOver()) {
    const error = await ignoring(killer.query(`KILL ${victim.threadId}`))
    if (error !== undefined) return
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
  }
}

// The number of the victim's statement. undefined: the server has no such connection. A proxy or a load balancer may lead to
// another server, where the same number belongs to another client: the port, or the text of the statement, must be the same.
async function find(killer: MysqlSession, victim: Victim, sql: unknown): Promise<number | undefined> {
  const [row] = await killer.query(
    `SELECT host, info, ${killer.isMariadb ? 'query_id' : 'id'} FROM information_schema.processlist WHERE id = ${victim.threadId}`,
  )
  if (row === undefined) return undefined
  const [host, info, queryId] = row
  const port = /:(\d+)$/.exec(String(host))?.[1]
  const isOurs =
    Number(port) === victim.localPort ||
    (victim.localPort === undefined && port === undefined) ||
    isSameStatement(info, sql)
  return isOurs ? Number(queryId) : undefined
}

// Up to the first placeholder. The server shortens a long text and leaves out the spaces around it.
function isSameStatement(info: unknown, sql: unknown): boolean {
  if (typeof info !== 'string' || typeof sql !== 'string') return false
  const [start = ''] = sql.trim().slice(0, 100).split('?')
  return start.length > 6 && info.startsWith(start)
}

// Returns the number of the error, if there was one: the thread or its statement has ended, or may not be killed.
async function ignoring(sent: Promise<unknown>): Promise<number | undefined> {
  try {
    await sent
    return undefined
  } catch (error) {
    return (error as { errno?: number }).errno ?? NO_SUCH_THREAD
  }
}

/** What a server, and what stands before it, allows. Read by one connection, which is closed again. */
export interface ServerFacts {
  readonly engine: 'PostgreSQL' | 'MySQL'
  /** All of the server's, and how many of those are kept for administrators. */
  readonly maxConnections: number
  readonly reserved: number
  /** Limits of this user, and of this database; Infinity: none. */
  readonly userLimit: number
  readonly databaseLimit: number
  /** Open at this moment, this one left out. */
  readonly inUse: number
  /** After so long the server closes a session that is idle; Infinity: never. And what it calls that. */
  readonly idleTimeoutMs: number
  readonly idleTimeoutName: string
  /** Infinity: a statement, or a transaction in which nothing happens, may take for ever. */
  readonly statementTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
  /** Whether a pooler answers for the server. */
  readonly hasPooler: boolean
}

/** The options that a pool is to have, in so many processes. */
export interface Plan {
  readonly maxSize: number
  readonly minIdle: number
  readonly processes: number
  readonly idleTimeoutMs: number
  readonly maxLifetimeMs: number
  readonly keepaliveMs: number
}

/** One thing that the doctor has to say. `problem`: it will fail; `notice`: it may. */
export interface Finding {
  readonly severity: 'problem' | 'notice'
  readonly text: string
}

/** What of a plan the server does not bear, and what it lacks. Empty: nothing was found. */
export function examine(facts: ServerFacts, plan: Plan): Finding[] {
  return [...room(facts, plan), ...idle(facts, plan), ...limits(facts), ...pooler(facts)]
}

/** How many connections the server has for this user, and by whose limit. */
export function roomOf({ maxConnections, reserved, userLimit, databaseLimit }: ServerFacts): {
  readonly has: number
  readonly by: string
} {
  const bounds = [
    { has: maxConnections - reserved, by: `max_connections ${maxConnections}, less ${reserved} reserved` },
    { has: userLimit, by: 'the limit of this user' },
    { has: databaseLimit, by: 'the limit of this database' },
  ]
  return bounds.reduce((least, each) => (each.has < least.has ? each : least))
}

function room(facts: ServerFacts, { maxSize, processes }: Plan): Finding[] {
  const { inUse } = facts
  const wanted = maxSize * processes
  const sum =
    processes === 1 ? `maxSize ${maxSize}` : `${processes} processes x maxSize ${maxSize} = ${wanted}`
  const { has, by } = roomOf(facts)
  const fitting = Math.floor(has / processes)
  const advice =
    fitting > 0
      ? `a maxSize of ${fitting} fits, or one budget for all of them (cenote/fleet)`
      : 'not even one for each process fits'
  if (wanted > has)
    return [{ severity: 'problem', text: `${sum}, but there is room for ${has} (${by}): ${advice}.` }]
  if (wanted > has - inUse) {
    const text = `${sum} of ${has} (${by}), and ${inUse} are in use at this moment: if those are not of the same service, it does not fit.`
    return [{ severity: 'notice', text }]
  }
  if (processes > 1 && wanted + maxSize > has) {
    const text = `${sum} of ${has} (${by}): a rolling deploy runs one process more, and that does not fit.`
    return [{ severity: 'notice', text }]
  }
  return []
}

function idle(facts: ServerFacts, plan: Plan): Finding[] {
  // Those that minIdle keeps are not closed for being idle.
  const ends = plan.minIdle === 0 ? (['idleTimeoutMs'] as const) : []
  const kept = ([...ends, 'maxLifetimeMs', 'keepaliveMs'] as const).reduce((least, name) =>
    plan[name] < plan[least] ? name : least,
  )
  const { idleTimeoutMs, idleTimeoutName } = facts
  if (plan[kept] < idleTimeoutMs) return []
  const most = Math.floor(idleTimeoutMs * 0.9)
  const text = `the server closes a session that is idle for ${idleTimeoutMs} ms (${idleTimeoutName}), and the pool lets one be idle for ${plan[kept]} ms (${kept}): set ${plan.minIdle === 0 ? 'idleTimeoutMs or ' : ''}keepaliveMs to ${most} or less.`
  return [{ severity: 'problem', text }]
}

function limits({ engine, statementTimeoutMs, idleInTransactionTimeoutMs }: ServerFacts): Finding[] {
  const found: Finding[] = []
  if (statementTimeoutMs === Infinity) {
    const name = engine === 'PostgreSQL' ? 'statement_timeout' : 'max_execution_time or max_statement_time'
    const text = `no limit for a statement (${name}): one that hangs holds its connection for ever.`
    found.push({ severity: 'notice', text })
  }
  if (engine === 'PostgreSQL' && idleInTransactionTimeoutMs === Infinity) {
    const text =
      'no limit for a transaction in which nothing happens (idle_in_transaction_session_timeout): one that was forgotten holds its locks for ever.'
    found.push({ severity: 'notice', text })
  }
  return found
}

function pooler({ hasPooler }: ServerFacts): Finding[] {
  if (!hasPooler) return []
  const text =
    'a pooler stands before the server (PgBouncer or the like): the limits above are the server’s, not its own; where it changes the backend between transactions, LISTEN, session settings and prepared statements are lost.'
  return [{ severity: 'notice', text }]
}

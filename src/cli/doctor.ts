/** The limits of a server and of a pooler in front of it. Read over one connection, which is closed afterwards. */
export interface ServerFacts {
  readonly engine: 'PostgreSQL' | 'MySQL' | 'MariaDB'
  /** All of the server's, and how many of those are kept for administrators. */
  readonly maxConnections: number
  readonly reserved: number
  /** Limits of this user and of this database. Infinity: no limit. */
  readonly userLimit: number
  readonly databaseLimit: number
  /** Number of open connections, without this one. */
  readonly inUse: number
  /** Idle time after which the server closes a session, and the name of that setting. Infinity: never. */
  readonly idleTimeoutMs: number
  readonly idleTimeoutName: string
  /** Limits of a statement and of an idle transaction. Infinity: no limit. */
  readonly statementTimeoutMs: number
  readonly idleInTransactionTimeoutMs: number
  /** Whether a pooler answers instead of the server. */
  readonly hasPooler: boolean
  /** Whether it handles statements that are sent together, as a share sends them; undefined if that was not tested. */
  readonly canPipeline?: boolean | undefined
}

/** The planned options of a pool, and the number of processes that have such a pool. */
export interface Plan {
  readonly maxSize: number
  readonly minIdle: number
  readonly processes: number
  readonly idleTimeoutMs: number
  readonly maxLifetimeMs: number
  readonly keepaliveMs: number
}

/** One conflict. `problem`: it will fail; `notice`: it may fail. */
export interface Finding {
  readonly severity: 'problem' | 'notice'
  readonly text: string
}

/** Finds conflicts of a plan with a server. Returns an empty list if there are none. */
export function examine(facts: ServerFacts, plan: Plan): Finding[] {
  return [...room(facts, plan), ...idle(facts, plan), ...limits(facts), ...pooler(facts), ...sharing(facts)]
}

/** Returns the number of connections that the server has for this user, and the limit that decides. */
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

/** Returns the points that `examine` checked, a line each. */
export function checked(facts: ServerFacts, { maxSize, processes }: Plan): string[] {
  const { engine, idleTimeoutMs, idleTimeoutName, statementTimeoutMs, idleInTransactionTimeoutMs } = facts
  const { has, by } = roomOf(facts)
  const limit = (ms: number): string => (ms === Infinity ? 'no limit' : `${ms} ms`)
  const pool = processes === 1 ? `maxSize ${maxSize}` : `${processes} processes x maxSize ${maxSize}`
  return [
    `connections: ${pool}, limit ${has} (${by}), ${facts.inUse} in use now`,
    `idle sessions: ${limit(idleTimeoutMs)} (${idleTimeoutName})`,
    `statements: ${limit(statementTimeoutMs)} (${STATEMENT_LIMIT[engine]})`,
    ...(engine === 'PostgreSQL'
      ? [`idle transactions: ${limit(idleInTransactionTimeoutMs)} (idle_in_transaction_session_timeout)`]
      : []),
    ...(engine === 'PostgreSQL'
      ? [
          `pooler: ${facts.hasPooler ? 'detected' : 'none detected'}`,
          `pipelining, for a share (cenote/share): ${PIPELINING[String(facts.canPipeline)]}`,
        ]
      : []),
  ]
}

const PIPELINING: Readonly<Record<string, string>> = {
  true: 'supported',
  false: 'not supported',
  undefined: 'not tested: no second connection opened, or pg is older than 8.23',
}

const STATEMENT_LIMIT = {
  PostgreSQL: 'statement_timeout',
  MySQL: 'max_execution_time',
  MariaDB: 'max_statement_time',
} as const

function room(facts: ServerFacts, { maxSize, processes }: Plan): Finding[] {
  const { inUse } = facts
  const wanted = maxSize * processes
  const sum =
    processes === 1 ? `maxSize ${maxSize}` : `${processes} processes x maxSize ${maxSize} = ${wanted}`
  const { has, by } = roomOf(facts)
  const fitting = Math.floor(has / processes)
  const advice =
    fitting > 0
      ? `set maxSize to ${fitting}, or share one budget among all processes (cenote/fleet)`
      : 'the limit is below one connection per process'
  if (wanted > has)
    return [{ severity: 'problem', text: `${sum} exceeds the limit of ${has} (${by}): ${advice}.` }]
  if (wanted > has - inUse) {
    const text = `${sum} of ${has} (${by}), and ${inUse} are in use now: if those belong to another service, the limit is exceeded.`
    return [{ severity: 'notice', text }]
  }
  if (processes > 1 && wanted + maxSize > has) {
    const text = `${sum} of ${has} (${by}): one more process, as in a rolling deploy, exceeds the limit.`
    return [{ severity: 'notice', text }]
  }
  return []
}

function idle(facts: ServerFacts, plan: Plan): Finding[] {
  // Connections that minIdle keeps are not closed by idleTimeoutMs.
  const ends = plan.minIdle === 0 ? (['idleTimeoutMs'] as const) : []
  const kept = ([...ends, 'maxLifetimeMs', 'keepaliveMs'] as const).reduce((least, name) =>
    plan[name] < plan[least] ? name : least,
  )
  const { idleTimeoutMs, idleTimeoutName } = facts
  if (plan[kept] < idleTimeoutMs) return []
  const most = Math.floor(idleTimeoutMs * 0.9)
  const text = `the server closes a session after ${idleTimeoutMs} ms of idle time (${idleTimeoutName}), the pool after ${plan[kept]} ms (${kept}): set ${plan.minIdle === 0 ? 'idleTimeoutMs or ' : ''}keepaliveMs to ${most} or less.`
  return [{ severity: 'problem', text }]
}

function limits({ engine, statementTimeoutMs, idleInTransactionTimeoutMs }: ServerFacts): Finding[] {
  const found: Finding[] = []
  if (statementTimeoutMs === Infinity) {
    const text = `statements have no time limit (${STATEMENT_LIMIT[engine]}): a statement that hangs holds its connection forever.`
    found.push({ severity: 'notice', text })
  }
  if (engine === 'PostgreSQL' && idleInTransactionTimeoutMs === Infinity) {
    const text =
      'idle transactions have no time limit (idle_in_transaction_session_timeout): a forgotten transaction holds its locks forever.'
    found.push({ severity: 'notice', text })
  }
  return found
}

function pooler({ hasPooler }: ServerFacts): Finding[] {
  if (!hasPooler) return []
  const text =
    'a pooler such as PgBouncer is in front of the server: the limits above are those of the server. If it changes the backend between transactions, LISTEN, session settings and prepared statements are lost.'
  return [{ severity: 'notice', text }]
}

function sharing({ canPipeline }: ServerFacts): Finding[] {
  if (canPipeline !== false) return []
  const text =
    'three statements that were sent together were not answered: a share (cenote/share) uses one statement per connection at a time here. Connect to the server itself, or update the pooler.'
  return [{ severity: 'notice', text }]
}

import type { Life } from './life.ts'

/**
 * What must hold at every moment, and (`isQuiet`) once all that follows from a step has happened. The first that is broken, as a sentence.
 */
export function checkInvariants(life: Life, isQuiet: boolean): string | undefined {
  return (
    countsAddUp(life) ??
    sizes(life) ??
    attempts(life) ??
    statisticsAddUp(life) ??
    stuck(life) ??
    (isQuiet ? (queue(life) ?? deadlines(life) ?? demand(life) ?? lost(life) ?? retry(life)) : undefined)
  )
}

/** What the pool counts, connection by connection. */
export function countsAddUp({ pool }: Life): string | undefined {
  const { connections, idle, inUse, opening, closing, waiting } = pool.state()
  for (const [name, count] of Object.entries({ connections, idle, inUse, opening, closing, waiting }))
    if (count < 0 || !Number.isInteger(count)) return `${name} is ${count}`
  if (connections !== idle + inUse) return `connections ${connections} are not idle ${idle} + in use ${inUse}`
  const doing = pool.look().connections
  if (doing.length !== connections + opening + closing)
    return `${doing.length} places are taken, and counted are ${connections} + ${opening} + ${closing}`
  return undefined
}

// Never more than maxSize, by the pool's count and by the server's; where maxSize was lowered they only become fewer.
function sizes(life: Life): string | undefined {
  const { pool, server } = life
  const { connections, opening, closing, maxSize } = pool.state()
  const taken = Math.max(connections + opening + closing, server.counted)
  life.allowed = Math.max(maxSize, Math.min(life.allowed, taken))
  return taken > life.allowed
    ? `${taken} connections are there (${server.counted} at the server), allowed are ${life.allowed}`
    : undefined
}

// Never more than maxConnecting attempts; after a failure those that were under way, and then one at a time.
function attempts(life: Life): string | undefined {
  const { maxConnecting = Infinity } = life.plan.options
  const { opening } = life.pool.state()
  if (opening > maxConnecting) return `${opening} are being opened, maxConnecting is ${maxConnecting}`
  const allowed = Math.max(1, life.witness.allowedOpening)
  return opening > allowed ? `${opening} are being opened at once after a failure` : undefined
}

/** Promise 26. */
export function statisticsAddUp({ pool }: Life): string | undefined {
  const { connections, statistics: s } = pool.state()
  const { started, direct, waited, timedOut, aborted, refused, pending } = s.acquires
  if (started !== direct + waited + timedOut + aborted + refused + pending)
    return `acquires do not add up: ${JSON.stringify(s.acquires)}`
  const closed = Object.values(s.closed).reduce((sum, each) => sum + each, 0)
  if (s.connects.opened + s.added !== connections + s.detached + closed)
    return `connections do not add up: ${s.connects.opened} + ${s.added} are not ${connections} + ${s.detached} + ${closed}`
  return undefined
}

function queue({ pool }: Life): string | undefined {
  const { idle, waiting, paused, closed, connections, opening, closing, maxSize } = pool.state()
  const isAbove = connections + opening + closing > maxSize
  if (waiting > 0 && closed) return `${waiting} wait for a closed pool`
  return waiting > 0 && idle > 0 && !paused && !isAbove
    ? `${waiting} wait while ${idle} connections are idle`
    : undefined
}

function deadlines({ callers: { all: callers }, clock }: Life): string | undefined {
  // A timer counts in whole milliseconds.
  const late = callers.find(({ settled, deadline }) => !settled && deadline + 1 < clock.now())
  return late === undefined
    ? undefined
    : `caller ${late.id} still waits ${clock.now() - late.deadline} ms after its deadline`
}

// Nobody waits, and nothing that is to be kept ready is missing, while a connection could be opened.
function demand({ pool, plan }: Life): string | undefined {
  const { waiting, idle, opening, connections, closing, maxSize, minIdle, paused, closed } = pool.state()
  if (paused || closed) return undefined
  const { retryInMs, connectError, connections: doing } = pool.look()
  const { maxMs } = plan.options.connectBackoff ?? { maxMs: 5_000 }
  if (retryInMs !== undefined && retryInMs > maxMs)
    return `the next attempt is ${retryInMs} ms away, maxMs is ${maxMs}`
  const limit = connectError === undefined ? (plan.options.maxConnecting ?? Math.max(10, connections)) : 1
  const mayOpen = connections + opening + closing < maxSize && opening < limit && retryInMs === undefined
  if (!mayOpen) return undefined
  // Attempts of an older generation are nobody's hope, and the pool does not tell which they are.
  if (pool.state().generation > 0 && opening > 0) return undefined
  const checking = doing.filter((each) => each.doing === 'checking').length
  if (waiting > opening + checking)
    return `${waiting} wait, ${opening} are being opened, and nothing more is though ${connections + closing} of ${maxSize} are there`
  if (waiting === 0 && idle + opening + checking < minIdle)
    return `${idle} are idle and ${opening} being opened, minIdle is ${minIdle}`
  return undefined
}

// No connection is in between for longer than the time that its calls may take. A timer counts in whole milliseconds.
function stuck({ pool, clock, doing, plan }: Life): string | undefined {
  const { connectTimeoutMs, validationTimeoutMs, closeTimeoutMs } = pool.options
  const longest: Readonly<Record<string, number>> = {
    opening: connectTimeoutMs + validationTimeoutMs + closeTimeoutMs,
    // isValid, beforeAcquire, and both once more for one who retries; a check in the background begins anew unseen.
    checking: plan.options.keepaliveMs === undefined ? 4 * validationTimeoutMs : Infinity,
    returning: 2 * validationTimeoutMs,
    closing: validationTimeoutMs + closeTimeoutMs,
  }
  const present = pool.look().connections
  const ids = new Set(present.map(({ connection }) => connection))
  for (const id of doing.keys()) if (!ids.has(id)) doing.delete(id)
  for (const { connection, doing: doingNow, uses } of present) {
    const what = `${doingNow} for use ${uses}`
    const before = doing.get(connection)
    if (before?.what !== what) doing.set(connection, { what, since: clock.now() })
    else if (clock.now() - before.since > (longest[doingNow] ?? Infinity) + 4)
      return `${doingNow} of a connection has taken ${clock.now() - before.since} ms`
  }
  return undefined
}

// One that its driver reported lost is not kept.
function lost({ server, plan }: Life): string | undefined {
  if (plan.hooks.length > 0) return undefined
  const kept = server.connections.find(
    ({ owner, reportedLost, holders, closeBeganAt }) =>
      owner === 'pool' && reportedLost && holders === 0 && closeBeganAt === undefined,
  )
  return kept === undefined ? undefined : `#${kept.id} was reported lost and is kept`
}

// An attempt that is due is made, where somebody waits and there is room.
function retry(life: Life): string | undefined {
  const { pool, clock } = life
  const { waiting, paused, closed, connections, opening, closing, maxSize } = pool.state()
  const isWanted =
    waiting > 0 && !paused && !closed && connections + opening + closing < maxSize && opening === 0
  if (!isWanted || pool.look().retryInMs !== 0) {
    life.retryDueAt = undefined
    return undefined
  }
  life.retryDueAt ??= clock.now()
  const since = clock.now() - life.retryDueAt
  return since > 2 ? `an attempt has been due for ${since} ms` : undefined
}

import type { Life } from './life.ts'

/**
 * What must hold at every moment, and (`isQuiet`) once all that follows from a step has happened. The first that is broken, as a sentence.
 */
export function checkInvariants(life: Life, isQuiet: boolean): string | undefined {
  return (
    counts(life) ??
    sizes(life) ??
    attempts(life) ??
    statistics(life) ??
    (isQuiet ? (queue(life) ?? deadlines(life) ?? demand(life)) : undefined)
  )
}

function counts({ pool }: Life): string | undefined {
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
  const allowed = Math.max(1, life.allowedOpening)
  return opening > allowed ? `${opening} are being opened at once after a failure` : undefined
}

function statistics({ pool }: Life): string | undefined {
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

function deadlines({ callers, clock }: Life): string | undefined {
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
  const limit = connectError === undefined ? (plan.options.maxConnecting ?? Infinity) : 1
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

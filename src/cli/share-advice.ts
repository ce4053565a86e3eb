import { duration } from './knee.ts'

/** The times of a statement at the chosen size. Durations are milliseconds. */
export interface StatementTimes {
  /** Statements per second that the server answered. */
  readonly perSecond: number
  /** Time of one round trip to the server and back. */
  readonly roundTripMs: number
  /** Time for which the server works on a statement. */
  readonly workMs: number
}

/** The options of a share with which the server has as much work as with the chosen number of exclusive connections. */
export interface ShareAdvice {
  readonly connections: number
  readonly depth: number
  /** Whether a share saves anything: a statement waits for the network for a good part of its time. */
  readonly pays: boolean
  readonly reason: string
}

// With less of a statement's time spent on the network, an exclusive connection is busy nearly all the time.
const PAYS = 0.2

/** Recommends connections and depth of a share (cenote/share). A statement occupies the server, not the network, on a shared connection. */
export function adviseShare({ perSecond, roundTripMs, workMs }: StatementTimes): ShareAdvice {
  const totalMs = roundTripMs + workMs
  const network = roundTripMs / totalMs
  const pays = network >= PAYS
  // Little's law on both sides of the wire: statements that the server works on, and statements that are under way to one connection.
  const connections = Math.max(1, Math.ceil((perSecond * workMs) / 1_000))
  const depth = Math.max(2, Math.ceil(totalMs / Math.max(workMs, totalMs / 64)))
  const parts = `a statement spends ${duration(roundTripMs)} on the network and ${duration(workMs)} in the server`
  const reason = pays
    ? `A share (cenote/share) with connections ${connections} and depth ${depth} gives the server the same work: ${parts}.`
    : `A share (cenote/share) would save little: ${parts}.`
  return { connections, depth, pays, reason }
}

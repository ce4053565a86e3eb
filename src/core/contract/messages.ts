import { redact } from './redact.ts'
import type { PoolState } from './state.ts'

/** The event that a caller waited for when its time ran out. */
export type AcquirePhase = 'queue' | 'connect' | 'check' | 'hook'

/** `10 of 10 in use, 37 waiting, 0 opening` */
export function occupancy(state: PoolState | undefined): string {
  if (state === undefined) return 'state unknown'
  const { inUse, maxSize, idle, waiting, opening, closing } = state
  return (
    `${inUse} of ${maxSize} in use, ${waiting} waiting, ${opening} opening` +
    (idle > 0 ? `, ${idle} idle` : '') +
    (closing > 0 ? `, ${closing} closing` : '') +
    (state.paused ? ', paused' : '')
  )
}

/** Describes callers that hold a connection and wait for another one of the same pool. */
export function nestedAdvice(nested: number, leased: number, of: 'pool' | 'group' = 'pool'): string {
  const all = nested >= leased
  return (
    (all
      ? `Every connection is held by a caller that itself waits for a second one of this ${of}: a deadlock`
      : `${nested} of the callers that hold a connection wait for a second one of this ${of}`) +
    '. Use the connection that the outer run or acquire gave, or release it first'
  )
}

/** The message of an acquire that timed out. */
export function timeoutMessage(
  phase: AcquirePhase,
  timeoutMs: number,
  {
    pool,
    state,
    cause,
  }: { readonly pool: string; readonly state?: PoolState | undefined; readonly cause?: unknown },
): string {
  const where = `acquire timed out after ${timeoutMs} ms`
  const numbers = `(${occupancy(state)})`
  if (state?.paused === true)
    return `${where} while pool '${pool}' was paused ${numbers}. Call resume(), or pause for less time`
  const last = cause === undefined ? '' : `. The last error: ${textOf(cause)}`
  switch (phase) {
    case 'queue':
      return `${where} in the queue of pool '${pool}' ${numbers}${last}. Raise maxSize, release connections sooner, or find a lease that is never released (leakThresholdMs)`
    case 'connect':
      return `${where} waiting for pool '${pool}' to connect ${numbers}. ${cause === undefined ? 'No attempt has settled yet' : `The last attempt failed: ${textOf(cause)}`}. Check that the server is up and reachable`
    case 'check':
      return `${where} waiting for pool '${pool}' to check a connection ${numbers}${last}. isValid got no answer from the server. Check the network and the server's load, or lower validationTimeoutMs`
    case 'hook':
      return `${where} waiting for the hook beforeAcquire of pool '${pool}' ${numbers}${last}. Make the hook faster`
  }
}

/** The message of an error, or a value as text, without secrets. */
export function textOf(error: unknown): string {
  if (!(error instanceof Error)) return redact(String(error))
  // Node's AggregateError of a dual-stack connect has an empty message.
  const { message, code } = error as Error & { code?: unknown }
  if (message !== '') return redact(message)
  const [inner] = error instanceof AggregateError ? (error.errors as unknown[]) : []
  if (inner !== undefined) return textOf(inner)
  return typeof code === 'string' ? code : error.name
}

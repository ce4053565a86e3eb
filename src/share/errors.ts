import { isPoolError, LeaseReleasedError, PoolError } from '../core/contract/errors.ts'

/** The error of a view that is used after its run. */
export function usedAfterEnd(name: string): LeaseReleasedError {
  return new LeaseReleasedError(
    { pool: name },
    `view of share '${name}' was used after its run had settled. Await each statement inside run`,
  )
}

/** The error of work that left something open. */
export function dirtied(name: string, reason: string): PoolError {
  const text = `work on share '${name}' must leave the session as it was (got ${reason}). Run it on a connection of its own: pool.run`
  return new PoolError('CONNECTION_DIRTY', text, { pool: name })
}

/** Whether work may run again: its connection was lost. */
export function isLoss(error: unknown, name: string): boolean {
  return isPoolError(error) && error.code === 'CONNECTION_LOST' && error.pool === name
}

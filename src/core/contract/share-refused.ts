import { PoolError } from './errors.ts'

const LONGEST_SHOWN = 80

/**
 * A statement was not sent, because it needs a connection of its own: `statement` names it. Run it with `pool.run`.
 *
 * @example
 * ```ts
 * import { isPoolError, ShareRefusedError } from 'cenote/share'
 *
 * const error = new ShareRefusedError('BEGIN', 'a statement outside transactions', 'orders/share')
 * console.log(error.statement, isPoolError(error)) // prints BEGIN true
 * ```
 */
export class ShareRefusedError extends PoolError<'SHARE_REFUSED'> {
  /** The statement or command, shortened. */
  readonly statement: string

  /** `allowed` completes: a statement of a share must be … */
  constructor(statement: string, allowed: string, share: string) {
    const shown = shortened(statement)
    super(
      'SHARE_REFUSED',
      `a statement of share '${share}' must be ${allowed} (got '${shown}'). Run it on a connection of its own: pool.run`,
      { pool: share },
    )
    this.statement = shown
  }
}
Object.defineProperty(ShareRefusedError.prototype, 'name', {
  value: 'ShareRefusedError',
  configurable: true,
  writable: true,
})

function shortened(statement: string): string {
  const line = statement.trim().replaceAll(/\s+/g, ' ')
  return line.length <= LONGEST_SHOWN ? line : `${line.slice(0, LONGEST_SHOWN - 1)}…`
}

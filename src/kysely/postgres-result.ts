import type { QueryResult } from 'kysely'

const CHANGES = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE'])

/** The result of the driver, as far as it is used. */
export interface PgResult {
  readonly command?: string
  readonly rows?: readonly unknown[]
  readonly rowCount?: number | null
}

/** The result as Kysely has it. */
export function resultOf<R>({ command, rows, rowCount }: PgResult): QueryResult<R> {
  const isChange = command !== undefined && CHANGES.has(command)
  return {
    rows: (rows ?? []) as R[],
    ...(isChange ? { numAffectedRows: BigInt(rowCount ?? 0) } : {}),
  }
}

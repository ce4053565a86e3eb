import type { PgClient } from './client.ts'

/** Which server is wanted, as libpq names it. */
export type TargetSessionAttrs = 'any' | 'primary' | 'standby' | 'read-write' | 'read-only' | 'prefer-standby'

/** All of {@link TargetSessionAttrs}. */
export const TARGETS: readonly TargetSessionAttrs[] = [
  'any',
  'primary',
  'standby',
  'read-write',
  'read-only',
  'prefer-standby',
]

/** What a server is at the moment. */
export interface ServerRole {
  readonly isStandby: boolean
  readonly isReadOnly: boolean
}

/** Asks the server, in one round trip. */
export async function roleOf(client: PgClient): Promise<ServerRole> {
  // As text: a caller may have changed how the driver parses booleans.
  const { rows } = await client.query<{ standby: string; readonly: string }>(
    "select pg_is_in_recovery()::text as standby, current_setting('transaction_read_only') as readonly",
  )
  const [row] = rows
  return { isStandby: row?.standby === 'true', isReadOnly: row?.readonly === 'on' }
}

/** What is wrong with a server for a target; undefined: nothing. */
export function misfit(
  { isStandby, isReadOnly }: ServerRole,
  target: TargetSessionAttrs,
): string | undefined {
  switch (target) {
    case 'any':
      return undefined
    case 'primary':
      return isStandby ? 'is a standby' : undefined
    case 'standby':
    case 'prefer-standby':
      return isStandby ? undefined : 'is a primary'
    case 'read-write':
      return isReadOnly ? `is read-only${isStandby ? ' (a standby)' : ''}` : undefined
    case 'read-only':
      return isReadOnly ? undefined : 'is read-write'
  }
}

/** Whether a server that changes its role has to be left. */
export function isStrict(target: TargetSessionAttrs): boolean {
  return target !== 'any' && target !== 'prefer-standby'
}

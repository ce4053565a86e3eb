import type { PgClient } from './client.ts'

/** The role of the wanted server, as libpq names it. */
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

/** The role of a server at the moment. */
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

/** Returns why a server does not fit a target; undefined if it fits. */
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

// Parameters that the server reports from PostgreSQL 14 on, at the connect and after each change.
const READ_ONLY_PARAMETERS = ['in_hot_standby', 'default_transaction_read_only']
const reported = new WeakMap<PgClient, Map<string, string>>()

/** Records what a server reports of its role. Called before the client connects. */
export function watchRole(client: PgClient): void {
  const parameters = new Map<string, string>()
  reported.set(client, parameters)
  client.connection?.on('parameterStatus', (message) => {
    const { parameterName, parameterValue } = message as { parameterName: string; parameterValue: string }
    if (READ_ONLY_PARAMETERS.includes(parameterName)) parameters.set(parameterName, parameterValue)
  })
}

/** Whether the server of a write that was rejected as read-only is not what the target asks for. */
export function isDemoted(client: PgClient, target: TargetSessionAttrs): boolean {
  if (target === 'primary' || target === 'read-write') return true
  if (target !== 'any') return false
  // The caller may have begun a read-only transaction on a server that accepts writes.
  const parameters = [...(reported.get(client)?.values() ?? [])]
  return parameters.length === 0 || parameters.includes('on')
}

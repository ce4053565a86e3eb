import type { Stream } from './mysql-protocol.ts'

/** The bits of the server's status word that are used. */
export const IN_TRANSACTION = 1
export const AUTOCOMMIT = 2
export const STATE_CHANGED = 0x4000

/** A statement that a connection is running: `sql` is its text, as far as the driver keeps it. */
export interface RunningStatement {
  readonly sql?: unknown
}

/** One connection of either driver, as the manager of the family uses it. */
export interface MysqlSession {
  readonly isMariadb: boolean
  readonly threadId: number
  readonly socket: Stream | undefined
  /** The last status word that the server sent. undefined: unknown, which an error is enough for. */
  readonly status: number | undefined
  /** The status word of the login. */
  readonly firstStatus: number
  /** The current database, which the server reports whenever it changes. */
  readonly database: string | undefined
  /** Whether the server reports a change of the database. */
  readonly reportsDatabase: boolean
  /** Whether the connection may not be used by another caller: its user was changed, or its server was demoted. */
  readonly isSpent: boolean
  /** Whether the driver can send nothing more on the connection. */
  isDead(): boolean
  isBusy(): boolean
  running(): RunningStatement | undefined
  ping(): Promise<unknown>
  /** Runs one statement. Its rows are arrays of columns, whatever the config says. */
  query(sql: string): Promise<readonly (readonly unknown[])[]>
  /** Resets the session at the server: everything except the database, the user and, with MySQL, the character set. */
  forget(): Promise<unknown>
  /** Ends the connection in order. Its socket closes afterwards. */
  end(): void
}

/** The opening of a new connection's socket, and the parts of it that the manager uses. */
export interface Dial {
  /** The address to connect to instead of that of the config. */
  readonly address: { readonly host: string; readonly port: number } | undefined
  /** Called with the socket as soon as there is one. */
  own(socket: Stream): void
  /** Called when the other end is not a MySQL or MariaDB server. */
  refused(error: Error): void
}

/** The differences between the drivers. */
export interface MysqlAdapter {
  /** The name of the manager's class, for messages. */
  readonly manager: string
  readonly system: 'mysql' | 'mariadb'
  /** The rule of the option `driver`, in words. */
  readonly driverRule: string
  load(): Promise<unknown>
  /** The config that a connection string stands for. Throws TypeError for a wrong one. */
  parse(url: string): Record<string, unknown>
  open(driver: unknown, config: Readonly<Record<string, unknown>>, dial: Dial): Promise<object>
  /** Called once for each connection, immediately after it was opened. `report` is called when the connection is lost. */
  session(connection: object, socket: Stream | undefined, report: (error?: unknown) => void): MysqlSession
}

/**
 * The statement that restores what COM_RESET_CONNECTION does not: MariaDB keeps the role, and MySQL sets its default instead
 * of the negotiated character set.
 */
export async function forgottenBy(session: MysqlSession): Promise<string> {
  const columns = session.isMariadb ? 'CURRENT_ROLE()' : '@@character_set_client, @@collation_connection'
  const [[first, second] = []] = await session.query(`SELECT ${columns}`)
  if (!session.isMariadb) return `SET NAMES ${String(first)} COLLATE ${String(second)}`
  return `SET ROLE ${typeof first === 'string' ? quoted(first) : 'NONE'}`
}

/** A name as it is written in a statement. */
export function quoted(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

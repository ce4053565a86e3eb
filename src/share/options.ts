import { checkArguments, type Rule, text, whole, wrongValue } from '../core/contract/rules.ts'

/** The options of {@link share}. */
export interface ShareOptions {
  /** Maximum number of connections that the share holds, within the pool's `maxSize`. Default: 2, or `maxSize` if it is 1. */
  readonly connections?: number | undefined
  /** Maximum number of seats on one connection. The manager's own limit counts too: the smaller one holds. Default: the manager's. */
  readonly perConnection?: number | undefined
  /** Another connection is opened when a caller finds this many seats taken on every open one. Default: `perConnection`. */
  readonly depth?: number | undefined
  /** The name in errors, channels and metrics. Default: the pool's name and `/share`. */
  readonly name?: string | undefined
}

/** The options with defaults filled in. */
export interface Limits {
  readonly name: string
  readonly connections: number
  /** Infinity: only the manager limits it. */
  readonly perConnection: number
  readonly depth: number
}

const CONNECTIONS = 2
const RULES: Readonly<Record<keyof ShareOptions, Rule>> = {
  connections: whole(1, 'finite'),
  perConnection: whole(1, 'finite'),
  depth: whole(1, 'finite'),
  name: text,
}

/** Checks the options and fills in the defaults. Throws PoolOptionsError. */
export function resolveShareOptions(options: unknown, pool: string, maxSize: number): Limits {
  const given = checkArguments('share options', options, RULES, pool) as ShareOptions
  const { name = `${pool}/share`, connections = Math.min(CONNECTIONS, maxSize) } = given
  const { perConnection = Infinity, depth = perConnection } = given
  if (connections > maxSize)
    throw wrongValue(name, 'connections', connections, `an integer from 1 to the pool's maxSize (${maxSize})`)
  if (depth > perConnection)
    throw wrongValue(name, 'depth', depth, `an integer from 1 to perConnection (${perConnection})`)
  return { name, connections, perConnection, depth }
}

import { randomBytes } from 'node:crypto'

import type { InsightSource } from '../index.ts'
import { isLoopback } from './guard.ts'

/** Where the inspector listens and what it shows. */
export interface InspectOptions {
  /** What to show. Default: every pool of the process that is not closed, also those made later. */
  readonly pools?: Iterable<InsightSource> | undefined
  /** Default: 0, a free one. */
  readonly port?: number | undefined
  /** The address to listen on. Default: '127.0.0.1', for this machine alone. Anywhere else a token is asked for. */
  readonly host?: string | undefined
  /** Names by which the page may be called, beside `localhost`, `host` and every numeric address. Default: none. */
  readonly allowedHosts?: readonly string[] | undefined
  /** Asked of whoever opens the page; 16 signs or more of A–Z, a–z, 0–9, - and _. Default: none on loopback, else one made by chance. */
  readonly token?: string | undefined
}

interface Resolved {
  readonly pools: readonly InsightSource[] | undefined
  readonly port: number
  readonly host: string
  readonly hosts: readonly string[]
  readonly token: string | undefined
}

const NAMES = new Set(['pools', 'port', 'host', 'allowedHosts', 'token'])

/** The options with defaults filled in. Throws TypeError that names the option, the value and what is allowed. */
export function checkOptions(options: InspectOptions): Resolved {
  if (typeof options !== 'object' || options === null) wrong('the argument of inspect', options, 'an object')
  for (const name of Object.keys(options))
    if (!NAMES.has(name)) wrong(name, 'no option', [...NAMES].join(', '))
  const { port = 0, host = '127.0.0.1', allowedHosts = [], pools } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    wrong('port', port, 'a whole number from 0 (a free one) to 65535')
  if (typeof host !== 'string' || host === '') wrong('host', host, 'a name or an address')
  if (
    !Array.isArray(allowedHosts) ||
    allowedHosts.some((name) => typeof name !== 'string' || !/^[^\s:/]+$/.test(name))
  )
    wrong('allowedHosts', allowedHosts, 'an array of names without scheme and port')
  const { token = isLoopback(host) ? undefined : randomBytes(24).toString('base64url') } = options
  if (token !== undefined && (typeof token !== 'string' || !/^[\w-]{16,}$/.test(token)))
    // Its value is a secret, even a wrong one.
    wrong('token', 'too short or has other signs', '16 signs or more of A–Z, a–z, 0–9, - and _')
  return {
    pools: pools === undefined ? undefined : checkPools(pools),
    port,
    host,
    hosts: ['localhost', host, ...allowedHosts].map((name) => name.toLowerCase()),
    token,
  }
}

function checkPools(pools: unknown): InsightSource[] {
  const isIterable = typeof pools === 'object' && pools !== null && Symbol.iterator in pools
  const list = isIterable ? [...(pools as Iterable<InsightSource>)] : []
  if (!isIterable || list.some((pool) => typeof pool?.look !== 'function'))
    wrong('pools', typeof pools, 'an array of pools')
  return list
}

function wrong(option: string, value: unknown, allowed: string): never {
  throw new TypeError(
    `${option} is ${typeof value === 'string' ? value || 'empty' : JSON.stringify(value)}: allowed is ${allowed}`,
  )
}

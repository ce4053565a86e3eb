import { randomBytes } from 'node:crypto'

import { isLoopback } from './guard.ts'
import type { Inspected } from './subject.ts'

/** Options of the inspector: its address and its subjects. */
export interface InspectOptions {
  /** The pools and groups to show. Default: all of the process that are not closed, also those created later. */
  readonly pools?: Iterable<Inspected> | undefined
  /** Default: 0, a free one. */
  readonly port?: number | undefined
  /** The address to listen on. Default: '127.0.0.1', for this machine only. Any other address requires a token. */
  readonly host?: string | undefined
  /** Host names accepted in addition to `localhost`, `host` and every numeric address. Default: none. */
  readonly allowedHosts?: readonly string[] | undefined
  /** Required to open the page: at least 16 of the characters A–Z, a–z, 0–9, - and _. Default: none on loopback, otherwise random. */
  readonly token?: string | undefined
}

interface Resolved {
  readonly pools: readonly Inspected[] | undefined
  readonly port: number
  readonly host: string
  readonly hosts: readonly string[]
  readonly token: string | undefined
}

const NAMES = new Set(['pools', 'port', 'host', 'allowedHosts', 'token'])

/** The options with defaults filled in. Throws TypeError that names the option, its rule and the value. */
export function checkOptions(options: InspectOptions): Resolved {
  if (typeof options !== 'object' || options === null) wrong('the argument of inspect', options, 'an object')
  for (const name of Object.keys(options))
    if (!NAMES.has(name))
      throw new TypeError(`options of inspect must be of ${[...NAMES].join(', ')} (got '${name}')`)
  const { port = 0, host = '127.0.0.1', allowedHosts = [], pools } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    wrong('port', port, 'an integer from 0 (a free port) to 65535')
  if (typeof host !== 'string' || host === '') wrong('host', host, 'a name or an address')
  if (
    !Array.isArray(allowedHosts) ||
    allowedHosts.some((name) => typeof name !== 'string' || !/^[^\s:/]+$/.test(name))
  )
    wrong('allowedHosts', allowedHosts, 'an array of names without scheme and port')
  const { token = isLoopback(host) ? undefined : randomBytes(24).toString('base64url') } = options
  if (token !== undefined && (typeof token !== 'string' || !/^[\w-]{16,}$/.test(token)))
    // The value may be a secret: it is not repeated.
    wrong('token', 'another value', 'at least 16 of the characters A–Z, a–z, 0–9, - and _')
  return {
    pools: pools === undefined ? undefined : checkPools(pools),
    port,
    host,
    hosts: ['localhost', host, ...allowedHosts].map((name) => name.toLowerCase()),
    token,
  }
}

function checkPools(pools: unknown): Inspected[] {
  const isIterable = typeof pools === 'object' && pools !== null && Symbol.iterator in pools
  const list = isIterable ? [...(pools as Iterable<Inspected>)] : []
  if (!isIterable || list.some((pool) => typeof pool?.look !== 'function'))
    wrong('pools', typeof pools, 'an array of pools')
  return list
}

function wrong(option: string, value: unknown, allowed: string): never {
  throw new TypeError(
    `${option} must be ${allowed} (got ${typeof value === 'string' ? value || 'empty' : JSON.stringify(value)})`,
  )
}

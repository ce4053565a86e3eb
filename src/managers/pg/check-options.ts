import { callable, checkArguments, duration, flag, type Rule } from '../../core/contract/rules.ts'
import type { PgConfig } from './client.ts'
import { misconfigured, type PgHost } from './hosts.ts'
import { TARGETS } from './target.ts'

const OPTIONS: Readonly<Record<string, Rule>> = {
  driver: {
    allowed: "an object with the class Client (import pg from 'pg')",
    accepts: (value) => typeof (value as { Client?: unknown } | null)?.Client === 'function',
  },
  onConnect: callable,
  resetOnRelease: oneOf(['none', 'rollback', 'discard all']),
  hosts: {
    allowed: 'a list of { host, port? } that is not empty',
    accepts: (value) => Array.isArray(value) && value.length > 0 && value.every(isHost),
  },
  targetSessionAttrs: oneOf(TARGETS),
  hostOrder: oneOf(['ordered', 'shuffled']),
  hostTimeoutMs: duration('above 0', 'or Infinity'),
  dnsRefreshMs: duration('above 0', 'or Infinity'),
  share: flag,
}
// Texts that the driver reads as a URL or as the folder of a socket; it takes any other text for a database of localhost.
const CONNECTION_STRING = /^(?:postgres(?:ql)?:\/\/|socket:|\/)/i

/** The config for the driver. Throws TypeError, with a code that makes it fatal, for a wrong one. */
export function asConfig(given: unknown): PgConfig {
  const config = (typeof given === 'string' ? { connectionString: given } : given) as PgConfig | undefined
  if (typeof config !== 'object' || config === null)
    throw misconfigured(
      `config must be a connection string, an object for pg.Client, or a function that returns one of them (got ${String(given)})`,
    )
  const { connectionString } = config
  if (typeof connectionString === 'string' && !CONNECTION_STRING.test(connectionString)) {
    // Only the scheme: the rest may hold a password.
    const [scheme = connectionString === '' ? 'an empty string' : 'a string without one of them'] =
      /^[a-z]+:\/\//i.exec(connectionString) ?? []
    throw misconfigured(
      `the connection string must begin with postgres://, postgresql://, socket: or / (got ${scheme})`,
    )
  }
  return config
}

/** Throws PoolOptionsError naming the first wrong option, its rule and its value. */
export function checkOptions(options: object): void {
  checkArguments('options of PgManager', options, OPTIONS, '')
}

function oneOf(choices: readonly string[]): Rule {
  return {
    allowed: `one of ${choices.map((each) => `'${each}'`).join(', ')}`,
    accepts: (value) => choices.includes(value as string),
  }
}

function isHost(value: Partial<PgHost> | null): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { host, port = 1 } = value
  return typeof host === 'string' && host !== '' && Number.isInteger(port) && port > 0 && port < 65_536
}

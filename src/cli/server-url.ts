import { loadDriver } from '../managers/driver.ts'
import type { ServerFacts } from './doctor.ts'
import { readMysql } from './mysql-facts.ts'
import { readPostgres } from './postgres-facts.ts'

/** The URL that a command was given, as its one argument or as the variable CENOTE_URL. */
export function urlOf(command: string, positionals: readonly string[]): string {
  const [url = process.env['CENOTE_URL'] ?? '', ...rest] = positionals
  if (url === '' || rest.length > 0) throw new Error(`allowed is one URL after ${command}. See --help`)
  return url
}

/** Which server a URL is of. */
export function engineOf(url: string): 'postgres' | 'mysql' {
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  if (protocol === 'postgres:' || protocol === 'postgresql:') return 'postgres'
  if (protocol === 'mysql:' || protocol === 'mariadb:') return 'mysql'
  // Not the URL itself: it may hold a password.
  throw new Error('the URL is of no server that is known: allowed is postgres://… or mysql://…. See --help')
}

/** What the server allows. Rejects with what the driver says when it cannot be reached. */
export async function readFacts(command: string, url: string): Promise<ServerFacts> {
  if (engineOf(url) === 'postgres')
    return await readPostgres(url, await loadDriver(`cenote ${command}`, 'pg'))
  const asMysql = url.replace(/^mariadb:/, 'mysql:')
  return await readMysql(asMysql, await loadDriver(`cenote ${command}`, 'mysql2', 'mysql2/promise'))
}

/** Whether a server is on this machine, as far as its URL tells. */
export function isLoopback(url: string): boolean {
  const { hostname, searchParams } = new URL(url)
  const host = searchParams.get('host') ?? (hostname || (process.env['PGHOST'] ?? 'localhost'))
  return /^(localhost|127(\.\d+){3}|\[?::1\]?|\/.*|%2f.*)$/i.test(host)
}

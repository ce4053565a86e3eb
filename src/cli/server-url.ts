import { loadDriver } from '../managers/driver.ts'
import { UsageError } from './arguments.ts'
import type { ServerFacts } from './doctor.ts'
import { readMysql } from './mysql-facts.ts'
import { readPostgres } from './postgres-facts.ts'

/** The URL of a command: its only argument, or the variable CENOTE_URL. */
export function urlOf(command: string, positionals: readonly string[]): string {
  const [url = process.env['CENOTE_URL'] ?? '', ...rest] = positionals
  if (url === '' || rest.length > 0)
    throw new UsageError(`${command} must be followed by one URL, or CENOTE_URL must be set`)
  return url
}

/** The kind of server that a URL belongs to. */
export function engineOf(url: string): 'postgres' | 'mysql' {
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  if (protocol === 'postgres:' || protocol === 'postgresql:') return 'postgres'
  if (protocol === 'mysql:' || protocol === 'mariadb:') return 'mysql'
  // The URL itself is not repeated: it may hold a password.
  throw new UsageError('the URL must begin with postgres://, mysql:// or mariadb://')
}

const LIMIT_MS = 10_000

/** Reads what the server allows, within 10 s. Rejects with the driver's error if the server cannot be reached. */
export async function readFacts(command: string, url: string): Promise<ServerFacts> {
  return await answered(read(command, url))
}

/** Rejects if an answer of the server takes longer than `limitMs`, 10 s by default. */
export async function answered<T>(answer: Promise<T>, limitMs: number = LIMIT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the server did not answer within ${limitMs} ms`)), limitMs)
  })
  return await Promise.race([answer, late]).finally(() => clearTimeout(timer))
}

async function read(command: string, url: string): Promise<ServerFacts> {
  if (engineOf(url) === 'postgres')
    return await readPostgres(url, await loadDriver(`cenote ${command}`, 'pg', () => import('pg')))
  const asMysql = url.replace(/^mariadb:/, 'mysql:')
  return await readMysql(
    asMysql,
    await loadDriver(`cenote ${command}`, 'mysql2', () => import('mysql2/promise')),
  )
}

/** Whether a URL names a server on this machine. */
export function isLoopback(url: string): boolean {
  const { hostname, searchParams } = new URL(url)
  const host = searchParams.get('host') ?? (hostname || (process.env['PGHOST'] ?? 'localhost'))
  return /^(localhost|127(\.\d+){3}|\[?::1\]?|\/.*|%2f.*)$/i.test(host)
}

import type { ServerInfo } from '../../core/contract/manager.ts'
import type { PgConfig } from './client.ts'
import type { PgHost } from './hosts.ts'

const SYSTEM = 'postgresql'

/** Describes the server of a config, without credentials. */
export function serverOf(config: PgConfig | string | (() => unknown), first: PgHost | undefined): ServerInfo {
  if (typeof config === 'function') return { system: SYSTEM, address: first?.host, port: first?.port }
  const { connectionString, host, port, database } = (
    typeof config === 'string' ? { connectionString: config } : config
  ) as { connectionString?: unknown; host?: unknown; port?: unknown; database?: unknown }
  const url = typeof connectionString === 'string' ? fromUrl(connectionString) : {}
  return {
    system: SYSTEM,
    address: first?.host ?? text(host) ?? url.address,
    port: first?.port ?? number(port) ?? url.port,
    namespace: text(database) ?? url.namespace,
  }
}

function fromUrl(connectionString: string): Partial<ServerInfo> {
  // Several hosts, or a socket's folder, do not parse as a URL: the address stays unknown.
  if (!URL.canParse(connectionString)) return {}
  const { hostname, port, pathname, search, hash, username } = new URL(connectionString)
  // A password with an unescaped '/', '?' or '#': the parser takes its parts for the address.
  if (username === '' && (pathname + search + hash).includes('@')) return {}
  return {
    address: text(hostname),
    port: number(port),
    namespace: text(decodeURIComponent(pathname.slice(1))),
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

function number(value: unknown): number | undefined {
  return value === undefined || value === '' || Number.isNaN(Number(value)) ? undefined : Number(value)
}

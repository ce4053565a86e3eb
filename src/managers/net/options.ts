import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'

import { callable, checkArguments, duration, flag, type Rule, show } from '../../core/contract/rules.ts'

/** The address that a NetManager connects to. Any other option is passed to node:net's `connect` (family, localAddress, lookup, …). */
export interface NetConfig {
  /** Default: 'localhost'. */
  readonly host?: string | undefined
  /** A TCP port. Either `port` or `path` is required. */
  readonly port?: number | undefined
  /** A Unix socket, or a named pipe of Windows. Either `port` or `path` is required. */
  readonly path?: string | undefined
  /** TLS: true, or the options of node:tls's `connect` (ca, cert, key, servername, …). Default: no TLS. */
  readonly tls?: boolean | ConnectionOptions | undefined
  readonly [option: string]: unknown
}

/** A config, or a function that returns one for each connect. */
export type NetConfigSource = NetConfig | (() => NetConfig | Promise<NetConfig>)

/** Options of NetManager. */
export interface NetManagerOptions {
  /**
   * Called once per new socket, before its first use: reads the greeting, logs in. A throw or a rejection is a connect
   * failure. Default: nothing is called.
   */
  readonly onConnect?: ((socket: Socket, signal: AbortSignal) => void | Promise<void>) | undefined
  /**
   * Makes a round trip in the protocol of the server. It must read the whole answer and remove the listeners that it adds.
   * Default: only the state of the socket is checked.
   */
  readonly isValid?: ((socket: Socket, signal: AbortSignal) => boolean | Promise<boolean>) | undefined
  /**
   * Whether the protocol is at a point where another caller can continue. Called at each return; false closes the socket.
   * Default: always true. Work that fails after a write without an answer closes the socket in any case.
   *
   * The manager sees bytes, not answers. It cannot detect an answer that is still under way in three cases: the holder gives
   * up the wait without an error (it catches the AbortError, or releases a lease without `release(error)`); it has read only
   * a part of the answer; it sent several requests and read fewer answers. The next caller would read the rest as
   * the answer to its own request. Count requests and answers here if holders can do any of these.
   */
  readonly isReusable?: ((socket: Socket) => boolean) | undefined
  /** Whether data is sent immediately instead of being collected (Nagle's algorithm). Default: true. */
  readonly noDelay?: boolean | undefined
  /** Silence in milliseconds after which TCP probes the other side. Infinity disables it. Default: 60,000. */
  readonly tcpKeepAliveMs?: number | undefined
}

const OPTIONS: Readonly<Record<string, Rule>> = {
  onConnect: callable,
  isValid: callable,
  isReusable: callable,
  noDelay: flag,
  tcpKeepAliveMs: duration('above 0', 'or Infinity'),
}

/** Throws TypeError for a config that names no address, or more than one. */
export function checkConfig(config: NetConfig): void {
  if (typeof config !== 'object' || config === null)
    throw wrong('config', '{ host, port } or { path }, or a function that returns it', config)
  const { host, port, path, tls } = config
  if ((port === undefined) === (path === undefined))
    throw wrong('config', 'an object with either port or path', port === undefined ? 'neither' : 'both')
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
    throw wrong('port', 'an integer from 1 to 65535', port)
  for (const [name, value] of Object.entries({ host, path })) {
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw wrong(name, 'a string that is not empty', value)
  }
  if (tls !== undefined && typeof tls !== 'boolean' && (typeof tls !== 'object' || tls === null))
    throw wrong('tls', 'true, false or the options of node:tls', tls)
}

/** Throws PoolOptionsError for a wrong option. */
export function checkOptions(options: NetManagerOptions): void {
  checkArguments('options of NetManager', options, OPTIONS, '')
}

function wrong(what: string, rule: string, value: unknown): TypeError {
  return Object.assign(new TypeError(`${what} must be ${rule} (got ${show(value)})`), { code: 'BAD_CONFIG' })
}

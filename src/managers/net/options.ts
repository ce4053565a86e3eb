import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'

/** Where a NetManager connects to; any other option is one of node:net's `connect` (family, localAddress, lookup, …). */
export interface NetConfig {
  /** Default: 'localhost'. */
  readonly host?: string | undefined
  /** A TCP port. This or `path`. */
  readonly port?: number | undefined
  /** A Unix socket, or a named pipe of Windows. This or `port`. */
  readonly path?: string | undefined
  /** TLS: true, or the options of node:tls's `connect` (ca, cert, key, servername, …). Default: none. */
  readonly tls?: boolean | ConnectionOptions | undefined
  readonly [option: string]: unknown
}

/** Options of NetManager. */
export interface NetManagerOptions {
  /** Once per new socket, before its first use: read the greeting, log in. A throw or rejection is a connect failure. */
  readonly onConnect?: ((socket: Socket, signal: AbortSignal) => void | Promise<void>) | undefined
  /**
   * A round trip in the protocol that is spoken. Read the answer whole, and remove the listeners you add.
   * Default: none, the state of the socket alone tells.
   */
  readonly isValid?: ((socket: Socket, signal: AbortSignal) => boolean | Promise<boolean>) | undefined
  /** Asked at each return: whether the protocol is at a point where somebody else can go on. Default: always. */
  readonly isReusable?: ((socket: Socket) => boolean) | undefined
  /** Whether what is written is sent at once, and not collected (Nagle's algorithm). Default: true. */
  readonly noDelay?: boolean | undefined
  /** After so much silence TCP asks the other side whether it is there. Infinity: never. Default: 60,000. */
  readonly tcpKeepAliveMs?: number | undefined
}

const OPTIONS = ['onConnect', 'isValid', 'isReusable', 'noDelay', 'tcpKeepAliveMs'] as const

/** Throws TypeError for a config that names no place, or more than one. */
export function checkConfig(config: NetConfig): void {
  if (typeof config !== 'object' || config === null)
    throw new TypeError(`config is ${String(config)}: allowed is { host, port } or { path }, with tls or not`)
  const { host, port, path, tls } = config
  if ((port === undefined) === (path === undefined))
    throw new TypeError(
      `config has ${port === undefined ? 'neither' : 'both'} port and path: allowed is one of them`,
    )
  if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
    throw new TypeError(`port is ${String(port)}: allowed is a whole number from 1 to 65535`)
  for (const [name, value] of Object.entries({ host, path })) {
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new TypeError(`${name} is '${String(value)}': allowed is a string that is not empty`)
  }
  if (tls !== undefined && typeof tls !== 'boolean' && (typeof tls !== 'object' || tls === null))
    throw new TypeError(`tls is ${String(tls)}: allowed is true, false or the options of node:tls`)
}

/** Throws TypeError for a wrong option. */
export function checkOptions(options: NetManagerOptions): void {
  for (const key of Object.keys(options)) {
    if (!(OPTIONS as readonly string[]).includes(key))
      throw new TypeError(`${key} is not one of the options of NetManager: known are ${OPTIONS.join(', ')}`)
  }
  const { onConnect, isValid, isReusable, noDelay, tcpKeepAliveMs } = options
  for (const [name, value] of Object.entries({ onConnect, isValid, isReusable })) {
    if (value !== undefined && typeof value !== 'function')
      throw new TypeError(`${name} is ${String(value)}: allowed is a function`)
  }
  if (noDelay !== undefined && typeof noDelay !== 'boolean')
    throw new TypeError(`noDelay is ${String(noDelay)}: allowed is true or false`)
  if (tcpKeepAliveMs !== undefined && !(typeof tcpKeepAliveMs === 'number' && tcpKeepAliveMs > 0))
    throw new TypeError(
      `tcpKeepAliveMs is ${String(tcpKeepAliveMs)}: allowed is milliseconds > 0, or Infinity`,
    )
}

import { connect as connectTcp, isIP, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

import type { ConnectContext, ConnectionManager } from '../core/manager.ts'
import { checkConfig, checkOptions, type NetConfig, type NetManagerOptions } from './net/options.ts'
import { whileOpen } from './net/while-open.ts'

export type { NetConfig, NetManagerOptions } from './net/options.ts'

// How long unsent bytes may delay a close before the socket is destroyed.
const GRACE_MS = 1_000
// Errors that no retry will mend: no right to the Unix socket, and what a config gets wrong.
const FATAL = new Set(['EACCES', 'EINVAL', 'EPERM', 'ENAMETOOLONG', 'ERR_SOCKET_BAD_PORT'])
// Errors of the verification of a certificate (X509_V_ERR_*), and of the two sides' ways of TLS.
const UNTRUSTED =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH|PATH_LENGTH)/
const TLS_REFUSED = /^(ERR_TLS_|ERR_SSL_(?!.*INTERNAL_ERROR)|ERR_OSSL_)/
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/^CERT_HAS_EXPIRED/, 'renew the certificate of the server'],
  [/^ERR_TLS_CERT_ALTNAME/, 'connect by a name that the certificate holds, or set tls.servername to one'],
  [/^(DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/, 'give the authority that signed it as tls.ca'],
  [/^ERR_SSL_(WRONG_VERSION|PACKET_LENGTH)/, 'is this the port on which the server speaks TLS?'],
]

/** What the manager knows of a socket. */
interface Health {
  broken: boolean
  closing: boolean
  /** What had been written when the socket was last given to nobody. undefined: it is being prepared. */
  written: number | undefined
  /** The listeners that are the socket's own and the manager's. */
  listeners: ReadonlyMap<string | symbol, readonly unknown[]>
}

/**
 * Sockets: TCP, TLS and Unix, `new Pool(new NetManager({ host, port }))`.
 *
 * A socket that is half-closed, failed, destroyed or has unread data is never handed on. Bytes that arrive before a borrower
 * has written or listened belong to nobody (a late answer): the socket is lost at once. So a server that speaks first needs
 * `onConnect` to read its greeting.
 *
 * A socket comes back ready for the next: listeners that a borrower left behind are removed, timeouts and pauses undone. One
 * that still has a listener for 'data' or 'readable', is piped, corked, or had `setEncoding` called is closed.
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import { createServer } from 'node:net'
 *
 * import { Pool } from 'cenote'
 * import { NetManager } from 'cenote/net'
 *
 * const server = createServer((socket) => socket.on('data', (line) => socket.write(line.toString().toUpperCase())))
 * await once(server.listen(0, '127.0.0.1'), 'listening')
 * const { port } = server.address() as { port: number }
 * const pool = new Pool(new NetManager({ host: '127.0.0.1', port }))
 * const answer = await pool.run(async (socket) => {
 *   socket.write('hello')
 *   return String((await once(socket, 'data'))[0])
 * })
 * console.log(answer) // prints HELLO
 * await pool.close()
 * server.close()
 * ```
 */
export class NetManager implements ConnectionManager<Socket> {
  readonly #config: NetConfig
  readonly #options: NetManagerOptions
  readonly #noDelay: boolean
  readonly #keepAliveMs: number
  readonly #health = new WeakMap<Socket, Health>()

  /** Throws TypeError for a wrong argument. */
  constructor(config: NetConfig, options: NetManagerOptions = {}) {
    checkConfig(config)
    checkOptions(options)
    const { noDelay = true, tcpKeepAliveMs = 60_000 } = options
    this.#config = { ...config }
    this.#options = { ...options }
    this.#noDelay = noDelay
    this.#keepAliveMs = tcpKeepAliveMs
  }

  async connect({ signal, lost }: ConnectContext): Promise<Socket> {
    signal.throwIfAborted()
    const socket = this.#open()
    const health: Health = { broken: false, closing: false, written: undefined, listeners: new Map() }
    this.#health.set(socket, health)
    const broke = (error?: unknown): void => {
      if (health.broken) return
      health.broken = true
      if (!health.closing) lost(error)
    }
    // This listener stays for ever: an 'error' event that nobody hears would end the process.
    socket.on('error', broke)
    socket.on('end', broke)
    socket.on('close', () => broke())
    this.#watchForStrayData(socket, health, broke)
    const onAbort = (): void => {
      socket.destroy()
    }
    signal.addEventListener('abort', onAbort)
    try {
      await ready(socket, this.#config.tls ? 'secureConnect' : 'connect')
      this.#tune(socket)
      health.listeners = listenersOf(socket)
      await whileOpen(socket, () => this.#options.onConnect?.(socket, signal))
      signal.throwIfAborted()
      if ((await this.#rest(socket, health)) === false)
        throw new Error(`the socket to ${this.#address} was left unusable by onConnect`)
      return socket
    } catch (error) {
      health.closing = true
      socket.destroy()
      throw signal.aborted ? signal.reason : this.#explained(error)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(socket: Socket, signal: AbortSignal): Promise<boolean> {
    const health = this.#health.get(socket)
    if (this.hasBroken(socket) || health === undefined) return false
    if (this.#options.isValid === undefined) return true
    // A check that takes too long leaves its answer behind: the socket goes with it.
    const onAbort = (): void => {
      socket.destroy()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    health.written = undefined
    try {
      const { isValid } = this.#options
      return (await whileOpen(socket, () => isValid(socket, signal))) && (await this.#rest(socket, health))
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(socket: Socket): boolean {
    return (
      this.#health.get(socket)?.broken !== false || socket.readyState !== 'open' || socket.readableLength > 0
    )
  }

  reset(socket: Socket): boolean | Promise<boolean> {
    const health = this.#health.get(socket)
    if (health === undefined || this.#options.isReusable?.(socket) === false) return false
    return this.#rest(socket, health)
  }

  async close(socket: Socket): Promise<void> {
    const isDead = this.hasBroken(socket)
    const health = this.#health.get(socket)
    if (health !== undefined) health.closing = true
    if (socket.closed) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), GRACE_MS)
      timer.unref()
      socket.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
      if (isDead) socket.destroy()
      else socket.destroySoon()
    })
  }

  isFatal(error: unknown): boolean {
    const code = codeOf(error)
    return FATAL.has(code) || code.startsWith('ERR_INVALID_ARG') || isRefusedByTls(code)
  }

  #open(): Socket {
    const { tls, ...config } = this.#config
    if (!tls) return connectTcp(config as NetConnectOpts)
    const { host, path } = config
    // Without it no name is sent to the server (SNI), which may hold certificates of many.
    const servername = path === undefined && typeof host === 'string' && isIP(host) === 0 ? host : undefined
    const named = servername === undefined ? {} : { servername }
    return connectTls({ ...(config as ConnectionOptions), ...named, ...(tls === true ? {} : tls) })
  }

  #tune(socket: Socket): void {
    // The socket remembers both: a call that changes nothing costs nothing.
    socket.setNoDelay(this.#noDelay)
    if (this.#keepAliveMs < Infinity) socket.setKeepAlive(true, this.#keepAliveMs)
    else socket.setKeepAlive(false)
  }

  // No event tells of bytes that arrive while nobody listens, and a listener for 'data' or 'readable' would take them from the
  // next borrower; but all of them are pushed.
  #watchForStrayData(socket: Socket, health: Health, broke: (error: unknown) => void): void {
    const push = socket.push
    socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      const isStray =
        chunk !== null && socket.readableFlowing === null && socket.bytesWritten === health.written
      const more = push.call(socket, chunk, encoding)
      if (isStray) broke(new Error(`data arrived from ${this.#address} that nobody had asked for`))
      return more
    }
  }

  // Makes a socket as it was after its connect. false: it cannot be.
  #rest(socket: Socket, health: Health): boolean | Promise<boolean> {
    if (this.hasBroken(socket) || isBeingUsed(socket)) return false
    for (const event of socket.eventNames()) {
      const own = health.listeners.get(event) ?? []
      for (const listener of socket.rawListeners(event)) {
        if (!own.includes(listener)) socket.removeListener(event, listener as () => void)
      }
    }
    socket.setTimeout(0)
    socket.ref()
    this.#tune(socket)
    if (socket.readableFlowing === null) {
      health.written = socket.bytesWritten
      return true
    }
    return this.#stopFlow(socket, health)
  }

  // A stream that flows without a listener loses what arrives, and one that was paused stays so for the next borrower. The
  // state of a new stream, in which it waits for its first reader, comes back when a listener for 'readable' goes.
  async #stopFlow(socket: Socket, health: Health): Promise<boolean> {
    const nobody = (): void => {}
    socket.on('readable', nobody)
    socket.removeListener('readable', nobody)
    await new Promise<void>((resolve) => process.nextTick(resolve))
    if (this.hasBroken(socket) || socket.readableFlowing !== null) return false
    socket.read(0)
    health.written = socket.bytesWritten
    return true
  }

  get #address(): string {
    const { host = 'localhost', port, path } = this.#config
    return path ?? `${host}:${port}`
  }

  #explained(error: unknown): unknown {
    const code = codeOf(error)
    if (!isRefusedByTls(code)) return error
    const advice = ADVICE.find(([pattern]) => pattern.test(code))?.[1]
    const { message } = error as Error
    return Object.assign(
      new Error(`no TLS with ${this.#address}: ${message}${advice === undefined ? '' : `; ${advice}`}`, {
        cause: error,
      }),
      { code },
    )
  }
}

function ready(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      socket.removeListener(event, onReady)
      socket.removeListener('error', onError)
      socket.removeListener('close', onClose)
    }
    const onReady = (): void => {
      leave()
      resolve()
    }
    const onError = (error: Error): void => {
      leave()
      reject(error)
    }
    const onClose = (): void => {
      leave()
      reject(new Error('the socket was closed before it was connected'))
    }
    socket.on(event, onReady)
    socket.on('error', onError)
    socket.on('close', onClose)
  })
}

function isBeingUsed(socket: Socket): boolean {
  return (
    socket.listenerCount('data') + socket.listenerCount('readable') > 0 ||
    socket.readableEncoding !== null ||
    socket.writableCorked > 0
  )
}

function listenersOf(socket: Socket): ReadonlyMap<string | symbol, readonly unknown[]> {
  return new Map(socket.eventNames().map((event) => [event, socket.rawListeners(event)]))
}

function isRefusedByTls(code: string): boolean {
  return UNTRUSTED.test(code) || TLS_REFUSED.test(code)
}

function codeOf(error: unknown): string {
  const code = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined
  return typeof code === 'string' ? code : ''
}

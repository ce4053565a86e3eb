import { connect as connectTcp, isIP, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

import type { ConnectContext, ConnectionManager } from '../../core/contract/manager.ts'
import { withoutSecrets } from '../../core/contract/redact.ts'
import { firstOfMany } from '../aggregate-error.ts'
import { LostSocket } from '../lost-socket.ts'
import {
  checkConfig,
  checkOptions,
  type NetConfig,
  type NetConfigSource,
  type NetManagerOptions,
} from './options.ts'
import { whileOpen } from './while-open.ts'

export type { NetConfig, NetConfigSource, NetManagerOptions } from './options.ts'

// Maximum time that unsent bytes delay a close, before the socket is destroyed.
const GRACE_MS = 1_000
// Errors that retrying cannot fix: no permission for the Unix socket, and mistakes in a config.
const FATAL = new Set(['BAD_CONFIG', 'EACCES', 'EINVAL', 'EPERM', 'ENAMETOOLONG', 'ERR_SOCKET_BAD_PORT'])
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

/** State that the manager records about a socket. */
interface Health {
  readonly loss: LostSocket
  /** Bytes written when the socket last became idle. undefined while it is being prepared. */
  written: number | undefined
  /** Bytes written when data last arrived. */
  answered: number
  /** Whether the work of the current holder failed. */
  failed: boolean
  /** The listeners of the socket itself and of the manager. */
  listeners: ReadonlyMap<string | symbol, readonly unknown[]>
}

/**
 * Manages sockets (TCP, TLS and Unix): `new Pool(new NetManager({ host, port }))`.
 *
 * A socket that is half-closed, failed, destroyed or has unread data is never handed out. Data that arrives before the
 * holder has written anything or added a reader is a late answer to an earlier holder: the socket is lost immediately.
 * A server that sends a greeting therefore needs an `onConnect` that reads it.
 *
 * Work that fails after a write and before any answer leaves its answer under way: the socket is closed. The manager
 * cannot detect any other unfinished exchange, such as a wait that was given up without an error: see `isReusable`.
 *
 * A returned socket is prepared for the next caller: listeners that its holder left are removed, timeouts and pauses
 * undone. A socket that still has a listener for 'data' or 'readable', is piped or corked, or had `setEncoding` called
 * is closed.
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
  readonly #config: NetConfigSource
  readonly #options: NetManagerOptions
  readonly #noDelay: boolean
  readonly #keepAliveMs: number
  readonly #health = new WeakMap<Socket, Health>()

  /**
   * `config` may be a function, sync or async: it is called for each connect, and its failure is a connect failure.
   * Throws TypeError for a wrong config, and PoolOptionsError for a wrong option.
   */
  constructor(config: NetConfigSource, options: NetManagerOptions = {}) {
    if (typeof config !== 'function') checkConfig(config)
    checkOptions(options)
    const { noDelay = true, tcpKeepAliveMs = 60_000 } = options
    this.#config = typeof config === 'function' ? config : { ...config }
    this.#options = { ...options }
    this.#noDelay = noDelay
    this.#keepAliveMs = tcpKeepAliveMs
  }

  async connect({ signal, lost }: ConnectContext): Promise<Socket> {
    const config = typeof this.#config === 'function' ? await this.#config() : this.#config
    checkConfig(config)
    signal.throwIfAborted()
    const address = addressOf(config)
    const socket = openSocket(config)
    const loss = new LostSocket(lost).watch(socket, 'error', 'end', 'close')
    const health: Health = { loss, written: undefined, answered: 0, failed: false, listeners: new Map() }
    this.#health.set(socket, health)
    watchForStrayData(socket, health, address)
    const onAbort = (): void => {
      socket.destroy()
    }
    signal.addEventListener('abort', onAbort)
    try {
      await ready(socket, config.tls ? 'secureConnect' : 'connect')
      this.#tune(socket)
      health.listeners = listenersOf(socket)
      await whileOpen(socket, () => this.#options.onConnect?.(socket, signal))
      signal.throwIfAborted()
      if ((await this.#rest(socket, health)) === false)
        throw new Error(`the socket to ${address} was left unusable by onConnect`)
      loss.hold()
      return socket
    } catch (error) {
      socket.destroy()
      throw signal.aborted ? signal.reason : withoutSecrets(explained(error, address), config)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(socket: Socket, signal: AbortSignal): Promise<boolean> {
    const health = this.#health.get(socket)
    if (this.hasBroken(socket) || health === undefined) return false
    if (this.#options.isValid === undefined) return true
    // The answer to a check that takes too long would reach the next holder: the socket is destroyed.
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

  hasBroken(socket: Socket, error?: unknown): boolean {
    const health = this.#health.get(socket)
    if (health?.loss.isBroken !== false || socket.readyState !== 'open' || socket.readableLength > 0)
      return true
    // The socket does not count as broken: `retries` would repeat work whose caller gave up. `reset`, which follows, closes it.
    if (error !== undefined) health.failed = true
    return false
  }

  reset(socket: Socket): boolean | Promise<boolean> {
    const health = this.#health.get(socket)
    if (health === undefined || this.#options.isReusable?.(socket) === false) return false
    const isAnswered = socket.bytesWritten === health.written || socket.bytesWritten === health.answered
    if (health.failed && !isAnswered) return false
    return this.#rest(socket, health)
  }

  async close(socket: Socket): Promise<void> {
    const isDead = this.hasBroken(socket)
    this.#health.get(socket)?.loss.letGo()
    if (socket.closed) return
    // The end of the socket would not keep the process alive.
    socket.ref()
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

  ref(socket: Socket): void {
    socket.ref()
  }

  unref(socket: Socket): void {
    socket.unref()
  }

  isFatal(error: unknown): boolean {
    const code = codeOf(error)
    return FATAL.has(code) || code.startsWith('ERR_INVALID_ARG') || isRefusedByTls(code)
  }

  #tune(socket: Socket): void {
    // The socket remembers both: a call that changes nothing costs nothing.
    socket.setNoDelay(this.#noDelay)
    if (this.#keepAliveMs < Infinity) socket.setKeepAlive(true, this.#keepAliveMs)
    else socket.setKeepAlive(false)
  }

  // Restores the state that a socket had after its connect. false: not possible.
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
    health.failed = false
    if (socket.readableFlowing === null) {
      health.written = socket.bytesWritten
      return true
    }
    return this.#stopFlow(socket, health)
  }

  // A stream that flows without a listener drops its data, and a paused stream stays paused for the next caller. Adding and
  // removing a listener for 'readable' restores the state of a new stream, which waits for its first reader.
  async #stopFlow(socket: Socket, health: Health): Promise<boolean> {
    const noReader = (): void => {}
    socket.on('readable', noReader)
    socket.removeListener('readable', noReader)
    await new Promise<void>((resolve) => process.nextTick(resolve))
    if (this.hasBroken(socket) || socket.readableFlowing !== null) return false
    socket.read(0)
    health.written = socket.bytesWritten
    return true
  }
}

function openSocket({ tls, ...config }: NetConfig): Socket {
  if (!tls) return connectTcp(config as NetConnectOpts)
  const { host, path } = config
  // Without `servername` no name is sent to the server (SNI), which may hold certificates for many names.
  const servername = path === undefined && typeof host === 'string' && isIP(host) === 0 ? host : undefined
  const named = servername === undefined ? {} : { servername }
  return connectTls({ ...(config as ConnectionOptions), ...named, ...(tls === true ? {} : tls) })
}

// No event reports data that arrives while there is no reader, and a listener for 'data' or 'readable' would take the data
// from the next holder; but every chunk passes through `push`.
function watchForStrayData(socket: Socket, health: Health, address: string): void {
  const push = socket.push
  socket.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    const isStray =
      chunk !== null && socket.readableFlowing === null && socket.bytesWritten === health.written
    health.answered = socket.bytesWritten
    const more = push.call(socket, chunk, encoding)
    if (isStray) health.loss.report(new Error(`data arrived from ${address} that no caller had requested`))
    return more
  }
}

function addressOf({ host = 'localhost', port, path }: NetConfig): string {
  return path ?? `${host}:${port}`
}

function explained(error: unknown, address: string): unknown {
  const code = codeOf(error)
  if (!isRefusedByTls(code)) return firstOfMany(error, address)
  const advice = ADVICE.find(([pattern]) => pattern.test(code))?.[1]
  const { message } = error as Error
  return Object.assign(
    new Error(`no TLS with ${address}: ${message}${advice === undefined ? '' : `; ${advice}`}`, {
      cause: error,
    }),
    { code },
  )
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

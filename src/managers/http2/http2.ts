import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  type SecureClientSessionOptions,
} from 'node:http2'

import type { ConnectContext, ConnectionManager, ServerInfo } from '../../core/contract/manager.ts'
import { show } from '../../core/contract/rules.ts'
import type { ShareableConnection } from '../../core/contract/share.ts'
import { firstOfMany } from '../aggregate-error.ts'
import { CONFIG_ERRORS } from '../config-errors.ts'
import { LostSocket } from '../lost-socket.ts'
import { shareOfSessions } from './share.ts'
import type { Http2View } from './view.ts'

export type { Http2Request, Http2Response, Http2View } from './view.ts'

/** The options of `connect` of `node:http2`: TLS (`ca`, `rejectUnauthorized`, …), `settings`, `maxSessionMemory`. */
export type Http2ManagerOptions = ClientSessionOptions | SecureClientSessionOptions

// Maximum time of an orderly end of a session, before its socket is destroyed.
const GRACE_MS = 1_000
const UNTRUSTED =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_|ERR_SSL_(WRONG_VERSION|UNSUPPORTED))/
const MISCONFIGURED = new Set([
  ...CONFIG_ERRORS,
  'ERR_HTTP2_INVALID_SETTING_VALUE',
  'ERR_HTTP2_UNSUPPORTED_PROTOCOL',
])

interface Health {
  readonly loss: LostSocket
  /** Settles when the socket is closed. */
  ended: Promise<unknown>
  destroy(): void
  readonly streams: Set<ClientHttp2Stream>
}

/**
 * Sessions of HTTP/2 over `node:http2`: `new Pool(new Http2Manager('https://example.com'))`. A session is meant to be shared:
 * `share(pool)` of cenote/share lends it to as many requests at a time as the server allows.
 *
 * A session is open once the server has sent its settings: earlier requests would be refused. After GOAWAY it takes no new
 * request, and what it has begun is finished. A lease of the pool has the session alone; one that is returned with a request
 * unfinished is closed.
 *
 * @example
 * ```ts
 * import { createServer } from 'node:http2'
 * import { Pool } from 'cenote'
 * import { Http2Manager } from 'cenote/http2'
 * import { share } from 'cenote/share'
 *
 * const server = createServer((request, response) => response.end(`hello ${request.url}`)).listen(0, '127.0.0.1')
 * await new Promise((resolve) => server.once('listening', resolve))
 * const { port } = server.address() as { port: number }
 *
 * const pool = new Pool(new Http2Manager(`http://127.0.0.1:${port}`))
 * const http = share(pool, { connections: 1 })
 * const { status, body } = await http.run((view) => view.request({ ':path': '/world' }))
 * console.log(status, body.toString()) // prints 200 hello /world
 * await http.close()
 * await pool.close()
 * server.close()
 * ```
 */
export class Http2Manager implements ConnectionManager<ClientHttp2Session> {
  readonly #authority: URL
  readonly #options: Http2ManagerOptions
  readonly #health = new WeakMap<ClientHttp2Session, Health>()
  /** The sharing of sessions: as many seats as the server allows concurrent requests. */
  readonly share: ShareableConnection<ClientHttp2Session, Http2View> = shareOfSessions

  /** `authority`: a URL of the scheme http or https. Throws TypeError for any other. */
  constructor(authority: string | URL, options: Http2ManagerOptions = {}) {
    this.#authority = urlOf(authority)
    if (typeof options !== 'object' || options === null)
      throw new TypeError(`options must be an object for connect of node:http2 (got ${show(options)})`)
    this.#options = { ...options }
  }

  get server(): ServerInfo {
    const { protocol, hostname, port } = this.#authority
    return { system: 'http', address: hostname, port: Number(port) || (protocol === 'https:' ? 443 : 80) }
  }

  async connect({ signal, lost }: ConnectContext): Promise<ClientHttp2Session> {
    signal.throwIfAborted()
    const session = connect(this.#authority, this.#options)
    const loss = new LostSocket(lost)
    this.#watch(session, loss)
    const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = (): void => session.destroy()
    signal.addEventListener('abort', onAbort)
    session.once('remoteSettings', () => resolve())
    session.once('error', reject)
    session.once('close', () => reject(notHttp2(this.#authority)))
    try {
      await ready
      signal.throwIfAborted()
      loss.hold()
      return session
    } catch (error) {
      session.destroy()
      throw signal.aborted ? signal.reason : firstOfMany(error, this.#authority.host)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** A PING of the protocol. */
  async isValid(session: ClientHttp2Session, signal: AbortSignal): Promise<boolean> {
    if (session.closed || session.destroyed) return false
    const onAbort = (): void => session.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await new Promise<boolean>((resolve) => {
        if (!session.ping((error) => resolve(error === null))) resolve(false)
      })
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** After GOAWAY a session is broken once its last request has ended. */
  hasBroken(session: ClientHttp2Session): boolean {
    const health = this.#health.get(session)
    if (health === undefined || health.loss.isBroken || session.destroyed) return true
    return session.closed && health.streams.size === 0
  }

  reset(session: ClientHttp2Session): boolean | Promise<boolean> {
    const streams = [...(this.#health.get(session)?.streams ?? [])]
    if (session.closed) return false
    if (streams.length === 0) return true
    // A stream closes a moment after its last byte was read.
    const areRead = streams.every(({ readableEnded, writableEnded }) => readableEnded && writableEnded)
    return areRead && Promise.all(streams.map((stream) => closed(stream))).then(() => !session.closed)
  }

  /** Ends a session: in order if no request runs on it, otherwise immediately. */
  async close(session: ClientHttp2Session): Promise<void> {
    const health = this.#health.get(session)
    health?.loss.letGo()
    if (health === undefined) return
    // The end of the socket would not keep the process alive.
    if (!session.destroyed) session.ref()
    const timer = setTimeout(() => health.destroy(), GRACE_MS)
    timer.unref()
    if (session.closed || session.destroyed || health.streams.size > 0) health.destroy()
    else session.close()
    await health.ended
    clearTimeout(timer)
  }

  isFatal(error: unknown): boolean {
    const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined
    return typeof code === 'string' && (UNTRUSTED.test(code) || MISCONFIGURED.has(code))
  }

  ref(session: ClientHttp2Session): void {
    session.ref()
  }

  unref(session: ClientHttp2Session): void {
    session.unref()
  }

  #watch(session: ClientHttp2Session, loss: LostSocket): void {
    const streams = new Set<ClientHttp2Stream>()
    const health: Health = { loss, streams, ended: Promise.resolve(), destroy: () => session.destroy() }
    this.#health.set(session, health)
    session.once('connect', (_session, socket) => {
      health.ended = new Promise((resolve) => socket.once('close', resolve))
      health.destroy = (): void => {
        session.destroy()
        socket.destroy()
      }
    })
    loss.watch(session, 'error', 'close')
    // Without a request the session ends now; it does not always say so.
    session.on('goaway', () => streams.size === 0 && loss.report(new Error('the server sent GOAWAY')))
    const { request } = session
    session.request = (headers, options): ClientHttp2Stream => {
      const stream = request.call(session, headers, options)
      streams.add(stream)
      stream.once('close', () => streams.delete(stream))
      return stream
    }
  }
}

async function closed(stream: ClientHttp2Stream): Promise<void> {
  if (!stream.closed || !stream.destroyed) await new Promise((resolve) => stream.once('close', resolve))
}

function notHttp2({ host }: URL): Error {
  const text = `${host} closed the connection before it sent HTTP/2 settings. Check that the server speaks HTTP/2 on this port`
  return Object.assign(new Error(text), { code: 'ECONNRESET' })
}

function urlOf(authority: unknown): URL {
  const url = typeof authority === 'string' && URL.canParse(authority) ? new URL(authority) : authority
  if (url instanceof URL && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  // A URL may hold a password.
  const got = typeof authority === 'string' || authority instanceof URL ? 'another text' : show(authority)
  throw new TypeError(
    `authority must be a URL of the form https://host:port or http://host:port (got ${got})`,
  )
}

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

import { type Network, TcpLink } from './tcp-link.ts'

const HOST = '127.0.0.1'

const dialled = new WeakSet<Socket>()

/** Whether a proxy of this process connected this socket to its server. */
export function isProxySocket(socket: Socket): boolean {
  return dialled.has(socket)
}

/** The server behind a {@link TcpProxy}. */
export interface TcpProxyTarget {
  /** Default: '127.0.0.1'. */
  readonly host?: string | undefined
  readonly port: number
}

/** The delay and the rate of a network, see {@link TcpProxy.slow}. */
export interface SlowNetwork {
  /** Delay of every byte in each direction, in milliseconds. Default: 0. */
  readonly delayMs?: number | undefined
  /** Bytes per second in each direction of each connection. Default: Infinity. */
  readonly bytesPerSecond?: number | undefined
}

/**
 * A TCP proxy on loopback whose network fails on demand: for tests of a client whose server cannot be reached any more. `const proxy = await TcpProxy.start({ port: 5432 })`, then point the client at `proxy.host` and `proxy.port`.
 *
 * Each fault holds for open and for new connections, until another fault or `heal()`. Bytes keep their order.
 *
 * @example
 * ```ts
 * import { once } from 'node:events'
 * import { connect, createServer } from 'node:net'
 *
 * import { TcpProxy } from 'cenote/testing'
 *
 * const server = createServer((socket) => socket.end('hello'))
 * await once(server.listen(0, '127.0.0.1'), 'listening')
 * const proxy = await TcpProxy.start({ port: (server.address() as { port: number }).port })
 * proxy.refuse() // until heal()
 * const socket = connect(proxy.port, proxy.host)
 * const [error] = await once(socket, 'error').catch((error) => [error])
 * console.log(error.code) // prints ECONN
 * await proxy.close()
 * server.close()
 * ```
 */
export class TcpProxy implements AsyncDisposable {
  /** The address on which the proxy listens: always '127.0.0.1'. */
  readonly host: string = HOST
  /** The port on which it listens: a free one, the same for its whole life. */
  readonly port: number
  readonly #target: { host: string; port: number }
  readonly #network: Network = { mode: 'open', delayMs: 0, bytesPerSecond: Infinity }
  readonly #links = new Set<TcpLink>()
  #listener: Server | undefined
  #accepted = 0

  private constructor(target: { host: string; port: number }, listener: Server) {
    this.#target = target
    this.port = (listener.address() as AddressInfo).port
    this.#listener = listener
    this.#serve(listener)
  }

  /** Starts a proxy in front of a server, which need not be up yet. Rejects with TypeError for a wrong port or host. */
  static async start(target: TcpProxyTarget): Promise<TcpProxy> {
    const { host = HOST, port } = target
    if (typeof host !== 'string' || host === '')
      throw new TypeError(`host must be a name or an address (got ${String(host)})`)
    if (!Number.isInteger(port) || port < 1 || port > 65_535)
      throw new TypeError(`port must be an integer from 1 to 65535 (got ${String(port)})`)
    return new TcpProxy({ host, port }, await listen(0))
  }

  /** Number of connections that clients hold open at the moment. A connection that its client has ended does not count. */
  get connections(): number {
    return [...this.#links].filter(({ isHeld }) => isHeld).length
  }

  /** Number of handles of this process that belong to the proxy: its listener and two sockets per connection. */
  get handles(): number {
    const sockets = [...this.#links].reduce((sum, link) => sum + link.sockets, 0)
    return Number(this.#listener?.listening ?? false) + sockets
  }

  /** Number of connections accepted since the start. */
  get accepted(): number {
    return this.#accepted
  }

  /** Resets (RST) every open connection, on both sides. New ones pass as before. Returns how many clients were cut. */
  cut(): number {
    const held = this.connections
    for (const link of this.#links) link.cut()
    return held
  }

  /**
   * Nothing arrives any more, in either direction, not even an end or a reset. New connections are accepted (the system
   * does that) but go no further. After `heal()` what was sent during the fault arrives late, as TCP would send it again.
   */
  blackhole(): void {
    this.#network.mode = 'blackhole'
  }

  /** A network with a delay, or a narrow one. Ends a black hole. Throws TypeError for a number below 0, or a rate of 0. */
  slow({ delayMs = 0, bytesPerSecond = Infinity }: SlowNetwork): void {
    if (!(delayMs >= 0 && delayMs < Infinity))
      throw new TypeError(`delayMs must be milliseconds >= 0 (got ${delayMs})`)
    if (!(bytesPerSecond > 0))
      throw new TypeError(`bytesPerSecond must be a number > 0 (got ${bytesPerSecond})`)
    this.#change({ mode: 'open', delayMs, bytesPerSecond })
  }

  /**
   * Closes the server's side of every open connection without a sign to the client, which stays connected and whose writes are
   * dropped. New connections pass, but the server's end or reset does not. After `heal()` the client of such
   * a connection is reset when it next writes. Ends a black hole.
   */
  halfOpen(): void {
    for (const link of this.#links) link.loseServer()
    this.#change({ mode: 'halfOpen' })
  }

  /** New connections are refused (ECONNREFUSED); those of now go on. */
  refuse(): void {
    this.#listener?.close()
    this.#listener = undefined
  }

  /** Ends every fault. Resolves once connections are accepted. Rejects if another process has taken the port after `refuse()`. */
  async heal(): Promise<void> {
    this.#change({ mode: 'open', delayMs: 0, bytesPerSecond: Infinity })
    if (this.#listener !== undefined) return
    const listener = await listen(this.port)
    this.#listener = listener
    this.#serve(listener)
  }

  /** Refuses, and resets every connection. Safe to call twice. */
  async close(): Promise<void> {
    const listener = this.#listener
    this.refuse()
    this.cut()
    if (listener?.listening === false) await new Promise<void>((resolve) => listener.once('close', resolve))
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #serve(listener: Server): void {
    listener.on('connection', (client) => {
      this.#accepted++
      const dial = (): Socket => {
        const socket = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
        dialled.add(socket)
        return socket
      }
      const link = new TcpLink(client, dial, this.#network, () => this.#links.delete(link))
      this.#links.add(link)
    })
  }

  #change(network: Partial<Network>): void {
    Object.assign(this.#network, network)
    for (const link of this.#links) link.wake()
  }
}

async function listen(port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
  return server
}

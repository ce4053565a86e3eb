import { createServer, type Server, Socket } from 'node:net'

/** How a {@link TcpProxy} treats the bytes that pass through it. */
type Weather = 'clear' | 'blackhole' | 'half-open' | 'refuse'

/** One connection through the proxy: the client's socket and the one to the server. */
interface Link {
  readonly client: Socket
  readonly server: Socket
  /** The client said that it will send no more, or is gone. */
  hasEnded: boolean
}

/**
 * A network that fails as it is told, between a client and a server on this machine:
 * `await using proxy = await TcpProxy.start({ host: '127.0.0.1', port: 5432 })`, and connect to `proxy.host` and
 * `proxy.port`. It passes everything on until it is told otherwise; `heal` makes it do so again.
 */
export class TcpProxy implements AsyncDisposable {
  readonly #target: { readonly host: string; readonly port: number }
  readonly #listener: Server
  readonly #links = new Set<Link>()
  readonly #delayed = new Set<NodeJS.Timeout>()
  #weather: Weather = 'clear'
  #delayMs = 0

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target
    // Half-open on purpose: an end is passed on like the bytes before it.
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
  }

  /** A proxy on a free port of 127.0.0.1. Rejects with TypeError for a wrong target. */
  static async start(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const { host, port } = target
    if (typeof host !== 'string' || host === '') {
      throw new TypeError(`host is ${JSON.stringify(host)}: allowed is the name or address of a server`)
    }
    if (!Number.isInteger(port) || port < 1 || port > 65_535) {
      throw new TypeError(`port is ${String(port)}: allowed is an integer from 1 to 65535`)
    }
    const proxy = new TcpProxy({ host, port })
    await new Promise<void>((resolve, reject) => {
      proxy.#listener.once('error', reject)
      proxy.#listener.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  /** Where to connect to. */
  get host(): string {
    return '127.0.0.1'
  }

  /** Where to connect to. */
  get port(): number {
    return (this.#listener.address() as { port: number }).port
  }

  /** Connections that clients have open through it at this moment: those that they have not ended. */
  get connections(): number {
    return [...this.#links].filter(({ hasEnded }) => !hasEnded).length
  }

  /** Handles of this process that are the proxy's own: its listener and two sockets a connection. */
  get handles(): number {
    const sockets = [...this.#links].flatMap(({ client, server }) => [client, server])
    return Number(this.#listener.listening) + sockets.filter(({ destroyed }) => !destroyed).length
  }

  /** Ends every connection with a reset, on both sides. New ones are treated as before. */
  cut(): void {
    for (const { client, server } of this.#links) {
      reset(client)
      reset(server)
    }
  }

  /** From now on nothing passes, on old and new connections, and nobody is told. What was sent meanwhile is lost. */
  blackhole(): void {
    this.#weather = 'blackhole'
  }

  /** From now on what clients send passes, and what servers send is lost: an end or a reset too. */
  halfOpen(): void {
    this.#weather = 'half-open'
  }

  /** From now on every packet takes `delayMs` longer. */
  slow(delayMs: number): void {
    if (!(delayMs >= 0)) throw new TypeError(`delayMs is ${delayMs}: allowed is a number from 0`)
    this.#delayMs = delayMs
  }

  /** From now on new connections are reset at once; old ones live on. */
  refuse(): void {
    this.#weather = 'refuse'
  }

  /** Everything passes again. A connection that lost bytes meanwhile is reset: its two ends no longer agree. */
  heal(): void {
    const lostBytes = this.#weather === 'blackhole' || this.#weather === 'half-open'
    this.#weather = 'clear'
    this.#delayMs = 0
    if (lostBytes) this.cut()
  }

  /** Ends every connection and stops listening. Safe to call twice. */
  async close(): Promise<void> {
    for (const timer of this.#delayed) clearTimeout(timer)
    const closed = new Promise<void>((resolve) => this.#listener.close(() => resolve()))
    const gone = [...this.#links].flatMap(({ client, server }) => [whenClosed(client), whenClosed(server)])
    this.cut()
    await Promise.all([closed, ...gone])
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #accept(client: Socket): void {
    if (this.#weather === 'refuse') {
      reset(client)
      return
    }
    const server = new Socket({ allowHalfOpen: true })
    const link: Link = { client, server, hasEnded: false }
    this.#links.add(link)
    client.setNoDelay(true)
    server.setNoDelay(true)
    this.#pass(client, server, () => this.#weather !== 'blackhole')
    this.#pass(server, client, () => this.#weather !== 'blackhole' && this.#weather !== 'half-open')
    client.once('end', () => (link.hasEnded = true))
    client.once('close', () => {
      this.#links.delete(link)
      server.destroy()
    })
    server.connect(this.#target)
  }

  // Passes on what `from` sends and how it ends, in the order in which it came. The client going away always frees the
  // server's side: only the client must not be told.
  #pass(from: Socket, to: Socket, mayPass: () => boolean): void {
    from.on('data', (bytes) => this.#later(() => mayPass() && to.writable && to.write(bytes)))
    from.on('end', () => this.#later(() => mayPass() && to.writable && to.end()))
    from.on('error', () => this.#later(() => mayPass() && reset(to)))
    from.on('close', () => this.#later(() => mayPass() && !to.destroyed && to.destroySoon()))
  }

  #later(pass: () => unknown): void {
    if (this.#delayMs === 0) {
      pass()
      return
    }
    const timer = setTimeout(() => {
      this.#delayed.delete(timer)
      pass()
    }, this.#delayMs)
    this.#delayed.add(timer)
  }
}

function reset(socket: Socket): void {
  // Before it is connected there is nobody to send a reset to.
  if (socket.connecting) socket.destroy()
  else socket.resetAndDestroy()
}

function whenClosed(socket: Socket): Promise<void> {
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()))
}

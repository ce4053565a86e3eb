import type { Socket } from 'node:net'

/** The present behaviour of the network between the two sides. */
export interface Network {
  /** `blackhole`: nothing arrives; `halfOpen`: what the server says last (its end or reset) does not arrive. */
  mode: 'open' | 'blackhole' | 'halfOpen'
  /** Delay of every byte, in each direction. */
  delayMs: number
  /** Rate in each direction of each connection. */
  bytesPerSecond: number
}

type Message = Buffer | 'end' | 'reset'

// Bytes under way in one direction before its sender is no longer read from.
const WINDOW_BYTES = 65_536
// Portions per second that a link with a limited rate passes on.
const PORTIONS_PER_SECOND = 50

/** One connection of a client through the proxy, and the one to the server that belongs to it. */
export class TcpLink {
  readonly #client: Socket
  readonly #dial: () => Socket
  readonly #network: Network
  readonly #toServer: Direction
  readonly #toClient: Direction
  readonly #onClosed: () => void
  #server: Socket | undefined = undefined
  #clientHasLeft = false
  #isHalfOpen = false

  constructor(client: Socket, dial: () => Socket, network: Network, onClosed: () => void) {
    this.#client = client
    this.#dial = dial
    this.#network = network
    this.#onClosed = onClosed
    this.#toServer = new Direction(network, client, (message) => this.#deliverToServer(message))
    this.#toClient = new Direction(network, undefined, (message) => this.#deliverToClient(message))
    this.#listen(client, this.#toServer, () => (this.#clientHasLeft = true))
    this.wake()
  }

  /** Whether the client holds its socket open. */
  get isHeld(): boolean {
    return !this.#clientHasLeft
  }

  /** Sockets of its own that are not closed yet. */
  get sockets(): number {
    return [this.#client, this.#server].filter((socket) => socket?.destroyed === false).length
  }

  /** The network has changed: passes on what may pass now. */
  wake(): void {
    // A link that was cut stays among the proxy's links until its socket has closed: a connection that it dials now would never end.
    const mayDial = this.#server === undefined && !this.#isHalfOpen && !this.#client.destroyed
    if (mayDial && this.#network.mode !== 'blackhole') {
      const server = this.#dial()
      this.#server = server
      this.#toClient.source = server
      this.#listen(server, this.#toClient, () => {})
      server.on('drain', () => this.#toServer.unblock())
      this.#client.on('drain', () => this.#toClient.unblock())
    }
    this.#toServer.pump()
    this.#toClient.pump()
  }

  /** Resets both sides. */
  cut(): void {
    this.#clientHasLeft = true
    this.#toServer.stop()
    this.#toClient.stop()
    reset(this.#client)
    if (this.#server !== undefined) reset(this.#server)
  }

  /** Takes the server's side away; the client does not notice. */
  loseServer(): void {
    this.#isHalfOpen = true
    this.#toClient.stop()
    this.#server?.destroy()
  }

  #listen(socket: Socket, direction: Direction, onLeft: () => void): void {
    socket.on('data', (chunk: Buffer) => direction.push(chunk))
    socket.on('end', () => {
      onLeft()
      direction.push('end')
    })
    socket.on('error', () => {
      onLeft()
      direction.push('reset')
    })
    socket.on('close', () => {
      onLeft()
      if (this.#client.destroyed && this.#server?.destroyed !== false) this.#onClosed()
    })
  }

  #deliverToServer(message: Message): boolean {
    const server = this.#server
    if (this.#isHalfOpen || server === undefined || server.destroyed) {
      // The host of a server that has gone answers with a reset, once the network lets it.
      if (message === 'end' || message === 'reset') this.#client.destroy()
      else if (this.#network.mode !== 'halfOpen') reset(this.#client)
      return true
    }
    return write(server, message)
  }

  #deliverToClient(message: Message): boolean {
    if (this.#network.mode === 'halfOpen' && (message === 'end' || message === 'reset')) {
      this.loseServer()
      return true
    }
    return this.#client.destroyed || write(this.#client, message)
  }
}

/** Bytes under way from one side to the other, in order. */
class Direction {
  source: Socket | undefined
  readonly #network: Network
  readonly #deliver: (message: Message) => boolean
  #underWay: { readonly sentAt: number; readonly message: Message }[] = []
  #bytes = 0
  #freeAt = 0
  #timer: NodeJS.Timeout | undefined = undefined
  #isBlocked = false
  #isStopped = false

  constructor(network: Network, source: Socket | undefined, deliver: (message: Message) => boolean) {
    this.#network = network
    this.source = source
    this.#deliver = deliver
  }

  push(message: Message): void {
    if (this.#isStopped) return
    this.#underWay.push({ sentAt: performance.now(), message })
    this.#bytes += sizeOf(message)
    if (this.#bytes > WINDOW_BYTES) this.source?.pause()
    this.pump()
  }

  unblock(): void {
    this.#isBlocked = false
    this.pump()
  }

  pump(): void {
    clearTimeout(this.#timer)
    while (!this.#isBlocked && this.#network.mode !== 'blackhole') {
      const [head] = this.#underWay
      if (head === undefined) return
      const isLimited = this.#network.bytesPerSecond < Infinity
      const dueAt = Math.max(head.sentAt + this.#network.delayMs, isLimited ? this.#freeAt : 0)
      const waitMs = dueAt - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.pump(), Math.ceil(waitMs))
        return
      }
      const message = this.#take(head)
      this.#isBlocked = !this.#deliver(message)
    }
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#underWay = []
  }

  #take(head: { readonly sentAt: number; readonly message: Message }): Message {
    const { bytesPerSecond } = this.#network
    let { message } = head
    this.#underWay.shift()
    if (typeof message !== 'string' && bytesPerSecond < Infinity) {
      const portion = Math.max(1, Math.floor(bytesPerSecond / PORTIONS_PER_SECOND))
      const rest = message.subarray(portion)
      message = message.subarray(0, portion)
      if (rest.length > 0) this.#underWay.unshift({ sentAt: head.sentAt, message: rest })
      this.#freeAt = performance.now() + (message.length / bytesPerSecond) * 1_000
    }
    this.#bytes -= sizeOf(message)
    if (this.#bytes <= WINDOW_BYTES && this.source?.isPaused() === true) this.source.resume()
    return message
  }
}

function sizeOf(message: Message): number {
  return typeof message === 'string' ? 0 : message.length
}

function write(socket: Socket, message: Message): boolean {
  if (message === 'reset') reset(socket)
  else if (message === 'end') socket.end()
  else return socket.write(message)
  return true
}

function reset(socket: Socket): void {
  // A socket that is still connecting would be reset only once it is connected, and one that is just being ended cannot be
  // reset: Node.js would then lose its handle, open forever.
  const isEnding = socket.writableEnded && !socket.writableFinished
  if (socket.connecting || isEnding) socket.destroy()
  else if (!socket.destroyed) socket.resetAndDestroy()
}

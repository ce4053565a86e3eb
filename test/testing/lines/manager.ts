import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Socket } from 'node:net'

import type { ConnectContext, ConnectionManager } from '../../../src/index.ts'
import type { ManagerFaults } from '../../../src/testing/index.ts'
import type { LineServer } from './server.ts'

/** A connection to a line server, by a driver that gives every answer to the newest question. */
export class Line {
  readonly socket: Socket
  number = 0
  /** Questions without an answer. */
  pending = 0
  #answered: { resolve(text: string): void; reject(error: Error): void } | undefined
  #rest = ''

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    socket.on('close', () => this.#answered?.reject(new Error('the connection was closed')))
    socket.on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n')
      this.#rest = lines.pop() ?? ''
      for (const line of lines) {
        this.pending--
        this.#answered?.resolve(line)
      }
    })
  }

  async ask(question: string): Promise<string> {
    if (this.socket.destroyed) throw new Error('the connection is closed')
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.#answered = { resolve, reject }
    this.pending++
    this.socket.write(`${question}\n`)
    return await promise
  }
}

/** A manager that does everything right. Each wrong manager differs in one thing. */
export class LineManager implements ConnectionManager<Line> {
  readonly address: { readonly host: string; readonly port: number }

  constructor(address: { readonly host: string; readonly port: number }) {
    this.address = address
  }

  async connect({ signal, lost }: ConnectContext): Promise<Line> {
    signal.throwIfAborted()
    const line = new Line(new Socket())
    const onAbort = (): void => this.giveUp(line)
    signal.addEventListener('abort', onAbort)
    try {
      const connected = once(line.socket, 'connect')
      const closed = once(line.socket, 'close')
      line.socket.connect(this.address)
      await Promise.race([connected, closed])
      await this.greet(line)
      signal.throwIfAborted()
    } catch (error) {
      this.giveUp(line)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    this.watch(line, lost)
    return line
  }

  giveUp({ socket }: Line): void {
    socket.destroy()
  }

  async greet(line: Line): Promise<void> {
    line.number = Number(await line.ask('hello'))
  }

  watch({ socket }: Line, lost: (error?: unknown) => void): void {
    socket.once('close', () => lost())
  }

  async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
    const onAbort = (): void => void line.socket.destroy()
    signal.addEventListener('abort', onAbort)
    try {
      return (await line.ask('echo check')) === 'check'
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken({ socket }: Line, _error?: unknown): boolean {
    return socket.destroyed || socket.readyState !== 'open'
  }

  async reset(line: Line): Promise<boolean> {
    if (line.pending > 0) return false
    return (await line.ask('note none')) === 'none'
  }

  async close(line: Line): Promise<void> {
    // The server finishes its work first, and counts the connection until then.
    if (line.pending > 0 && !line.socket.destroyed) {
      const limit = new AbortController()
      const timer = setTimeout(() => limit.abort(), 200)
      await this.cancel(line, limit.signal).catch(() => {})
      clearTimeout(timer)
    }
    await destroyed(line.socket)
  }

  async cancel({ number }: Line, signal: AbortSignal): Promise<void> {
    const other = new Line(new Socket())
    const onAbort = (): void => void other.socket.destroy()
    signal.addEventListener('abort', onAbort)
    try {
      other.socket.connect(this.address)
      await other.ask(`cancel ${number}`)
    } finally {
      signal.removeEventListener('abort', onAbort)
      await destroyed(other.socket)
    }
  }

  ref({ socket }: Line): void {
    socket.ref()
  }

  unref({ socket }: Line): void {
    socket.unref()
  }

  isFatal(error: unknown): boolean {
    return (error as { code?: unknown } | null | undefined)?.code === 'ERR_SOCKET_BAD_PORT'
  }
}

/** Closes a socket, and waits until it is closed. */
export async function destroyed(socket: Socket): Promise<void> {
  if (socket.closed) return
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.destroy()
  await closed
}

/** Everything that the suite can be given for a line server. */
export function lineFaults(server: LineServer): ManagerFaults<Line> {
  const { host, port } = server
  return {
    server: { host, port },
    timeoutMs: 1_500,
    use: async (line) => {
      const question = randomUUID()
      if ((await line.ask(`echo ${question}`)) !== question)
        throw new Error('the answer is to another question')
    },
    kill: ({ socket }) => server.kill(socket.localPort ?? 0),
    count: () => server.count(),
    longWork: (line) => line.ask('work'),
    fatal: { 'a port that cannot be': () => new LineManager({ host, port: 65_536 }) },
    dirty: {
      'a note in the session': {
        leave: (line) => line.ask('note mine'),
        isClean: async (line) => (await line.ask('read')) !== 'mine',
      },
    },
  }
}

import { createServer, type Socket, Socket as NetSocket } from 'node:net'

import { afterAll, describe, expect, test } from 'vitest'

import type { ConnectContext, ConnectionManager } from '../../src/index.ts'
import {
  conformanceCases,
  describeManager,
  type MakeManager,
  type ManagerFaults,
  type TestRunner,
} from '../../src/testing/index.ts'

// An echo server: a connection works when what is sent comes back. `drop` is the server's own means to end one.
const clients = new Map<number, Socket>()
const echo = createServer((socket) => {
  const port = socket.remotePort ?? 0
  clients.set(port, socket)
  socket.on('error', () => {})
  socket.on('close', () => clients.delete(port))
  socket.pipe(socket)
})
await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
const server = { host: '127.0.0.1', port: (echo.address() as { port: number }).port }
afterAll(() => echo.close())

interface Line {
  readonly socket: NetSocket
  /** What a borrower left in the session. */
  note: string
}

/** A manager of plain sockets that does everything right; each wrong one differs in one thing. */
class RightManager implements ConnectionManager<Line> {
  readonly address: { host: string; port: number }

  constructor(address: { host: string; port: number } = server) {
    this.address = address
  }

  async connect({ signal, lost }: ConnectContext): Promise<Line> {
    signal.throwIfAborted()
    const socket = new NetSocket()
    const onAbort = (): void => this.giveUp(socket)
    signal.addEventListener('abort', onAbort)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('close', () => reject(new Error('closed')))
        socket.on('error', reject)
        socket.connect(this.address, () => {
          this.greet(socket).then(resolve, reject)
        })
      })
      signal.throwIfAborted()
    } catch (error) {
      this.giveUp(socket)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    this.watch(socket, lost)
    return { socket, note: '' }
  }

  giveUp(socket: NetSocket): void {
    socket.destroy()
  }

  // A handshake: without one, a server that does not answer looks like one that does.
  async greet(socket: NetSocket): Promise<void> {
    await echoed(socket)
  }

  watch(socket: NetSocket, lost: (error?: unknown) => void): void {
    socket.once('close', () => lost())
  }

  async isValid({ socket }: Line, signal: AbortSignal): Promise<boolean> {
    signal.addEventListener('abort', () => socket.destroy(), { once: true })
    await echoed(socket)
    return true
  }

  hasBroken({ socket }: Line, _error?: unknown): boolean {
    return socket.destroyed || socket.readyState !== 'open'
  }

  reset(line: Line): void {
    line.note = ''
  }

  async close({ socket }: Line): Promise<void> {
    if (socket.destroyed) return
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.destroy()
    await closed
  }

  isFatal(error: unknown): boolean {
    return (error as { code?: unknown }).code === 'ERR_SOCKET_BAD_PORT'
  }
}

async function echoed(socket: NetSocket): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onClose = (): void => reject(new Error('closed'))
    socket.once('close', onClose)
    socket.once('data', () => {
      socket.off('close', onClose)
      resolve()
    })
    socket.write('?')
  })
}

const faults: ManagerFaults<Line> = {
  server,
  timeoutMs: 1_500,
  use: ({ socket }) => echoed(socket),
  kill: async ({ socket }) => {
    const client = clients.get(socket.localPort ?? 0)
    if (client === undefined) throw new Error('the server does not know this connection')
    client.destroy()
    if (!client.closed) await new Promise((resolve) => client.once('close', resolve))
  },
  count: async () => clients.size,
  fatal: { 'a port that cannot be': () => new RightManager({ host: '127.0.0.1', port: 65_536 }) },
  dirty: {
    'a note in the session': {
      leave: (line) => {
        line.note = 'mine'
      },
      isClean: ({ note }) => note === '',
    },
  },
}

describeManager('a right manager', (address) => new RightManager(address), faults)

/** A manager that is wrong in one thing, and the case meant for it. */
const WRONG: Readonly<Record<string, { make: MakeManager<Line>; caughtBy: string }>> = {
  'gives one connection to all': {
    make: (address) => {
      let only: Promise<Line> | undefined
      return new (class extends RightManager {
        override connect(context: ConnectContext): Promise<Line> {
          return (only ??= super.connect(context))
        }
      })(address)
    },
    caughtBy: 'connect: opens a connection that can be used, and another one each time',
  },
  'does not look whether it was given up before it began': {
    make: (address) =>
      new (class extends RightManager {
        override connect({ lost }: ConnectContext): Promise<Line> {
          return super.connect({ signal: new AbortController().signal, lost })
        }
      })(address),
    caughtBy: 'connect: rejects when it was given up before it began, and leaves no socket behind',
  },
  'leaves the socket of an attempt that was given up': {
    make: (address) =>
      new (class extends RightManager {
        override async connect({ signal, lost }: ConnectContext): Promise<Line> {
          const line = await super.connect({ signal: new AbortController().signal, lost })
          signal.throwIfAborted()
          return line
        }
      })(address),
    caughtBy: 'connect: given up at any moment, it settles and leaves no socket behind',
  },
  'cannot be given up': {
    make: (address) =>
      new (class extends RightManager {
        override giveUp(): void {}
      })(address),
    caughtBy:
      'connect: to a server that never answers, it ends when it is given up, and leaves no socket behind',
  },
  'takes a server that hangs up for one that it is connected to': {
    make: (address) =>
      new (class extends RightManager {
        override async greet(): Promise<void> {}
      })(address),
    caughtBy: 'connect: to a server that hangs up, it rejects, and a retry may help',
  },
  'calls every error fatal': {
    make: (address) =>
      new (class extends RightManager {
        override isFatal(): boolean {
          return true
        }
      })(address),
    caughtBy: 'connect: to a port where nobody listens, it rejects, and a retry may help',
  },
  'breaks with every error of a caller': {
    make: (address) =>
      new (class extends RightManager {
        override hasBroken(line: Line, error?: unknown): boolean {
          return super.hasBroken(line) || error instanceof Error
        }
      })(address),
    caughtBy: "check: an error of the caller's own work does not break a connection",
  },
  'finds a good connection invalid the second time': {
    make: (address) => {
      const seen = new WeakSet<Line>()
      return new (class extends RightManager {
        override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
          if (seen.has(line)) return false
          seen.add(line)
          return await super.isValid(line, signal)
        }
      })(address)
    },
    caughtBy: 'check: a good connection is valid and not broken, as often as it is asked',
  },
  'finds everything valid': {
    make: (address) =>
      new (class extends RightManager {
        override hasBroken(): boolean {
          return false
        }
        override async isValid(): Promise<boolean> {
          return true
        }
      })(address),
    caughtBy: 'check: a connection that the server killed is not valid',
  },
  'goes on checking when it was given up': {
    make: (address) =>
      new (class extends RightManager {
        override isValid(line: Line): Promise<boolean> {
          return super.isValid(line, new AbortController().signal)
        }
      })(address),
    caughtBy: 'check: of a server that stopped answering, it ends when it is given up, and not with yes',
  },
  'does not tell of a loss': {
    make: (address) =>
      new (class extends RightManager {
        override watch(): void {}
      })(address),
    caughtBy: 'loss: a connection that the server kills is reported lost, and is broken from then on',
  },
  'tells of a loss only when the server said good-bye': {
    make: (address) =>
      new (class extends RightManager {
        override watch(socket: NetSocket, lost: () => void): void {
          socket.once('end', lost)
        }
      })(address),
    caughtBy: 'loss: a connection whose network is cut is reported lost, and is broken from then on',
  },
  'tells of the loss of all': {
    make: (address) => {
      const all: (() => void)[] = []
      return new (class extends RightManager {
        override watch(socket: NetSocket, lost: () => void): void {
          all.push(lost)
          socket.once('close', () => {
            for (const each of all) each()
          })
        }
      })(address)
    },
    caughtBy: 'loss: of one connection is not reported for another',
  },
  'does not close': {
    make: (address) =>
      new (class extends RightManager {
        override async close(): Promise<void> {}
      })(address),
    caughtBy: 'close: the server sees the connection go',
  },
  'never ends closing a dead connection': {
    make: (address) =>
      new (class extends RightManager {
        override async close({ socket }: Line): Promise<void> {
          const closed = new Promise((resolve) => socket.once('close', resolve))
          socket.destroy()
          await closed
        }
      })(address),
    caughtBy: 'close: of a connection that the server killed, it settles and leaves no socket behind',
  },
  'waits for the good-bye of a server that does not answer': {
    make: (address) =>
      new (class extends RightManager {
        override async close({ socket }: Line): Promise<void> {
          if (socket.destroyed) return
          const ended = new Promise((resolve) => socket.once('close', resolve))
          socket.end()
          await ended
        }
      })(address),
    caughtBy: 'close: of a connection whose server stopped answering, it settles and leaves no socket behind',
  },
  'keeps a timer for each connection': {
    make: (address) =>
      new (class extends RightManager {
        override async connect(context: ConnectContext): Promise<Line> {
          const line = await super.connect(context)
          const beat = setInterval(() => {}, 60_000)
          setTimeout(() => clearInterval(beat), 3_000).unref()
          return line
        }
      })(address),
    caughtBy: 'pool: many callers share a few connections, and nothing is left when it is closed',
  },
  'does not notice that the server killed a connection': {
    make: (address) =>
      new (class extends RightManager {
        override watch(): void {}
        override hasBroken(): boolean {
          return false
        }
        override async isValid(): Promise<boolean> {
          return true
        }
      })(address),
    caughtBy: 'pool: a connection that the server killed while it was idle is never handed out',
  },
  'never finds a leased connection broken': {
    make: (address) =>
      new (class extends RightManager {
        override hasBroken(): boolean {
          return false
        }
      })(address),
    caughtBy: 'pool: a connection that the server killed while it was leased is closed when it comes back',
  },
  'does not reset': {
    make: (address) =>
      new (class extends RightManager {
        override reset(): void {}
      })(address),
    caughtBy: 'pool: a note in the session never reaches the next borrower',
  },
}

describe('a wrong manager is caught by the case meant for it', () => {
  for (const [name, { make, caughtBy }] of Object.entries(WRONG)) {
    test(`it ${name}`, async () => {
      const found = conformanceCases(make, faults).filter(({ title }) => title === caughtBy)
      expect(found).toHaveLength(1)
      await expect(found[0]?.run()).rejects.toThrow()
    })
  }

  test('a fatal mistake that is not told as one', async () => {
    const make: MakeManager<Line> = (address) => new RightManager(address)
    const cases = conformanceCases(make, {
      ...faults,
      fatal: {
        'a port where nobody listens': () => new RightManager({ host: '127.0.0.1', port: 1 }),
        'a server that is there': () => new RightManager(),
      },
    }).filter(({ title }) => title.includes('is a fatal error'))
    expect(cases).toHaveLength(2)
    await expect(cases[0]?.run()).rejects.toThrow('isFatal is not true')
    await expect(cases[1]?.run()).rejects.toThrow('connect resolved with a server that is there')
  })
})

test('a case whose fault is not given is skipped, and says what it needs', () => {
  const ran: string[] = []
  const skipped: string[] = []
  const it = Object.assign((name: string) => ran.push(name), { skip: (name: string) => skipped.push(name) })
  const runner: TestRunner = { describe: (_, define) => define(), it }
  describeManager('bare', (address) => new RightManager(address), {}, runner)
  expect(ran.length).toBeGreaterThan(5)
  expect(skipped).toContain(
    'loss: a connection that the server kills is reported lost, and is broken from then on (needs faults.kill)',
  )
  expect(skipped).toContain('close: the server sees the connection go (needs faults.count)')
})

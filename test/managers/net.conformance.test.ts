import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

import { afterAll, describe } from 'vitest'

import { NetManager } from '../../src/managers/net/net.ts'
import { describeManager } from '../../src/testing/index.ts'

// A server of lines: it greets, and says each line again.
const served = new Map<number, Socket>()
const server = createServer((socket) => {
  const port = socket.remotePort ?? 0
  served.set(port, socket)
  socket.on('error', () => {})
  socket.on('close', () => served.delete(port))
  socket.on('data', (chunk) => socket.write(chunk))
  socket.write('hello')
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
afterAll(() => server.close())

const answer = async (socket: Socket, signal?: AbortSignal): Promise<string> =>
  String((await once(socket, 'data', { signal }))[0])
const roundTrip = async (socket: Socket, signal?: AbortSignal): Promise<boolean> => {
  const answered = answer(socket, signal)
  socket.write('?')
  return (await answered) === '?'
}

describe('NetManager', () => {
  describeManager<Socket>(
    'NetManager',
    (at = address) =>
      new NetManager(
        { host: at.host, port: at.port },
        { onConnect: async (socket, signal) => void (await answer(socket, signal)), isValid: roundTrip },
      ),
    {
      server: address,
      use: (socket) => roundTrip(socket),
      kill: async ({ localPort = 0 }) => {
        const socket = served.get(localPort)
        if (socket === undefined) throw new Error(`no socket of port ${localPort}`)
        const closed = once(socket, 'close')
        socket.destroy()
        await closed
      },
      count: async () => served.size,
      fatal: { 'a path that is too long': () => new NetManager({ path: `/${'x'.repeat(300)}` }) },
      dirty: {
        'a listener': {
          leave: (socket) => void socket.on('drain', () => {}),
          isClean: (socket) => socket.listenerCount('drain') === 0,
        },
        'unread data': {
          leave: async (socket) => {
            socket.pause()
            socket.write('unread')
            while (socket.readableLength === 0) await new Promise((resolve) => setImmediate(resolve))
          },
          isClean: (socket) => roundTrip(socket),
        },
      },
    },
  )
})

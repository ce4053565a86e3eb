import { once } from 'node:events'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'

import { afterEach, expect, test, vi } from 'vitest'

import { TcpProxy } from '../../src/testing/index.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

// An echo server that remembers its sockets, behind a proxy.
async function start() {
  const served: Socket[] = []
  const ends: string[] = []
  const server = createServer((socket) => {
    served.push(socket)
    socket.on('error', () => ends.push('reset'))
    socket.on('end', () => ends.push('end'))
    socket.on('data', (chunk) => socket.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await TcpProxy.start({ port: (server.address() as AddressInfo).port })
  cleanups.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => served.forEach((socket) => socket.destroy()),
    () => proxy.close(),
  )
  return { proxy, server, served, ends }
}

async function open(proxy: TcpProxy) {
  const socket = connect(proxy.port, proxy.host)
  cleanups.push(() => socket.destroy())
  const heard: Buffer[] = []
  const errors: string[] = []
  socket.on('data', (chunk) => heard.push(chunk))
  socket.on('error', (error: NodeJS.ErrnoException) => errors.push(String(error.code)))
  await once(socket, 'connect')
  const text = () => Buffer.concat(heard).toString()
  return { socket, text, errors }
}

const until = async (isMet: () => boolean): Promise<void> => {
  await expect.poll(isMet, { interval: 2, timeout: 5_000 }).toBe(true)
}

test('what is written passes in both directions, and an end passes one side at a time', async () => {
  const { proxy, ends } = await start()
  const { socket, text } = await open(proxy)
  socket.write('over')
  await until(() => text() === 'over')
  expect(proxy.connections).toBe(1)
  expect(proxy.accepted).toBe(1)
  const closed = once(socket, 'close')
  socket.end(' and out')
  await closed
  expect(text()).toBe('over and out')
  expect(ends).toEqual(['end'])
  await until(() => proxy.connections === 0)
})

test('a megabyte passes whole, through a narrow window and an impatient sender', async () => {
  const { proxy } = await start()
  const { socket, text } = await open(proxy)
  const sent = 'cenote! '.repeat(131_072)
  socket.end(sent)
  await once(socket, 'close')
  expect(text() === sent).toBe(true)
})

test('cut resets both sides and lets new connections pass', async () => {
  const { proxy, ends } = await start()
  const { socket, text, errors } = await open(proxy)
  socket.write('hello')
  await until(() => text() === 'hello')
  const closed = once(socket, 'close').catch(() => {})
  expect(proxy.cut()).toBe(1)
  await closed
  expect(errors).toEqual(['ECONNRESET'])
  await until(() => ends.includes('reset'))
  const next = await open(proxy)
  next.socket.write('again')
  await until(() => next.text() === 'again')
})

test('a black hole swallows bytes and ends until it is healed; then they arrive late, and new connections too', async () => {
  const { proxy, served, ends } = await start()
  const { socket, text } = await open(proxy)
  socket.write('1')
  await until(() => text() === '1')
  proxy.blackhole()
  socket.write('2')
  served[0]?.write('from the server')
  const late = await open(proxy)
  late.socket.write('late')
  // A fence: the proxy notices that this client has left after it has read what the others wrote before.
  const gone = await open(proxy)
  gone.socket.destroy()
  await until(() => proxy.connections === 2)
  expect([text(), late.text(), served.length, ends]).toEqual(['1', '', 1, []])
  await proxy.heal()
  await until(() => text().length === 17 && late.text() === 'late')
  expect(text()).toMatch(/^1(2from the server|from the server2)$/)
  await until(() => ends.length === 1)
})

test('slow delays each byte, and a rate lets so many bytes pass each second', async () => {
  const { proxy } = await start()
  const { socket, text } = await open(proxy)
  proxy.slow({ delayMs: 40 })
  let startedAt = performance.now()
  socket.write('there and back')
  await until(() => text().length === 14)
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(78)
  proxy.slow({ bytesPerSecond: 1_000 })
  startedAt = performance.now()
  socket.write('x'.repeat(200))
  await until(() => text().length === 214)
  // 200 bytes at 1 byte/ms; the last portion of 20 bytes is not waited for.
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(178)
  socket.write('y'.repeat(20_000))
  await proxy.heal()
  await until(() => text().length === 20_214)
})

test('half-open: the server is gone, the client receives nothing, and is reset when it writes after the network healed', async () => {
  const { proxy, served, ends } = await start()
  const { socket, text, errors } = await open(proxy)
  socket.write('hello')
  await until(() => text() === 'hello')
  proxy.halfOpen()
  await until(() => ends.length === 1)
  const next = await open(proxy)
  next.socket.write('hi')
  await until(() => next.text() === 'hi')
  const serverClosed = once(served[1] as Socket, 'close')
  served[1]?.destroy()
  await serverClosed
  socket.write('nobody hears this')
  next.socket.write('nor this')
  const fence = await open(proxy)
  fence.socket.write('fence')
  await until(() => fence.text() === 'fence')
  expect([socket.destroyed, next.socket.destroyed, errors, next.errors]).toEqual([false, false, [], []])
  expect(socket.readableEnded).toBe(false)
  expect(proxy.connections).toBe(3)
  await proxy.heal()
  socket.write('now')
  next.socket.write('now')
  await until(() => socket.destroyed && next.socket.destroyed)
  expect([errors, next.errors]).toEqual([['ECONNRESET'], ['ECONNRESET']])
  fence.socket.write('!')
  await until(() => fence.text() === 'fence!')
})

test('refuse: new connections are rejected, open ones continue, and heal listens on the same port again', async () => {
  const { proxy } = await start()
  const { socket, text } = await open(proxy)
  proxy.refuse()
  proxy.refuse()
  const [error] = (await once(connect(proxy.port, proxy.host), 'error')) as [NodeJS.ErrnoException]
  expect(error.code).toBe('ECONNREFUSED')
  socket.write('still here')
  await until(() => text() === 'still here')
  await proxy.heal()
  const next = await open(proxy)
  next.socket.write('back')
  await until(() => next.text() === 'back')
})

test('a server that is not there: the client is reset', async () => {
  const { proxy, server, served } = await start()
  await open(proxy)
  await until(() => served.length === 1)
  server.close()
  const { socket, errors } = await open(proxy)
  await until(() => socket.destroyed)
  expect(errors).toEqual(['ECONNRESET'])
})

test('close resets what is open, and may be called twice; wrong numbers are rejected by name', async () => {
  const { proxy } = await start()
  const { socket } = await open(proxy)
  const closed = once(socket, 'close').catch(() => {})
  await Promise.all([proxy.close(), proxy.close()])
  await closed
  expect(proxy.connections).toBe(0)
  await expect(TcpProxy.start({ port: 0 })).rejects.toThrow('port must be an integer from 1 to 65535 (got 0)')
  await expect(TcpProxy.start({ host: '', port: 1 })).rejects.toThrow(
    'host must be a name or an address (got )',
  )
  expect(() => proxy.slow({ delayMs: -1 })).toThrow('delayMs must be milliseconds >= 0 (got -1)')
  expect(() => proxy.slow({ bytesPerSecond: 0 })).toThrow('bytesPerSecond must be a number > 0 (got 0)')
})

test('a connection that was cut in a black hole does not come back to life when the network heals', async () => {
  const { proxy, served } = await start()
  proxy.blackhole()
  await open(proxy)
  expect(proxy.cut()).toBe(1)
  await proxy.heal()
  const { socket, text } = await open(proxy)
  socket.write('alone')
  await until(() => text() === 'alone')
  expect(served).toHaveLength(1)
})

test('a cut at the moment at which a side is being ended leaves no socket behind', async () => {
  const server = createServer((socket) => void socket.resume().on('error', () => {}))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy = await TcpProxy.start({ port: (server.address() as AddressInfo).port })
  const sockets = (): number =>
    process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  await expect.poll(sockets).toBe(0)
  const client = connect({ port: proxy.port, host: proxy.host })
  client.on('error', () => {})
  await once(client, 'connect')
  await expect.poll(sockets).toBe(4)
  const { port } = server.address() as AddressInfo
  const realEnd = Socket.prototype.end
  const end = vi.spyOn(Socket.prototype, 'end').mockImplementation(function (this: Socket) {
    const ended = realEnd.apply(this, [] as never)
    // The proxy's own socket to the server.
    if (this.remotePort === port) proxy.cut()
    return ended
  })
  client.end()
  await expect.poll(() => end.mock.instances.length).toBeGreaterThanOrEqual(2)
  end.mockRestore()
  await expect.poll(sockets).toBe(0)
  await proxy.close()
  server.close()
})

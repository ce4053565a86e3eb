import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'

import { generate } from 'selfsigned'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'

import { Pool, type PoolOptions } from '../../src/index.ts'
import { type NetConfig, NetManager, type NetManagerOptions } from '../../src/managers/net.ts'
import { TcpProxy } from '../../src/testing/index.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

const certificate = async (names: { notBefore?: string; notAfter?: string; ip?: string } = {}) => {
  const { notBefore = '2020-01-01', notAfter = '2099-01-01', ip = '127.0.0.1' } = names
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'cenote.test' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: new Date(notBefore),
    notAfterDate: new Date(notAfter),
    extensions: [
      { name: 'basicConstraints', cA: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 7, ip },
          { type: 2, value: 'cenote.test' },
        ],
      },
    ],
  })
  return { key, cert }
}
let good: { key: string; cert: string }
beforeAll(async () => {
  good = await certificate()
})

type Transport = 'tcp' | 'tls' | 'unix'
// A server of lines: what it gets it says again, but for what begins with a dash.
async function start(transport: Transport, tls = good) {
  const served: Socket[] = []
  const serve = (socket: Socket): void => {
    served.push(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => chunk.toString().startsWith('-') || socket.write(chunk))
  }
  const server: Server = transport === 'tls' ? createTlsServer(tls, serve) : createServer(serve)
  const folder = transport === 'unix' ? await mkdtemp(join(tmpdir(), 'cenote-net-')) : ''
  if (transport === 'unix') server.listen(join(folder, 's'))
  else server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => served.forEach((socket) => socket.destroy()),
    () => (folder === '' ? undefined : rm(folder, { recursive: true })),
  )
  const config: NetConfig =
    transport === 'unix'
      ? { path: join(folder, 's') }
      : { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
  return { config: transport === 'tls' ? { ...config, tls: { ca: good.cert } } : config, served, server }
}

function make(config: NetConfig, options: NetManagerOptions = {}, poolOptions: PoolOptions<Socket> = {}) {
  const closed: string[] = []
  const firstClosed = Promise.withResolvers<string>()
  const pool = new Pool(new NetManager(config, options), {
    maxSize: 1,
    beforeClose: (_, reason) => {
      closed.push(reason)
      firstClosed.resolve(reason)
    },
    ...poolOptions,
  })
  cleanups.push(() => pool.close({ timeoutMs: 200 }))
  return { pool, closed, firstClosed: firstClosed.promise }
}

const ask = async (socket: Socket, question: string): Promise<string> => {
  const answer = once(socket, 'data')
  socket.write(question)
  return String((await answer)[0])
}
const connectError = (pool: Pool<Socket>) =>
  pool.acquire().then(
    () => undefined,
    (error: Error) => error,
  )

describe.each(['tcp', 'tls', 'unix'] as const)('NetManager over %s', (transport) => {
  test('a socket goes from caller to caller; what one left behind is undone for the next', async () => {
    const { config, served } = await start(transport)
    const { pool, closed } = make(config)
    const first = await pool.acquire()
    const { connection: socket } = first
    const listeners = () => socket.eventNames().map((event) => [event, socket.listenerCount(event)])
    const before = listeners()
    const left: string[] = []
    for (const event of ['close', 'error', 'timeout', 'drain', 'end'])
      socket.on(event, () => left.push(event))
    socket.setTimeout(60_000)
    expect(await ask(socket, 'one')).toBe('one')
    socket.pause()
    first.release()
    await pool.run(async (again) => {
      expect(again).toBe(socket)
      expect(listeners()).toEqual(before)
      expect([again.timeout ?? 0, again.readableFlowing]).toEqual([0, null])
      again.write('two')
      // Nobody listens yet: the answer waits for its reader.
      await once(served[0] as Socket, 'data')
      await new Promise((resolve) => setImmediate(resolve))
      expect(String((await once(again, 'data'))[0])).toBe('two')
    })
    expect([closed, served.length, left]).toEqual([[], 1, []])
    await pool.close()
    expect(left).toEqual([])
  })

  test('a socket that the server ends or resets while idle is lost at once', async () => {
    const { config, served } = await start(transport)
    const { pool, firstClosed } = make(config)
    expect(await pool.run((socket) => ask(socket, 'x'))).toBe('x')
    served[0]?.end()
    expect(await firstClosed).toBe('lost')
    const other = make(config)
    expect(await other.pool.run((socket) => ask(socket, 'x'))).toBe('x')
    served[1]?.destroy()
    expect(await other.firstClosed).toBe('lost')
    expect(await other.pool.run((socket) => ask(socket, 'y'))).toBe('y')
  })

  test('unread data at return is broken', async () => {
    const { config } = await start(transport)
    const { pool, firstClosed } = make(config)
    await pool.run(async (socket) => {
      socket.write('never read')
      await expect.poll(() => socket.readableLength).toBeGreaterThan(0)
    })
    expect(await firstClosed).toBe('broken')
    expect(await pool.run((socket) => ask(socket, 'clean'))).toBe('clean')
  })

  test('data that arrives while idle means lost at once, in every mode in which a stream can come back', async () => {
    const { config, served } = await start(transport)
    let opened = 0
    for (const use of [
      async (socket: Socket) => void (await ask(socket, 'flowing')),
      async (socket: Socket) => void socket.pause(),
      async (socket: Socket) => void socket.write('-no answer'),
      async () => {},
    ]) {
      const { pool, firstClosed } = make(config)
      await pool.run(use)
      // With TLS 1.3 the client is ready before the server is.
      await expect.poll(() => pool.state().idle === 1 && served.length).toBe(++opened)
      served.at(-1)?.write('a late answer')
      expect(await firstClosed).toBe('lost')
    }
  })

  test('a late answer that meets the next borrower before it has asked anything: not handed on', async () => {
    const { config, served } = await start(transport)
    const { pool, closed } = make(config)
    const first = await pool.acquire()
    const next = pool.acquire()
    first.connection.write('-slow question')
    first.release()
    const lease = await next
    await expect.poll(() => served.length).toBe(1)
    served[0]?.write('a late answer')
    await expect.poll(() => lease.connection.readableLength).toBeGreaterThan(0)
    lease.release()
    expect(closed).toEqual(['lost'])
  })

  test('a socket that is ended, destroyed, corked, decoding or still listened to does not go to the next', async () => {
    const { config } = await start(transport)
    for (const [use, reason] of [
      [(socket: Socket) => socket.end(), 'broken'],
      [(socket: Socket) => socket.destroy(), 'broken'],
      [(socket: Socket) => socket.cork(), 'hook'],
      [(socket: Socket) => socket.setEncoding('utf8'), 'hook'],
      [(socket: Socket) => socket.on('data', () => {}), 'hook'],
      [(socket: Socket) => socket.on('readable', () => {}), 'hook'],
    ] as const) {
      const { pool, firstClosed } = make(config)
      await pool.run(async (socket) => void use(socket))
      expect(await firstClosed).toBe(reason)
      expect(await pool.run((socket) => ask(socket, 'next'))).toBe('next')
    }
  })

  test('close sends what was written, and then ends the socket', async () => {
    const { config, served } = await start(transport)
    const { pool } = make(config)
    const heard: string[] = []
    await pool.run(async (socket) => {
      await ask(socket, 'x')
      served[0]?.on('data', (chunk) => heard.push(String(chunk)))
      socket.write('-goodbye')
    })
    const ended = once(served[0] as Socket, 'end')
    await pool.close()
    await ended
    expect(heard).toEqual(['-goodbye'])
  })
})

test('onConnect reads the greeting before anybody gets the socket; isReusable is asked at each return', async () => {
  const { config, server } = await start('tcp')
  server.prependListener('connection', (socket) => socket.write('220 hello'))
  const greetings: string[] = []
  let isReusable = true
  const { pool, firstClosed } = make(config, {
    onConnect: async (socket) => void greetings.push(String((await once(socket, 'data'))[0])),
    isReusable: () => isReusable,
  })
  for (const question of ['a', 'b']) expect(await pool.run((socket) => ask(socket, question))).toBe(question)
  expect(greetings).toEqual(['220 hello'])
  isReusable = false
  await pool.run((socket) => ask(socket, 'c'))
  expect(await firstClosed).toBe('hook')
})

test('an onConnect that fails is a connect failure, one that hangs too, and neither leaves a socket', async () => {
  const { config, served } = await start('tcp')
  const failing = make(
    config,
    { onConnect: () => Promise.reject(new Error('530 log in first')) },
    { retryConnect: false },
  )
  expect(await connectError(failing.pool)).toMatchObject({
    name: 'ConnectError',
    message: expect.stringContaining('530 log in first'),
  })
  const hanging = make(
    config,
    { onConnect: () => new Promise(() => {}) },
    { retryConnect: false, connectTimeoutMs: 50 },
  )
  expect(await connectError(hanging.pool)).toMatchObject({ name: 'ConnectError' })
  await expect.poll(() => served.length === 2 && served.every(({ destroyed }) => destroyed)).toBe(true)
})

test('isValid is a round trip; one that gets no answer costs the socket', async () => {
  const { config, served } = await start('tcp')
  const options = { isValid: async (socket: Socket) => (await ask(socket, 'ping')) === 'ping' }
  const { pool, closed } = make(config, options, { validationBypassMs: 0, validationTimeoutMs: 50 })
  const first = await pool.run((socket) => ask(socket, 'x').then(() => socket))
  expect(await pool.run((socket) => ask(socket, 'y').then(() => socket))).toBe(first)
  served[0]?.removeAllListeners('data')
  expect(await pool.run((socket) => ask(socket, 'z'))).toBe('z')
  expect(closed).toEqual(['invalid'])
  expect(first.destroyed).toBe(true)
})

describe('TLS that cannot work is fatal, with a clear error', () => {
  const fatal = async (config: NetConfig) => {
    const { pool } = make(config)
    const error = (await connectError(pool)) as Error & { cause: Error & { code: string } }
    expect(error.name).toBe('ConnectError')
    return [error.cause.code, error.message]
  }
  test('an expired certificate', async () => {
    const expired = await certificate({ notAfter: '2020-01-02' })
    const { config } = await start('tls', expired)
    const [code, message] = await fatal({ ...config, tls: { ca: expired.cert } })
    expect(code).toBe('CERT_HAS_EXPIRED')
    expect(message).toMatch(/no TLS with 127\.0\.0\.1:\d+: certificate has expired; renew the certificate/)
  })
  test('a certificate for another name, and the right one through servername', async () => {
    const other = await certificate({ ip: '127.0.0.2' })
    const { config } = await start('tls', other)
    const [code, message] = await fatal({ ...config, tls: { ca: other.cert } })
    expect(code).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
    expect(message).toContain('connect by a name that the certificate holds, or set tls.servername')
    const { pool } = make({ ...config, tls: { ca: other.cert, servername: 'cenote.test' } })
    expect(await pool.run((socket) => ask(socket, 'x'))).toBe('x')
  })
  test('a certificate that nobody known has signed', async () => {
    const { config } = await start('tls')
    const [code, message] = await fatal({ ...config, tls: true })
    expect(code).toBe('DEPTH_ZERO_SELF_SIGNED_CERT')
    expect(message).toContain('give the authority that signed it as tls.ca')
  })
  test('a server that does not speak TLS', async () => {
    const { config, server } = await start('tcp')
    server.prependListener('connection', (socket) => socket.write('220 what?\r\n'))
    const [code, message] = await fatal({ ...config, tls: true })
    expect(code).toMatch(/^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/)
    expect(message).toContain('is this the port on which the server speaks TLS?')
  })
})

test('a connect that is given up leaves no socket, before and after TCP is connected', async () => {
  // Accepts and says nothing: TLS never comes about.
  const { config, served } = await start('tcp')
  const { pool } = make({ ...config, tls: true }, {}, { connectTimeoutMs: 50, retryConnect: false })
  expect(await connectError(pool)).toMatchObject({ name: 'ConnectError' })
  await expect.poll(() => served.length > 0 && served.every(({ destroyed }) => destroyed)).toBe(true)
  const reason = new Error('not wanted any more')
  const manager = new NetManager(config)
  const controller = new AbortController()
  const connecting = manager.connect({ signal: controller.signal, lost: () => {} })
  controller.abort(reason)
  await expect(connecting).rejects.toBe(reason)
  await expect(manager.connect({ signal: AbortSignal.abort(reason), lost: () => {} })).rejects.toBe(reason)
  await expect.poll(() => served.every(({ destroyed }) => destroyed)).toBe(true)
})

test('a network that is cut means lost at once; in a black hole the check fails in time, and after it all is well', async () => {
  const { config } = await start('tcp')
  await using proxy = await TcpProxy.start({ port: config.port as number })
  const { pool, closed, firstClosed } = make(
    { host: proxy.host, port: proxy.port },
    { isValid: async (socket) => (await ask(socket, 'ping')) === 'ping' },
    { validationBypassMs: 0, validationTimeoutMs: 50, connectBackoff: { minMs: 5, maxMs: 10 } },
  )
  await pool.run((socket) => ask(socket, 'x'))
  proxy.cut()
  expect(await firstClosed).toBe('lost')
  await pool.run((socket) => ask(socket, 'y'))
  proxy.blackhole()
  // The new connection is accepted by the system, but its caller gets no answer.
  const asked = pool.run((socket) => ask(socket, 'z'))
  await expect.poll(() => closed).toEqual(['lost', 'invalid'])
  await proxy.heal()
  expect(await asked).toBe('z')
})

test('nobody listens: a clear error that a retry may mend; no right to the socket, a path too long: none can', async () => {
  const { pool } = make({ host: '127.0.0.1', port: 1 }, {}, { retryConnect: false })
  expect((await connectError(pool))?.message).toContain('connect ECONNREFUSED 127.0.0.1:1')
  const { isFatal } = NetManager.prototype
  for (const code of ['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR'])
    expect(isFatal({ code })).toBe(false)
  for (const code of [
    'EACCES',
    'ERR_INVALID_ARG_TYPE',
    'CERT_NOT_YET_VALID',
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  ])
    expect(isFatal({ code })).toBe(true)
  expect(isFatal(undefined)).toBe(false)
})

test('wrong arguments are refused by name', () => {
  const wrong = (config: unknown, options?: unknown) => () =>
    new NetManager(config as never, options as never)
  expect(wrong(undefined)).toThrow('config is undefined: allowed is { host, port } or { path }')
  expect(wrong({})).toThrow('config has neither port and path: allowed is one of them')
  expect(wrong({ port: 1, path: '/x' })).toThrow('config has both port and path')
  expect(wrong({ port: 0 })).toThrow('port is 0: allowed is a whole number from 1 to 65535')
  expect(wrong({ port: 1, host: '' })).toThrow("host is ''")
  expect(wrong({ port: 1, tls: 'yes' })).toThrow('tls is yes: allowed is true, false or')
  expect(wrong({ port: 1 }, { noDelay: 1 })).toThrow('noDelay is 1: allowed is true or false')
  expect(wrong({ port: 1 }, { tcpKeepAliveMs: 0 })).toThrow(
    'tcpKeepAliveMs is 0: allowed is milliseconds > 0',
  )
  expect(wrong({ port: 1 }, { onConnect: 1 })).toThrow('onConnect is 1: allowed is a function')
  expect(wrong({ port: 1 }, { nodelay: true })).toThrow('nodelay is not one of the options of NetManager')
})

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'

import { generate } from 'selfsigned'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'

import { freePort } from '../servers/free-port.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import {
  type NetConfig,
  type NetConfigSource,
  NetManager,
  type NetManagerOptions,
} from '../../src/managers/net/net.ts'
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

function make(
  config: NetConfigSource,
  options: NetManagerOptions = {},
  poolOptions: PoolOptions<Socket> = {},
) {
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

  test('a socket that the server ends or resets while idle is lost immediately', async () => {
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

  test('data that arrives while idle means lost immediately, in every mode in which a stream can come back', async () => {
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

  test('a late answer that arrives before the next caller has sent anything does not reach that caller', async () => {
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

describe('work that fails while its answer is under way', () => {
  // The server does not answer what begins with a dash.
  const slow = async () => {
    const { config } = await start('tcp')
    return make(config)
  }
  const giveUp = async (socket: Socket): Promise<never> => {
    const controller = new AbortController()
    const answer = once(socket, 'data', { signal: controller.signal })
    socket.write('-secret of A')
    controller.abort(new Error('the caller of A left'))
    await answer
    throw new Error('not reached')
  }

  test('a wait that is aborted closes the socket, and the next caller gets its own answer', async () => {
    const { pool, closed } = await slow()
    const first = await pool.run((socket) => ask(socket, 'warm').then(() => socket))
    await expect(pool.run(giveUp)).rejects.toThrow('aborted')
    expect(closed).toEqual(['hook'])
    await pool.run(async (socket) => {
      expect(socket).not.toBe(first)
      expect(await ask(socket, 'B')).toBe('B')
    })
  })

  test('a second request that is still unanswered closes the socket, although the first was answered', async () => {
    const { pool, closed } = await slow()
    await expect(
      pool.run(async (socket) => {
        await ask(socket, 'answered')
        await giveUp(socket)
      }),
    ).rejects.toThrow('aborted')
    expect(closed).toEqual(['hook'])
  })

  test('it is not repeated by retries, because the connection did not break', async () => {
    const { pool } = await slow()
    let calls = 0
    const work = (socket: Socket): Promise<never> => (calls++, giveUp(socket))
    await expect(pool.run(work, { retries: 3 })).rejects.toThrow('aborted')
    expect(calls).toBe(1)
  })

  test('work that fails before a write, or after its answer, keeps its socket', async () => {
    const { pool, closed } = await slow()
    const first = await pool.run((socket) => ask(socket, 'warm').then(() => socket))
    await expect(pool.run(() => Promise.reject(new Error('before')))).rejects.toThrow('before')
    await expect(
      pool.run(async (socket) => Promise.reject(new Error(await ask(socket, 'after')))),
    ).rejects.toThrow('after')
    // A failure of the past does not count against the next holder.
    await pool.run(async (socket) => void socket.write('-no answer is expected'))
    expect(await pool.run(async (socket) => socket)).toBe(first)
    expect(closed).toEqual([])
  })
})

test('a config may be a function, called for each connect; its failure and a wrong result are connect failures', async () => {
  const [one, two] = [await start('tcp'), await start('tcp')]
  const configs = [one.config, two.config]
  const pool = new Pool(new NetManager(async () => configs.shift() as NetConfig), { maxSize: 2 })
  cleanups.push(() => pool.close({ timeoutMs: 200 }))
  const leases = await Promise.all([pool.acquire(), pool.acquire()])
  expect(new Set(leases.map(({ connection }) => connection.remotePort))).toEqual(
    new Set([one.config.port, two.config.port]),
  )
  for (const lease of leases) lease.release()
  const none = make(() => ({}) as NetConfig)
  expect((await connectError(none.pool))?.message).toContain(
    'config must be an object with either port or path',
  )
  const failing = make(() => Promise.reject(new TypeError('fetch failed')), {}, { retryConnect: false })
  const error = (await connectError(failing.pool)) as Error & { cause: unknown }
  expect(error.message).toContain('fetch failed')
  expect(new NetManager(one.config).isFatal(error.cause)).toBe(false)
})

test('an idle socket that is unref lets the process end, and ref makes it keep the process alive again', async () => {
  const { config } = await start('tcp')
  const manager = new NetManager(config)
  const socket = await manager.connect({ signal: new AbortController().signal, lost: () => {} })
  cleanups.push(() => manager.close(socket))
  const handle = Reflect.get(socket, '_handle') as { hasRef(): boolean }
  manager.unref(socket)
  expect(handle.hasRef()).toBe(false)
  manager.ref(socket)
  expect(handle.hasRef()).toBe(true)
})

test('a name with several addresses that all refuse: host, port and the first inner message', async () => {
  const port = await freePort()
  const lookup = (_: string, __: object, done: (error: null, found: object[]) => void): void =>
    done(null, [
      { address: '127.0.0.1', family: 4 },
      { address: '127.0.0.2', family: 4 },
    ])
  const { pool } = make({ host: 'db.test', port, lookup }, {}, { retryConnect: false })
  const { cause } = (await connectError(pool)) as Error & { cause: Error & { code: string } }
  expect(cause.message).toBe(
    `cannot connect to db.test:${port}: connect ECONNREFUSED 127.0.0.1:${port} (and 1 more address)`,
  )
  expect([cause.code, cause.cause]).toEqual(['ECONNREFUSED', expect.any(AggregateError)])
})

test('onConnect reads the greeting before any caller gets the socket; isReusable runs at each return', async () => {
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
  test('a certificate of an unknown authority', async () => {
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

test('a network that is cut means lost immediately; in a black hole the check fails in time, and after it all is well', async () => {
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

test('no server: a clear error that a retry may mend; no right to the socket, a path too long: none can', async () => {
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

test('wrong arguments are rejected by name', () => {
  const wrong = (config: unknown, options?: unknown) => () =>
    new NetManager(config as never, options as never)
  expect(wrong(undefined)).toThrow(
    'config must be { host, port } or { path }, or a function that returns it (got undefined)',
  )
  expect(wrong({})).toThrow("config must be an object with either port or path (got 'neither')")
  expect(wrong({ port: 1, path: '/x' })).toThrow("(got 'both')")
  expect(wrong({ port: 0 })).toThrow('port must be an integer from 1 to 65535 (got 0)')
  expect(wrong({ port: 1, host: '' })).toThrow("host must be a string that is not empty (got '')")
  expect(wrong({ port: 1, tls: 'yes' })).toThrow("the options of node:tls (got 'yes')")
  for (const [option, value] of [
    ['noDelay', 1],
    ['tcpKeepAliveMs', 0],
    ['onConnect', 1],
    ['nodelay', true],
  ] as const)
    expect(wrong({ port: 1 }, { [option]: value })).toThrow(
      expect.objectContaining({ name: 'PoolOptionsError', option, value }),
    )
})

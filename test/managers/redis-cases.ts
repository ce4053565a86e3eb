import dns from 'node:dns'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'

import { createClient } from 'redis'
import { generate } from 'selfsigned'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'

import { freePort } from '../servers/free-port.ts'
import { type PrivateRedis, startRedis } from '../servers/redis.ts'
import { type ConnectionManager, Pool, type PoolOptions } from '../../src/index.ts'
import { describeManager, TcpProxy } from '../../src/testing/index.ts'

/** Where and as whom to connect; each driver has names of its own for it. */
export interface RedisTarget {
  readonly host: string
  readonly port: number
  readonly username?: string
  readonly password?: string
  readonly database?: number
  /** The name in CLIENT LIST. */
  readonly name?: string
  readonly tls?: object
}

/** What the cases need to know of a driver. */
export interface DrivenRedis<C> {
  readonly name: string
  manager(
    target: RedisTarget | string,
    options?: { resetOnRelease?: 'none' | 'undo'; onConnect?: (connection: C) => unknown },
  ): ConnectionManager<C>
  call(connection: C, ...args: string[]): Promise<unknown>
  subscribe(connection: C, channel: string): Promise<unknown>
  /** A transaction by the driver's own means: WATCH, MULTI, SET, EXEC. */
  transaction(connection: C, key: string, value: string): Promise<unknown>
}

const url = inject('redisUrl')
/** A config of either driver that asks for reconnection. */
const reconnecting = (target: RedisTarget): object => ({
  ...target,
  retryStrategy: () => 1,
  reconnectOnError: () => true,
  enableOfflineQueue: true,
  disableOfflineQueue: false,
  socket: { reconnectStrategy: 1 },
})
const never = new AbortController().signal
const targetOf = (text: string): RedisTarget => {
  const { hostname: host, port, username, password } = new URL(text)
  return {
    host,
    port: Number(port || 6379),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
  }
}

/** A server that refuses what Redis refuses while it loads its data, which a real one does too fast to be seen. */
function loadingServer() {
  let isLoading = true
  const state = { refused: 0 }
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (data) => {
      for (const [, command] of String(data).matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)) {
        const name = command?.toUpperCase()
        if (name === 'HELLO') socket.write('%1\r\n+proto\r\n:3\r\n')
        else if (name === 'CLIENT') socket.write('+OK\r\n')
        else if (isLoading) {
          state.refused++
          socket.write('-LOADING Redis is loading the dataset in memory\r\n')
        } else socket.write(name === 'PING' ? '+PONG\r\n' : '+loaded\r\n')
      }
    })
  })
  return {
    get refused() {
      return state.refused
    },
    listen: async (): Promise<number> => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return (server.address() as { port: number }).port
    },
    finish: () => void (isLoading = false),
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

/** What every manager of Redis must do, on a shared server and on one that can be restarted and suspended. */
export function describeRedis<C>(driven: DrivenRedis<C>): void {
  const { manager, call } = driven
  const pools: Pool<C>[] = []
  const make = (
    options: PoolOptions<C> = {},
    managerOptions: Parameters<typeof manager>[1] = {},
    target: RedisTarget | string = url,
  ): Pool<C> => {
    const pool = new Pool<C>(manager(target, managerOptions), options)
    pools.push(pool)
    return pool
  }
  const admin = createClient({ url: url === '' ? 'redis://127.0.0.1:1' : url })
  admin.on('error', () => {})
  const idOf = async (connection: C): Promise<string> => String(await call(connection, 'CLIENT', 'ID'))
  const kill = (id: string): Promise<unknown> => admin.sendCommand(['CLIENT', 'KILL', 'ID', id])
  const describedBy = async (connection: C): Promise<string> =>
    String(await call(connection, 'CLIENT', 'INFO'))
  const prefix = `cenote:${process.pid}:${Math.trunc(Math.random() * 1e9)}:`
  const failure = async (
    promise: Promise<unknown>,
  ): Promise<{ name: string; cause: Error & { code?: string } }> =>
    promise.then(
      () => expect.unreachable('it did not fail'),
      (error: unknown) => error as never,
    )

  beforeAll(async () => {
    if (url !== '') await admin.connect()
  })
  afterAll(async () => {
    if (!admin.isReady) return
    for await (const keys of admin.scanIterator({ MATCH: `${prefix}*` }))
      if (keys.length > 0) await admin.del(keys)
    admin.destroy()
  })
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 500 })))
  })

  describe.skipIf(url === '')(`${driven.name} on a real server`, () => {
    if (url === '') return
    const ids = new WeakMap<object, string>()
    const name = `conformance-${process.pid}-${Math.trunc(Math.random() * 1e9)}`
    const isPlain = async (connection: C): Promise<boolean> => {
      const info = await describedBy(connection)
      return info.includes('flags=N') && / sub=0 .*multi=-1 /.test(info) && info.includes(' db=0 ')
    }
    describeManager<C>(
      driven.name,
      (address) => {
        const made = manager({ ...targetOf(url), name, ...address })
        const { connect } = made
        // The server knows a connection by its number.
        made.connect = async (context) => {
          const connection = await connect.call(made, context)
          ids.set(connection as object, await idOf(connection))
          return connection
        }
        return made
      },
      {
        server: targetOf(url),
        use: (connection) => call(connection, 'PING'),
        kill: (connection) => kill(ids.get(connection as object) ?? ''),
        count: async () =>
          ((await admin.sendCommand(['CLIENT', 'LIST'])) as unknown as string)
            .split('\n')
            .filter((line) => line.includes(`name=${name}`)).length,
        fatal: {
          'a wrong password': () =>
            manager({ ...targetOf(url), username: 'no-such-user', password: 'wrong' }),
          'a database that does not exist': () => manager({ ...targetOf(url), database: 9_999 }),
        },
        dirty: {
          'an open MULTI': {
            leave: async (connection) => {
              await call(connection, 'MULTI')
              await call(connection, 'SET', `${prefix}multi`, '1')
            },
            isClean: isPlain,
          },
          'a MULTI with an error in it': {
            leave: async (connection) => {
              await call(connection, 'MULTI')
              await call(connection, 'NO-SUCH-COMMAND').catch(() => {})
            },
            isClean: isPlain,
          },
          'a WATCH': {
            leave: (connection) => call(connection, 'WATCH', `${prefix}watched`),
            isClean: async (connection) => {
              await admin.set(`${prefix}watched`, Math.random())
              return (await driven.transaction(connection, `${prefix}other`, '1')) !== null
            },
          },
          'another database': { leave: (connection) => call(connection, 'SELECT', '3'), isClean: isPlain },
          'another database selected inside a MULTI': {
            leave: async (connection) => {
              await call(connection, 'SELECT', '3')
              await call(connection, 'MULTI')
              await call(connection, 'SELECT', '0')
            },
            isClean: isPlain,
          },
          'a subscription': {
            leave: (connection) => driven.subscribe(connection, `${prefix}channel`),
            isClean: isPlain,
          },
          'a blocking command that waits': {
            leave: (connection) => {
              call(connection, 'BLPOP', `${prefix}nothing`, '0').catch(() => {})
            },
            isClean: isPlain,
          },
          MONITOR: {
            leave: (connection) => {
              call(connection, 'MONITOR').catch(() => {})
            },
            isClean: isPlain,
          },
          'CLIENT REPLY OFF': {
            leave: (connection) => {
              call(connection, 'CLIENT', 'REPLY', 'OFF').catch(() => {})
            },
            isClean: isPlain,
          },
          'CLIENT REPLY SKIP': {
            leave: (connection) => {
              call(connection, 'CLIENT', 'REPLY', 'SKIP').catch(() => {})
              call(connection, 'PING').catch(() => {})
            },
            isClean: isPlain,
          },
          'CLIENT TRACKING': {
            leave: (connection) => call(connection, 'CLIENT', 'TRACKING', 'ON'),
            isClean: isPlain,
          },
          'another name': {
            leave: (connection) => call(connection, 'CLIENT', 'SETNAME', 'somebody'),
            isClean: async (connection) => (await describedBy(connection)).includes(`name=${name}`),
          },
        },
      },
    )

    test('what can be undone keeps its connection, and a clean one costs nothing at return', async () => {
      const pool = make({ maxSize: 1 })
      const first = await pool.run(idOf)
      await pool.run((connection) => call(connection, 'SELECT', '2'))
      await pool.run(async (connection) => {
        await call(connection, 'WATCH', `${prefix}a`)
        await call(connection, 'MULTI')
      })
      const commands = (text: string): number => Number(/tot-net-in=(\d+)/.exec(text)?.[1] ?? 0)
      const [before, after] = [await pool.run(describedBy), await pool.run(describedBy)]
      expect(await pool.run(idOf)).toBe(first)
      expect(commands(after) - commands(before)).toBeLessThan(40)
      expect(before).toContain(' db=0 ')
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test("with resetOnRelease 'none' what would have to be undone is closed", async () => {
      const pool = make({ maxSize: 1 }, { resetOnRelease: 'none' })
      for (const left of [['MULTI'], ['WATCH', `${prefix}a`], ['SELECT', '1']]) {
        const first = await pool.run(async (connection) => {
          await call(connection, ...left)
          return pool.state().statistics.connects.opened
        })
        await pool.run((connection) => call(connection, 'PING'))
        expect(pool.state().statistics.connects.opened).toBe(first + 1)
      }
    })

    test('a transaction by the driver leaves its connection clean', async () => {
      const pool = make({ maxSize: 1 }, { resetOnRelease: 'none' })
      const first = await pool.run(idOf)
      await pool.run((connection) => driven.transaction(connection, `${prefix}t`, '5'))
      expect(
        await pool.run(async (connection) => [
          await idOf(connection),
          await call(connection, 'GET', `${prefix}t`),
        ]),
      ).toEqual([first, '5'])
    })

    test('the database of the config is the one that a connection goes back to', async () => {
      const pool = make({ maxSize: 1 }, {}, { ...targetOf(url), database: 5 })
      expect(await pool.run(describedBy)).toContain(' db=5 ')
      await pool.run((connection) => call(connection, 'SELECT', '0'))
      expect(await pool.run(describedBy)).toContain(' db=5 ')
      expect(pool.state().statistics.connects.opened).toBe(1)
    })

    test('onConnect: its settings stay, an error or an open MULTI of it fails the connect', async () => {
      const pool = make(
        { maxSize: 1 },
        { onConnect: (connection) => call(connection, 'CLIENT', 'SETNAME', 'mine') },
      )
      await pool.run((connection) => call(connection, 'SELECT', '1'))
      expect(await pool.run(describedBy)).toContain('name=mine')
      expect(pool.state().statistics.connects.opened).toBe(1)
      const failed = async (onConnect: (connection: C) => unknown): Promise<string> =>
        (await failure(make({ retryConnect: false }, { onConnect }).acquire())).cause.message
      expect(await failed(() => Promise.reject(new Error('not mine')))).toBe('not mine')
      expect(await failed((connection) => call(connection, 'MULTI'))).toContain('left a transaction open')
    })

    test('a blocking command that is served, and an error of a command, keep their connection', async () => {
      const pool = make({ maxSize: 1 })
      const first = await pool.run(idOf)
      await pool.run(async (connection) => {
        const popped = call(connection, 'BLPOP', `${prefix}list`, '5')
        await admin.rPush(`${prefix}list`, 'x')
        expect(await popped).toEqual([`${prefix}list`, 'x'])
      })
      await expect(pool.run((connection) => call(connection, 'GET'))).rejects.toThrow(
        'wrong number of arguments',
      )
      expect(await pool.run(idOf)).toBe(first)
    })

    test('an idle connection is removed the moment it is killed; a retried run is served by another', async () => {
      const closed = Promise.withResolvers<string>()
      const pool = make({ maxSize: 1, beforeClose: (_, reason) => closed.resolve(reason) })
      await kill(await pool.run(idOf))
      expect(await closed.promise).toBe('lost')
      const seen: string[] = []
      const result = await pool.run(
        async (connection) => {
          seen.push(await idOf(connection))
          if (seen.length === 1)
            await Promise.all([call(connection, 'BLPOP', `${prefix}nothing`, '0'), kill(seen[0] as string)])
          return 'served'
        },
        { retries: 1 },
      )
      expect(result).toBe('served')
      expect(new Set(seen).size).toBe(2)
    })

    test('cancel: a blocking command rejects, also one that waits behind it, and the connection stays in use', async () => {
      const made = manager(url)
      const pool = new Pool<C>(made, { maxSize: 1 })
      pools.push(pool)
      const first = await pool.run(idOf)
      const lease = await pool.acquire()
      const blocked = [0, 1].map((index) => call(lease.connection, 'BLPOP', `${prefix}nothing${index}`, '0'))
      const outcomes = Promise.allSettled(blocked)
      await made.cancel?.(lease.connection, never)
      for (const outcome of await outcomes)
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: { message: expect.stringContaining('UNBLOCKED client unblocked') },
        })
      lease.release()
      expect(await pool.run(idOf)).toBe(first)
    })

    test('cancel leaves a connection alone that runs nothing, and opens none for it', async () => {
      let opened = 0
      const made = manager((() => (opened++, url)) as never)
      const connection = await made.connect({ signal: never, lost: () => {} })
      await made.cancel?.(connection, never)
      expect([opened, await call(connection, 'PING')]).toEqual([1, 'PONG'])
      await made.close(connection)
    })

    test('cancel ends with its signal when the command cannot be stopped', async () => {
      const proxy = await TcpProxy.start(targetOf(url))
      const made = manager({ ...targetOf(url), host: proxy.host, port: proxy.port })
      const connection = await made.connect({ signal: never, lost: () => {} })
      try {
        proxy.blackhole()
        call(connection, 'BLPOP', `${prefix}nothing`, '0').catch(() => {})
        const controller = new AbortController()
        const cancelled = Promise.resolve(made.cancel?.(connection, controller.signal))
        controller.abort(new Error('took too long'))
        await expect(cancelled).rejects.toThrow('took too long')
      } finally {
        await made.close(connection)
        await proxy.close()
      }
    })

    test('close resolves once the server has dropped the connection, also a blocked one', async () => {
      const made = manager(url)
      const ids: string[] = []
      for (const use of [
        () => {},
        (connection: C) => void call(connection, 'BLPOP', `${prefix}nothing`, '0').catch(() => {}),
      ]) {
        const connection = await made.connect({ signal: never, lost: () => expect.unreachable() })
        ids.push(await idOf(connection))
        use(connection)
        await made.close(connection)
      }
      const list = (await admin.sendCommand(['CLIENT', 'LIST', 'ID', ...ids])) as unknown as string
      expect(list.trim()).toBe('')
    })

    test('unref lets the process end while the connection is idle, and ref undoes it', async () => {
      const made = manager(url)
      const sockets = (): number =>
        process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length
      const before = sockets()
      const connection = await made.connect({ signal: never, lost: () => {} })
      expect(sockets()).toBe(before + 1)
      made.unref?.(connection)
      expect(sockets()).toBe(before)
      made.ref?.(connection)
      expect(sockets()).toBe(before + 1)
      await made.close(connection)
    })

    test('a driver that is configured to reconnect does not: the connection is lost, and stays broken', async () => {
      const made = manager(reconnecting(targetOf(url)) as RedisTarget)
      const lost = Promise.withResolvers<unknown>()
      const connection = await made.connect({ signal: never, lost: lost.resolve })
      await kill(await idOf(connection))
      await lost.promise
      await expect(call(connection, 'PING')).rejects.toThrow()
      expect(made.hasBroken(connection)).toBe(true)
      await made.close(connection)
    })

    test('the error of a failed login holds no password', async () => {
      const pool = make({}, {}, { ...targetOf(url), username: 'nobody', password: 'hunter2' })
      const error = await failure(pool.acquire())
      expect(error.cause.message).toContain('WRONGPASS')
      expect(inspect(error, { depth: 9 })).not.toContain('hunter2')
    })

    test('a user without the right to PING can be pooled', async () => {
      const user = `cenote-${process.pid}-${Math.trunc(Math.random() * 1e9)}`
      await admin.sendCommand(['ACL', 'SETUSER', user, 'on', '>secret', '~*', '+@all', '-ping'])
      try {
        const pool = make(
          { validationBypassMs: 0 },
          {},
          { ...targetOf(url), username: user, password: 'secret' },
        )
        expect(await pool.run((connection) => call(connection, 'ACL', 'WHOAMI'))).toBe(user)
        expect(await pool.run((connection) => call(connection, 'ACL', 'WHOAMI'))).toBe(user)
        const wrong = make({}, {}, { ...targetOf(url), username: user, password: 'wrong' })
        expect((await failure(wrong.acquire())).cause.message).toContain('WRONGPASS')
      } finally {
        await admin.sendCommand(['ACL', 'DELUSER', user])
      }
    })
  })

  describe.skipIf(url === '')(`${driven.name} on a server of its own`, () => {
    if (url === '') return
    let own: PrivateRedis
    beforeAll(async () => {
      own = await startRedis()
    })
    afterAll(() => own.destroy())
    const quick = { maxSize: 2, connectBackoff: { minMs: 10, maxMs: 50 } }

    test('no password, a wrong one and a right one', async () => {
      const { host, port, password } = targetOf(own.url)
      const pool = make(quick, {}, { host, port, password: password ?? '' })
      expect(await pool.run((connection) => call(connection, 'PING'))).toBe('PONG')
      for (const wrong of [{}, { password: 'wrong' }]) {
        const { name: kind, cause } = await failure(make(quick, {}, { host, port, ...wrong }).acquire())
        expect(kind).toBe('ConnectError')
        expect(cause.message).toMatch(/^(NOAUTH|WRONGPASS)/)
      }
    })

    test('a restart: what is idle is gone immediately, and callers are served when it is back', async () => {
      const pool = make(quick, {}, own.url)
      const leases = await Promise.all([pool.acquire(), pool.acquire()])
      for (const lease of leases) lease.release()
      await own.stop()
      await expect.poll(() => pool.state().connections).toBe(0)
      const waiting = pool.run((connection) => call(connection, 'PING'))
      await own.start()
      expect(await waiting).toBe('PONG')
    })

    test('a server that is suspended costs a caller its deadline, and is used again when it is resumed', async () => {
      const pool = make(
        { ...quick, validationBypassMs: 0, validationTimeoutMs: 100, connectTimeoutMs: 100 },
        {},
        own.url,
      )
      await pool.run((connection) => call(connection, 'PING'))
      own.suspend()
      try {
        expect(await failure(pool.acquire({ timeoutMs: 400 }))).toMatchObject({ name: 'AcquireTimeoutError' })
      } finally {
        own.resume()
      }
      expect(await pool.run((connection) => call(connection, 'PING'))).toBe('PONG')
    })

    test('a connection to a server that was demoted is closed when a write is rejected', async () => {
      const pool = make({ maxSize: 1 }, {}, own.url)
      const first = await pool.run(idOf)
      const demote = createClient({ url: own.url })
      demote.on('error', () => {})
      await demote.connect()
      try {
        await demote.sendCommand(['REPLICAOF', '127.0.0.1', String(await freePort())])
        await expect(pool.run((connection) => call(connection, 'SET', 'a', '1'))).rejects.toThrow('READONLY')
        expect(pool.state().statistics.closed.broken).toBe(1)
        // Also when the holder catches the error, and when the server refuses it inside a transaction.
        await pool.run((connection) => call(connection, 'SET', 'a', '1').catch(() => {}))
        expect(pool.state().statistics.closed.broken).toBe(2)
        await pool.run((connection) => driven.transaction(connection, 'a', '1').catch(() => {}))
        expect(pool.state().statistics.closed.broken).toBe(3)
        await demote.sendCommand(['REPLICAOF', 'NO', 'ONE'])
        expect(
          await pool.run(
            async (connection) => (await call(connection, 'SET', 'a', '1')) === 'OK' && idOf(connection),
          ),
        ).not.toBe(first)
      } finally {
        demote.destroy()
      }
    })

    test('a server that loads its data is not connected to until it has', async () => {
      const loading = loadingServer()
      const port = await loading.listen()
      const pool = make(quick, {}, { host: '127.0.0.1', port })
      const waiting = pool.run((connection) => call(connection, 'GET', 'a'))
      await expect.poll(() => loading.refused).toBeGreaterThan(1)
      expect(pool.state().connections).toBe(0)
      loading.finish()
      expect(await waiting).toBe('loaded')
      await pool.close()
      await loading.close()
    })

    test('a server at maxclients is named, and connecting is retried', async () => {
      const admin = createClient({ url: own.url })
      admin.on('error', () => {})
      await admin.connect()
      const limit = String(
        await admin
          .sendCommand(['CONFIG', 'GET', 'maxclients'])
          .then((reply) => Object.values(reply as object).at(-1)),
      )
      await admin.sendCommand(['CONFIG', 'SET', 'maxclients', '1'])
      try {
        const { cause } = await failure(make({ retryConnect: false }, {}, own.url).acquire())
        expect(manager(own.url).isFatal?.(cause)).toBe(false)
        // One of the drivers never reads the reason that the server sends.
        expect(cause.message).toContain(`127.0.0.1:${own.port}`)
        expect(cause.message).toContain('has reached maxclients')
      } finally {
        await admin.sendCommand(['CONFIG', 'SET', 'maxclients', limit])
        admin.destroy()
      }
    })

    test('TLS: trusted, not trusted, expired, and a server without it', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'cenote-redis-tls-'))
      const certificate = async (days: { notBeforeDate?: Date; notAfterDate?: Date }) => {
        const made = await generate([{ name: 'commonName', value: 'localhost' }], {
          ...days,
          extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
        })
        const [key, cert] = [join(folder, `${Math.random()}.key`), join(folder, `${Math.random()}.crt`)]
        writeFileSync(key, made.private)
        writeFileSync(cert, made.cert)
        return {
          ca: made.cert,
          flags: ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-auth-clients', 'no'],
        }
      }
      const good = await certificate({})
      const expired = await certificate({
        notBeforeDate: new Date('2020-01-01'),
        notAfterDate: new Date('2020-02-01'),
      })
      const servers: PrivateRedis[] = []
      const start = async (flags: string[]): Promise<number> => {
        const tlsPort = await freePort()
        servers.push(await startRedis({ flags: ['--tls-port', String(tlsPort), ...flags] }))
        return tlsPort
      }
      try {
        const [port, oldPort] = [await start(good.flags), await start(expired.flags)]
        const target = { host: 'localhost', password: 'cenote' }
        const pool = make({}, {}, { ...target, port, tls: { ca: good.ca } })
        expect(await pool.run((connection) => call(connection, 'PING'))).toBe('PONG')
        for (const [wrong, code] of [
          [{ ...target, port, tls: {} }, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
          [{ ...target, port: oldPort, tls: { ca: expired.ca } }, 'CERT_HAS_EXPIRED'],
        ] as const) {
          const { name: kind, cause } = await failure(make({}, {}, wrong).acquire())
          expect([kind, cause.code]).toEqual(['ConnectError', code])
        }
        const plain = await failure(make({ acquireTimeoutMs: 2_000 }, {}, { ...target, port }).acquire())
        expect(String(plain.cause)).toMatch(/does not answer as Redis|closed the connection|reset/i)
      } finally {
        await Promise.all(servers.map((server) => server.destroy()))
        rmSync(folder, { recursive: true })
      }
    })
  })

  describe.skipIf(url === '')(`${driven.name} and mistakes`, () => {
    if (url === '') return
    test('a port of another program', async () => {
      for (const [greeting, message] of [
        ['J\0\0\0\n8.0.0', 'does not answer as Redis'],
        ['AMQP\0\0\t\x01', 'does not answer as Redis'],
        ['HTTP/1.1 400 Bad Request\r\n\r\n', 'does not answer as Redis'],
      ] as const) {
        const server = createServer((socket) => {
          socket.on('error', () => {})
          socket.resume()
          socket.end(greeting)
        })
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        const { port } = server.address() as { port: number }
        const { name: kind, cause } = await failure(make({}, {}, { host: '127.0.0.1', port }).acquire())
        expect([kind, cause.code]).toEqual(['ConnectError', 'NOT_REDIS'])
        expect(cause.message).toContain(`127.0.0.1:${port} ${message}`)
        await new Promise((resolve) => server.close(resolve))
      }
    })

    test.skipIf(inject('postgresUrl') === '')('PostgreSQL, which hangs up without a word', async () => {
      const { hostname: host, port } = new URL(inject('postgresUrl'))
      const { cause } = await failure(
        make({ retryConnect: false }, {}, { host, port: Number(port) }).acquire(),
      )
      expect(cause.message).toBe(
        `${host}:${port} closed the connection before it answered: it has reached maxclients, is in protected mode, or is not a Redis server`,
      )
    })

    test.skipIf(inject('mariadbUrl') === '')('MariaDB', async () => {
      const { hostname: host, port } = new URL(inject('mariadbUrl'))
      const { name: kind, cause } = await failure(make({}, {}, { host, port: Number(port) }).acquire())
      expect([kind, cause.code]).toEqual(['ConnectError', 'NOT_REDIS'])
    })

    test('a host that does not exist, and a port without a server: a retry may help', async () => {
      for (const target of [
        { host: 'no-such-host.invalid', port: 6379 },
        { host: '127.0.0.1', port: await freePort() },
      ]) {
        const { cause } = await failure(make({ retryConnect: false }, {}, target).acquire())
        expect(cause.code).toMatch(/ENOTFOUND|EAI_AGAIN|ECONNREFUSED/)
        expect(manager(target).isFatal?.(cause)).toBe(false)
      }
    })

    test('a wrong config is rejected in the constructor, without its password', () => {
      expect(() => manager(5 as never)).toThrow('config must be a redis:// URL, an object for')
      expect(() => manager(undefined as never)).toThrow('(got undefined)')
      for (const text of ['postgres://u:secret@x', 'redis://u:secret@ x', '']) {
        const attempt = (): unknown => manager(text)
        expect(attempt).toThrow('config must be a URL of the form redis://')
        expect(attempt).not.toThrow('secret')
      }
    })

    test('a wrong option is rejected by name', () => {
      for (const [option, value] of [
        ['resetOnRelease', 'all'],
        ['onConnect', 'set'],
        ['resetOnReleas', 'none'],
      ] as const)
        expect(() => manager(url, { [option]: value })).toThrow(
          expect.objectContaining({ name: 'PoolOptionsError', option, value }),
        )
    })

    test('a name with several addresses that all refuse: host, port and the first inner message', async () => {
      const port = await freePort()
      const original = dns.lookup
      vi.spyOn(dns, 'lookup').mockImplementation(((host: string, options: unknown, done: never) =>
        host === 'db.test'
          ? process.nextTick(done, null, [
              { address: '127.0.0.1', family: 4 },
              { address: '127.0.0.2', family: 4 },
            ])
          : original(host, options as never, done)) as never)
      try {
        const pool = make({ retryConnect: false }, {}, { host: 'db.test', port })
        const { cause } = await failure(pool.acquire())
        expect(cause.message).toMatch(
          new RegExp(`^cannot connect to db.test:${port}: connect ECONNREFUSED 127.0.0.1:${port}`),
        )
        expect(cause.code).toBe('ECONNREFUSED')
      } finally {
        vi.restoreAllMocks()
      }
    })

    test('a config may be a function, called for each connect; its failure is a connect failure that may be retried', async () => {
      let calls = 0
      const pool = make({ maxSize: 2, connectBackoff: { minMs: 1, maxMs: 5 } }, {}, (async () => {
        if (++calls === 1) throw new TypeError('fetch failed')
        return url
      }) as never)
      const leases = await Promise.all([pool.acquire(), pool.acquire()])
      expect([calls, pool.state().statistics.connects]).toEqual([3, { opened: 2, failed: 1 }])
      for (const lease of leases) lease.release()
      const none = make({}, {}, (() => undefined) as never)
      expect((await failure(none.acquire())).cause.message).toContain('config must be a redis:// URL')
    })

    test('slow, and then gone: every caller gets an answer or an error', async () => {
      const proxy = await TcpProxy.start(targetOf(url))
      try {
        const pool = make(
          { maxSize: 3, connectBackoff: { minMs: 5, maxMs: 20 } },
          {},
          { ...targetOf(url), host: proxy.host, port: proxy.port },
        )
        const work = Array.from({ length: 12 }, () => pool.run((connection) => call(connection, 'PING')))
        await work[0]
        proxy.cut()
        await proxy.heal()
        const results = await Promise.allSettled(work)
        expect(results.every((result) => result.status === 'rejected' || result.value === 'PONG')).toBe(true)
        expect(await pool.run((connection) => call(connection, 'PING'))).toBe('PONG')
      } finally {
        await proxy.close()
      }
    })
  })
}

import { once } from 'node:events'
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'

import { afterAll, describe, expect, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { Http2Manager } from '../../src/managers/http2/http2.ts'
import { share } from '../../src/share/index.ts'
import { describeManager } from '../../src/testing/index.ts'

const sessions = new Set<ServerHttp2Session>()
const held: ServerHttp2Stream[] = []
const server = createServer({ settings: { maxConcurrentStreams: 10 } })
server.on('session', (session) => {
  sessions.add(session)
  session.on('close', () => sessions.delete(session))
  session.on('error', () => {})
})
server.on('stream', (stream, headers) => {
  const path = headers[':path'] ?? ''
  stream.on('error', () => {})
  stream.respond({ ':status': 200 })
  if (path === '/hold') {
    stream.write('half')
    held.push(stream)
  } else stream.end(`hello ${path}`)
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
const url = `http://127.0.0.1:${address.port}`
afterAll(() => {
  for (const session of sessions) session.destroy()
  server.close()
})

const isHeld = async (count: number): Promise<void> => {
  while (held.length < count) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe('Http2Manager', () => {
  describeManager('Http2Manager', (at = address) => new Http2Manager(`http://${at.host}:${at.port}`), {
    server: address,
    use: async (session) => {
      const stream = session.request({ ':path': '/x' })
      stream.setEncoding('utf8')
      let text = ''
      for await (const chunk of stream) text += String(chunk)
      if (text !== 'hello /x') throw new Error(text)
    },
    kill: async (session) => {
      const { localPort } = session.socket
      const found = [...sessions].find(({ socket }) => socket.remotePort === localPort)
      const closed = once(found!, 'close')
      found?.destroy()
      await closed
    },
    count: async () => sessions.size,
    fatal: { 'a wrong setting': () => new Http2Manager(url, { settings: { initialWindowSize: -1 } }) },
    dirty: {
      'an unfinished request': {
        leave: (session) => void session.request({ ':path': '/hold' }).on('error', () => {}),
        isClean: async (session) => session.state.outboundQueueSize !== undefined,
      },
    },
  })
})

test('requests share one session, as many as the server allows', async () => {
  const pool = new Pool(new Http2Manager(url))
  const http = share(pool, { connections: 1 })
  const paths = Array.from({ length: 50 }, (_, n) => `/${n}`)
  const bodies = await Promise.all(
    paths.map((path) => http.run(async (view) => String((await view.request({ ':path': path })).body))),
  )
  expect(bodies).toEqual(paths.map((path) => `hello ${path}`))
  expect(http.state()).toMatchObject({ connections: 1, seats: 10, taken: 0 })
  expect(pool.state().connections).toBe(1)
  await http.close()
  await pool.close()
})

test('a request is also the stream of node:http2', async () => {
  const pool = new Pool(new Http2Manager(url))
  const http = share(pool)
  const text = await http.run(async (view) => {
    let read = ''
    for await (const chunk of view.request({ ':path': '/stream' })) read += String(chunk)
    return read
  })
  expect(text).toBe('hello /stream')
  await http.close()
  await pool.close()
})

test('after GOAWAY a session takes no new request, and its unfinished ones complete', async () => {
  const pool = new Pool(new Http2Manager(url))
  const http = share(pool, { connections: 2 })
  const count = held.length
  const run = http.run(async (view) => String((await view.request({ ':path': '/hold' })).body))
  await isHeld(count + 1)
  const [before] = sessions
  before!.goaway()
  await new Promise((resolve) => setTimeout(resolve, 20))
  const next = await http.run(async (view) => String((await view.request({ ':path': '/next' })).body))
  expect(next).toBe('hello /next')
  expect(sessions.size).toBe(2)
  held.at(-1)!.end(' and half')
  expect(await run).toBe('half and half')
  await http.close()
  await pool.close()
})

test.each(['await', 'stream'])('a response that was cut is lost, not complete (%s)', async (how) => {
  const pool = new Pool(new Http2Manager(url))
  const http = share(pool)
  let tries = 0
  const count = held.length
  const read = async (retries: number): Promise<string> =>
    await http.run(
      async (view) => {
        const request = view.request({ ':path': tries++ === 0 ? '/hold' : '/again' })
        if (how === 'await') return String((await request).body)
        let text = ''
        for await (const chunk of request) text += String(chunk)
        return text
      },
      { retries },
    )
  const lost = read(0)
  await isHeld(count + 1)
  for (const session of sessions) session.destroy()
  await expect(lost).rejects.toMatchObject({ code: 'CONNECTION_LOST', cause: expect.any(Error) as Error })
  tries = 0
  const again = read(1)
  await isHeld(count + 2)
  for (const session of sessions) session.destroy()
  expect(await again).toBe('hello /again')
  await http.close()
  await pool.close()
})

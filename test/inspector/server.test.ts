import { once } from 'node:events'
import { get, type IncomingMessage, request, type RequestOptions } from 'node:http'
import { networkInterfaces } from 'node:os'

import { afterEach, expect, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import { inspect, type InspectOptions } from '../../src/inspector/index.ts'
import type { Hello, Tick } from '../../src/inspector/protocol.ts'
import { ScriptedManager } from '../../src/testing/index.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function start(options: InspectOptions = {}) {
  const inspector = await inspect(options)
  cleanups.push(() => inspector.close())
  return inspector
}

function poolOf(name = 'orders') {
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { name })
  cleanups.push(() => pool.close({ timeoutMs: 0 }))
  return { pool, manager }
}

async function ask(port: number, path: string, options: RequestOptions = {}) {
  const asked = request({ host: '127.0.0.1', port, path, agent: false, ...options })
  asked.end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let body = ''
  for await (const chunk of response) body += String(chunk)
  return { status: response.statusCode, headers: response.headers, body }
}

// The messages of the stream, one after another.
async function* messages(port: number): AsyncGenerator<{ event: string; data: unknown }> {
  const asked = get({ host: '127.0.0.1', port, path: '/events', agent: false })
  cleanups.push(() => asked.destroy())
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response) {
    text += String(chunk)
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const block = text.slice(0, end)
      text = text.slice(end + 2)
      yield {
        event: /^event: (.*)$/m.exec(block)?.[1] ?? 'message',
        data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? 'null'),
      }
    }
  }
}

test('it serves the page, its script and its style, and nothing else', async () => {
  const { port } = await start()
  for (const [path, type] of [
    ['/', 'text/html'],
    ['/app.js', 'text/javascript'],
    ['/app.css', 'text/css'],
  ] as const) {
    const { status, headers, body } = await ask(port, path)
    expect([path, status]).toEqual([path, 200])
    expect(headers['content-type']).toContain(type)
    expect(body.length).toBeGreaterThan(100)
  }
  for (const path of [
    '/package.json',
    '/../package.json',
    '/%2e%2e/package.json',
    '/page/app.js',
    '/events/x',
  ])
    expect((await ask(port, path)).status, path).toBe(404)
})

test('every answer forbids other sources, frames, sniffing and keeping', async () => {
  const { port } = await start()
  for (const path of ['/', '/app.js', '/nothing']) {
    const { headers } = await ask(port, path)
    const policy = String(headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'cache-control': 'no-store',
    })
    expect(headers['access-control-allow-origin']).toBeUndefined()
  }
})

test('it only shows: any other method than GET and HEAD is refused', async () => {
  const { port } = await start()
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const { status, headers } = await ask(port, '/', { method })
    expect([method, status, headers.allow]).toEqual([method, 405, 'GET, HEAD'])
  }
  expect(await ask(port, '/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
})

test('a name that another site had resolve to this machine is refused, numbers and its own names are not', async () => {
  const { port } = await start({ allowedHosts: ['pools.internal'] })
  const status = async (host: string) => (await ask(port, '/', { headers: { host } })).status
  expect(await status('evil.example')).toBe(421)
  expect(await status(`evil.example:${port}`)).toBe(421)
  expect(await status('localhost.evil.example')).toBe(421)
  for (const host of [
    'localhost',
    `LOCALHOST:${port}`,
    `127.0.0.1:${port}`,
    '[::1]',
    `[::1]:${port}`,
    'pools.internal',
  ])
    expect([host, await status(host)]).toEqual([host, 200])
})

test('another site may not fetch it, though it may link to it', async () => {
  const { port } = await start()
  const from = (mode: string) => ({ headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': mode } })
  expect((await ask(port, '/app.js', from('no-cors'))).status).toBe(403)
  expect((await ask(port, '/events', from('cors'))).status).toBe(403)
  expect((await ask(port, '/', from('navigate'))).status).toBe(200)
})

test('with a token nothing is shown without it; the address sets a cookie and loses it', async () => {
  const token = 'a-secret-of-24-signs-1234'
  const { port, url } = await start({ token })
  expect(url).toBe(`http://127.0.0.1:${port}/?token=${token}`)
  for (const path of [
    '/',
    '/app.js',
    '/events',
    '/?token=',
    '/?token=a-secret-of-24-signs-1235',
    '/?token=x',
  ])
    expect([path, (await ask(port, path)).status]).toEqual([path, 401])
  const opened = await ask(port, `/?token=${token}`)
  expect(opened.status).toBe(303)
  expect(opened.headers.location).toBe('/')
  const [cookie] = opened.headers['set-cookie'] ?? []
  expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Path=\/$/)
  const headers = { cookie: `other=1; ${String(cookie).split(';')[0]}` }
  expect((await ask(port, '/', { headers })).status).toBe(200)
  expect((await ask(port, '/', { headers: { cookie: 'cenote-inspector=wrong' } })).status).toBe(401)
})

test('bound to more than this machine it asks for a token of its own', async () => {
  const { url, port } = await start({ host: '0.0.0.0' })
  const token = new URL(url).searchParams.get('token')
  expect(token).toMatch(/^[\w-]{32}$/)
  const [address = '127.0.0.1'] = Object.values(networkInterfaces())
    .flatMap((each) => each ?? [])
    .filter(({ family }) => family === 'IPv4')
    .map((each) => each.address)
  expect((await ask(port, '/', { headers: { host: address } })).status).toBe(401)
  expect((await ask(port, `/?token=${token}`, { headers: { host: address } })).status).toBe(303)
})

test('the stream begins with all that is remembered and goes on with one frame of each pool a tick', async () => {
  const { pool, manager } = poolOf()
  manager.always.connect = 'ok'
  const { port } = await start({ pools: [pool] })
  const lease = await pool.acquire()
  const stream = messages(port)
  const hello = (await stream.next()).value as { event: string; data: Hello }
  expect(hello.event).toBe('hello')
  expect(hello.data.pools.map(({ card }) => card.name)).toEqual(['orders'])
  expect(hello.data.pools[0]?.card.options).toMatchObject({ maxSize: '10', acquireTimeoutMs: '30,000' })
  const frames: Tick['pools'][number]['frame'][] = []
  while (frames.length < 3) {
    const { data } = (await stream.next()).value as { data: Tick }
    frames.push(...data.pools.map(({ frame }) => frame))
  }
  expect(frames.at(-1)).toMatchObject({
    inUse: 1,
    idle: 0,
    waiting: 0,
    lanes: expect.stringMatching(/^[A-J]$/),
  })
  lease.release()
  const after = (await stream.next()).value as { data: Tick }
  expect(after.data.pools[0]?.frame).toMatchObject({ inUse: 0, idle: 1 })
  const again = (await messages(port).next()).value as { data: Hello }
  expect(again.data.pools[0]?.frames.length).toBeGreaterThanOrEqual(4)
})

test('without pools it shows every pool of the process, also those made later, until they are closed', async () => {
  const { port } = await start()
  const { pool } = poolOf('later')
  const names = async () => {
    const { value } = await messages(port).next()
    return (value as { data: Hello }).data.pools.map(({ card }) => card.name)
  }
  await expect.poll(names).toContain('later')
  await pool.close()
  await expect.poll(names).not.toContain('later')
})

test('it tells no credential: what the page is sent holds options by name, no function’s text, no connection', async () => {
  const manager = Object.assign(new ScriptedManager(), { password: 'hunter2' })
  const pool = new Pool(manager, { name: 'secret', afterConnect: () => void 'hunter2' })
  cleanups.push(() => pool.close())
  const { port } = await start({ pools: [pool] })
  ;(await pool.acquire()).release()
  manager.connects.push(Promise.reject(new Error('postgres://app:hunter2@db')))
  pool.clear()
  const waiting = pool.acquire()
  const stream = messages(port)
  let text = JSON.stringify((await stream.next()).value)
  for (let tick = 0; tick < 3; tick++) text += JSON.stringify((await stream.next()).value)
  ;(await waiting).release()
  expect(text).toContain('"afterConnect":"a function"')
  expect(text).not.toContain('hunter2')
})

test('so many pages may watch and no more', async () => {
  const { port } = await start()
  for (let page = 0; page < 16; page++) expect((await messages(port).next()).done).toBe(false)
  expect(await ask(port, '/events')).toMatchObject({ status: 503, body: expect.stringContaining('16 pages') })
})

test('close ends the streams and frees the port, twice is once; a port in use is an error', async () => {
  const inspector = await start()
  const stream = messages(inspector.port)
  await stream.next()
  await expect(inspect({ port: inspector.port })).rejects.toThrow(/EADDRINUSE/)
  await Promise.all([inspector.close(), inspector.close()])
  await expect(
    (async () => {
      for await (const _ of stream) continue
    })(),
  ).rejects.toThrow(/aborted|reset|hang up/)
  await using again = await inspect({ port: inspector.port })
  expect(again.port).toBe(inspector.port)
})

test('a wrong option names itself, its value and what is allowed; a token’s value is not told', async () => {
  const wrong = async (options: object) => {
    const error = await inspect(options as InspectOptions).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(TypeError)
    return (error as Error).message
  }
  expect(await wrong({ port: 70_000 })).toBe(
    'port is 70000: allowed is a whole number from 0 (a free one) to 65535',
  )
  expect(await wrong({ host: '' })).toBe('host is empty: allowed is a name or an address')
  expect(await wrong({ pools: 5 })).toBe('pools is number: allowed is an array of pools')
  expect(await wrong({ pools: [{}] })).toBe('pools is object: allowed is an array of pools')
  expect(await wrong({ allowedHosts: ['http://x'] })).toContain('allowed is an array of names')
  expect(await wrong({ token: 'short' })).not.toContain('short,')
  expect(await wrong({ prot: 1 })).toBe(
    'prot is no option: allowed is pools, port, host, allowedHosts, token',
  )
  await expect(inspect(null as never)).rejects.toThrow(TypeError)
})

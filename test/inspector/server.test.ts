import { hasSubscribers } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { get, type IncomingMessage, request, type RequestOptions, type ServerResponse } from 'node:http'
import { networkInterfaces } from 'node:os'
import { Writable } from 'node:stream'

import { afterEach, expect, test, vi } from 'vitest'

import { Pool } from '../../src/index.ts'
import { inspect, type InspectOptions } from '../../src/inspector/index.ts'
import type { Hello, History, Tick } from '../../src/inspector/protocol.ts'
import { Recorder } from '../../src/inspector/recorder.ts'
import { Stream } from '../../src/inspector/stream.ts'
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

test('it only shows: any other method than GET and HEAD is rejected', async () => {
  const { port } = await start()
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const { status, headers } = await ask(port, '/', { method })
    expect([method, status, headers.allow]).toEqual([method, 405, 'GET, HEAD'])
  }
  expect(await ask(port, '/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
})

test('a name that another site had resolve to this machine is rejected, numbers and its own names are not', async () => {
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
  expect((await ask(port, '/', { headers: { cookie: `cenote-inspector-${port}=wrong` } })).status).toBe(401)
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

test('the stream begins with the pools, goes on with what is remembered of each, and then with one frame of each pool a tick', async () => {
  const { pool, manager } = poolOf()
  manager.always.connect = 'ok'
  const { port } = await start({ pools: [pool] })
  const lease = await pool.acquire()
  const stream = messages(port)
  const next = async () => (await stream.next()).value as { event: string; data: unknown }
  const hello = (await next()) as { event: string; data: Hello }
  expect(hello.event).toBe('hello')
  expect(hello.data.pools.map(({ card }) => card.name)).toEqual(['orders'])
  expect(hello.data.pools[0]?.card.options).toMatchObject({ maxSize: '10', acquireTimeoutMs: '30,000' })
  const history = (await next()) as { event: string; data: History }
  expect(history.event).toBe('history')
  // It was read when the page was opened; before that waits were not sampled.
  expect(history.data.frames).toMatchObject([{ inUse: 1, ids: [1] }])
  expect(history.data.frames[0]?.waits).toBeUndefined()
  const frames: Tick['pools'][number]['frame'][] = []
  while (frames.length < 3) {
    const { data } = (await next()) as { data: Tick }
    frames.push(...data.pools.map(({ frame }) => frame))
  }
  expect(frames.at(-1)).toMatchObject({
    inUse: 1,
    idle: 0,
    waiting: 0,
    ids: [1],
    waits: { max: 0 },
    lanes: expect.stringMatching(/^[A-J]$/),
  })
  lease.release()
  const after = (await next()) as { data: Tick }
  expect(after.data.pools[0]?.frame).toMatchObject({ inUse: 0, idle: 1 })
  const later = messages(port)
  await later.next()
  const again = (await later.next()).value as { data: History }
  expect(again.data.frames.length).toBeGreaterThanOrEqual(5)
})

test('while no page is open, checkouts have no subscriber; with the first page they have, until the last is closed', async () => {
  const { pool } = poolOf()
  const { port } = await start({ pools: [pool] })
  const channels = ['cenote:acquire', 'cenote:release', 'tracing:cenote:acquire:start']
  const watched = () => channels.map((name) => hasSubscribers(name))
  expect(watched()).toEqual([false, false, false])
  const asked = get({ host: '127.0.0.1', port, path: '/events', agent: false })
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  expect(watched()).toEqual([true, true, true])
  response.destroy()
  await expect.poll(watched).toEqual([false, false, false])
})

test('without the option pools, it shows every pool of the process until it is closed, also pools created later', async () => {
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

test('it sends no credential: the page receives options by name, no text of a function, no connection', async () => {
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

test('streams are bounded: a new page takes the place of the oldest one, also of readers that never read', async () => {
  const { port } = await start()
  const oldest = messages(port)
  await oldest.next()
  for (let silent = 0; silent < 40; silent++) {
    const asked = get({ host: '127.0.0.1', port, path: '/events', agent: false })
    cleanups.push(() => asked.destroy())
    await once(asked, 'response')
  }
  const page = messages(port)
  expect((await page.next()).value).toMatchObject({ event: 'hello' })
  const told: string[] = []
  for await (const { event } of oldest) told.push(event)
  expect(told.at(-1)).toBe('replaced')
  expect(await ask(port, '/')).toMatchObject({ status: 200 })
})

test('a reader that takes nothing costs one message, misses ticks, and gets the cards again when it goes on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  cleanups.push(() => vi.useRealTimers())
  const { written, response, read } = stuckReader()
  const stream = new Stream(response, { hello: () => 'cards', history: () => ['h1', 'h2'].values() })
  for (let tick = 0; tick < 100; tick++) stream.offer(`data: "t${tick}"\n\n`)
  await turn()
  expect(written).toHaveLength(1)
  expect(response.writableLength).toBeLessThan(100)
  for (let message = 0; message < 4; message++) {
    read()
    await turn()
  }
  expect(written.map((text) => text.match(/^data: .*$/gm)?.join())).toEqual([
    'data: "cards"',
    'data: "h1"',
    'data: "cards",data: "t99"',
    'data: "h2"',
  ])
  stream.offer('data: "t100"\n\n')
  await turn()
  // Half a minute without a byte taken: it has gone.
  vi.advanceTimersByTime(29_000)
  expect(response.destroyed).toBe(false)
  vi.advanceTimersByTime(2_000)
  expect(response.destroyed).toBe(true)
})

// A response whose reader takes a message only when told.
function stuckReader() {
  const written: string[] = []
  let taken: (() => void) | undefined
  const response = new Writable({
    highWaterMark: 1,
    write(chunk, _encoding, done) {
      written.push(String(chunk))
      taken = done
    },
  })
  const read = (): void => {
    const done = taken
    taken = undefined
    done?.()
  }
  return { written, response: response as unknown as ServerResponse, read }
}

async function turn(): Promise<void> {
  for (let n = 0; n < 4; n++) await new Promise((resolve) => setImmediate(resolve))
}

test('the history of many pools is sent in parts that are small', async () => {
  const pools = Array.from({ length: 10 }, (_, n) => poolOf(`p${n}`).pool)
  const recorder = new Recorder(
    () => pools,
    () => {},
  )
  cleanups.push(() => recorder.stop())
  for (let tick = 0; tick < 250; tick++) recorder.tick()
  const parts = [...recorder.history()]
  expect(parts).toHaveLength(30)
  expect(Math.max(...parts.map((part) => JSON.stringify(part).length))).toBeLessThan(64 * 1024)
})

test('the redirect after the token stays on this host, whatever the requested path is', async () => {
  const token = 'a-secret-of-24-signs-1234'
  const { port } = await start({ token })
  for (const path of [
    '/',
    '//evil.example/',
    '/.//evil.example',
    '/%2e//evil.example',
    '/\\evil.example/x',
  ]) {
    const { status, headers } = await ask(port, `${path}?token=${token}`)
    expect([path, status, headers.location]).toEqual([path, 303, '/'])
  }
})

test('two inspectors of one host have a cookie each', async () => {
  const one = await start({ token: 'the-token-of-the-first' })
  const other = await start({ token: 'the-token-of-the-second' })
  const cookieOf = async ({ url, port }: { url: string; port: number }) => {
    const { headers } = await ask(port, new URL(url).pathname + new URL(url).search)
    return String(headers['set-cookie']?.[0]).split(';')[0] ?? ''
  }
  const cookies = [await cookieOf(one), await cookieOf(other)]
  expect(new Set(cookies.map((each) => each.split('=')[0])).size).toBe(2)
  // The browser sends both to both.
  for (const { port } of [one, other])
    expect((await ask(port, '/', { headers: { cookie: cookies.join('; ') } })).status).toBe(200)
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

test('the error of a wrong option has its name, its value and the rule; the value of a token is not repeated', async () => {
  const wrong = async (options: object) => {
    const error = await inspect(options as InspectOptions).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(TypeError)
    return (error as Error).message
  }
  expect(await wrong({ port: 70_000 })).toBe(
    'port must be an integer from 0 (a free port) to 65535 (got 70000)',
  )
  expect(await wrong({ host: '' })).toBe('host must be a name or an address (got empty)')
  expect(await wrong({ pools: 5 })).toBe('pools must be an array of pools (got number)')
  expect(await wrong({ pools: [{}] })).toBe('pools must be an array of pools (got object)')
  expect(await wrong({ allowedHosts: ['http://x'] })).toContain('allowedHosts must be an array of names')
  expect(await wrong({ token: 'short' })).not.toContain('short,')
  expect(await wrong({ prot: 1 })).toBe(
    "options of inspect must be of pools, port, host, allowedHosts, token (got 'prot')",
  )
  await expect(inspect(null as never)).rejects.toThrow(TypeError)
})

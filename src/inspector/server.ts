import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { Asset } from './assets.ts'
import { cookieName, type Door, refusal } from './guard.ts'
import { type Source, Stream } from './stream.ts'

// Each open page has one stream; a page that was forgotten open should not cost the service much. A new page ends the oldest stream:
// readers that never read, however many, do not keep it out.
const MOST_STREAMS = 16

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'Cache-Control': 'no-store',
}

/** Serves the page and its stream; has no access to pools. */
export class PageServer {
  readonly #door: Door
  readonly #assets: ReadonlyMap<string, Asset>
  readonly #source: Source & { watch(isWatched: boolean): void }
  readonly #streams = new Set<Stream>()
  readonly #server: Server

  constructor(
    door: Door,
    assets: ReadonlyMap<string, Asset>,
    source: Source & { watch(isWatched: boolean): void },
  ) {
    this.#door = door
    this.#assets = assets
    this.#source = source
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  /** Resolves with the port. The server does not keep the process alive. */
  async listen(port: number, host: string): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, resolve)
    })
    this.#server.unref()
    this.#server.on('connection', (socket) => socket.unref())
    return (this.#server.address() as AddressInfo).port
  }

  /** Sends a message to every page. */
  send(message: unknown): void {
    if (this.#streams.size === 0) return
    const text = `data: ${JSON.stringify(message)}\n\n`
    for (const stream of this.#streams) stream.offer(text)
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const stream of this.#streams) stream.end()
    this.#server.closeAllConnections()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    let url: URL
    try {
      url = new URL(request.url ?? '/', 'http://inspector')
    } catch {
      return end(response, 400, 'The address is invalid.')
    }
    const token = url.searchParams.get('token')
    const port = request.socket.localPort
    const no = refusal(this.#door, { method: request.method, headers: request.headers, token, port })
    if (no !== undefined) {
      if (no.status === 405) response.setHeader('Allow', 'GET, HEAD')
      return end(response, no.status, no.text)
    }
    if (token !== null && this.#door.token !== undefined) {
      // The token leaves the address bar, the history and the referrer.
      response.setHeader(
        'Set-Cookie',
        `${cookieName(port)}=${this.#door.token}; HttpOnly; SameSite=Strict; Path=/`,
      )
      // The path of the request is not used: a path that begins with // names another host.
      response.setHeader('Location', '/')
      return end(response, 303, '')
    }
    if (url.pathname === '/events') return this.#stream(request, response)
    const asset = this.#assets.get(url.pathname)
    if (asset === undefined) return end(response, 404, 'No page has this address.')
    response.writeHead(200, { 'Content-Type': asset.type, 'Content-Length': asset.body.length })
    response.end(request.method === 'HEAD' ? undefined : asset.body)
  }

  #stream(request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    if (request.method === 'HEAD') return void response.end()
    if (this.#streams.size >= MOST_STREAMS) {
      const [oldest] = this.#streams
      oldest?.replace()
      if (oldest !== undefined) this.#streams.delete(oldest)
    }
    this.#source.watch(true)
    const stream = new Stream(response, this.#source)
    this.#streams.add(stream)
    response.on('close', () => {
      this.#streams.delete(stream)
      if (this.#streams.size === 0) this.#source.watch(false)
    })
  }
}

function end(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8' })
  response.end(text === '' ? undefined : `${text}\n`)
}

import { randomBytes } from 'node:crypto'

import type { Pool } from '../index.ts'
import { readAssets } from './assets.ts'
import { isLoopback } from './guard.ts'
import { Recorder } from './recorder.ts'
import { PageServer } from './server.ts'

/** Where the inspector listens and what it shows. */
export interface InspectOptions {
  /** What to show. Default: every pool of the process, also those made later. */
  readonly pools?: Iterable<Pool<never>> | undefined
  /** Default: 0, a free one. */
  readonly port?: number | undefined
  /** The address to listen on. Default: '127.0.0.1', for this machine alone. Anything else asks for the token. */
  readonly host?: string | undefined
  /** Asked of whoever opens the page. Default: none on loopback, else one made by chance, which is part of `url`. */
  readonly token?: string | undefined
}

/** A page that shows pools live. */
export interface Inspector extends AsyncDisposable {
  /** The address to open. It holds the token, if there is one. */
  readonly url: string
  readonly port: number
  /** Ends the page and forgets all that was recorded. Safe to call twice. */
  close(): Promise<void>
}

/**
 * Serves a page that shows pools live: `const inspector = await inspect()`, then open `inspector.url`. It only shows, asks for nothing from
 * elsewhere, remembers the last five minutes in bounded memory, and does not keep the process alive.
 * Rejects with TypeError for a wrong option, or with the error of the port.
 */
export async function inspect(options: InspectOptions = {}): Promise<Inspector> {
  const { port, host, token, pools } = checkOptions(options)
  const assets = await readAssets()
  const needed = token ?? (isLoopback(host) ? undefined : randomBytes(24).toString('base64url'))
  const names = isLoopback(host) ? ['localhost', '127.0.0.1', '::1', host] : [host]
  const server: PageServer = new PageServer({ hosts: [...new Set(names)], token: needed }, assets, () =>
    recorder.hello(),
  )
  const recorder = new Recorder(
    () => pools ?? [],
    () => ({ severity: 'ok', text: 'fine' }),
    (tick) => server.send(tick),
  )
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    recorder.stop()
    return (closing ??= server.close())
  }
  try {
    const actual = await server.listen(port, host)
    const query = needed === undefined ? '' : `?token=${encodeURIComponent(needed)}`
    const url = `http://${host.includes(':') ? `[${host}]` : host}:${actual}/${query}`
    return { url, port: actual, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    recorder.stop()
    throw error
  }
}

function checkOptions(options: InspectOptions) {
  return {
    port: options.port ?? 0,
    host: options.host ?? '127.0.0.1',
    token: options.token,
    pools: options.pools as never,
  }
}

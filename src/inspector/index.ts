import { liveGroups, livePools } from '../core/inspection/live-pools.ts'
import type { GroupInsightSource } from '../group/index.ts'
import type { InsightSource } from '../index.ts'
import { readAssets } from './assets.ts'
import { checkOptions, type InspectOptions } from './options.ts'
import { Recorder } from './recorder.ts'
import { PageServer } from './server.ts'

export type { InspectOptions } from './options.ts'

/** A page that shows pools live. */
export interface Inspector extends AsyncDisposable {
  /** The address to open. It holds the token, if there is one. */
  readonly url: string
  readonly port: number
  /** Ends the page and forgets all that was recorded. Safe to call twice. */
  close(): Promise<void>
}

/**
 * Serves a page that shows pools and groups live: `const inspector = await inspect()`, then open `inspector.url`. It changes
 * nothing, loads nothing from other sites, and does not keep the process alive. It remembers the last five minutes in bounded
 * memory: four frames a second while a page is open, one every ten seconds otherwise.
 * Rejects with TypeError for a wrong option, or with the error of the port.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { inspect } from 'cenote/inspector'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * await using inspector = await inspect({ pools: [pool] })
 * console.log(inspector.url) // prints http://127.0.0.1:
 * await pool.close()
 * ```
 */
export async function inspect(options: InspectOptions = {}): Promise<Inspector> {
  const { port, host, hosts, token, pools } = checkOptions(options)
  const assets = await readAssets()
  const server: PageServer = new PageServer({ hosts, token }, assets, {
    hello: () => recorder.hello(),
    history: () => recorder.history(),
    watch: (isWatched) => recorder.watch(isWatched),
  })
  const recorder = new Recorder(
    () => pools ?? [...livePools<InsightSource>(), ...liveGroups<GroupInsightSource>()],
    (tick) => server.send(tick),
  )
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    recorder.stop()
    return (closing ??= server.close())
  }
  try {
    const actual = await server.listen(port, host)
    const query = token === undefined ? '' : `?token=${encodeURIComponent(token)}`
    const url = `http://${host.includes(':') ? `[${host}]` : host}:${actual}/${query}`
    return { url, port: actual, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    recorder.stop()
    throw error
  }
}

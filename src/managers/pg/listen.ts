import { callable, checkArguments, duration, pair, type Rule } from '../../core/contract/rules.ts'
import type { Pool } from '../../core/pool.ts'
import { destroySocket, type PgClient } from './client.ts'
import { end } from './close.ts'

/** One notification of PostgreSQL. */
export interface ListenNotification {
  readonly channel: string
  /** '' if NOTIFY was called without a payload. */
  readonly payload: string
  /** The process id of the server process that called NOTIFY. */
  readonly processId: number
}

/** A time in which notifications may have been missed. */
export interface ListenGap {
  /** When the connection was last known to work: every notification until then has been passed to the handler. */
  readonly since: Date
  /** Length of the gap, in milliseconds. */
  readonly durationMs: number
  /** The error that ended the connection. */
  readonly cause: unknown
}

/** Options of {@link listen}. */
export interface ListenOptions {
  /** Stops listening, like `close()`. An abort before the first LISTEN rejects `listen` with the signal's reason. Default: none. */
  readonly signal?: AbortSignal | undefined
  /**
   * Called after each reconnect, when the channels are subscribed again: notifications may have been missed. Read again
   * what the notifications are about. Default: none.
   */
  readonly onGap?: ((gap: ListenGap) => void) | undefined
  /** Receives what the handler threw, each lost connection and each failed reconnect. Default: `onError` of the pool. */
  readonly onError?: ((error: unknown) => void) | undefined
  /** Interval at which the connection is checked with a query, in milliseconds. Default: 10,000. */
  readonly checkIntervalMs?: number | undefined
  /** Maximum duration of one check, and of one LISTEN, in milliseconds; then the connection is lost. Default: 5,000. */
  readonly checkTimeoutMs?: number | undefined
  /** Wait between attempts to reconnect, in milliseconds: doubled after each failure, with jitter. Default: `{ minMs: 100, maxMs: 10_000 }`. */
  readonly backoff?: { readonly minMs: number; readonly maxMs: number } | undefined
}

/** The result of {@link listen}. */
export interface Listening extends AsyncDisposable {
  /** Whether the channels are subscribed at this instant. False while the connection is re-created, and after the end. */
  readonly isListening: boolean
  /** Stops listening and closes the connection. The handler is not called afterwards. Never rejects. */
  close(): Promise<void>
}

const RULES: Readonly<Record<string, Rule>> = {
  signal: {
    allowed: 'an AbortSignal',
    accepts: (value) => typeof (value as Partial<AbortSignal> | null)?.addEventListener === 'function',
  },
  onGap: callable,
  onError: callable,
  checkIntervalMs: duration('above 0', 'or Infinity'),
  checkTimeoutMs: duration('above 0', 'or Infinity'),
  backoff: pair('minMs', 'maxMs', 'ordered'),
}
// PostgreSQL shortens a longer name without an error.
const LONGEST_NAME = 63

/**
 * Listens on channels of PostgreSQL (LISTEN), over one connection of the pool's manager that the pool does not count. The
 * connection is checked, so that a half-open one is detected; when it is lost, another is opened with backoff and the
 * channels are subscribed again. `onGap` then reports that notifications may have been missed.
 *
 * Resolves when the channels are subscribed. Rejects if the first connection fails: with ConnectError, PoolClosedError, the
 * server's error or the reason of `signal`; with TypeError or PoolOptionsError for a wrong argument. Channel names are
 * case-sensitive, as in `NOTIFY "Orders"`. It ends when the pool is closed, at the next reconnect. It needs a session
 * of its own: behind PgBouncer, connect to the server directly or use session pooling.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { listen, PgManager } from 'cenote/pg'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL))
 * const { promise, resolve } = Promise.withResolvers<string>()
 * await using listening = await listen(pool, ['orders'], ({ payload }) => resolve(payload), {
 *   onGap: ({ durationMs }) => console.log(`read all orders again: ${durationMs} ms are missing`),
 * })
 * await pool.run((client) => client.query("notify orders, '17'"))
 * console.log(await promise, listening.isListening) // prints 17 true
 * ```
 */
export async function listen<C extends object>(
  pool: Pick<Pool<C>, 'dedicated' | 'options'>,
  channels: string | readonly string[],
  handler: (notification: ListenNotification) => unknown,
  options: ListenOptions = {},
): Promise<Listening> {
  const names = typeof channels === 'string' ? [channels] : channels
  if (!Array.isArray(names) || names.length === 0 || !names.every(isName))
    throw new TypeError(
      `channels must be a name of 1 to ${LONGEST_NAME} bytes, or a list of such names (got ${JSON.stringify(channels)}). Shorten the names`,
    )
  if (typeof handler !== 'function')
    throw new TypeError(`handler must be a function (got ${String(handler)})`)
  checkArguments('options of listen', options, RULES, pool.options.name)
  const { signal } = options
  signal?.throwIfAborted()
  const listener = new Listener(pool as unknown as ListenPool, names, handler, options)
  const onAbort = (): void => void listener.close()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await listener.start()
  } catch (error) {
    signal?.removeEventListener('abort', onAbort)
    throw signal?.aborted === true ? signal.reason : error
  }
  void listener.ended.then(() => signal?.removeEventListener('abort', onAbort))
  return listener
}

type ListenPool = Pick<Pool<PgClient>, 'dedicated' | 'options'>

class Listener implements Listening {
  readonly ended: Promise<void>
  readonly #pool: ListenPool
  readonly #statement: string
  readonly #handler: (notification: ListenNotification) => unknown
  readonly #options: ListenOptions
  readonly #stop = new AbortController()
  readonly #end: () => void
  #client: PgClient | undefined
  #isListening = false
  #goodAt: { readonly date: Date; readonly ms: number }

  constructor(
    pool: ListenPool,
    names: readonly string[],
    handler: (notification: ListenNotification) => unknown,
    options: ListenOptions,
  ) {
    this.#pool = pool
    this.#statement = names.map((name) => `LISTEN "${name.replaceAll('"', '""')}"`).join('; ')
    this.#handler = handler
    this.#options = options
    this.#goodAt = this.#now()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#end = resolve
  }

  get isListening(): boolean {
    return this.#isListening
  }

  async start(): Promise<void> {
    try {
      void this.#keep(await this.#open())
    } catch (error) {
      this.#end()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isListening = false
    this.#stop.abort(new Error('listening was stopped'))
    await this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // Keeps the channels subscribed until it is stopped or the pool is closed.
  async #keep(first: Subscription): Promise<void> {
    let subscription: Subscription | undefined = first
    while (subscription !== undefined) {
      const cause = await this.#watch(subscription)
      this.#isListening = false
      if (this.#isStopped) break
      this.#report(cause)
      await this.#dispose()
      subscription = await this.#reopen(cause)
    }
    await this.#dispose()
    this.#isListening = false
    this.#end()
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted
  }

  async #open(): Promise<Subscription> {
    const client = await this.#pool.dedicated({ signal: this.#stop.signal })
    this.#client = client
    const subscription: Subscription = { client, lost: Promise.withResolvers<unknown>() }
    const onLost = (error?: unknown): void =>
      subscription.lost.resolve(error ?? new Error('the server closed the connection'))
    client.on('error', onLost)
    client.on('end', onLost)
    client.on('notification', (message) => {
      // A late message of a connection that was given up would follow the report of its gap.
      if (this.#client === client) this.#notify(message as Message)
    })
    try {
      await this.#within(subscription, client.query(this.#statement))
    } catch (error) {
      await this.#dispose()
      throw error
    }
    this.#goodAt = this.#now()
    this.#isListening = true
    return subscription
  }

  // Checks a connection until it is lost, and resolves with what ended it.
  async #watch(subscription: Subscription): Promise<unknown> {
    const { checkIntervalMs = 10_000 } = this.#options
    for (;;) {
      const lost = await Promise.race([subscription.lost.promise, this.#pause(checkIntervalMs)])
      if (lost !== undefined || this.#isStopped) return lost
      try {
        await this.#within(subscription, subscription.client.query('select 1'))
        this.#goodAt = this.#now()
      } catch (error) {
        return error
      }
    }
  }

  async #reopen(cause: unknown): Promise<Subscription | undefined> {
    const { date: since, ms: sinceMs } = this.#goodAt
    const { minMs, maxMs } = this.#options.backoff ?? { minMs: 100, maxMs: 10_000 }
    const { clock } = this.#pool.options
    for (let limit = minMs; !this.#isStopped; limit = Math.min(maxMs, limit * 2)) {
      await this.#pause(minMs + (limit - minMs) * (clock.random?.() ?? Math.random()))
      if (this.#isStopped) return undefined
      try {
        const subscription = await this.#open()
        const gap = { since, durationMs: clock.now() - sinceMs, cause }
        this.#call(() => this.#options.onGap?.(gap))
        return subscription
      } catch (error) {
        if (this.#isStopped) return undefined
        this.#report(error)
        if ((error as { code?: unknown }).code === 'POOL_CLOSED') return undefined
      }
    }
    return undefined
  }

  // Rejects when the answer takes longer than checkTimeoutMs, or the connection is lost.
  async #within(subscription: Subscription, answer: Promise<unknown>): Promise<void> {
    const { checkTimeoutMs = 5_000 } = this.#options
    const timeout = new AbortController()
    const outcome = await Promise.race([
      answer.then(
        () => undefined,
        (error: unknown) => error ?? new Error('the query failed'),
      ),
      subscription.lost.promise,
      this.#pause(checkTimeoutMs, timeout.signal).then(
        () => new Error(`the server did not answer within ${checkTimeoutMs} ms`),
      ),
    ])
    timeout.abort()
    if (outcome !== undefined) throw outcome
  }

  #now(): { date: Date; ms: number } {
    return { date: new Date(), ms: this.#pool.options.clock.now() }
  }

  // Resolves after a time, or when listening is stopped or `signal` aborts.
  #pause(ms: number, signal?: AbortSignal): Promise<undefined> {
    return new Promise((resolve) => {
      const { clock } = this.#pool.options
      const done = (): void => {
        if (timer !== undefined) clock.clearTimeout(timer)
        this.#stop.signal.removeEventListener('abort', done)
        signal?.removeEventListener('abort', done)
        resolve(undefined)
      }
      const timer = ms === Infinity ? undefined : clock.setTimeout(done, ms)
      this.#stop.signal.addEventListener('abort', done)
      signal?.addEventListener('abort', done)
      if (this.#isStopped) done()
    })
  }

  async #dispose(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    if (client === undefined) return
    if (client._ended === true) destroySocket(client)
    else await end(client)
  }

  #notify({ channel, payload = '', processId }: Message): void {
    if (this.#isStopped) return
    this.#goodAt = this.#now()
    this.#call(() => this.#handler({ channel, payload, processId }))
  }

  // Calls a function of the user, whose failure is reported.
  #call(call: () => unknown): void {
    try {
      void Promise.resolve(call()).catch((error: unknown) => this.#report(error))
    } catch (error) {
      this.#report(error)
    }
  }

  #report(error: unknown): void {
    try {
      const sink = this.#options.onError ?? this.#pool.options.onError
      sink?.(error)
    } catch {}
  }
}

interface Subscription {
  readonly client: PgClient
  /** Resolves with what ended the connection. */
  readonly lost: PromiseWithResolvers<unknown>
}

interface Message {
  readonly channel: string
  readonly payload?: string
  readonly processId: number
}

function isName(name: unknown): name is string {
  if (typeof name !== 'string' || name === '' || name.includes('\0')) return false
  return Buffer.byteLength(name) <= LONGEST_NAME
}

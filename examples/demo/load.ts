import type { Pool } from '../../src/index.ts'
import type { PgClient } from '../../src/managers/pg/pg.ts'

/** One request that failed. */
export interface Failure {
  readonly atMs: number
  readonly error: string
}

/** Callers that work through a pool until they are stopped. */
export class Load {
  readonly perCaller: number[]
  readonly failures: Failure[] = []
  completed = 0
  longestRequestMs = 0
  #isStopped = false
  #isCut = false
  #endedAt: number | undefined
  #served:
    | { readonly connections: Set<unknown>; readonly wanted: number; readonly done: () => void }
    | undefined
  readonly #pool: Pool<PgClient>
  readonly #retries: number
  readonly #random: () => number
  readonly #callers: Promise<void>[] = []
  readonly #startedAt: number = performance.now()

  constructor(pool: Pool<PgClient>, options: { callers: number; retries: number; seed: number }) {
    this.#pool = pool
    this.#retries = options.retries
    this.#random = mulberry32(options.seed)
    this.perCaller = Array.from({ length: options.callers }, () => 0)
    for (let caller = 0; caller < options.callers; caller++) this.#callers.push(this.#loop(caller))
  }

  /** How long the load has run, in milliseconds. */
  get elapsedMs(): number {
    return (this.#endedAt ?? performance.now()) - this.#startedAt
  }

  /** Adds callers that make one request each, concurrently. */
  spike(requests: number): void {
    for (let n = 0; n < requests; n++) this.#callers.push(this.#request())
  }

  /** Resolves when this number of connections has begun a request from now on: the pool's full throughput. */
  fullThroughput(connections: number): Promise<void> {
    return new Promise((done) => {
      this.#served = { connections: new Set(), wanted: connections, done }
    })
  }

  /** Ends the load: resolves when every caller has its last answer. `isCut`: what fails from now on does not count. */
  async stop(isCut: boolean): Promise<void> {
    this.#isStopped = true
    this.#isCut = isCut
    await Promise.all(this.#callers)
    this.#endedAt = performance.now()
  }

  async #loop(caller: number): Promise<void> {
    while (!this.#isStopped) {
      await this.#request()
      this.perCaller[caller] = (this.perCaller[caller] ?? 0) + 1
    }
  }

  async #request(): Promise<void> {
    const startedAt = performance.now()
    const dice = this.#random()
    try {
      await this.#pool.run(
        (client) => {
          this.#note(client)
          return work(client, dice)
        },
        { retries: this.#retries },
      )
      this.completed++
    } catch (error) {
      if (this.#isCut) return
      this.failures.push({ atMs: startedAt - this.#startedAt, error: describe(error) })
    }
    this.longestRequestMs = Math.max(this.longestRequestMs, performance.now() - startedAt)
  }

  #note(client: PgClient): void {
    const served = this.#served
    if (served === undefined) return
    served.connections.add(client)
    if (served.connections.size < served.wanted) return
    this.#served = undefined
    served.done()
  }
}

// 75 % short queries, 15 % long ones, 10 % transactions; none writes to a table.
async function work(client: PgClient, dice: number): Promise<void> {
  if (dice < 0.75) {
    await client.query('select $1::int + 1', [Math.floor(dice * 1_000)])
  } else if (dice < 0.9) {
    await client.query('select pg_sleep($1)', [0.002 + (dice - 0.75) * 0.1])
  } else {
    await client.query('begin')
    await client.query("select set_config('cenote.demo', $1, true)", [String(dice)])
    await client.query('select count(*) from generate_series(1, 100)')
    await client.query('commit')
  }
}

function describe(error: unknown): string {
  const { code, name, message } = error as { code?: string; name?: string; message?: string }
  return code ?? (message !== undefined && message !== '' ? message : String(name))
}

// A small seeded generator: the same seed gives the same mix of requests.
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

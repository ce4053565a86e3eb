import { type Lease, Pool, type PoolError } from '../../src/index.ts'
import { share, type Share } from '../../src/share/index.ts'
import { type ScriptedConnection, settle, VirtualClock } from '../../src/testing/index.ts'
import { type Sent, SharedManager, type View } from './shared-manager.ts'

/** A generator of numbers from 0 up to 1 (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Caller {
  readonly controller: AbortController
  readonly texts: string[]
  outcome: { readonly value?: unknown; readonly error?: unknown } | undefined
}

/** One life of a share under random faults, whose promises are checked after each step. */
export class Life {
  readonly #random: () => number
  readonly #clock: VirtualClock
  readonly #manager: SharedManager
  readonly #pool: Pool<ScriptedConnection>
  readonly #db: Share<View>
  readonly #callers: Caller[] = []
  readonly #leases: Lease<ScriptedConnection>[] = []
  readonly #limit: number
  #exclusive = 0
  #texts = 0

  constructor(seed: number) {
    const random = randomOf(seed)
    this.#random = random
    this.#limit = 1 + Math.floor(random() * 4)
    const isPooled = random() < 0.2
    const canPipeline = random() < 0.9
    this.#clock = new VirtualClock(random)
    this.#manager = new SharedManager(random() < 0.5 ? this.#limit : () => this.#limit, {
      isPooled: () => isPooled,
      ...(random() < 0.5 ? {} : { probe: () => Promise.resolve(canPipeline) }),
    })
    const reset = (connection: ScriptedConnection): void => {
      // S7: drained before it is reset.
      if (this.#unanswered(connection).length > 0) throw new Error('S7: reset of a connection in use')
    }
    Object.assign(this.#manager, { reset })
    const maxSize = 1 + Math.floor(random() * 3)
    this.#pool = new Pool<ScriptedConnection>(this.#manager, {
      maxSize,
      clock: this.#clock,
      acquireTimeoutMs: 500,
      maxLifetimeMs: random() < 0.3 ? 300 : Infinity,
      // Below that of the inspection: a connection that answers nothing between two of them is silent.
      validationTimeoutMs: random() < 0.3 ? 100 : 5_000,
      onError: () => {},
    })
    this.#db = share<ScriptedConnection, View>(this.#pool, {
      connections: 1 + Math.floor(random() * maxSize),
    })
  }

  async live(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      this.#step()
      await settle()
      this.#check()
    }
    await this.#end()
  }

  #step(): void {
    const choice = this.#random()
    if (choice < 0.3) this.#run()
    else if (choice < 0.6) this.#answer()
    else if (choice < 0.65) this.#pick(this.#callers)?.controller.abort(new Error('aborted'))
    else if (choice < 0.7) this.#lose()
    else if (choice < 0.73) this.#soil()
    else if (choice < 0.79) this.#acquire()
    else if (choice < 0.87)
      this.#leases.splice(Math.floor(this.#random() * this.#leases.length), 1)[0]?.release()
    else if (choice < 0.89) this.#pool.clear()
    else if (choice < 0.91) this.#manager.connects.push('fail')
    else void this.#clock.advance(Math.floor(this.#random() * (this.#random() < 0.1 ? 700 : 40)))
  }

  #run(): void {
    const caller: Caller = { controller: new AbortController(), texts: [], outcome: undefined }
    const statements = Math.floor(this.#random() * 3)
    const isCareless = this.#random() < 0.2
    const run = this.#db.run(
      async (view) => {
        for (let n = 0; n < statements; n++) {
          const text = `s${this.#texts++}`
          caller.texts.push(text)
          const answer = view.query(text)
          if (isCareless) answer.catch(() => {})
          else await answer
        }
        return 'done'
      },
      { signal: caller.controller.signal, retries: Math.floor(this.#random() * 2), timeoutMs: 200 },
    )
    run.then(
      (value) => (caller.outcome = { value }),
      (error: unknown) => (caller.outcome = { error }),
    )
    this.#callers.push(caller)
  }

  // The oldest statement of a connection, as a pipeline answers.
  #answer(): void {
    const sent = this.#oldest()
    if (sent === undefined) return
    this.#manager.sent.splice(this.#manager.sent.indexOf(sent), 1)
    if (!sent.connection.open) sent.fail(new Error('closed'))
    else if (this.#random() < 0.1) sent.fail(new Error('of one statement'))
    else sent.answer()
  }

  #lose(): void {
    const connection = this.#pick(this.#manager.connections.filter(({ open }) => open))
    if (connection === undefined) return
    connection.broken = true
    if (this.#random() < 0.7) connection.lost(new Error(`lost ${connection.id}`))
    for (const sent of this.#unanswered(connection)) {
      this.#manager.sent.splice(this.#manager.sent.indexOf(sent), 1)
      sent.fail(new Error('terminated'))
    }
  }

  #soil(): void {
    const sent = this.#oldest()
    if (sent === undefined || !sent.connection.open) return
    this.#manager.sent.splice(this.#manager.sent.indexOf(sent), 1)
    sent.seat.dirty('a transaction')
    sent.answer()
  }

  #acquire(): void {
    this.#exclusive++
    this.#pool
      .acquire()
      .then((lease) => {
        // S2, S7: an exclusive holder gets a connection without statements of others.
        if (this.#unanswered(lease.connection).length > 0)
          throw new Error('S7: lent with statements unanswered')
        this.#leases.push(lease)
      })
      .catch((error: PoolError) => {
        if (!('code' in error)) throw error
      })
      .finally(() => this.#exclusive--)
  }

  #check(): void {
    const { connections, seats, taken, statistics, waiting } = this.#db.state()
    const limits = this.#db.state().pipelining ? this.#limit : 1
    // S1: no more seats than the connections have, and no more connections than the pool.
    if (taken > connections * limits && taken > seats)
      throw new Error(`S1: ${taken} seats on ${connections} connections`)
    const { acquires } = statistics
    const ended = acquires.direct + acquires.waited + acquires.timedOut + acquires.aborted + acquires.refused
    if (acquires.started !== ended + acquires.pending) throw new Error('26: acquires are not conserved')
    if (waiting > acquires.pending) throw new Error('26: more wait than are pending')
    for (const connection of this.#manager.connections) {
      const callers = new Set(this.#unanswered(connection).map(({ seat }) => seat))
      if (connection.open && callers.size > limits)
        throw new Error('S1: too many callers have statements in flight')
    }
    if (this.#manager.open > this.#pool.options.maxSize) throw new Error('18: more connections than maxSize')
    // S4: an abort settles immediately.
    for (const { controller, outcome } of this.#callers)
      if (controller.signal.aborted && outcome === undefined)
        throw new Error('S4: an aborted caller still waits')
    // S2: while a caller waits below and none for a seat, the share keeps no empty connection.
    const keeps = this.#pool.state().waiting > 0 && this.#exclusive > 0 && taken === 0 && connections > 0
    if (keeps && waiting === 0) throw new Error('S2: an empty connection was kept')
  }

  async #end(): Promise<void> {
    this.#manager.connects.length = 0
    const closing = this.#db.close({ timeoutMs: 1_000 })
    for (const lease of this.#leases.splice(0)) lease.release()
    for (let n = 0; n < 1_000 && this.#manager.sent.length > 0; n++) {
      this.#answer()
      await settle()
    }
    await this.#clock.advance(2_500)
    await closing
    for (const lease of this.#leases.splice(0)) lease.release()
    if (this.#callers.some(({ outcome }) => outcome === undefined))
      throw new Error('23: a caller has not settled')
    const { taken, connections, waiting } = this.#db.state()
    if (taken + connections + waiting !== 0) throw new Error('23: the closed share holds something')
    const closed = this.#pool.close({ timeoutMs: 100 })
    await this.#clock.advance(6_000)
    await closed
    if (this.#manager.open !== 0) throw new Error('S7: a connection stayed open')
    if (this.#clock.timers !== 0) throw new Error('22: a timer is left')
    for (const { outcome } of this.#callers) checkOutcome(outcome?.error)
  }

  #unanswered(connection: ScriptedConnection): Sent[] {
    return this.#manager.sent.filter((each) => each.connection === connection)
  }

  #oldest(): Sent | undefined {
    const busy = [...new Set(this.#manager.sent.map(({ connection }) => connection))]
    const connection = this.#pick(busy)
    return connection && this.#unanswered(connection)[0]
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#random() * from.length)]
  }
}

// S5: a loss has a cause, and every other error is the statement's own or one of the share.
function checkOutcome(error: unknown): void {
  if (error === undefined) return
  const { code, cause, message } = error as { code?: string; cause?: unknown; message: string }
  if (code === 'CONNECTION_LOST' && cause === undefined) throw new Error('S5: a loss without a cause')
  const own = ['of one statement', 'aborted', 'closed']
  if (code === undefined && !own.includes(message))
    throw new Error(`S5: an error of the driver came through: ${message}`)
}

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'

import { CHANNELS, isPoolError, type Lease, Pool } from '../src/index.ts'
import { checkInvariants } from './invariants.ts'
import { Model } from './model.ts'
import type { Plan, Step } from './plan.ts'
import { Random } from './random.ts'
import { type SimConnection, SimServer } from './server.ts'
import { SimClock } from './sim-clock.ts'

/** Something that no pool may do, and when. */
export class Violation extends Error {
  readonly rule: string
  readonly step: number

  constructor(rule: string, step: number) {
    super(rule)
    this.name = 'Violation'
    this.rule = rule
    this.step = step
  }
}

/** One acquire that has begun. */
export interface Caller {
  readonly id: number
  readonly priority: number
  readonly deadline: number
  readonly controller: AbortController | undefined
  /** run: it takes part in nothing but its end. */
  readonly isRun: boolean
  settled: boolean
  /** The step at which it got a connection within its call. */
  servedAt: number | undefined
}

interface Held {
  readonly lease: Lease<SimConnection>
  readonly connection: SimConnection
}

// Options with which idle connections come, go and are moved by more than acquire and release.
const TOUCHES_IDLE = ['minIdle', 'maxUses', 'maxLifetimeMs', 'keepaliveMs'] as const
// Enough for whatever follows from one event to have happened.
const QUIET_MICROTASKS = 60

/** One life of a pool: a plan carried out step by step, with every invariant looked at after each. */
export class Life {
  readonly plan: Plan
  readonly clock: SimClock
  readonly server: SimServer
  readonly pool: Pool<SimConnection>
  readonly model: Model
  readonly story: string[] = []
  readonly callers: Caller[] = []
  readonly #random: Random
  readonly #held: Held[] = []
  readonly #shared = new AbortController()
  readonly #rejections: unknown[] = []
  readonly #tellsStory: boolean
  /** The most real connections that may be there now: falls with maxSize only as fast as they are closed. */
  allowed: number
  /** The most attempts that may be under way after a failure: those that were, and then one at a time. */
  allowedOpening: number = Infinity
  /** What each connection does, and since when it does so. */
  readonly doing: Map<number, { readonly what: string; readonly since: number }> = new Map()
  /** Since when a retry is due; undefined: none is. */
  retryDueAt: number | undefined = undefined
  closing: Promise<unknown> | undefined = undefined
  #step = 0
  #found: Violation | undefined = undefined
  // The callers to whom the pool has handed a connection, whose promises have not told them yet.
  readonly #handed: { readonly caller: number; readonly step: number }[] = []
  #joining: number | undefined = undefined
  #doubt: { readonly head: number; readonly refused: number } | undefined = undefined
  #isTrying = false
  #clearedAt = -1
  // A retry joins the queue within run, where nobody sees it.
  readonly #knowsOrder: boolean
  // What comes back within run, or from elsewhere, is not seen to do so.
  readonly #knowsIdle: boolean

  constructor(plan: Plan, tellsStory: boolean) {
    this.plan = plan
    this.#tellsStory = tellsStory
    this.#knowsOrder = !plan.steps.some((step) => step.do === 'run' && step.retries > 0)
    this.#random = new Random(plan.seed ^ 0x5eed)
    this.#knowsIdle =
      plan.hooks.length === 0 && !plan.steps.some((step) => step.do === 'run' || step.do === 'add')
    this.clock = new SimClock(this.#random)
    const { validationTimeoutMs = 5_000, connectTimeoutMs = 10_000, closeTimeoutMs = 5_000 } = plan.options
    const limits = { validationTimeoutMs, connectTimeoutMs, closeTimeoutMs }
    this.server = new SimServer(this.#random, this.clock, plan.moods, limits, (line) =>
      this.#tell(`  (${line})`),
    )
    this.allowed = plan.options.maxSize ?? 10
    this.model = new Model(plan.options.queueStrategy ?? 'fifo')
    this.pool = new Pool(this.server.manager(plan.hooks.includes('reset')), {
      ...plan.options,
      ...this.server.hooks(plan.hooks),
      name: 'sim',
      clock: this.clock,
    })
  }

  /** Lives it. Rejects with the first Violation. */
  async live(): Promise<void> {
    const onRejection = (reason: unknown): void => void this.#rejections.push(reason)
    process.on('unhandledRejection', onRejection)
    const stopListening = this.#listen()
    try {
      for (const step of this.plan.steps) {
        this.server.step = ++this.#step
        await this.#do(step)
        // Some things must hold between any two microtasks, others once all that follows has happened.
        this.#look(false)
        if (this.#random.chance(0.7)) await this.#quiet()
      }
      await this.#end()
      // Unhandled rejections are told when the microtasks are over.
      if (this.#random.chance(0.02)) await new Promise((resolve) => setImmediate(resolve))
      if (this.#rejections.length > 0)
        this.#violated(`a rejection that nobody handled: ${String(this.#rejections[0])}`)
      if (this.#found !== undefined) throw this.#found
    } finally {
      stopListening()
      process.off('unhandledRejection', onRejection)
    }
  }

  async #do(step: Step): Promise<void> {
    this.#tell(`${this.clock.now()} ms: ${JSON.stringify(step)}`)
    const { pool, server } = this
    switch (step.do) {
      case 'acquire':
        return this.#acquire(step.priority, step.timeoutMs, step.signal)
      case 'run':
        return this.#run(step.holdMs, step.breaks, step.retries)
      case 'tryAcquire': {
        this.#isTrying = true
        const lease = pool.tryAcquire()
        this.#isTrying = false
        if (lease !== undefined) this.#granted(lease)
        return
      }
      case 'release':
        return this.#giveBack(step.which, ({ lease }) => {
          lease.release()
          lease.release()
        })
      case 'destroy':
        return this.#giveBack(step.which, ({ lease }) => lease.destroy())
      case 'detach':
        return this.#giveBack(step.which, ({ lease, connection }) => {
          connection.owner = 'caller'
          lease.detach()
        })
      case 'abort': {
        const open = this.callers.filter(({ settled, controller }) => !settled && controller !== undefined)
        const caller = open[step.which % open.length]
        caller?.controller?.abort(new Error('given up'))
        if (caller !== undefined) this.model.leaves(caller.id)
        return
      }
      case 'lose':
      case 'break':
      case 'spoil': {
        const open = server.connections.filter(({ closed, owner }) => owner === 'pool' && !closed)
        const connection = open[step.which % open.length]
        if (connection === undefined) return
        this.#tell(`  #${connection.id}`)
        if (step.do === 'spoil') connection.invalid = true
        else connection.brokenAt ??= this.#step
        if (step.do === 'lose' && connection.lost !== undefined) {
          connection.reportedLost = true
          connection.lost(new Error('lost'))
        }
        return
      }
      case 'settle':
      case 'reject': {
        const [pending] = server.pending.splice(step.which % Math.max(1, server.pending.length), 1)
        if (pending !== undefined) this.#tell(`  ${pending.what}`)
        return pending?.settle(step.do === 'settle')
      }
      case 'serverDown':
        server.isUp = false
        for (const connection of server.connections) connection.invalid = true
        return
      case 'serverUp':
        server.isUp = true
        return
      case 'resize':
        void pool.resize({ maxSize: step.maxSize, minIdle: step.minIdle }).catch(() => {})
        return
      case 'clear':
        this.#clearedAt = this.#step
        return pool.clear()
      case 'pause':
        return pool.pause()
      case 'resume':
        return pool.resume()
      case 'dedicated':
        server.isDedicated = true
        void pool.dedicated().catch(() => {})
        server.isDedicated = false
        return
      case 'add': {
        const connection = server.make()
        const answer = pool.add(connection)
        if (answer !== 'added') connection.owner = 'caller'
        return
      }
      case 'time': {
        const until = this.clock.now() + step.ms
        while (this.clock.runNext(until)) {
          await this.#microtasks(this.#random.whole(0, 3))
          this.#look(false)
        }
        return
      }
      case 'microtasks':
        return await this.#microtasks(step.count)
      case 'close':
        this.#close(step.timeoutMs)
        return
    }
  }

  #acquire(priority: number, timeoutMs: number | undefined, withSignal: boolean): void {
    const { pool, model } = this
    const controller = withSignal
      ? this.#random.chance(0.5)
        ? this.#shared
        : new AbortController()
      : undefined
    const caller: Caller = {
      id: this.callers.length,
      priority,
      deadline: this.clock.now() + (timeoutMs ?? pool.options.acquireTimeoutMs),
      // The shared one is never aborted: it must not gather listeners.
      controller: controller === this.#shared ? undefined : controller,
      isRun: false,
      settled: false,
      servedAt: undefined,
    }
    this.callers.push(caller)
    const next = this.#nextIdle()
    const { direct } = pool.state().statistics.acquires
    this.#joining = caller.id
    this.#resolveDoubt(0)
    if (!pool.state().closed) model.asks(caller.id, priority, caller.deadline)
    const acquired = pool.acquire({ priority, timeoutMs, signal: controller?.signal })
    this.#joining = undefined
    const isDirect = this.#isServed(caller, direct)
    const expected = isDirect ? next : undefined
    void acquired.then(
      (lease) => {
        this.#isNext(caller, lease.connection)
        this.#settle(caller)
        this.#granted(lease)
        if (expected !== undefined && lease.connection !== expected)
          this.#violated(`#${lease.connection.id} was handed out before #${expected.id}`)
      },
      (error: unknown) => {
        this.#settle(caller)
        if (!isPoolError(error) && error !== controller?.signal.reason)
          this.#violated(`acquire failed with ${String(error)}`)
      },
    )
  }

  // The pool says that it hands a connection out, in the moment in which it does: it must be to the caller that is next.
  #handsOut(): void {
    if (this.#isTrying) return
    const next = this.model.next()
    if (next === undefined) return
    this.model.leaves(next)
    this.#handed.push({ caller: next, step: this.#step })
  }

  // Whether a caller was served within its call. Then its promise may tell it later than that of one who was served after it.
  #isServed(caller: Caller, directBefore: number): boolean {
    if (this.pool.state().statistics.acquires.direct === directBefore) return false
    const place = this.#handed.findIndex((each) => each.caller === caller.id)
    if (place !== -1) {
      this.#handed.splice(place, 1)
      caller.servedAt = this.#step
    }
    return true
  }

  #isNext(caller: Caller, connection: SimConnection): void {
    const handed =
      caller.servedAt === undefined ? this.#handed.shift() : { caller: caller.id, step: caller.servedAt }
    if (!this.#knowsOrder) return
    if (handed?.caller !== caller.id)
      this.#violated(`caller ${caller.id} was served, and next was ${handed?.caller ?? 'nobody'}`)
    this.#isFit(connection, handed?.step ?? 0)
  }

  // Nothing that was known to be no good when it was handed out is handed out.
  #isFit({ id, brokenAt, condemnedAt, isProven, bornAt }: SimConnection, step: number): void {
    const { testOnCheckOut, validationBypassMs } = this.plan.options
    if ((brokenAt ?? Infinity) < step) this.#violated(`#${id} was handed out broken`)
    if (bornAt < this.#clearedAt && step > this.#clearedAt)
      this.#violated(`#${id} was handed out after clear()`)
    if ((condemnedAt ?? Infinity) < step)
      this.#violated(`#${id} was handed out though it had failed its check`)
    if (testOnCheckOut !== false && validationBypassMs === 0 && !isProven)
      this.#violated(`#${id} was handed out without a check`)
  }

  // The idle connection that must go first, where the order of return alone decides.
  #nextIdle(): SimConnection | undefined {
    const { testOnCheckOut, ...rest } = this.plan.options
    const isPlain = testOnCheckOut === false && !TOUCHES_IDLE.some((name) => rest[name] !== undefined)
    if (!isPlain || !this.#knowsIdle || this.pool.state().generation > 0) return undefined
    const known = this.model.idle.filter(({ closeBeganAt }) => closeBeganAt === undefined)
    return known.length === this.pool.state().idle ? this.model.nextIdle() : undefined
  }

  #run(holdMs: number, breaks: boolean, retries: number): void {
    const caller: Caller = {
      id: this.callers.length,
      priority: 0,
      deadline: Infinity,
      controller: undefined,
      isRun: true,
      settled: false,
      servedAt: undefined,
    }
    this.callers.push(caller)
    let runs = 0
    const work = async (connection: SimConnection): Promise<void> => {
      this.#isNext(caller, connection)
      this.model.takes(connection)
      this.#isHandedOut(connection)
      connection.holders++
      runs++
      if (holdMs > 0) await new Promise<void>((resolve) => this.clock.after(holdMs, resolve))
      connection.holders--
      connection.isProven = false
      if (!breaks || runs > 1) return
      connection.brokenAt ??= this.#step
      throw new Error('work failed')
    }
    this.#joining = caller.id
    this.#resolveDoubt(0)
    if (!this.pool.state().closed)
      this.model.asks(caller.id, 0, this.clock.now() + this.pool.options.acquireTimeoutMs)
    const { direct } = this.pool.state().statistics.acquires
    const ran = this.pool.run(work, { retries })
    this.#joining = undefined
    this.#isServed(caller, direct)
    void ran.then(
      () => this.#settle(caller),
      () => this.#settle(caller),
    )
  }

  #granted(lease: Lease<SimConnection>): void {
    const { connection } = lease
    this.#isHandedOut(connection)
    this.model.takes(connection)
    connection.holders++
    this.#held.push({ lease, connection })
  }

  #isHandedOut({ id, holders, closeBeganAt }: SimConnection): void {
    if (holders > 0) this.#violated(`#${id} was handed out while somebody holds it`)
    // The pool may close by force what is held when its close runs out of time; a caller that is told late finds it closed.
    if (closeBeganAt !== undefined && !this.pool.state().closed)
      this.#violated(`#${id} was handed out closed`)
  }

  #giveBack(which: number, give: (held: Held) => void): void {
    const [held] = this.#held.splice(which % Math.max(1, this.#held.length), 1)
    if (held === undefined) return
    this.#tell(`  #${held.connection.id}`)
    held.connection.holders--
    held.connection.isProven = false
    const { idle } = this.pool.state()
    give(held)
    if (this.pool.state().idle > idle) this.model.rests(held.connection)
  }

  #settle(caller: Caller): void {
    if (caller.settled) this.#violated(`caller ${caller.id} was settled twice`)
    caller.settled = true
    this.model.leaves(caller.id)
    this.#tell(`  caller ${caller.id} settled`)
  }

  async #quiet(): Promise<void> {
    await this.#microtasks(QUIET_MICROTASKS)
    this.#look(true)
  }

  async #microtasks(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await Promise.resolve()
  }

  #look(isQuiet: boolean): void {
    const broken = this.server.faults[0] ?? checkInvariants(this, isQuiet)
    if (broken !== undefined) this.#violated(broken)
    if (this.#found !== undefined) throw this.#found
  }

  // Whatever the plan was, a pool can be closed, and then nothing is left.
  async #end(): Promise<void> {
    const { plan } = this
    this.#step++
    this.#tell('the end')
    if (this.closing === undefined) {
      this.#close(this.#random.pick([0, 100]))
      if (this.#random.chance(0.7))
        while (this.#held.length > 0) this.#giveBack(0, ({ lease }) => lease.release())
    }
    let isClosed = false
    void this.closing?.then(() => (isClosed = true))
    const until = this.clock.now() + 30_000
    while (!isClosed && this.clock.runNext(until)) await this.#microtasks(5)
    await this.#quiet()
    if (!isClosed) this.#violated('close never ended')
    const isAlone =
      plan.hooks.length === 0 &&
      plan.moods.close.ok === 100 &&
      !plan.steps.some((step) => step.do === 'dedicated')
    if (isAlone && this.clock.timers > 0) this.#violated(`${this.clock.timers} timers are left after close`)
    this.#look(true)
    const left = this.callers.find(({ settled }) => !settled)
    if (left !== undefined && !left.isRun) this.#violated(`caller ${left.id} still waits after the end`)
    for (const pending of this.server.pending.splice(0)) pending.settle(true)
    await this.#microtasks(QUIET_MICROTASKS)
    while (this.clock.runNext(this.clock.now() + 60_000)) await this.#microtasks(5)
    await this.#microtasks(QUIET_MICROTASKS)
    for (const { id, owner, closeBeganAt } of this.server.connections) {
      if (owner !== 'caller' && closeBeganAt === undefined) this.#violated(`#${id} was never closed`)
    }
    if (this.clock.timers > 0) this.#violated(`${this.clock.timers} timers are left`)
    const listeners = getEventListeners(this.#shared.signal, 'abort').length
    if (listeners > 0) this.#violated(`${listeners} listeners are left on a signal`)
    this.#look(true)
  }

  #tell(line: string): void {
    if (this.#tellsStory) this.story.push(line)
  }

  // Thrown at the next look: what runs in a callback of a promise has nobody to throw to.
  #violated(rule: string): void {
    this.#found ??= new Violation(rule, this.#step)
  }

  #close(timeoutMs: number): void {
    this.server.isClosing = true
    this.closing ??= this.pool.close({ timeoutMs })
    this.model.clear()
  }

  // A connect that failed for good is told before the head waiter is failed, if there is one by then.
  #resolveDoubt(countedSince: number): void {
    if (this.#doubt === undefined) return
    const { head, refused } = this.#doubt
    this.#doubt = undefined
    if (this.pool.state().statistics.acquires.refused - countedSince > refused) this.model.leaves(head)
  }

  // What the pool tells of itself in the moment in which it happens: promises tell it later.
  #listen(): () => void {
    const { poolId } = this.pool.look()
    const { retryConnect = true } = this.plan.options
    const listeners = Object.entries({
      [CHANNELS.acquire]: () => this.#handsOut(),
      [CHANNELS.timeout]: () => this.model.expires(),
      [CHANNELS.close]: ({ reason }: { reason?: string }) => {
        const { idle, minIdle } = this.pool.state()
        if (reason === 'idle' && idle < minIdle)
          this.#violated(`reaped to ${idle} idle, minIdle is ${minIdle}`)
      },
      [CHANNELS.refuse]: ({ why }: { why?: string }) => {
        // One that is shed is counted before it is told.
        this.#resolveDoubt(why === 'overloaded' ? 1 : 0)
        const leaves = why === 'queueFull' ? this.#joining : this.model.next()
        if (leaves !== undefined) this.model.leaves(leaves)
      },
      [CHANNELS.open]: () => void (this.allowedOpening = Infinity),
      [CHANNELS.openError]: ({ isFatal }: { isFatal?: boolean }) => {
        this.allowedOpening = Math.min(this.allowedOpening, this.pool.state().opening)
        this.#resolveDoubt(0)
        const head = this.model.next()
        if ((isFatal === true || !retryConnect) && head !== undefined)
          this.#doubt = { head, refused: this.pool.state().statistics.acquires.refused }
      },
    }).map(([name, listener]) => {
      const hear = (message: unknown): void => {
        if ((message as { poolId: number }).poolId !== poolId) return
        if (name !== CHANNELS.refuse) this.#resolveDoubt(0)
        listener(message as never)
      }
      subscribe(name, hear)
      return () => unsubscribe(name, hear)
    })
    return () => listeners.forEach((end) => end())
  }
}

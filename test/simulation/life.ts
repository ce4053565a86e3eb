import { getEventListeners } from 'node:events'

import { isPoolError, Pool } from '../../src/index.ts'
import { Attempts } from './attempts.ts'
import { Callers } from './callers.ts'
import { checkInvariants, countsAddUp, statisticsAddUp } from './invariants.ts'
import { Model } from './model.ts'
import type { Plan, PlanOptions, Step } from './plan.ts'
import { Random } from './random.ts'
import type { Act } from './reentry.ts'
import { type SimConnection, SimServer } from './server.ts'
import { SimClock } from './sim-clock.ts'
import { type Subject, UserCode } from './user-code.ts'
import { Witness } from './witness.ts'

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

// Enough for whatever follows from one event to have happened.
const QUIET_MICROTASKS = 60

/** One life of a pool: a plan carried out step by step, with every invariant looked at after each. */
export class Life {
  readonly plan: Plan
  readonly clock: SimClock
  readonly server: SimServer
  readonly pool: Pool<SimConnection>
  readonly callers: Callers
  readonly attempts: Attempts
  readonly witness: Witness
  readonly story: string[] = []
  readonly #random: Random
  readonly #userCode: UserCode
  readonly #rejections: unknown[] = []
  readonly #tellsStory: boolean
  #reentries = 0
  /** The most real connections that may be there now: falls with maxSize only as fast as they are closed. */
  allowed: number
  /** What each connection does, and since when it does so. */
  readonly doing: Map<number, { readonly what: string; readonly since: number }> = new Map()
  /** Since when a retry is due; undefined: none is. */
  retryDueAt: number | undefined = undefined
  closing: Promise<unknown> | undefined = undefined
  #isMade = false
  #depth = 0
  #step = 0
  #found: Violation | undefined = undefined

  constructor(plan: Plan, tellsStory: boolean) {
    this.plan = plan
    this.#tellsStory = tellsStory
    this.#random = new Random(plan.seed ^ 0x5eed)
    this.clock = new SimClock(this.#random)
    const { validationTimeoutMs = 5_000, connectTimeoutMs = 10_000, closeTimeoutMs = 5_000 } = plan.options
    const { maxSize = 10, retryConnect = true, connectBackoff } = plan.options
    this.allowed = maxSize
    const violated = (rule: string): void => this.#violated(rule)
    this.#userCode = new UserCode(plan.reentries, (act, place, subject) =>
      this.#reenters(act, place, subject),
    )
    this.attempts = new Attempts({
      minMs: connectBackoff?.minMs ?? 50,
      now: () => this.clock.now(),
      mostAtOnce: () => (this.#isMade ? this.pool.state().maxSize : maxSize),
      violated,
    })
    this.server = new SimServer(
      this.#random,
      this.clock,
      plan.moods,
      { validationTimeoutMs, connectTimeoutMs, closeTimeoutMs },
      (line) => this.#tell(`  (${line})`),
      { userCode: this.#userCode, attempts: this.attempts, storm: plan.storm },
    )
    this.server.onConnectFailed = (attempt, error) => {
      // An isFatal that throws calls nothing fatal.
      if (!this.#isMade || (retryConnect && (error.fatal !== true || this.#userCode.isAt('isFatal')))) return
      const { closed, paused } = this.pool.state()
      if (closed || paused) return
      const open = (): number => this.pool.state().connections
      this.attempts.failsForGood(attempt, open, this.callers.order.waiting)
    }
    this.pool = new Pool(this.server.manager(plan.hooks.includes('reset')), {
      ...known(plan.options),
      ...this.server.hooks(plan.hooks),
      ...(this.#userCode.isAt('onError') && { onError: () => this.#userCode.runs('onError') }),
      name: 'sim',
      clock: this.clock,
    })
    this.#isMade = true
    this.callers = new Callers({
      plan,
      pool: this.pool,
      clock: this.clock,
      random: this.#random,
      model: new Model(plan.options.queueStrategy ?? 'fifo'),
      attempts: this.attempts,
      userCode: this.#userCode,
      tell: (line) => this.#tell(line),
      violated,
    })
    const inconsistent = (): string | undefined => countsAddUp(this) ?? statisticsAddUp(this)
    this.witness = new Witness(this.pool, this.#userCode.isAnywhere, inconsistent, violated)
  }

  /** Lives it. Rejects with the first Violation. */
  async live(): Promise<void> {
    const onRejection = (reason: unknown): void => void this.#rejections.push(reason)
    process.on('unhandledRejection', onRejection)
    const stopListening = [this.witness.listens(), this.#userCode.subscribe('sim')]
    try {
      for (const step of this.plan.steps) {
        this.server.step = ++this.#step
        this.callers.begins(this.#step)
        await this.#do(step)
        // Some things must hold between any two microtasks, others once all that follows has happened.
        this.#look(false)
        if (this.#random.chance(0.7)) await this.#quiet()
      }
      await this.#end()
      // Unhandled rejections are told when the microtasks are over.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#rejections.length > 0)
        this.#violated(`a rejection that nobody handled: ${String(this.#rejections[0])}`)
      if (this.#found !== undefined) throw this.#found
    } finally {
      for (const stop of stopListening) stop()
      process.off('unhandledRejection', onRejection)
    }
  }

  async #do(step: Step): Promise<void> {
    this.#tell(`${this.clock.now()} ms: ${JSON.stringify(step)}`)
    const { server } = this
    this.witness.forgets()
    switch (step.do) {
      case 'settle':
      case 'reject': {
        const [pending] = server.pending.splice(step.which % Math.max(1, server.pending.length), 1)
        if (pending !== undefined) this.#tell(`  ${pending.what}`)
        pending?.settle(step.do === 'settle')
        return
      }
      case 'time': {
        // No time passes between two microtasks.
        await this.#drainMicrotasks()
        const until = this.clock.now() + step.ms
        while (this.#runNext(until)) {
          await this.#drainMicrotasks()
          this.#look(false)
        }
        return
      }
      case 'microtasks':
        return await this.#microtasks(step.count)
      default:
        this.#act(step, {})
        this.witness.compares()
    }
  }

  // One timer is one transition: what its subscribers saw is what is there when it is over.
  #runNext(until: number): boolean {
    this.witness.forgets()
    const hasRun = this.clock.runNext(until)
    if (hasRun) this.witness.compares()
    return hasRun
  }

  // User code, which the pool has just called, calls the pool.
  #reenters(act: Act, place: string, subject: Subject): void {
    if (!this.#isMade) return
    this.#tell(`  in ${place}: ${JSON.stringify(act)}`)
    this.witness.forgets()
    this.#reentries++
    this.#depth++
    try {
      this.#act(act, subject)
    } catch (error) {
      this.#violated(`${act.do} in ${place} threw ${String(error)}`)
    }
    this.#depth--
    const broken = statisticsAddUp(this)
    if (broken !== undefined) this.#violated(`in ${place}: ${broken}`)
    this.witness.forgets()
  }

  // What may be done at any moment, within any call.
  #act(step: Act, subject: Subject): void {
    const { pool, server, callers, attempts } = this
    switch (step.do) {
      case 'acquire':
        return callers.acquire(step, this.#depth > 0)
      case 'run':
        return callers.run(step)
      case 'tryAcquire':
        return callers.tryAcquire()
      case 'release':
      case 'destroy':
      case 'detach':
      case 'abort':
        return callers[step.do](step.which)
      case 'lose':
      case 'break':
      case 'spoil':
        return this.#harms(step.do, step.which, subject)
      case 'serverDown':
        server.isUp = false
        return
      case 'serverUp':
        server.isUp = true
        return
      case 'resize':
        attempts.forgives()
        // It may be lowered again before anything is looked at.
        this.allowed = Math.max(this.allowed, step.maxSize)
        this.#mayReject(pool.resize({ maxSize: step.maxSize, minIdle: step.minIdle }), 'resize')
        return attempts.forgives()
      case 'clear':
      case 'clearSlowly':
        callers.clears(step.do === 'clear' ? this.#step : -1)
        attempts.clears()
        attempts.forgives()
        return (pool.clear as (options?: { overMs: number }) => void).call(
          pool,
          ...(step.do === 'clearSlowly' ? [{ overMs: step.overMs }] : []),
        )
      case 'pause':
        attempts.forgives()
        return pool.pause()
      case 'resume':
        return pool.resume()
      case 'dedicated':
        return this.#dedicated()
      case 'add': {
        const connection = server.make()
        const answer = pool.add(connection)
        if (answer !== 'added') connection.owner = 'caller'
        return
      }
      case 'close':
        return this.#close(step.timeoutMs)
      case 'look':
        pool.state()
        pool.look()
        return
      case 'throw':
        return
    }
  }

  #harms(how: 'lose' | 'break' | 'spoil', which: number, subject: Subject): void {
    const { server } = this
    if (how === 'lose' && subject.lost !== undefined) return subject.lost()
    const open = server.connections.filter(({ closed, owner }) => owner === 'pool' && !closed)
    // User code knows the connection that it was called for.
    const connection = subject.connection ?? open[which % open.length]
    if (connection === undefined) return
    this.#tell(`  #${connection.id}`)
    if (how === 'spoil') connection.invalid = true
    else if (how === 'break') connection.brokenAt ??= this.#step
    else server.lose(connection)
  }

  #dedicated(): void {
    const { server, pool } = this
    if (this.#depth === 0) {
      server.isDedicated = true
      this.#mayReject(pool.dedicated(), 'dedicated')
      server.isDedicated = false
      return
    }
    server.dedicatedDue++
    const ended = pool.dedicated().then((connection) => void (connection.owner = 'caller'))
    this.#mayReject(ended, 'dedicated')
    const settled = (): void => {
      if (--server.dedicatedDue > 0) return
      for (const connection of server.connections)
        if (connection.owner === 'unsure') connection.owner = connection.closed ? 'stray' : 'pool'
    }
    void ended.then(settled, settled)
  }

  #mayReject(promise: Promise<unknown>, what: string): void {
    promise.catch((error: unknown) => {
      if (!isPoolError(error)) this.#violated(`${what} failed with ${String(error)}`)
    })
  }

  async #quiet(): Promise<void> {
    await this.#drainMicrotasks()
    this.#look(true)
  }

  // User code that calls the pool sets off others: the microtasks are over when a whole round was without such a call.
  async #drainMicrotasks(): Promise<void> {
    let before: number
    do {
      before = this.#reentries
      await this.#microtasks(QUIET_MICROTASKS)
    } while (before !== this.#reentries)
  }

  async #microtasks(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await Promise.resolve()
  }

  #look(isQuiet: boolean): void {
    if (isQuiet) this.attempts.look(this.pool.state().connections)
    const broken = this.server.faults[0] ?? checkInvariants(this, isQuiet)
    if (broken !== undefined) this.#violated(broken)
    if (this.#found !== undefined) throw this.#found
  }

  // Whatever the plan was, a pool can be closed, and then nothing is left.
  async #end(): Promise<void> {
    const { plan, callers } = this
    this.#step++
    this.#tell('the end')
    if (this.closing === undefined) {
      this.#close(this.#random.pick([0, 100]))
      if (this.#random.chance(0.7)) while (callers.holds > 0) callers.release(0)
    }
    let isClosed = false
    void this.closing?.then(() => (isClosed = true))
    await this.#drainMicrotasks()
    const until = this.clock.now() + 30_000
    while (!isClosed && this.#runNext(until)) await this.#drainMicrotasks()
    await this.#quiet()
    if (!isClosed) this.#violated('close never ended')
    const isAlone =
      plan.hooks.length + plan.reentries.length === 0 &&
      plan.moods.close.ok === 100 &&
      !plan.steps.some((step) => step.do === 'dedicated')
    if (isAlone && this.clock.timers > 0) this.#violated(`${this.clock.timers} timers are left after close`)
    const { idle, connections } = this.pool.state()
    if (idle > 0) this.#violated(`${idle} of ${connections} connections are idle in a closed pool`)
    this.#look(true)
    const left = callers.waits()
    if (left !== undefined) this.#violated(`caller ${left.id} still waits after the end`)
    for (const pending of this.server.pending.splice(0)) pending.settle(true)
    await this.#drainMicrotasks()
    while (this.#runNext(this.clock.now() + 60_000)) await this.#drainMicrotasks()
    await this.#drainMicrotasks()
    for (const { id, owner, closeBeganAt } of this.server.connections) {
      if (owner !== 'caller' && closeBeganAt === undefined) this.#violated(`#${id} was never closed`)
    }
    if (this.clock.timers > 0) this.#violated(`${this.clock.timers} timers are left`)
    const listeners = getEventListeners(callers.shared.signal, 'abort').length
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
    const closing = this.pool.close({ timeoutMs })
    this.#mayReject(closing, 'close')
    this.closing ??= closing
  }
}

// Whether this core has the options that came later; a plan is the same for every core.
const KNOWN = new Pool<never>({
  connect: () => Promise.reject(new Error()),
  isValid: () => true,
  hasBroken: () => false,
  close() {},
}).options

function known({ maxIdle, allowExitOnIdle, ...options }: PlanOptions): object {
  return {
    ...options,
    ...(maxIdle !== undefined && Object.hasOwn(KNOWN, 'maxIdle') && { maxIdle }),
    ...(allowExitOnIdle !== undefined && Object.hasOwn(KNOWN, 'allowExitOnIdle') && { allowExitOnIdle }),
  }
}

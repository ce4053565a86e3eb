import { isPoolError, type Lease, type Pool } from '../../src/index.ts'
import type { Attempts } from './attempts.ts'
import { afterMicrotasks, REPORT_DELAY } from './microtasks.ts'
import type { Model } from './model.ts'
import { type Caller, Order } from './order.ts'
import type { Plan, Step } from './plan.ts'
import type { Random } from './random.ts'
import type { SimConnection } from './server.ts'
import type { SimClock } from './sim-clock.ts'
import type { UserCode } from './user-code.ts'

interface Held {
  readonly lease: Lease<SimConnection>
  readonly connection: SimConnection
}

/** What the callers of one life share. */
export interface Scene {
  readonly plan: Plan
  readonly pool: Pool<SimConnection>
  readonly clock: SimClock
  readonly random: Random
  readonly model: Model
  readonly attempts: Attempts
  readonly userCode: UserCode
  tell(line: string): void
  violated(rule: string): void
}

// Options with which idle connections come, go and are moved by more than acquire and release.
const TOUCHES_IDLE = ['minIdle', 'maxUses', 'maxLifetimeMs', 'keepaliveMs', 'maxIdle'] as const

/** The callers of a pool: each asks, waits, holds and gives back, and checks what it is given. */
export class Callers {
  readonly all: Caller[] = []
  readonly order: Order
  /** A signal that many acquires share and that is never aborted: it must not gather listeners. */
  readonly shared: AbortController = new AbortController()
  readonly #scene: Scene
  readonly #held: Held[] = []
  // A retry joins the queue within run, where nobody sees it.
  readonly #knowsOrder: boolean
  // What comes back within run, or from elsewhere, is not seen to do so.
  readonly #knowsIdle: boolean
  // Whose acquire or run has not returned its promise yet.
  readonly #calling: Caller[] = []
  #clearedAt = -1
  // The step in which whatever is reported now was done, or an earlier one.
  #step = 0

  constructor(scene: Scene) {
    const { hooks, steps, reentries } = scene.plan
    const all = [...steps, ...reentries.map(({ act }) => act)]
    this.#scene = scene
    this.order = new Order((rule) => {
      if (this.#knowsOrder) scene.violated(rule)
    })
    this.#knowsOrder = !all.some((step) => step.do === 'run' && step.retries > 0)
    this.#knowsIdle =
      hooks.length + reentries.length === 0 && !all.some((step) => step.do === 'run' || step.do === 'add')
  }

  get holds(): number {
    return this.#held.length
  }

  /** Another step of the plan begins. */
  begins(step: number): void {
    afterMicrotasks(REPORT_DELAY, () => (this.#step = step))
  }

  clears(step: number): void {
    this.#clearedAt = step
  }

  acquire({ priority, timeoutMs, signal }: Extract<Step, { do: 'acquire' }>, isNested: boolean): void {
    const { pool, clock, random, violated } = this.#scene
    const controller = signal ? (random.chance(0.5) ? this.shared : new AbortController()) : undefined
    const deadline = clock.now() + (timeoutMs ?? pool.options.acquireTimeoutMs)
    const own = controller === this.shared ? undefined : controller
    const caller = this.#joins(priority, deadline, own, false)
    const listensFirst = random.chance(0.5)
    if (own !== undefined && listensFirst) this.#listens(own)
    const next = this.#nextIdle()
    const { direct } = pool.state().statistics.acquires
    this.#calling.push(caller)
    const acquired = pool.acquire({ priority, timeoutMs, signal: controller?.signal })
    this.#calling.pop()
    if (own !== undefined && !listensFirst) this.#listens(own)
    const isDirect = pool.state().statistics.acquires.direct !== direct
    caller.mayBeDirect = isNested || isDirect
    const expected = isDirect ? next : undefined
    void acquired.then(
      (lease) => {
        this.#isServed(caller, lease.connection)
        this.#settle(caller)
        this.#granted(lease)
        if (expected !== undefined && lease.connection !== expected)
          violated(`#${lease.connection.id} was handed out before #${expected.id}`)
      },
      (error: unknown) => {
        this.#settle(caller)
        if (!isPoolError(error) && error !== controller?.signal.reason)
          violated(`acquire failed with ${String(error)}`)
      },
    )
  }

  run({ holdMs, breaks, retries, signal }: Extract<Step, { do: 'run' }>): void {
    const { pool, clock, userCode, violated } = this.#scene
    const controller = signal === true ? new AbortController() : undefined
    const caller = this.#joins(0, Infinity, controller, true)
    if (controller !== undefined) this.#listens(controller)
    const failure = new Error('work failed')
    let runs = 0
    const work = async (connection: SimConnection): Promise<void> => {
      this.#isServed(caller, connection)
      this.#takes(connection)
      const takenBack = (): void => void (connection.mayBeTaken = true)
      if (controller?.signal.aborted === true) takenBack()
      controller?.signal.addEventListener('abort', takenBack)
      runs++
      userCode.runs('work', { connection })
      if (holdMs > 0) await new Promise<void>((resolve) => clock.after(holdMs, resolve))
      controller?.signal.removeEventListener('abort', takenBack)
      connection.holders--
      connection.isProven = false
      if (!breaks || runs > 1) return
      connection.brokenAt ??= this.#step
      throw failure
    }
    this.#calling.push(caller)
    const ran = pool.run(work, { retries, signal: controller?.signal })
    this.#calling.pop()
    void ran.then(
      () => this.#settle(caller),
      (error: unknown) => {
        this.#settle(caller)
        if (!isPoolError(error) && error !== failure && error !== controller?.signal.reason)
          violated(`run failed with ${String(error)}`)
      },
    )
  }

  tryAcquire(): void {
    const lease = this.#scene.pool.tryAcquire()
    if (lease === undefined) return
    if (this.#knowsOrder) this.order.servesNewcomer()
    this.#granted(lease)
  }

  release(which: number): void {
    this.#givesBack(which, ({ lease }) => {
      lease.release()
      lease.release()
    })
  }

  destroy(which: number): void {
    this.#givesBack(which, ({ lease }) => lease.destroy())
  }

  detach(which: number): void {
    this.#givesBack(which, ({ lease, connection }) => {
      connection.owner = 'caller'
      if (lease.detach() !== connection) this.#scene.violated('detach gave another connection')
    })
  }

  abort(which: number): void {
    const open = this.all.filter(
      ({ settled, controller }) => !settled && controller !== undefined && !controller.signal.aborted,
    )
    open[which % open.length]?.controller?.abort(new Error('given up'))
  }

  /** Those whose acquire has not ended. */
  waits(): Caller | undefined {
    return this.all.find(({ settled, isRun }) => !settled && !isRun)
  }

  #joins(
    priority: number,
    deadline: number,
    controller: AbortController | undefined,
    isRun: boolean,
  ): Caller {
    const { pool, attempts, userCode } = this.#scene
    const { connections, paused, closed } = pool.state()
    const caller: Caller = {
      id: this.all.length,
      priority,
      deadline,
      controller,
      isRun,
      settled: false,
      served: false,
      mayBeDirect: isRun,
      isSeen: false,
      // A subscriber of `start` runs before the acquire that it is told of has begun.
      cameWithin: userCode.isAt('tracing:cenote:acquire:start') ? [...this.#calling] : [],
    }
    this.all.push(caller)
    this.order.joins(caller)
    if (connections === 0 && !paused && !closed && !userCode.isAnywhere) attempts.joinsNothing(caller)
    return caller
  }

  #listens({ signal }: AbortController): void {
    const { userCode } = this.#scene
    if (userCode.isAt('abortListener')) signal.addEventListener('abort', () => userCode.runs('abortListener'))
  }

  #isServed(caller: Caller, connection: SimConnection): void {
    this.order.serves(caller)
    if (this.#knowsOrder) this.#isFit(connection)
  }

  // Nothing that was known to be no good when it was handed out is handed out.
  #isFit({ id, brokenAt, condemnedAt, isProven, bornAt }: SimConnection): void {
    const { violated, plan } = this.#scene
    const { testOnCheckOut, validationBypassMs } = plan.options
    if ((brokenAt ?? Infinity) < this.#step) violated(`#${id} was handed out broken`)
    if (bornAt < this.#clearedAt && this.#step > this.#clearedAt)
      violated(`#${id} was handed out after clear()`)
    if ((condemnedAt ?? Infinity) < this.#step)
      violated(`#${id} was handed out though it had failed its check`)
    if (testOnCheckOut !== false && validationBypassMs === 0 && !isProven)
      violated(`#${id} was handed out without a check`)
  }

  // The idle connection that must go first, where the order of return alone decides.
  #nextIdle(): SimConnection | undefined {
    const { plan, pool, model } = this.#scene
    const { testOnCheckOut, ...rest } = plan.options
    const isPlain = testOnCheckOut === false && !TOUCHES_IDLE.some((name) => rest[name] !== undefined)
    if (!isPlain || !this.#knowsIdle || pool.state().generation > 0) return undefined
    const known = model.idle.filter(({ closeBeganAt }) => closeBeganAt === undefined)
    return known.length === pool.state().idle ? model.nextIdle() : undefined
  }

  #granted(lease: Lease<SimConnection>): void {
    const { connection } = lease
    this.#takes(connection)
    this.#held.push({ lease, connection })
  }

  #takes(connection: SimConnection): void {
    const { violated, pool, model, attempts } = this.#scene
    const { id, holders, closeBeganAt } = connection
    if (holders > 0 && !connection.mayBeTaken) violated(`#${id} was handed out while somebody holds it`)
    // The pool may close by force what is held when its close runs out of time; a caller that is told late finds it closed.
    if (closeBeganAt !== undefined && !pool.state().closed) violated(`#${id} was handed out closed`)
    connection.holders++
    connection.served++
    connection.mayBeTaken = false
    attempts.serves()
    model.takes(connection)
  }

  #givesBack(which: number, give: (held: Held) => void): void {
    const { pool, model, tell } = this.#scene
    const [held] = this.#held.splice(which % Math.max(1, this.#held.length), 1)
    if (held === undefined) return
    tell(`  #${held.connection.id}`)
    held.connection.holders--
    held.connection.isProven = false
    const { idle } = pool.state()
    give(held)
    if (pool.state().idle > idle) model.rests(held.connection)
  }

  #settle(caller: Caller): void {
    if (caller.settled) this.#scene.violated(`caller ${caller.id} was settled twice`)
    caller.settled = true
    this.order.leaves(caller)
    this.#scene.tell(`  caller ${caller.id} settled`)
  }
}

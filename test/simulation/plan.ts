import type { PoolOptions } from '../../src/index.ts'
import { Random } from './random.ts'
import { reentriesOf, type Reentry } from './reentry.ts'
import { type Storm, stormOf, stormOptions } from './storm.ts'

/** How one call into a manager or a hook ends. `held`: when the plan says so, or never. */
export type Behaviour = 'ok' | 'late' | 'tooLate' | 'fail' | 'throw' | 'never' | 'held' | 'refuse'

/** How often each call ends in each way, in hundredths. */
export type Moods = Readonly<
  Record<'connect' | 'isValid' | 'reset' | 'close' | 'hook', Readonly<Record<Behaviour, number>>>
>

/** One thing that happens from outside. Numbers choose among what is there: a plan stays a plan when steps are left out. */
export type Step =
  | {
      readonly do: 'acquire'
      readonly priority: number
      readonly timeoutMs: number | undefined
      readonly signal: boolean
    }
  | {
      readonly do: 'run'
      readonly holdMs: number
      readonly breaks: boolean
      readonly retries: number
      readonly signal?: boolean
    }
  | { readonly do: 'tryAcquire' | 'clear' | 'pause' | 'resume' | 'dedicated' | 'add' }
  | { readonly do: 'clearSlowly'; readonly overMs: number }
  /** Only user code: the state is read, or an error thrown. */
  | { readonly do: 'look' | 'throw' }
  | {
      readonly do:
        | 'release'
        | 'destroy'
        | 'detach'
        | 'abort'
        | 'lose'
        | 'break'
        | 'spoil'
        | 'settle'
        | 'reject'
      readonly which: number
    }
  | { readonly do: 'resize'; readonly maxSize: number; readonly minIdle: number }
  | { readonly do: 'serverDown' | 'serverUp' }
  | { readonly do: 'time'; readonly ms: number }
  | { readonly do: 'microtasks'; readonly count: number }
  | { readonly do: 'close'; readonly timeoutMs: number }

/** Options that are plain data: a plan can be printed. */
export type PlanOptions = Pick<
  PoolOptions<never>,
  | 'maxSize'
  | 'minIdle'
  | 'testOnCheckOut'
  | 'validationBypassMs'
  | 'validationTimeoutMs'
  | 'maxLifetimeMs'
  | 'idleTimeoutMs'
  | 'maxUses'
  | 'keepaliveMs'
  | 'acquireTimeoutMs'
  | 'connectTimeoutMs'
  | 'closeTimeoutMs'
  | 'retryConnect'
  | 'maxConnecting'
  | 'maxWaiting'
  | 'overload'
  | 'queueStrategy'
  | 'reapIntervalMs'
  | 'leakThresholdMs'
  | 'connectBackoff'
> & { readonly maxIdle?: number; readonly allowExitOnIdle?: boolean }

/** One life of a pool. */
export interface Plan {
  readonly seed: number
  readonly options: PlanOptions
  readonly hooks: readonly ('afterConnect' | 'beforeAcquire' | 'afterRelease' | 'beforeClose' | 'reset')[]
  readonly moods: Moods
  readonly steps: readonly Step[]
  /** User code that calls the pool while the pool calls it. */
  readonly reentries: readonly Reentry[]
  /** How the server fails beyond the moods. */
  readonly storm: Storm | undefined
}

const MORE = 0x2f6e2b1
const HOOKS = ['afterConnect', 'beforeAcquire', 'afterRelease', 'beforeClose', 'reset'] as const
const CALM = { ok: 100, late: 0, tooLate: 0, fail: 0, throw: 0, never: 0, held: 0, refuse: 0 }
const WILD = { ok: 50, late: 20, tooLate: 3, fail: 8, throw: 3, never: 3, held: 10, refuse: 3 }
const SLOW = { ok: 20, late: 50, tooLate: 2, fail: 3, throw: 0, never: 2, held: 23, refuse: 0 }

/** The life that belongs to a seed. */
export function planOf(seed: number): Plan {
  const random = new Random(seed)
  const mood = () => random.pick([CALM, CALM, WILD, SLOW])
  const options = optionsOf(random)
  const hooks = HOOKS.filter(() => random.chance(0.2))
  const moods = { connect: mood(), isValid: mood(), reset: mood(), close: mood(), hook: mood() }
  const mayRetry = random.chance(0.3)
  const length = random.whole(5, random.chance(0.1) ? 300 : 80)
  const steps = Array.from({ length }, () => stepOf(random, options, mayRetry))
  if (random.chance(0.3))
    steps.push({ do: 'close', timeoutMs: random.pick([0, 50, 1_000]) }, ...tail(random, options, mayRetry))
  const plain = { seed, options, hooks, moods, steps, reentries: [], storm: undefined }
  return withMore(plain, new Random(seed ^ MORE), mayRetry)
}

// What came later draws from numbers of its own: the rest of a plan is what its seed always gave.
function withMore(plan: Plan, random: Random, mayRetry: boolean): Plan {
  const reentries = reentriesOf(random, (from) => stepOf(from, plan.options, mayRetry))
  const storm = stormOf(random)
  const needed = HOOKS.filter((name) => reentries.some(({ during }) => during === name))
  const hooks = [...new Set([...plan.hooks, ...needed])]
  if (reentries.length === 0 && storm === undefined) return plan
  const options = {
    ...(storm === undefined ? plan.options : stormOptions(random, plan.options)),
    ...(random.chance(0.2) && {
      maxIdle: random.whole(plan.options.minIdle ?? 0, plan.options.maxSize ?? 10),
    }),
    ...(random.chance(0.3) && { allowExitOnIdle: true }),
  }
  const steps = plan.steps.map((step) =>
    step.do === 'run' && random.chance(0.3) ? { ...step, signal: true } : step,
  )
  return { ...plan, options, hooks, steps, reentries, storm }
}

function tail(random: Random, options: PlanOptions, mayRetry: boolean): Step[] {
  return Array.from({ length: random.whole(0, 15) }, () => stepOf(random, options, mayRetry))
}

function optionsOf(random: Random): PlanOptions {
  const maxSize = random.pick([1, 1, 2, 3, 5, 10])
  const some = <T>(share: number, value: T): T | undefined => (random.chance(share) ? value : undefined)
  const options = {
    maxSize,
    minIdle: some(0.3, random.whole(0, maxSize)),
    testOnCheckOut: some(0.15, false),
    validationBypassMs: some(0.5, random.pick([0, 10, 100])),
    validationTimeoutMs: some(0.5, random.pick([20, 100])),
    maxLifetimeMs: some(0.3, random.pick([50, 300, 2_000])),
    idleTimeoutMs: some(0.3, random.pick([30, 200])),
    maxUses: some(0.2, random.whole(1, 4)),
    keepaliveMs: some(0.2, random.pick([20, 100])),
    acquireTimeoutMs: random.pick([30, 100, 1_000, 30_000]),
    connectTimeoutMs: some(0.6, random.pick([20, 200])),
    closeTimeoutMs: some(0.6, random.pick([20, 200])),
    retryConnect: some(0.2, false),
    maxConnecting: some(0.2, random.whole(1, 3)),
    maxWaiting: some(0.15, random.whole(0, 6)),
    overload: some(0.15, { targetMs: 5, intervalMs: 40 }),
    queueStrategy: some(0.4, 'lifo' as const),
    reapIntervalMs: random.pick([20, 100, 30_000]),
    leakThresholdMs: some(0.15, 60),
    connectBackoff: random.pick([
      { minMs: 1, maxMs: 5 },
      { minMs: 50, maxMs: 5_000 },
    ]),
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function stepOf(random: Random, { maxSize = 10 }: PlanOptions, mayRetry: boolean): Step {
  const name = random.weighted({
    acquire: 26,
    run: 8,
    tryAcquire: 3,
    release: 20,
    destroy: 3,
    detach: 1,
    abort: 4,
    lose: 3,
    break: 3,
    spoil: 3,
    settle: 10,
    reject: 3,
    clear: 1,
    pause: 1,
    resume: 2,
    dedicated: 1,
    add: 1,
    resize: 1.5,
    serverDown: 1,
    serverUp: 2,
    time: 14,
    microtasks: 10,
  })
  switch (name) {
    case 'acquire':
      return {
        do: name,
        priority: random.chance(0.2) ? random.pick([-1, 1, 5]) : 0,
        timeoutMs: random.chance(0.2) ? random.pick([0, 5, 50, 500]) : undefined,
        signal: random.chance(0.3),
      }
    case 'run':
      return {
        do: name,
        holdMs: random.pick([0, 1, 20]),
        breaks: random.chance(0.3),
        retries: mayRetry ? random.whole(0, 2) : 0,
      }
    case 'resize': {
      const size = random.whole(1, maxSize + 2)
      return { do: name, maxSize: size, minIdle: random.chance(0.3) ? random.whole(0, size) : 0 }
    }
    case 'time':
      return { do: name, ms: random.pick([0, 1, 5, 20, 60, 300, random.chance(0.1) ? 40_000 : 10]) }
    case 'microtasks':
      return { do: name, count: random.whole(0, 6) }
    case 'tryAcquire':
    case 'clear':
    case 'pause':
    case 'resume':
    case 'dedicated':
    case 'add':
    case 'serverDown':
    case 'serverUp':
      return { do: name }
    default:
      return { do: name, which: random.whole(0, 99) }
  }
}

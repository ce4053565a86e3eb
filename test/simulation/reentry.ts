import { CHANNELS } from '../../src/index.ts'
import type { Step } from './plan.ts'
import type { Random } from './random.ts'

const TRACED = ['acquire', 'open'].flatMap((name) =>
  ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => `tracing:cenote:${name}:${event}`),
)

/** The manager's methods, hooks and functions of a caller that run while the pool works. */
export const CALL_OUTS = [
  'connect',
  'isValid',
  'hasBroken',
  'isFatal',
  'reset',
  'cancel',
  'close',
  'ref',
  'unref',
  'afterConnect',
  'beforeAcquire',
  'afterRelease',
  'beforeClose',
  'onError',
  'work',
  'abortListener',
] as const

/** The channels and the events of the tracing channels, by name. */
export const SUBSCRIPTIONS: readonly string[] = [...Object.values(CHANNELS), ...TRACED]

/** Every place in which the pool runs user code. */
export const PLACES: readonly string[] = [...CALL_OUTS, ...SUBSCRIPTIONS]

/** What user code does: a call of the pool, a look at its state, or a throw. */
export type Act = Exclude<Step, { do: 'time' | 'microtasks' | 'settle' | 'reject' }>

/** User code that calls the pool while the pool calls it. */
export interface Reentry {
  /** Where it runs: one of PLACES. */
  readonly during: string
  /** So many times it does nothing first. */
  readonly skip: number
  /** So many times it acts. */
  readonly times: number
  /** Whether it acts in a microtask of its own rather than synchronously. */
  readonly isLate: boolean
  readonly act: Act
}

// A life without such code stays the life that its seed had before this dimension existed.
const SHARE_OF_LIVES = 0.6
const MOST = 10
// A subscriber that throws ends the process: Node.js reports it as an uncaught exception.
const MAY_THROW: readonly string[] = CALL_OUTS.filter(
  (place) => place !== 'work' && place !== 'abortListener',
)

/** The user code that belongs to a life; `step` draws one of the steps of a plan. */
export function reentriesOf(random: Random, step: (random: Random) => Step): Reentry[] {
  if (!random.chance(SHARE_OF_LIVES)) return []
  return Array.from({ length: random.whole(1, MOST) }, () => {
    const during = random.chance(0.5) ? random.pick(CALL_OUTS) : random.pick(SUBSCRIPTIONS)
    return {
      during,
      skip: random.chance(0.5) ? 0 : random.whole(1, 8),
      times: random.pick([1, 2, 5, 20, 50]),
      isLate: random.chance(0.15),
      act: actOf(random, during, step),
    }
  })
}

function actOf(random: Random, during: string, step: (random: Random) => Step): Act {
  const name = random.weighted({
    acquire: 20,
    run: 8,
    tryAcquire: 8,
    release: 14,
    destroy: 8,
    detach: 4,
    abort: 8,
    lose: 10,
    add: 4,
    clear: 6,
    clearSlowly: 2,
    close: 6,
    resize: 8,
    pause: 3,
    resume: 5,
    dedicated: 3,
    look: 3,
    throw: 4,
  })
  switch (name) {
    case 'acquire':
    case 'run':
    case 'resize':
      return drawn(random, name, step)
    case 'release':
    case 'destroy':
    case 'detach':
    case 'abort':
    case 'lose':
      return { do: name, which: random.whole(0, 99) }
    case 'close':
      return { do: name, timeoutMs: random.pick([0, 50, 1_000]) }
    case 'clearSlowly':
      return { do: name, overMs: random.pick([1, 50, 1_000]) }
    case 'throw':
      return { do: MAY_THROW.includes(during) ? name : 'look' }
    default:
      return { do: name }
  }
}

function drawn(random: Random, name: string, step: (random: Random) => Step): Act {
  for (;;) {
    const found = step(random)
    if (found.do === name) return found as Act
  }
}

/** One line of a story: what runs where. */
export function describeReentry({ during, skip, times, isLate, act }: Reentry): string {
  const when = skip === 0 ? '' : ` after ${skip} without`
  return `in ${during}${when}, ${times} x${isLate ? ' in a microtask' : ''}: ${JSON.stringify(act)}`
}

import type { CloseReason } from './close-reason.ts'
import { type Clock, systemClock } from './clock.ts'
import type { ConnectionManager } from './manager.ts'
import {
  callable,
  checkArguments,
  duration,
  flag,
  pair,
  type Rule,
  text,
  whole,
  wrongValue,
} from './rules.ts'

/** CoDel on the queue: when no caller gets a connection within `targetMs` for `intervalMs`, the longest waiters are shed. */
export interface OverloadOptions {
  /** The wait that is still good service, in milliseconds. */
  readonly targetMs: number
  /** Time for which every wait must have exceeded `targetMs` before callers are shed, in milliseconds. */
  readonly intervalMs: number
}

/** The options of a pool with defaults filled in, as `pool.options` shows them. Durations are milliseconds. */
export interface ResolvedPoolOptions<C> {
  /** The pool's name in errors, channels and metrics. Default: `pool-1`, `pool-2`, … */
  readonly name: string
  /** Maximum number of connections that are open, opening or closing. Default: 10. */
  readonly maxSize: number
  /** Number of idle connections kept ready, within `maxSize`. Default: 0. */
  readonly minIdle: number
  /** Maximum number of idle connections; a connection returned above it is closed. Default: `maxSize`. */
  readonly maxIdle: number
  /** Whether `isValid` runs before a connection is handed out. Default: true. */
  readonly testOnCheckOut: boolean
  /** Skips `isValid` for a connection used within this time, in milliseconds; 0 never skips it. Default: 500. */
  readonly validationBypassMs: number
  /** Limit of one check or hook, in milliseconds; a longer one has failed. Default: 5,000. */
  readonly validationTimeoutMs: number
  /** Age at which an unused connection is replaced, in milliseconds. Infinity disables it. Default: 1,800,000. */
  readonly maxLifetimeMs: number
  /** Random part (0 to 1) by which each lifetime is shortened, drawn once when a connection opens. Default: 0.1. */
  readonly lifetimeJitter: number
  /** Idle time after which a connection is closed, in milliseconds, never below `minIdle`. Infinity disables it. Default: 600,000. */
  readonly idleTimeoutMs: number
  /** Number of checkouts before a connection is replaced. Default: Infinity. */
  readonly maxUses: number
  /** An idle connection is checked when this time, in milliseconds, has passed since its last use or the start of its last check. Default: Infinity, never. */
  readonly keepaliveMs: number
  /** Absolute deadline of one acquire, in milliseconds: queue, connect, check and hooks. Infinity disables it. Default: 30,000. */
  readonly acquireTimeoutMs: number
  /** Limit of one connect attempt, in milliseconds. Default: 10,000. */
  readonly connectTimeoutMs: number
  /** Limit of one close, in milliseconds; then the slot is freed and the error is reported. Default: 5,000. */
  readonly closeTimeoutMs: number
  /** Whether a failed connect is retried. With false, a failure rejects every caller that no open connection can serve. Default: true. */
  readonly retryConnect: boolean
  /** Limits of the wait between connect attempts, in milliseconds, one schedule for the pool. Default: 50 to 5,000. */
  readonly connectBackoff: { readonly minMs: number; readonly maxMs: number }
  /** Maximum number of concurrent connect attempts. Default: Infinity, which means as many as connections are open, and at least 10. */
  readonly maxConnecting: number
  /** Maximum number of waiters; one more is rejected immediately with QueueFullError. Default: Infinity. */
  readonly maxWaiting: number
  /** Sheds callers while the queue is standing. Default: undefined, never. */
  readonly overload: OverloadOptions | undefined
  /** The idle connection that is handed out first: the longest idle or the last used. Waiters are always served in order. Default: 'fifo'. */
  readonly queueStrategy: 'fifo' | 'lifo'
  /** Interval of the sweep of idle and old connections, in milliseconds. Infinity disables it. Default: 30,000. */
  readonly reapIntervalMs: number
  /** A lease held longer, in milliseconds, is reported with the stack of its acquire; each acquire then costs a stack trace. Default: Infinity. */
  readonly leakThresholdMs: number
  /** Whether a lease that was garbage-collected unreleased frees its slot; its connection is closed. Default: false. */
  readonly reclaimAbandoned: boolean
  /** Whether the process may end while its only remaining work is idle connections. Needs the manager's `ref` and `unref`. Default: false. */
  readonly allowExitOnIdle: boolean
  /** Runs once per connection before first use. A throw is a connect failure. Default: none. */
  readonly afterConnect: ((connection: C) => void | Promise<void>) | undefined
  /** Runs last at each checkout. false or a throw closes the connection, and the next one is taken. Default: none. */
  readonly beforeAcquire: ((connection: C) => boolean | void | Promise<boolean | void>) | undefined
  /** Runs at each return; no caller gets the connection until it settles. false or a throw closes the connection. Default: none. */
  readonly afterRelease:
    | ((connection: C, error?: unknown) => boolean | void | Promise<boolean | void>)
    | undefined
  /** Runs before `manager.close`. A throw is reported; the connection is closed all the same. Default: none. */
  readonly beforeClose: ((connection: C, reason: CloseReason) => void | Promise<void>) | undefined
  /** Receives every failure that belongs to no caller. Default: failures go only to the channel `cenote:error`. */
  readonly onError: ((error: unknown) => void) | undefined
  /** Source of time, timers and random numbers, for tests. Default: the system's monotonic clock. */
  readonly clock: Clock
}

/** The options of a pool, all optional. See {@link ResolvedPoolOptions} for each option with its default. */
export type PoolOptions<C> = {
  readonly [K in keyof ResolvedPoolOptions<C>]?: ResolvedPoolOptions<C>[K] | undefined
}

/** The options of one acquire. */
export interface AcquireOptions {
  /** Ends the wait: acquire rejects immediately with the signal's reason. Default: none. */
  readonly signal?: AbortSignal | undefined
  /** Absolute deadline of the wait for a connection, in milliseconds. It never bounds the work. Default: `acquireTimeoutMs`. */
  readonly timeoutMs?: number | undefined
  /** A lower number is served first. Default: 0. */
  readonly priority?: number | undefined
}

/**
 * The connection that a caller needs: any; `fresh`: one that is opened or checked from now on; `retry`: a fresh one, ahead of
 * every other waiting caller, because the caller has been served before and its connection broke.
 */
export type Need = 'any' | 'fresh' | 'retry'

/** The options of one run. */
export interface RunOptions extends AcquireOptions {
  /**
   * Ends the wait for a connection. While the function runs, an abort calls `manager.cancel`; `run` rejects with the
   * signal's reason when the function has settled, or after `closeTimeoutMs`, when the connection is destroyed. Default: none.
   */
  readonly signal?: AbortSignal | undefined
  /** Maximum number of further runs of the function, on a new or checked connection, when its connection broke. Default: 0. */
  readonly retries?: number | undefined
}

/** The second argument of a function of `run`. */
export interface RunContext {
  /** The signal that was passed to `run`. */
  readonly signal: AbortSignal | undefined
}

/** Options of {@link Pool.clear}. */
export interface ClearOptions {
  /** The time over which the replacement of the connections is spread, in milliseconds. Default: 0, immediately. */
  readonly overMs?: number | undefined
}

const REQUIRED_METHODS = ['connect', 'isValid', 'hasBroken', 'close'] as const
/** A source of time. */
export const clockRule: Rule = {
  allowed: 'a Clock: { now, setTimeout, clearTimeout }',
  accepts: (value) =>
    typeof value === 'object' &&
    value !== null &&
    ['now', 'setTimeout', 'clearTimeout'].every((method) => typeof Reflect.get(value, method) === 'function'),
}

const RULES: { readonly [K in keyof ResolvedPoolOptions<never>]: Rule } = {
  name: text,
  maxSize: whole(1, 'finite'),
  minIdle: whole(0, 'finite'),
  maxIdle: whole(0, 'or Infinity'),
  testOnCheckOut: flag,
  validationBypassMs: duration('from 0', 'or Infinity'),
  validationTimeoutMs: duration('above 0', 'or Infinity'),
  maxLifetimeMs: duration('above 0', 'or Infinity'),
  lifetimeJitter: {
    allowed: 'a number from 0 to 1',
    accepts: (value) => typeof value === 'number' && value >= 0 && value <= 1,
  },
  idleTimeoutMs: duration('above 0', 'or Infinity'),
  maxUses: whole(1, 'or Infinity'),
  keepaliveMs: duration('above 0', 'or Infinity'),
  acquireTimeoutMs: duration('above 0', 'or Infinity'),
  connectTimeoutMs: duration('above 0', 'or Infinity'),
  closeTimeoutMs: duration('above 0', 'or Infinity'),
  retryConnect: flag,
  connectBackoff: pair('minMs', 'maxMs', 'ordered'),
  maxConnecting: whole(1, 'or Infinity'),
  maxWaiting: whole(0, 'or Infinity'),
  overload: pair('targetMs', 'intervalMs', 'any order'),
  queueStrategy: { allowed: "'fifo' or 'lifo'", accepts: (value) => value === 'fifo' || value === 'lifo' },
  reapIntervalMs: duration('above 0', 'or Infinity'),
  leakThresholdMs: duration('above 0', 'or Infinity'),
  reclaimAbandoned: flag,
  allowExitOnIdle: flag,
  afterConnect: callable,
  beforeAcquire: callable,
  afterRelease: callable,
  beforeClose: callable,
  onError: callable,
  clock: clockRule,
}

const DEFAULTS: Omit<ResolvedPoolOptions<never>, 'name' | 'maxIdle'> = {
  maxSize: 10,
  minIdle: 0,
  testOnCheckOut: true,
  validationBypassMs: 500,
  validationTimeoutMs: 5_000,
  maxLifetimeMs: 1_800_000,
  lifetimeJitter: 0.1,
  idleTimeoutMs: 600_000,
  maxUses: Infinity,
  keepaliveMs: Infinity,
  acquireTimeoutMs: 30_000,
  connectTimeoutMs: 10_000,
  closeTimeoutMs: 5_000,
  retryConnect: true,
  connectBackoff: Object.freeze({ minMs: 50, maxMs: 5_000 }),
  maxConnecting: Infinity,
  maxWaiting: Infinity,
  overload: undefined,
  queueStrategy: 'fifo',
  reapIntervalMs: 30_000,
  leakThresholdMs: Infinity,
  reclaimAbandoned: false,
  allowExitOnIdle: false,
  afterConnect: undefined,
  beforeAcquire: undefined,
  afterRelease: undefined,
  beforeClose: undefined,
  onError: undefined,
  clock: systemClock,
}

let poolsNamed = 0

/** Checks the options and fills in the defaults. Throws PoolOptionsError before anything is opened. */
export function resolveOptions<C>(
  manager: ConnectionManager<C>,
  options: PoolOptions<C> = {},
): ResolvedPoolOptions<C> {
  const given = checkArguments('pool options', options, RULES, '')
  const name = (given['name'] as string | undefined) ?? `pool-${++poolsNamed}`
  checkManager(name, manager)
  const resolved = {
    name,
    ...DEFAULTS,
    maxIdle: given['maxSize'] ?? DEFAULTS.maxSize,
    ...given,
  } as ResolvedPoolOptions<C>
  checkSizes(resolved)
  const canExit = typeof manager.ref === 'function' && typeof manager.unref === 'function'
  if (resolved.allowExitOnIdle && !canExit)
    throw wrongValue(name, 'allowExitOnIdle', true, 'false for a manager without ref and unref')
  return Object.freeze({
    ...resolved,
    connectBackoff: Object.freeze({ ...resolved.connectBackoff }),
    overload: resolved.overload && Object.freeze({ ...resolved.overload }),
  })
}

/** Checks that minIdle fits into maxSize and maxIdle. */
export function checkSizes(sizes: { name: string; maxSize: number; minIdle: number; maxIdle: number }): void {
  const { name, maxSize, minIdle, maxIdle } = sizes
  if (minIdle > maxSize)
    throw wrongValue(name, 'minIdle', minIdle, `an integer from 0 to maxSize (${maxSize})`)
  if (minIdle > maxIdle)
    throw wrongValue(name, 'minIdle', minIdle, `an integer from 0 to maxIdle (${maxIdle})`)
}

const ACQUIRE_RULES = {
  signal: {
    allowed: 'an AbortSignal',
    accepts: (value: unknown) =>
      typeof value === 'object' &&
      value !== null &&
      typeof Reflect.get(value, 'addEventListener') === 'function' &&
      'aborted' in value,
  },
  timeoutMs: duration('from 0', 'or Infinity'),
  priority: { allowed: 'a finite number', accepts: (value: unknown) => Number.isFinite(value) },
  retries: whole(0, 'finite'),
} as const satisfies Record<string, Rule>

type Call = 'acquire' | 'run' | 'dedicated' | 'resize' | 'clear' | 'close'

const CALLS: Readonly<Record<Call, Readonly<Record<string, Rule>>>> = {
  acquire: {
    signal: ACQUIRE_RULES.signal,
    timeoutMs: ACQUIRE_RULES.timeoutMs,
    priority: ACQUIRE_RULES.priority,
  },
  run: ACQUIRE_RULES,
  dedicated: { signal: ACQUIRE_RULES.signal },
  resize: { maxSize: RULES.maxSize, minIdle: RULES.minIdle },
  clear: { overMs: duration('from 0', 'finite') },
  close: { timeoutMs: ACQUIRE_RULES.timeoutMs },
}

/** Checks the argument of a pool's method. Throws PoolOptionsError. */
export function checkCall(call: Call, options: unknown, pool: string): void {
  checkArguments(`${call} options`, options, CALLS[call], pool)
}

function checkManager(pool: string, manager: unknown): void {
  const lacks = REQUIRED_METHODS.find(
    (method) =>
      typeof manager !== 'object' || manager === null || typeof Reflect.get(manager, method) !== 'function',
  )
  if (lacks !== undefined)
    throw wrongValue(pool, 'manager', manager, `an object with the methods ${REQUIRED_METHODS.join(', ')}`)
}

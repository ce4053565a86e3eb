import type { CloseReason } from './close-reason.ts'
import { type Clock, systemClock } from './clock.ts'
import { PoolOptionsError } from './errors.ts'
import type { ConnectionManager } from './manager.ts'
import { callable, checkArguments, duration, flag, pair, type Rule, show, text, whole } from './rules.ts'

/** CoDel on the queue: when nobody gets a connection within `targetMs` for `intervalMs`, the longest waiters are shed. */
export interface OverloadOptions {
  /** The wait that is still good service, in milliseconds. */
  readonly targetMs: number
  /** For how long every wait must have been longer before callers are shed, in milliseconds. */
  readonly intervalMs: number
}

/** The options of a pool with defaults filled in, as `pool.options` shows them. Durations are milliseconds. */
export interface ResolvedPoolOptions<C> {
  /** In errors, channels and metrics. Default: `pool-1`, `pool-2`, … */
  readonly name: string
  /** Connections open, opening or closing at once, at the most. Default: 10. */
  readonly maxSize: number
  /** Idle connections kept ready, within `maxSize`. Default: 0. */
  readonly minIdle: number
  /** Whether `isValid` is asked before a connection is handed out. Default: true. */
  readonly testOnCheckOut: boolean
  /** No `isValid` for a connection used within this time; 0: always. Default: 500. */
  readonly validationBypassMs: number
  /** A check or hook that takes longer has failed. Default: 5,000. */
  readonly validationTimeoutMs: number
  /** A connection older than this is replaced when nobody uses it. Infinity: none. Default: 1,800,000. */
  readonly maxLifetimeMs: number
  /** Each lifetime is shortened by a random part up to this (0 to 1), drawn once at birth. Default: 0.1. */
  readonly lifetimeJitter: number
  /** A connection idle for longer is closed, never below `minIdle`. Infinity: none. Default: 600,000. */
  readonly idleTimeoutMs: number
  /** Checkouts before a connection is replaced. Default: Infinity. */
  readonly maxUses: number
  /** Idle connections are checked this often. Default: Infinity, never. */
  readonly keepaliveMs: number
  /** Absolute deadline of one acquire: queue, connect, check and hooks. Infinity: none. Default: 30,000. */
  readonly acquireTimeoutMs: number
  /** One connect attempt. Default: 10,000. */
  readonly connectTimeoutMs: number
  /** One close; then the slot is freed and the error reported. Default: 5,000. */
  readonly closeTimeoutMs: number
  /** Whether a failed connect is tried again. false: the head waiter gets the ConnectError at once. Default: true. */
  readonly retryConnect: boolean
  /** Limits of the wait between connect attempts, one schedule for the pool. Default: 50 to 5,000. */
  readonly connectBackoff: { readonly minMs: number; readonly maxMs: number }
  /** Connect attempts at once. Default: Infinity, which means as many as connections are open already, and at least 10. */
  readonly maxConnecting: number
  /** Waiters; one more is refused at once with QueueFullError. Default: Infinity. */
  readonly maxWaiting: number
  /** Sheds callers while the queue is standing. Default: undefined, never. */
  readonly overload: OverloadOptions | undefined
  /** Which idle connection is handed out: the longest idle or the last used. Waiters are always served in order. Default: 'fifo'. */
  readonly queueStrategy: 'fifo' | 'lifo'
  /** How often idle and old connections are swept. Infinity: never. Default: 30,000. */
  readonly reapIntervalMs: number
  /** A lease held longer is reported, with the stack of its acquire (which then costs a stack trace each). Default: Infinity. */
  readonly leakThresholdMs: number
  /** Whether a lease that was garbage-collected unreleased gives its slot back; its connection is closed. Default: false. */
  readonly reclaimAbandoned: boolean
  /** Once per connection before first use. A throw is a connect failure. */
  readonly afterConnect: ((connection: C) => void | Promise<void>) | undefined
  /** At each checkout, last. false or a throw: the connection is closed and the next one taken. */
  readonly beforeAcquire: ((connection: C) => boolean | void | Promise<boolean | void>) | undefined
  /** At each return; nobody gets the connection until it settles. false or a throw: the connection is closed. */
  readonly afterRelease:
    | ((connection: C, error?: unknown) => boolean | void | Promise<boolean | void>)
    | undefined
  /** Before `manager.close`. A throw is reported; the connection is closed all the same. */
  readonly beforeClose: ((connection: C, reason: CloseReason) => void | Promise<void>) | undefined
  /** Every failure that belongs to no caller. Default: none is reported, but on the channel `cenote:error`. */
  readonly onError: ((error: unknown) => void) | undefined
  /** Time, timers and chance. For tests. Default: the system's monotonic clock. */
  readonly clock: Clock
}

/** The options of a pool, all optional; see {@link ResolvedPoolOptions} for each with its default. */
export type PoolOptions<C> = {
  readonly [K in keyof ResolvedPoolOptions<C>]?: ResolvedPoolOptions<C>[K] | undefined
}

/** The options of one acquire. */
export interface AcquireOptions {
  /** Rejects at once with the signal's reason when it aborts. */
  readonly signal?: AbortSignal | undefined
  /** Absolute deadline of this acquire. Default: `acquireTimeoutMs`. */
  readonly timeoutMs?: number | undefined
  /** A lower number is served first. Default: 0. */
  readonly priority?: number | undefined
}

/** The options of one run. */
export interface RunOptions extends AcquireOptions {
  /** How often the function is run again, on a fresh connection, when its connection broke meanwhile. Default: 0. */
  readonly retries?: number | undefined
}

const REQUIRED_METHODS = ['connect', 'isValid', 'hasBroken', 'close'] as const
const clockRule: Rule = {
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
  afterConnect: callable,
  beforeAcquire: callable,
  afterRelease: callable,
  beforeClose: callable,
  onError: callable,
  clock: clockRule,
}

const DEFAULTS: Omit<ResolvedPoolOptions<never>, 'name'> = {
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
  const resolved = { name, ...DEFAULTS, ...given } as ResolvedPoolOptions<C>
  checkSizes(resolved)
  return Object.freeze({
    ...resolved,
    connectBackoff: Object.freeze({ ...resolved.connectBackoff }),
    overload: resolved.overload && Object.freeze({ ...resolved.overload }),
  })
}

/** Checks that minIdle fits into maxSize. */
export function checkSizes(sizes: { name: string; maxSize: number; minIdle: number }): void {
  const { name, maxSize, minIdle } = sizes
  if (minIdle <= maxSize) return
  throw new PoolOptionsError(
    name,
    'minIdle',
    minIdle,
    `minIdle is ${minIdle}: allowed is a whole number from 0 to maxSize (${maxSize})`,
  )
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

const CALLS: Readonly<Record<string, Readonly<Record<string, Rule>>>> = {
  acquire: {
    signal: ACQUIRE_RULES.signal,
    timeoutMs: ACQUIRE_RULES.timeoutMs,
    priority: ACQUIRE_RULES.priority,
  },
  run: ACQUIRE_RULES,
  dedicated: { signal: ACQUIRE_RULES.signal },
  resize: { maxSize: RULES.maxSize, minIdle: RULES.minIdle },
  close: { timeoutMs: ACQUIRE_RULES.timeoutMs },
}

/** Checks the argument of a pool's method. Throws PoolOptionsError. */
export function checkCall(
  call: 'acquire' | 'run' | 'dedicated' | 'resize' | 'close',
  options: unknown,
  pool: string,
): void {
  checkArguments(`${call} options`, options, CALLS[call] as Readonly<Record<string, Rule>>, pool)
}

function checkManager(pool: string, manager: unknown): void {
  for (const method of REQUIRED_METHODS) {
    if (typeof manager === 'object' && manager !== null && typeof Reflect.get(manager, method) === 'function')
      continue
    throw new PoolOptionsError(
      pool,
      'manager',
      manager,
      `manager${typeof manager === 'object' && manager !== null ? ` has no method ${method}` : ` is ${show(manager)}`}: allowed is an object with the methods ${REQUIRED_METHODS.join(', ')}`,
    )
  }
}

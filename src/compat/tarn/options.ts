/** Options of {@link Pool}: those of tarn. Any other key throws. */
export interface TarnPoolOptions<R> {
  /** Makes a resource: returns a promise of it, or calls back. A falsy result means that it will call back. */
  readonly create: (callback: (error: unknown, resource?: R) => unknown) => R | Promise<R> | undefined | void
  /** Ends a resource. */
  readonly destroy: (resource: R) => unknown
  /** Whether a resource that was used before may be used again. Default: always. */
  readonly validate?: ((resource: R) => boolean | Promise<boolean>) | undefined
  /** Resources that idle reaping leaves. Nothing is created before the first acquire. */
  readonly min: number
  readonly max: number
  /** Default: 30000. */
  readonly acquireTimeoutMillis?: number | undefined
  /** Default: 30000. */
  readonly createTimeoutMillis?: number | undefined
  /** Default: 5000. */
  readonly destroyTimeoutMillis?: number | undefined
  /** Default: 30000. */
  readonly idleTimeoutMillis?: number | undefined
  /** Default: 200. */
  readonly createRetryIntervalMillis?: number | undefined
  /** Default: 1000. */
  readonly reapIntervalMillis?: number | undefined
  /** Receives failures that belong to no caller. */
  readonly log?: ((message: string, level: 'warn') => unknown) | undefined
  /** Whether the first waiter gets the error of a failed create immediately, instead of a retry. Default: false. */
  readonly propagateCreateError?: boolean | undefined
}

const TIMES = [
  'acquireTimeoutMillis',
  'createTimeoutMillis',
  'destroyTimeoutMillis',
  'idleTimeoutMillis',
  'reapIntervalMillis',
  'createRetryIntervalMillis',
] as const
const KEYS = new Set<string>([
  'create',
  'destroy',
  'validate',
  'log',
  'min',
  'max',
  'propagateCreateError',
  ...TIMES,
])

/** Throws for options that tarn would refuse, in its own words: callers compare them. */
export function check<R>(options: TarnPoolOptions<R>): void {
  const given: Partial<TarnPoolOptions<R>> = options ?? {}
  if (typeof given.create !== 'function') throw new Error('Tarn: opt.create function most be provided')
  if (typeof given.destroy !== 'function') throw new Error('Tarn: opt.destroy function most be provided')
  const { min, max } = given
  if (!Number.isInteger(min) || Number(min) < 0) {
    throw new Error('Tarn: opt.min must be an integer >= 0')
  }
  if (!Number.isInteger(max) || Number(max) <= 0) {
    throw new Error('Tarn: opt.max must be an integer > 0')
  }
  if (Number(min) > Number(max)) throw new Error('Tarn: opt.max is smaller than opt.min')
  for (const key of TIMES) {
    const time = given[key]
    if (time === undefined || (Number.isInteger(time) && time > 0)) continue
    throw new Error(`Tarn: invalid opt.${key} ${JSON.stringify(time)}`)
  }
  for (const key of Object.keys(given)) {
    if (!KEYS.has(key)) throw new Error(`Tarn: unsupported option opt.${key}`)
  }
}

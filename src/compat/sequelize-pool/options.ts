/** The levels of sequelize-pool's log. */
export type LogLevel = 'verbose' | 'info' | 'warn' | 'error'
/** Receives what the pool logs. */
export type FactoryLogger = (message: string, level: LogLevel) => void

/** Options of the class `Pool`: those of sequelize-pool. */
export interface FactoryOptions<T> {
  readonly name?: string | undefined
  readonly create: () => Promise<T>
  readonly destroy: (resource: T) => unknown
  /** Whether a resource that was used before may be used again. Synchronous; called only at an acquire. */
  readonly validate: (resource: T) => boolean
  readonly max: number
  /** Minimum of resources, in use or not, from the start. */
  readonly min: number
  /** Checkouts before a resource is replaced. Default: no limit. */
  readonly maxUses?: number | undefined
  /** Default: 30000. */
  readonly idleTimeoutMillis?: number | undefined
  /** Default: 30000. */
  readonly acquireTimeoutMillis?: number | undefined
  /** Default: 1000. */
  readonly reapIntervalMillis?: number | undefined
  /** Receives failures that belong to no caller. `true`: they are printed. Default: false. */
  readonly log?: FactoryLogger | boolean | undefined
}

/** Throws for options that sequelize-pool rejects, in its own words: callers compare them. */
export function check<T>(options: FactoryOptions<T>): void {
  const { create, destroy, validate, min, max, maxUses } = options as Partial<FactoryOptions<T>>
  if (!create) throw new Error('create function is required')
  if (!destroy) throw new Error('destroy function is required')
  if (!validate) throw new Error('validate function is required')
  if (!Number.isInteger(min) || Number(min) < 0) throw new Error('min must be an integer >= 0')
  if (!Number.isInteger(max) || Number(max) <= 0) throw new Error('max must be an integer > 0')
  if (Number(min) > Number(max)) throw new Error('max is smaller than min')
  if (maxUses !== undefined && !(typeof maxUses === 'number' && maxUses >= 0))
    throw new Error('maxUses must be an integer >= 0')
}

/** Makes, checks and ends the resources. Each may return a promise or not, and may throw. */
export interface Factory<R> {
  create(): R | Promise<R>
  destroy(resource: R): unknown
  validate?(resource: R): boolean | Promise<boolean>
}

/** Options of createPool: those of generic-pool. Numbers may be given as text. */
export interface GenericPoolOptions {
  /** Default: 1. */
  readonly max?: number | string | undefined
  /** Resources kept in all, from the start. More than `max` means `max`. Default: 0. */
  readonly min?: number | string | undefined
  /** Default: no limit. */
  readonly maxWaitingClients?: number | string | undefined
  /** Call `validate` before a resource that was used before is handed out. Default: false. */
  readonly testOnBorrow?: boolean | undefined
  /** Call `validate` when a resource is released. Default: false. */
  readonly testOnReturn?: boolean | undefined
  /** Default: no limit. */
  readonly acquireTimeoutMillis?: number | string | undefined
  /** Default: 5000; generic-pool waits forever. */
  readonly destroyTimeoutMillis?: number | string | undefined
  /** Priorities from 0, which is served first, to one below this. Default: 1. */
  readonly priorityRange?: number | undefined
  /** Whether the resource that is idle for longest is handed out, instead of the last one used. Default: true. */
  readonly fifo?: boolean | undefined
  /** false: nothing is created before `start` or the first acquire. Default: true. */
  readonly autostart?: boolean | undefined
  /** Interval at which idle resources are swept, in milliseconds. Default: 0, never; 1000 if an idle timeout is given. */
  readonly evictionRunIntervalMillis?: number | undefined
  /** Accepted, and not needed: a sweep costs time only for resources that are too old. */
  readonly numTestsPerEvictionRun?: number | undefined
  /** Idle for longer: destroyed, down to `min`. Default: -1: see `idleTimeoutMillis`. */
  readonly softIdleTimeoutMillis?: number | undefined
  /** Same as `softIdleTimeoutMillis`, if that is not given. Never below `min`: generic-pool destroys and re-creates those forever. Default: 30000. */
  readonly idleTimeoutMillis?: number | undefined
  /** The class of the promises that are returned. Default: Promise. */
  readonly Promise?: PromiseConstructorLike | undefined
}

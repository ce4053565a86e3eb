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
  /** Ask `validate` before a resource that was used before is handed out. Default: false. */
  readonly testOnBorrow?: boolean | undefined
  /** Ask `validate` when a resource comes back. Default: false. */
  readonly testOnReturn?: boolean | undefined
  /** Default: no limit. */
  readonly acquireTimeoutMillis?: number | string | undefined
  /** Default: 5000; generic-pool waits for ever. */
  readonly destroyTimeoutMillis?: number | string | undefined
  /** Priorities from 0, which is served first, to one below this. Default: 1. */
  readonly priorityRange?: number | undefined
  /** Which idle resource is handed out: the one idle for longest, or the last one used. Default: true. */
  readonly fifo?: boolean | undefined
  /** false: nothing is created before `start` or the first acquire. Default: true. */
  readonly autostart?: boolean | undefined
  /** How often idle resources are looked at. Default: 0: never, unless an idle timeout is given, then 1000. */
  readonly evictionRunIntervalMillis?: number | undefined
  /** Accepted, and not needed: looking at idle resources costs nothing but for those that are too old. */
  readonly numTestsPerEvictionRun?: number | undefined
  /** Idle for longer: destroyed, down to `min`. Default: -1: see `idleTimeoutMillis`. */
  readonly softIdleTimeoutMillis?: number | undefined
  /** The same where no soft time-out is given. It goes down to `min` too: generic-pool destroys and remakes those for ever. Default: 30000. */
  readonly idleTimeoutMillis?: number | undefined
  /** The class of the promises that are returned. Default: Promise. */
  readonly Promise?: PromiseConstructorLike | undefined
}

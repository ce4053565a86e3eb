/** How the processes share the server: the fleet's budget, fixed pools, or a proxy in front. */
export type Mode = 'fleet' | 'fixed, in all the budget' | 'fixed, 10 each' | 'PgBouncer'

/** What a process is told. */
export type Order =
  | {
      readonly do: 'start'
      readonly mode: Mode
      readonly name: string
      readonly url: string
      /** undefined: the roster is in PostgreSQL itself, on the pool's own connections. */
      readonly redisUrl: string | undefined
      readonly budget: number
      readonly maxSize: number
      readonly leaseMs: number
      /** Serve the inspector, and tell its address. */
      readonly inspect: boolean
    }
  /** So many callers work from now on. */
  | { readonly do: 'work'; readonly callers: number }
  | { readonly do: 'end' }

/** What a process tells, ten times a second. */
export interface Report {
  readonly share: number
  readonly inUse: number
  readonly waiting: number
  /** Of the requests that were served since the last report, in milliseconds. */
  readonly tookMs: readonly number[]
  /** Of the requests that failed. */
  readonly errors: readonly string[]
  /** What the membership was told. */
  readonly storeErrors: number
  readonly roster: number
}

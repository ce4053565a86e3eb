import type { ContenderName } from './contenders.ts'

/** One request, on the clock that all processes of a machine share (milliseconds). */
export interface Request {
  readonly at: number
  /** How long until it was served or failed. */
  readonly tookMs: number
  /** undefined: it was served. */
  readonly error: string | undefined
}

/** What the process of one pool is told. */
export type Order =
  | { readonly do: 'start'; readonly name: ContenderName; readonly url: string; readonly perSecond: number }
  /** The load ends, what is under way is awaited, and the pool is closed. */
  | { readonly do: 'finish' }
  /** The event loop does nothing for so long. */
  | { readonly do: 'block'; readonly ms: number }
  /** The system's clock jumps: monotonic time goes on as before. */
  | { readonly do: 'jump'; readonly ms: number }
  | { readonly do: 'end' }

/** What the process of one pool tells when it has finished. */
export interface Outcome {
  readonly requests: readonly Request[]
  /** Requests that have been neither served nor failed long after every deadline. */
  readonly hung: number
  readonly unhandled: number
  readonly closed: boolean
}

/** Milliseconds on the clock that all processes of a machine share and that never jumps. */
export function sharedNow(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

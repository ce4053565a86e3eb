import { afterMicrotasks, REPORT_DELAY } from './microtasks.ts'

/** One acquire or run that has begun. */
export interface Caller {
  readonly id: number
  readonly priority: number
  readonly deadline: number
  readonly controller: AbortController | undefined
  readonly isRun: boolean
  /** It was rejected, or a run has ended. */
  settled: boolean
  /** It has a connection. */
  served: boolean
  /** It may have got its connection within its call: then its promise reports it later than others report theirs. */
  mayBeDirect: boolean
  /** It joined so long ago that whatever is reported from now on happened later. */
  isSeen: boolean
  /** The callers within whose call, before they had a place, this one came: either may go first. */
  readonly cameWithin: readonly Caller[]
}

/**
 * The callers that wait, in the order in which they must be served. It depends on no event of the pool: promises report in the order in which
 * the pool settled them, so a caller that is served while another is ahead of it, and goes on waiting, overtook it.
 */
export class Order {
  readonly #waiting: Caller[] = []
  readonly #overtaken: (rule: string) => void

  constructor(overtaken: (rule: string) => void) {
    this.#overtaken = overtaken
  }

  /** Callers that wait, those that are to be served first in front. */
  get waiting(): readonly Caller[] {
    return this.#waiting
  }

  joins(caller: Caller): void {
    const at = this.#waiting.findIndex(({ priority }) => priority > caller.priority)
    this.#waiting.splice(at === -1 ? this.#waiting.length : at, 0, caller)
    afterMicrotasks(REPORT_DELAY, () => (caller.isSeen = true))
  }

  leaves(caller: Caller): void {
    const at = this.#waiting.indexOf(caller)
    if (at !== -1) this.#waiting.splice(at, 1)
  }

  /** A caller reports its connection: nobody ahead of it may still wait. */
  serves(caller: Caller): void {
    caller.served = true
    const at = this.#waiting.indexOf(caller)
    const ahead = this.#waiting
      .slice(0, Math.max(0, at))
      .find((each) => each.isSeen && !caller.cameWithin.includes(each))
    this.leaves(caller)
    if (ahead === undefined) return
    // It may have been served or rejected before, and report it later: then it does so within a few microtasks.
    const isComparable = !ahead.isRun && !caller.isRun
    afterMicrotasks(REPORT_DELAY, () => {
      const isServedLater = ahead.served && isComparable && !ahead.mayBeDirect
      if (isServedLater || (!ahead.served && !ahead.settled))
        this.#overtaken(`caller ${caller.id} was served, and next was ${ahead.id}`)
    })
  }

  /** A caller that takes what is idle, without a place in the queue, was served: nobody may wait. */
  servesNewcomer(): void {
    const ahead = this.#waiting.find(({ isSeen, isRun }) => isSeen && !isRun)
    if (ahead === undefined) return
    afterMicrotasks(REPORT_DELAY, () => {
      if (!ahead.served && !ahead.settled)
        this.#overtaken(`tryAcquire gave a connection, and next was ${ahead.id}`)
    })
  }
}

import { afterMicrotasks } from './microtasks.ts'
import type { Caller } from './order.ts'
import type { SimConnection } from './server.ts'

/** One attempt to connect, as the server has it. */
export interface Attempt {
  readonly startedAt: number
  /** Its number among all attempts. */
  readonly number: number
  /** Attempts that began before a failure fail together: only the first of them counts. */
  readonly round: number
  /** How many had succeeded when it began: where another has since, its failure is old news. */
  readonly successes: number
  readonly signal: AbortSignal
}

interface Failure {
  readonly at: number
  /** The connection that broke or was refused before it served a caller; undefined: no connection came of the attempt. */
  readonly connection: SimConnection | undefined
}

// So many microtasks at most lie between the end of an attempt or hook and the pool's transition: each await of its path
// takes up to three.
const CONNECT_DELAY = 24
// Timers count in parts of a millisecond that add up inexactly.
const SLACK_MS = 0.01

/**
 * What the backoff allows, seen from the server: after a failure the next attempt begins `minMs` later at the earliest, until one succeeds.
 * It speaks only of failures that the pool must know of: those that take too long, or come after an abort, are left out.
 */
export class Attempts {
  readonly #minMs: number
  readonly #now: () => number
  readonly #violated: (rule: string) => void
  readonly #mostAtOnce: () => number
  #round = 0
  #begun = 0
  /** Attempts up to this number began before the last clear: the end of their connections is no failure. */
  #cleared = 0
  /** The first failure since the last attempt began, or since one succeeded. */
  #failure: Failure | undefined = undefined
  #suspects: { readonly failure: Failure; readonly at: number }[] = []
  #finals: { readonly at: number; open: number; readonly waiting: readonly Caller[] }[] = []
  /** The last final error, until a connect succeeds. */
  #fresh: number | undefined = undefined
  #succeeded = 0
  #mustBeRejected: Caller[] = []
  #instant = -1
  #inInstant = 0
  /** Attempts beyond the usual ones of this instant, since callers were served or the pool was told to replace. */
  #budget = 0

  /** `mostAtOnce`: maxSize as it is. */
  constructor(options: {
    minMs: number
    now: () => number
    mostAtOnce: () => number
    violated: (rule: string) => void
  }) {
    this.#minMs = options.minMs
    this.#now = options.now
    this.#mostAtOnce = options.mostAtOnce
    this.#violated = options.violated
  }

  /** The pool begins an attempt. */
  begins(signal: AbortSignal): Attempt {
    const at = this.#now()
    this.#spend(at)
    const failure = this.#failure
    if (failure !== undefined && at - failure.at < this.#minMs - SLACK_MS)
      this.#suspects.push({ failure, at })
    this.#failure = undefined
    return { number: ++this.#begun, startedAt: at, round: this.#round, successes: this.#succeeded, signal }
  }

  /** A connect has succeeded. The pool may learn of it after a failure that came later. */
  succeeds(): void {
    this.#succeeded++
    this.#forgets()
    afterMicrotasks(CONNECT_DELAY, () => this.#forgets())
  }

  /** An attempt has rejected or thrown. The pool knows of it within a few microtasks. */
  fails(attempt: Attempt): void {
    if (attempt.signal.aborted) return
    this.#countsSoon(attempt, undefined)
  }

  /** The pool was told, within a call of its own or of `lost`, that a connection is no good that served nobody. */
  breaks(attempt: Attempt, connection: SimConnection): void {
    this.#counts(attempt, { at: this.#now(), connection }, this.#succeeded)
  }

  /** A hook has refused a connection that served nobody; the pool knows of it within a few microtasks. */
  refuses(attempt: Attempt, connection: SimConnection): void {
    this.#countsSoon(attempt, connection)
  }

  /** An attempt has failed for good: whoever waits then, behind as many as there are connections, is to be rejected. */
  failsForGood(attempt: Attempt, open: () => number, waiting: readonly Caller[]): void {
    const succeeded = this.#succeeded
    const final = { at: this.#now(), open: open(), waiting: waiting.filter(({ isSeen }) => isSeen) }
    // The pool counts its connections at some moment in between.
    const count = (): void => void (final.open = Math.max(final.open, open()))
    for (let n = 1; n < CONNECT_DELAY; n++) afterMicrotasks(n, count)
    afterMicrotasks(CONNECT_DELAY, () => {
      if (attempt.signal.aborted) return
      count()
      this.#finals.push(final)
      if (succeeded === this.#succeeded) this.#fresh = final.at
    })
  }

  /** A caller joins while no connection is there. */
  joinsNothing(caller: Caller): void {
    if (this.#fresh !== undefined && this.#now() - this.#fresh < this.#minMs - SLACK_MS)
      this.#mustBeRejected.push(caller)
  }

  /** A caller got a connection, so another may be wanted at once. */
  serves(): void {
    this.#budget++
  }

  /** clear() was called. */
  clears(): void {
    this.#cleared = this.#begun
  }

  /** clear(), resize() or pause() was called: connections may be replaced, and what was about to follow may not follow. */
  forgives(): void {
    this.#finals = []
    this.#mustBeRejected = []
    this.#fresh = undefined
    this.#budget += this.#mostAtOnce()
  }

  /** All that follows has happened. `open`: connections that could still serve those who wait. */
  look(open: number): void {
    for (const { failure, at } of this.#suspects.splice(0)) {
      // It did serve somebody, who had not reported it yet.
      if (failure.connection !== undefined && failure.connection.served > 0) continue
      const what =
        failure.connection === undefined ? 'a connect failed' : `#${failure.connection.id} failed unused`
      this.#violated(`an attempt began ${at - failure.at} ms after ${what}, the backoff is ${this.#minMs} ms`)
    }
    for (const final of this.#finals.splice(0)) {
      const left = final.waiting.filter(({ served, settled }) => !served && !settled)
      const may = Math.max(final.open, open)
      if (left.length > may)
        this.#violated(
          `${left.length} wait after an error that no retry mends, and ${may} connections could serve them`,
        )
    }
    for (const caller of this.#mustBeRejected.splice(0))
      if (!caller.served && !caller.settled && open === 0)
        this.#violated(`caller ${caller.id} waits for no connection at all, though the error is fresh`)
  }

  #forgets(): void {
    this.#failure = undefined
    this.#fresh = undefined
  }

  // However it fails, a server is not asked again within the instant: only what served somebody is replaced then.
  #spend(at: number): void {
    if (at !== this.#instant) {
      this.#instant = at
      this.#budget = 0
      this.#inInstant = 0
    }
    this.#inInstant++
    // maxSize as it is now: it may have been raised within the instant.
    if (this.#inInstant > 2 * this.#mostAtOnce() + this.#budget)
      this.#violated(`${this.#inInstant} attempts began within one instant, and nobody was served`)
  }

  #countsSoon(attempt: Attempt, connection: SimConnection | undefined): void {
    const at = this.#now()
    // Its own success, where it has opened a connection, is one of them.
    const successes = this.#succeeded
    afterMicrotasks(CONNECT_DELAY, () => this.#counts(attempt, { at, connection }, successes))
  }

  #counts(attempt: Attempt, failure: Failure, successes: number): void {
    const { connection } = failure
    if (attempt.signal.aborted || attempt.round !== this.#round) return
    if (connection !== undefined && attempt.number <= this.#cleared) return
    this.#round++
    const isNews = connection !== undefined || attempt.successes === this.#succeeded
    if (isNews && successes === this.#succeeded) this.#failure ??= failure
  }
}

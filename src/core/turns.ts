import type { Mailbox } from './runtime/mailbox.ts'

/**
 * One transition of a pool at a time. Whatever user code calls on the pool while one runs waits until it is over, in
 * order, as do the calls of the manager and of hooks. Then come the effects that need no answer (events, onError): they
 * see a state in which nothing is left to do.
 */
export class Turns implements Mailbox {
  /** Whether a transition runs or commands wait: a call of the user queues behind them. */
  isBusy = false
  number = 0
  readonly #settle: () => void
  readonly #commands: (() => void)[] = []
  #next = 0
  readonly #effects: (() => void)[] = []
  #isDraining = false

  /** `settle` ends each transition: it makes reality converge to what is wanted. */
  constructor(settle: () => void) {
    this.#settle = settle
  }

  run(transition: () => void): void {
    if (this.isBusy) this.#commands.push(() => this.#perform(transition))
    else this.#perform(transition)
  }

  later(command: () => void): void {
    if (this.isBusy || this.#isDraining) this.#commands.push(command)
    else command()
  }

  notify(effect: () => void): void {
    if (this.isBusy || this.#isDraining) this.#effects.push(effect)
    else effect()
  }

  /** For a transition on the hot path that calls its own end, without a closure. */
  begin(): void {
    this.isBusy = true
    this.number++
  }

  end(): void {
    this.isBusy = this.#next < this.#commands.length
    if (this.#isDraining || (!this.isBusy && this.#effects.length === 0)) return
    this.#drain()
  }

  #perform(transition: () => void): void {
    this.begin()
    try {
      transition()
      this.#settle()
    } finally {
      this.end()
    }
  }

  // A task that throws must not take the others with it: the first error is thrown after the last task.
  #drain(): void {
    let failure: { readonly error: unknown } | undefined
    let effect = 0
    this.#isDraining = true
    for (;;) {
      const isCommand = this.#next < this.#commands.length
      const next = isCommand ? this.#commands[this.#next++] : this.#effects[effect++]
      if (next === undefined) break
      // Calls that a command makes (tracing, the manager) must not overtake the command.
      this.isBusy = isCommand
      try {
        next()
      } catch (error) {
        failure ??= { error }
      }
    }
    this.isBusy = false
    this.#commands.length = 0
    this.#next = 0
    this.#effects.length = 0
    this.#isDraining = false
    if (failure !== undefined) throw failure.error
  }
}

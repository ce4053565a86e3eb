// One listener a signal, however many callers of one pool wait on it: a shared signal neither collects listeners nor
// costs more to leave the longer its list has grown.

/** One caller's interest in a signal. */
export interface SignalWatch {
  /** Leaves the signal. Does nothing the second time. */
  end(): void
}

/** The signals that callers of one pool wait on. */
export class Signals {
  // Only those that somebody waits on.
  readonly #groups = new Map<AbortSignal, Group>()

  /** Calls `onAbort` once with the signal's reason when it aborts, unless the watch was ended. */
  watch(signal: AbortSignal, onAbort: (reason: unknown) => void): SignalWatch {
    let group = this.#groups.get(signal)
    if (group === undefined) {
      group = new Group(signal, this.#groups)
      this.#groups.set(signal, group)
    }
    return group.add(onAbort)
  }
}

class Group {
  readonly #signal: AbortSignal
  readonly #groups: Map<AbortSignal, Group>
  readonly #watches = new Set<Watch>()

  constructor(signal: AbortSignal, groups: Map<AbortSignal, Group>) {
    this.#signal = signal
    this.#groups = groups
  }

  add(onAbort: (reason: unknown) => void): Watch {
    if (this.#watches.size === 0) this.#signal.addEventListener('abort', this)
    const watch = new Watch(this, onAbort)
    this.#watches.add(watch)
    return watch
  }

  remove(watch: Watch): void {
    if (!this.#watches.delete(watch) || this.#watches.size > 0) return
    this.#signal.removeEventListener('abort', this)
    this.#groups.delete(this.#signal)
  }

  handleEvent(): void {
    for (const watch of [...this.#watches]) {
      this.remove(watch)
      watch.onAbort(this.#signal.reason)
    }
  }
}

class Watch implements SignalWatch {
  readonly #group: Group
  readonly onAbort: (reason: unknown) => void

  constructor(group: Group, onAbort: (reason: unknown) => void) {
    this.#group = group
    this.onAbort = onAbort
  }

  end(): void {
    this.#group.remove(this)
  }
}

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

// Its watches are a list and no set: most signals have one, for which a set would be larger than all the rest.
class Group {
  readonly #signal: AbortSignal
  readonly #groups: Map<AbortSignal, Group>
  #first: Watch | undefined = undefined
  #last: Watch | undefined = undefined

  constructor(signal: AbortSignal, groups: Map<AbortSignal, Group>) {
    this.#signal = signal
    this.#groups = groups
  }

  add(onAbort: (reason: unknown) => void): Watch {
    const watch = new Watch(this, onAbort)
    const last = this.#last
    this.#last = watch
    watch.previous = last
    if (last !== undefined) last.next = watch
    else {
      this.#first = watch
      this.#signal.addEventListener('abort', this)
    }
    return watch
  }

  remove({ previous, next }: Watch): void {
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    if (this.#first !== undefined) return
    this.#signal.removeEventListener('abort', this)
    this.#groups.delete(this.#signal)
  }

  handleEvent(): void {
    for (let watch = this.#first; watch !== undefined; watch = this.#first) {
      watch.end()
      watch.onAbort(this.#signal.reason)
    }
  }
}

class Watch implements SignalWatch {
  readonly onAbort: (reason: unknown) => void
  previous: Watch | undefined = undefined
  next: Watch | undefined = undefined
  #group: Group | undefined

  constructor(group: Group, onAbort: (reason: unknown) => void) {
    this.#group = group
    this.onAbort = onAbort
  }

  end(): void {
    const group = this.#group
    this.#group = undefined
    group?.remove(this)
  }
}

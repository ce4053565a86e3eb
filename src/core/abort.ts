// One listener a signal, however many callers of one pool wait on it: a shared signal neither collects listeners nor
// costs more to leave the longer its list has grown.

/** One caller's interest in a signal. */
export class Watch<W> {
  readonly signal: AbortSignal
  readonly watcher: W
  /** Those on one signal are a ring, whose first is the one that came first. Undefined: it has ended. */
  previous: Watch<W> | undefined = this
  next: Watch<W> | undefined = this
  /** What listens to the signal; the first has it. */
  listener: (() => void) | undefined = undefined

  constructor(signal: AbortSignal, watcher: W) {
    this.signal = signal
    this.watcher = watcher
  }
}

/** The signals that callers of one pool wait on. */
export class Signals<W> {
  // The first watch of each signal that somebody waits on.
  readonly #firsts = new Map<AbortSignal, Watch<W>>()
  readonly #tell: (watcher: W, reason: unknown) => void

  /** `tell` is called once with each watcher whose signal aborts, and the reason. */
  constructor(tell: (watcher: W, reason: unknown) => void) {
    this.#tell = tell
  }

  /** Watches a signal that has not aborted. */
  watch(signal: AbortSignal, watcher: W): Watch<W> {
    const watch = new Watch(signal, watcher)
    const first = this.#firsts.get(signal)
    if (first === undefined) {
      this.#firsts.set(signal, watch)
      // An object with handleEvent would be called by way of an async function: a promise for each abort. Nor is it one for all
      // signals: the target of the event need not be what the caller gave, which may be a proxy.
      watch.listener = () => this.#aborted(signal)
      signal.addEventListener('abort', watch.listener)
    } else {
      const last = first.previous as Watch<W>
      last.next = watch
      watch.previous = last
      watch.next = first
      first.previous = watch
    }
    return watch
  }

  /** Leaves the signal. Does nothing the second time. */
  end(watch: Watch<W>): void {
    const { signal, listener, previous, next } = watch
    if (previous === undefined || next === undefined) return
    previous.next = next
    next.previous = previous
    // After that, as the last one is its own neighbour.
    watch.previous = undefined
    watch.next = undefined
    watch.listener = undefined
    if (listener === undefined) return
    if (next === watch) {
      this.#firsts.delete(signal)
      signal.removeEventListener('abort', listener)
    } else {
      this.#firsts.set(signal, next)
      next.listener = listener
    }
  }

  #aborted(signal: AbortSignal): void {
    for (let first = this.#firsts.get(signal); first !== undefined; first = this.#firsts.get(signal)) {
      this.end(first)
      this.#tell(first.watcher, signal.reason)
    }
  }
}

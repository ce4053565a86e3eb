// One listener per signal, however many callers of one pool wait on it: a shared signal neither collects listeners, nor
// costs more to leave the longer its list has grown.

/** One waiter's watch of a signal. */
export class AbortWatch<W> {
  readonly signal: AbortSignal
  readonly watcher: W
  /** The watches of one signal form a ring; its first element is the oldest watch. Undefined when the watch has ended. */
  previous: AbortWatch<W> | undefined = this
  next: AbortWatch<W> | undefined = this
  /** The listener of the signal, which the first element of the ring holds. */
  listener: (() => void) | undefined = undefined

  constructor(signal: AbortSignal, watcher: W) {
    this.signal = signal
    this.watcher = watcher
  }
}

/** The signals that the waiters of one pool watch. */
export class AbortWatchers<W> {
  // The first watch of each watched signal.
  readonly #firsts = new Map<AbortSignal, AbortWatch<W>>()
  readonly #onAbort: (watcher: W, reason: unknown) => void

  /** `onAbort` is called once with each watcher whose signal aborts, and with the reason. */
  constructor(onAbort: (watcher: W, reason: unknown) => void) {
    this.#onAbort = onAbort
  }

  /** Watches a signal that has not aborted. */
  watch(signal: AbortSignal, watcher: W): AbortWatch<W> {
    const watch = new AbortWatch(signal, watcher)
    const first = this.#firsts.get(signal)
    if (first === undefined) {
      this.#firsts.set(signal, watch)
      // Node calls an object with handleEvent through an async function: one promise per abort. The listener is not shared by
      // all signals, because the event's target may differ from the signal: the caller may have passed a proxy.
      watch.listener = () => this.#aborted(signal)
      signal.addEventListener('abort', watch.listener)
    } else {
      const last = first.previous as AbortWatch<W>
      last.next = watch
      watch.previous = last
      watch.next = first
      first.previous = watch
    }
    return watch
  }

  /** Ends a watch. Does nothing the second time. */
  end(watch: AbortWatch<W>): void {
    const { signal, listener, previous, next } = watch
    if (previous === undefined || next === undefined) return
    previous.next = next
    next.previous = previous
    // After the unlinking, because the last watch is its own neighbour.
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
      this.#onAbort(first.watcher, signal.reason)
    }
  }
}

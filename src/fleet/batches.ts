// Calls that wait for each other at the server. A second call keeps the server busy while an answer is under way.
const MOST_CALLS = 2
const MOST_TOGETHER = 100
// A call that hangs is taken for lost after this time.
const LONGEST_MS = 10_000

interface Entry<T, R> {
  readonly item: T
  resolve(answer: R): void
  reject(error: unknown): void
}

type Send<T, R> = (key: string, items: readonly T[]) => Promise<readonly R[]>

const known = new WeakMap<object, Map<string, Batches<never, never>>>()

/** Sends what waits for its turn in one call for each key. A call that is aborted before its turn is not sent. */
export class Batches<T, R> {
  readonly #waiting = new Map<string, Set<Entry<T, R>>>()
  readonly #send: Send<T, R>
  #calls = 0

  constructor(send: Send<T, R>) {
    this.#send = send
  }

  /** One batch for each target and name. */
  static of<T, R>(target: object, name: string, send: Send<T, R>): Batches<T, R> {
    let ofTarget = known.get(target)
    if (ofTarget === undefined) known.set(target, (ofTarget = new Map()))
    let batches = ofTarget.get(name) as unknown as Batches<T, R> | undefined
    if (batches === undefined)
      ofTarget.set(name, (batches = new Batches(send)) as unknown as Batches<never, never>)
    return batches
  }

  /** Resolves with the answer to the item. Rejects as its call does, or with the reason of `signal`. */
  add(key: string, item: T, signal: AbortSignal | undefined): Promise<R> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const entry = { item, resolve, reject }
      const entries = this.#waiting.get(key) ?? new Set()
      this.#waiting.set(key, entries.add(entry))
      const abort = (): void => {
        entries.delete(entry)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#next()
    })
  }

  #next(): void {
    for (const [key, entries] of this.#waiting) {
      if (this.#calls >= MOST_CALLS) return
      this.#waiting.delete(key)
      const batch = [...entries].slice(0, MOST_TOGETHER)
      for (const entry of batch) entries.delete(entry)
      // The rest of the list comes after the other keys.
      if (entries.size > 0) this.#waiting.set(key, entries)
      if (batch.length > 0) this.#call(key, batch)
    }
  }

  #call(key: string, batch: readonly Entry<T, R>[]): void {
    this.#calls++
    let isOver = false
    const end = (): void => {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      this.#calls--
      this.#next()
    }
    const timer = setTimeout(end, LONGEST_MS).unref()
    this.#send(
      key,
      batch.map(({ item }) => item),
    )
      .then(
        (answers) => {
          for (const [n, entry] of batch.entries()) entry.resolve(answers[n] as R)
        },
        (error: unknown) => {
          for (const entry of batch) entry.reject(error)
        },
      )
      .finally(end)
  }
}

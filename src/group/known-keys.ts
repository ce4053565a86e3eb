// Number of names that are kept, whatever number of keys there is.
const LEAST = 64
const PER_SLOT = 16

/** The names of the last keys that connected and were forgotten: used again, they do not count as new keys. */
export class KnownKeys {
  readonly #names = new Set<string>()

  /** Keeps a name, and forgets the oldest beyond the limit for a group of `total` slots. */
  add(key: string, total: number): void {
    this.#names.add(key)
    if (this.#names.size <= Math.max(LEAST, PER_SLOT * total)) return
    const [oldest] = this.#names
    if (oldest !== undefined) this.#names.delete(oldest)
  }

  /** Forgets a name. Returns whether it was there. */
  delete(key: string): boolean {
    return this.#names.delete(key)
  }

  clear(): void {
    this.#names.clear()
  }
}

/** The last `capacity` items, the oldest first. */
export class Ring<T> implements Iterable<T> {
  readonly #capacity: number
  readonly #items: T[] = []
  #oldest = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  push(item: T): void {
    if (this.#items.length < this.#capacity) {
      this.#items.push(item)
      return
    }
    this.#items[this.#oldest] = item
    this.#oldest = (this.#oldest + 1) % this.#capacity
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let index = 0; index < this.#items.length; index++)
      yield this.#items[(this.#oldest + index) % this.#items.length] as T
  }
}

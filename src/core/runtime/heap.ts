/** An item of a {@link Heap}: it remembers its place, so that it can be taken out from the middle. */
export interface HeapItem {
  /** -1 while in no heap. */
  heapIndex: number
}

/** A binary heap, smallest key first: O(log n) to add and to remove any item, O(1) to read the first. */
export class Heap<T extends HeapItem> {
  readonly #items: T[] = []
  readonly #keyOf: (item: T) => number

  constructor(keyOf: (item: T) => number) {
    this.#keyOf = keyOf
  }

  first(): T | undefined {
    return this.#items[0]
  }

  /** All items, the smallest first and the rest in no order. */
  get items(): readonly T[] {
    return this.#items
  }

  add(item: T): void {
    this.#items.push(item)
    this.#rise(item, this.#items.length - 1)
  }

  /** Does nothing for an item that is in no heap. */
  remove(item: T): void {
    const index = item.heapIndex
    if (index === -1) return
    item.heapIndex = -1
    const last = this.#items.pop()
    if (last === undefined || last === item) return
    this.#rise(last, index)
    this.#sink(last, last.heapIndex)
  }

  #rise(item: T, from: number): void {
    const key = this.#keyOf(item)
    let index = from
    while (index > 0) {
      const parentIndex = (index - 1) >> 1
      const parent = this.#items[parentIndex] as T
      if (this.#keyOf(parent) <= key) break
      this.#put(parent, index)
      index = parentIndex
    }
    this.#put(item, index)
  }

  #sink(item: T, from: number): void {
    const key = this.#keyOf(item)
    const size = this.#items.length
    let index = from
    for (;;) {
      let childIndex = 2 * index + 1
      if (childIndex >= size) break
      const right = childIndex + 1
      if (right < size && this.#keyOf(this.#items[right] as T) < this.#keyOf(this.#items[childIndex] as T)) {
        childIndex = right
      }
      const child = this.#items[childIndex] as T
      if (this.#keyOf(child) >= key) break
      this.#put(child, index)
      index = childIndex
    }
    this.#put(item, index)
  }

  #put(item: T, index: number): void {
    this.#items[index] = item
    item.heapIndex = index
  }
}

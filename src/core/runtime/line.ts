/** An item of a {@link Line}: it remembers its place, so that it can leave from the middle. */
export interface LineItem {
  /** -1 while in no line. */
  place: number
}

// Up to this number, gaps are not closed.
const SLACK = 64

/**
 * First in, first out, and any item may leave: amortised O(1) each. An array with gaps and not a linked list, whose
 * pointers cost the garbage collector more than all the rest of a waiting caller.
 */
export class Line<T extends LineItem> {
  readonly #items: (T | undefined)[] = []
  // The first item, or the end.
  #head = 0
  #end = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  first(): T | undefined {
    return this.#items[this.#head]
  }

  /** The one behind an item of this line. */
  after(item: T): T | undefined {
    let place = item.place + 1
    while (place < this.#end && this.#items[place] === undefined) place++
    return this.#items[place]
  }

  add(item: T): void {
    item.place = this.#end
    this.#items[this.#end++] = item
    this.#size++
  }

  remove(item: T): void {
    this.#items[item.place] = undefined
    item.place = -1
    this.#size--
    if (this.#size === 0) {
      this.#head = 0
      this.#end = 0
      return
    }
    while (this.#items[this.#head] === undefined) this.#head++
    if (this.#end > 2 * this.#size + SLACK) this.#closeUp()
  }

  #closeUp(): void {
    const items = this.#items
    let place = 0
    for (let from = this.#head; from < this.#end; from++) {
      const item = items[from]
      if (item === undefined) continue
      items[place] = item
      item.place = place++
    }
    items.length = place
    this.#head = 0
    this.#end = place
  }
}

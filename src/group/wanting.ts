import { Heap, type HeapItem } from '../core/runtime/heap.ts'

/** The bits of a key's class: the limits that apply to its attempts. */
export const NEVER_CONNECTED = 1
export const FAILING = 2

/** Number of further attempts that keys that never connected, and failing keys, may hold. */
export interface Allowances {
  readonly neverConnected: number
  readonly failing: number
}

/** The part of a key that needs a place. */
export interface Wanter extends HeapItem {
  /** Orders the keys by how long they have wanted a place. */
  since: number
  /** Attempts that lack a place; 0 while it needs none. */
  lacking: number
  /** Places that it holds. */
  held: number
  /** A set of NEVER_CONNECTED and FAILING. */
  class: number
}

/**
 * The keys that need a place, ordered by the places that they hold, then by the time for which they have needed one. A queue for each
 * class and number of places held: whatever number of keys waits, the first is found without a search.
 */
export class Wanting<W extends Wanter> {
  /** Number of keys. */
  size = 0
  // By class, then by places held.
  readonly #queues: Heap<W>[][] = [[], [], [], []]
  readonly #lacking = [0, 0, 0, 0]

  /** The key takes its rank, or another one. */
  put(wanter: W, lacking: number, held: number, ofClass: number): void {
    if (wanter.lacking > 0 && wanter.held === held && wanter.class === ofClass) {
      this.#lacking[ofClass] = this.#of(ofClass) + lacking - wanter.lacking
      wanter.lacking = lacking
      return
    }
    this.remove(wanter)
    wanter.lacking = lacking
    wanter.held = held
    wanter.class = ofClass
    this.size++
    this.#lacking[ofClass] = this.#of(ofClass) + lacking
    const queues = this.#queues[ofClass] as Heap<W>[]
    while (queues.length <= held) queues.push(new Heap<W>(({ since }) => since))
    ;(queues[held] as Heap<W>).add(wanter)
  }

  /** Does nothing for a key that needs no place. */
  remove(wanter: W): void {
    if (wanter.lacking === 0) return
    const queues = this.#queues[wanter.class] as Heap<W>[]
    ;(queues[wanter.held] as Heap<W>).remove(wanter)
    while (queues.length > 0 && (queues.at(-1) as Heap<W>).items.length === 0) queues.pop()
    this.#lacking[wanter.class] = this.#of(wanter.class) - wanter.lacking
    this.size--
    wanter.lacking = 0
  }

  /** The key that gets the next place. */
  first(allowances: Allowances): W | undefined {
    let best: W | undefined
    for (let ofClass = 0; ofClass < this.#queues.length; ofClass++) {
      if (allowed(ofClass, allowances) <= 0) continue
      for (const queue of this.#queues[ofClass] as Heap<W>[]) {
        const first = queue.first()
        if (first === undefined) continue
        if (
          best === undefined ||
          first.held < best.held ||
          (first.held === best.held && first.since < best.since)
        )
          best = first
        break
      }
    }
    return best
  }

  /** Number of places that keys could use now. */
  usable(allowances: Allowances): number {
    return usable(this.#lacking, allowances)
  }

  /** Whether keys with fewer than `below` places would still need one after `count` more were given. */
  exceeds(count: number, below: number, allowances: Allowances): boolean {
    if (this.size === 0) return false
    if (below === Infinity) return this.usable(allowances) > count
    // Each such key needs at least one.
    const keys = this.#queues.map((queues) => numberOf(queues, below))
    if (usable(keys, allowances) > count) return true
    // Few keys are left: at most `count`, or as many as the allowance lets through.
    const wants = keys.map((number, ofClass) =>
      number >= allowed(ofClass, allowances) ? number : this.#wantedBelow(ofClass, below),
    )
    return usable(wants, allowances) > count
  }

  #wantedBelow(ofClass: number, below: number): number {
    let sum = 0
    for (const queue of (this.#queues[ofClass] as Heap<W>[]).slice(0, below))
      for (const { lacking, held } of queue.items) sum += Math.min(lacking, below - held)
    return sum
  }

  #of(ofClass: number): number {
    return this.#lacking[ofClass] as number
  }
}

function numberOf<W extends Wanter>(queues: readonly Heap<W>[], below: number): number {
  let number = 0
  for (let held = 0; held < Math.min(below, queues.length); held++)
    number += (queues[held] as Heap<W>).items.length
  return number
}

// Returns how many places the keys of one class may take.
function allowed(ofClass: number, { neverConnected, failing }: Allowances): number {
  return Math.min(
    (ofClass & NEVER_CONNECTED) === 0 ? Infinity : neverConnected,
    (ofClass & FAILING) === 0 ? Infinity : failing,
  )
}

// Returns how many of the wanted places of each class the allowances let through.
function usable(wanted: readonly number[], { neverConnected, failing }: Allowances): number {
  const never = Math.min(wanted[NEVER_CONNECTED] as number, Math.max(0, neverConnected))
  const failed = Math.min(wanted[FAILING] as number, Math.max(0, failing))
  const both = Math.min(
    wanted[NEVER_CONNECTED | FAILING] as number,
    Math.max(0, neverConnected - never),
    Math.max(0, failing - failed),
  )
  return (wanted[0] as number) + never + failed + both
}

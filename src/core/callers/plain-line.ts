import { invariant } from '../runtime/invariant.ts'
import { Waiter } from './waiter.ts'

type Resolve<C> = Waiter<C>['resolve']
type Reject<C> = Waiter<C>['reject']

// Callers per block: enough that the block itself costs little per caller, few enough that a block for one caller costs little too.
const BLOCK_SIZE = 64

// Lists are created at full size: a list that grows is copied repeatedly.
class Block<C> {
  /** The resolve and the reject function of each caller. */
  readonly functions: (Resolve<C> | Reject<C> | undefined)[] = Array(2 * BLOCK_SIZE)
  readonly queuedAts: number[] = Array(BLOCK_SIZE)
  next: Block<C> | undefined = undefined
}

/**
 * Plain callers, which have no options of their own: all have the same timeout and none has a signal, so each leaves from
 * the front, served or too late. No object per caller: what the garbage collector has to follow and to move costs more
 * than the rest of a wait. The head is one {@link Waiter} for all of them, filled again for the next caller: settle it
 * before it leaves, and keep it no longer.
 */
export class PlainLine<C> {
  #came = 0
  #left = 0
  /** When the caller that `takeFirst` took out last had arrived. Not an integer at first, so that it stays one place in memory. */
  shiftedAt = 0.5
  readonly #head: Waiter<C>
  #front: Block<C> | undefined = undefined
  #back: Block<C> | undefined = undefined

  constructor(timeoutMs: number) {
    this.#head = new Waiter<C>(notWaiting, notWaiting, 0, timeoutMs, 0)
  }

  get size(): number {
    return this.#came - this.#left
  }

  /** Number of callers that have ever arrived. */
  get came(): number {
    return this.#came
  }

  /** Number of callers that have ever left from the front. */
  get left(): number {
    return this.#left
  }

  add(resolve: Resolve<C>, reject: Reject<C>, queuedAt: number): void {
    const place = this.#came++ % BLOCK_SIZE
    const block = place === 0 || this.#back === undefined ? this.#grow() : this.#back
    block.functions[2 * place] = resolve
    block.functions[2 * place + 1] = reject
    block.queuedAts[place] = queuedAt
  }

  first(): Waiter<C> | undefined {
    const head = this.#head
    if (head.isWaiting) return head
    if (this.#came === this.#left) return undefined
    const { functions, queuedAts } = this.#front as Block<C>
    const place = this.#left % BLOCK_SIZE
    head.resolve = functions[2 * place] as Resolve<C>
    head.reject = functions[2 * place + 1] as Reject<C>
    head.queuedAt = queuedAts[place] as number
    head.plainBefore = this.#left
    head.place = place
    return head
  }

  /** Takes out the first caller, to be served: returns its resolve function, and leaves its arrival in `shiftedAt`. */
  takeFirst(): Resolve<C> {
    const front = this.#front as Block<C>
    const { functions } = front
    const place = this.#left++ % BLOCK_SIZE
    const resolve = functions[2 * place] as Resolve<C>
    this.shiftedAt = front.queuedAts[place] as number
    functions[2 * place] = undefined
    functions[2 * place + 1] = undefined
    if (this.#head.isWaiting) this.#forgetHead()
    if (place === BLOCK_SIZE - 1) this.#dropFront(front)
    return resolve
  }

  /** Takes out the first caller, if it is this one. */
  remove(waiter: Waiter<C>): boolean {
    if (waiter !== this.#head) return false
    this.takeFirst()
    return true
  }

  /** Takes out all except the first `keep`, and calls `each` with the reject function of each, in their order. */
  removeBeyond(keep: number, each: (reject: Reject<C>) => void): void {
    const size = this.size
    if (keep >= size) return
    // The head may be one of the removed callers.
    if (keep === 0 && this.#head.isWaiting) this.#forgetHead()
    const last = this.#left + keep
    let block = this.#front
    for (let index = this.#left; index < this.#came && block !== undefined; index++) {
      const place = index % BLOCK_SIZE
      if (index >= last) {
        each(block.functions[2 * place + 1] as Reject<C>)
        block.functions[2 * place] = undefined
        block.functions[2 * place + 1] = undefined
      }
      if (place === BLOCK_SIZE - 1) block = block.next
    }
    this.#truncate(last)
  }

  #truncate(last: number): void {
    let blocks = Math.ceil(last / BLOCK_SIZE) - Math.floor(this.#left / BLOCK_SIZE)
    this.#came = last
    if (blocks <= 0) {
      this.#front = undefined
      this.#back = undefined
      return
    }
    let block = this.#front as Block<C>
    while (--blocks > 0) block = block.next as Block<C>
    block.next = undefined
    this.#back = block
  }

  #forgetHead(): void {
    const head = this.#head
    head.resolve = notWaiting
    head.reject = notWaiting
    head.place = -1
  }

  #dropFront({ next }: Block<C>): void {
    this.#front = next
    if (next === undefined) this.#back = undefined
  }

  #grow(): Block<C> {
    const block = new Block<C>()
    if (this.#back === undefined) this.#front = block
    else this.#back.next = block
    this.#back = block
    return block
  }
}

function notWaiting(): void {
  invariant(false, 'a caller was settled that does not wait')
}

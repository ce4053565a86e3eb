import { invariant } from './invariant.ts'
import { Waiter } from './waiter.ts'

type Resolve<C> = Waiter<C>['resolve']
type Reject<C> = Waiter<C>['reject']

// So many callers that the block itself costs little beside them, and so few that one for a single caller costs little too.
const BLOCK_SIZE = 64

// Its lists are made in full: one that grows is copied again and again.
class Block<C> {
  /** Of each caller the one that resolves its promise and the one that rejects it. */
  readonly functions: (Resolve<C> | Reject<C> | undefined)[] = Array(2 * BLOCK_SIZE)
  readonly queuedAts: number[] = Array(BLOCK_SIZE)
  next: Block<C> | undefined = undefined
}

/**
 * Plain callers, who ask for nothing of their own: all have the same time-out and none a signal, so each leaves from the
 * front, served or too late. No object for each, as what the garbage collector has to follow and to move costs more than
 * the rest of a wait. The head is one {@link Waiter} for all, filled anew when the next caller is asked for: settle it
 * before it leaves, and keep it no longer.
 */
export class PlainLine<C> {
  #came = 0
  #left = 0
  readonly #head: Waiter<C>
  #front: Block<C> | undefined = undefined
  #back: Block<C> | undefined = undefined

  constructor(timeoutMs: number) {
    this.#head = new Waiter<C>(nobody, nobody, 0, timeoutMs, 0)
  }

  get size(): number {
    return this.#came - this.#left
  }

  /** How many have come, ever. */
  get came(): number {
    return this.#came
  }

  /** How many have left, ever. */
  get left(): number {
    return this.#left
  }

  add(resolve: Resolve<C>, reject: Reject<C>, queuedAt: number): void {
    const place = this.#came++ % BLOCK_SIZE
    const block = place === 0 ? this.#grow() : (this.#back as Block<C>)
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

  /** Takes the first out, if it is this one. */
  remove(waiter: Waiter<C>): boolean {
    if (waiter !== this.#head) return false
    const { functions, next } = this.#front as Block<C>
    const { place } = waiter
    functions[2 * place] = undefined
    functions[2 * place + 1] = undefined
    waiter.resolve = nobody
    waiter.reject = nobody
    waiter.place = -1
    this.#left++
    if (place < BLOCK_SIZE - 1) return true
    this.#front = next
    if (next === undefined) this.#back = undefined
    return true
  }

  #grow(): Block<C> {
    const block = new Block<C>()
    if (this.#back === undefined) this.#front = block
    else this.#back.next = block
    this.#back = block
    return block
  }
}

function nobody(): void {
  invariant(false, 'a caller was settled who does not wait')
}

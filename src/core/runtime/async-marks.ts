import { AsyncLocalStorage } from 'node:async_hooks'

import { isThenable } from './user-calls.ts'

// One for all pools: before Node 24 each promise of the process pays for each storage. Created at the first mark.
let storage: AsyncLocalStorage<Mark> | undefined

/** The known use of a pool by an async context. */
export class Mark {
  /** The hook that runs; undefined when it has settled. */
  hook: string | undefined
  /** Whether it holds a connection; cleared at the release. */
  holds: boolean
  readonly owner: AsyncMarks
  /** The mark around it, of another pool. */
  readonly outer: Mark | undefined

  constructor(owner: AsyncMarks, hook: string | undefined, holds: boolean) {
    this.owner = owner
    this.hook = hook
    this.holds = holds
    let outer = storage?.getStore()
    // A chain of contexts that follow each other must not grow.
    while (outer !== undefined && (outer.owner === owner || outer.isOver)) outer = outer.outer
    this.outer = outer
  }

  get isOver(): boolean {
    return this.hook === undefined && !this.holds
  }
}

/** Marks the async contexts of one pool's hooks and holders, so that an acquire that waits for itself is recognised. */
export class AsyncMarks {
  readonly #family: { hasNested: boolean; runs: number }

  /** With a sibling, the holders of both pools are recognised by both: one may wait for the other. */
  constructor(sibling?: AsyncMarks) {
    this.#family = sibling === undefined ? { hasNested: false, runs: 0 } : sibling.#family
  }

  /** The mark of the caller's async context. A hook of a sibling is not a mark. */
  get current(): Mark | undefined {
    let mark = storage?.getStore()
    while (mark !== undefined && !this.#concerns(mark)) mark = mark.outer
    return mark
  }

  /** Whether a caller that holds a connection was seen to wait for another one. */
  get hasNested(): boolean {
    return this.#family.hasNested
  }

  nested(): void {
    this.#family.hasNested = true
  }

  /** Counts the runs of the pool and its siblings. */
  countRun(): number {
    return ++this.#family.runs
  }

  /** A mark for a caller that holds a connection. */
  holder(): Mark {
    return new Mark(this, undefined, true)
  }

  /** Runs the function and all that it starts under a mark. */
  run<T>(mark: Mark, work: () => T): T {
    storage ??= new AsyncLocalStorage()
    return storage.run(mark, work)
  }

  /** Runs a hook under a mark, until the hook has settled. */
  runHook<T>(hook: string, work: () => T | PromiseLike<T>): T | PromiseLike<T> {
    const mark = new Mark(this, hook, false)
    let isPending = false
    try {
      const result = this.run(mark, work)
      isPending = isThenable(result)
      return isThenable<T, T>(result) ? settled(result, mark) : result
    } finally {
      if (!isPending) mark.hook = undefined
    }
  }

  #concerns({ owner, hook, holds }: Mark): boolean {
    return (hook !== undefined && owner === this) || (holds && owner.#family === this.#family)
  }
}

async function settled<T>(hook: PromiseLike<T>, mark: Mark): Promise<T> {
  try {
    return await hook
  } finally {
    mark.hook = undefined
  }
}

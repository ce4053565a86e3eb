import { Lease } from './callers/lease.ts'
import type { RunContext, RunOptions } from './contract/options.ts'
import type { PoolEngine } from './engine.ts'
import type { Mark } from './runtime/async-marks.ts'

/** The function that `run` calls with a connection. */
export type Work<C, T> = (connection: C, context: RunContext) => T | PromiseLike<T>

const NO_SIGNAL: RunContext = Object.freeze({ signal: undefined })
// This number of first runs is always marked: a function that acquires within its run is found early.
const FIRST_RUNS = 64

/** Runs the function with a connection, and again after a broken one, as `retries` allows. */
export async function runOn<C, T>(
  engine: PoolEngine<C>,
  work: Work<C, T>,
  options: RunOptions | undefined,
): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const taken = engine.checkout.take(options, attempt > 0 ? 'retry' : 'any')
    // With an idle connection the function is called synchronously.
    const held = taken instanceof Lease ? taken : await taken
    const mark = markFor(engine)
    let result: T
    try {
      result = await (options?.signal === undefined
        ? call(engine, held, mark, work, NO_SIGNAL)
        : cancellable(engine, held, mark, work, options.signal))
    } catch (error) {
      const reason = attempt < (options?.retries ?? 0) ? Lease.reasonToClose(held, error) : undefined
      release(held, mark, error)
      if (reason === 'broken' || reason === 'lost') continue
      throw error
    }
    release(held, mark)
    return result
  }
}

function call<C, T>(
  engine: PoolEngine<C>,
  lease: Lease<C>,
  mark: Mark | undefined,
  work: Work<C, T>,
  context: RunContext,
): T | PromiseLike<T> {
  const { connection } = lease
  return mark === undefined
    ? work(connection, context)
    : engine.marks.run(mark, () => work(connection, context))
}

// An abort cancels the statement. Then the work has closeTimeoutMs to settle, before its connection is destroyed.
async function cancellable<C, T>(
  engine: PoolEngine<C>,
  lease: Lease<C>,
  mark: Mark | undefined,
  work: Work<C, T>,
  signal: AbortSignal,
): Promise<T> {
  const { manager, options, calls, reports } = engine
  const { connection } = lease
  const running = call(engine, lease, mark, work, { signal })
  if (manager.cancel === undefined) return await running
  const destroyed = Promise.withResolvers<void>()
  let cancelling: Promise<void> | undefined
  const cancel = async (): Promise<void> => {
    const controller = new AbortController()
    const bounds = { what: 'cancel', limitMs: options.closeTimeoutMs, controller }
    const outcome = await calls.outcome(bounds, () => manager.cancel?.(connection, controller.signal))
    if (!outcome.ok) reports.failure('CANCEL_FAILED', 'cancel', outcome.error)
  }
  const onAbort = (): void => {
    cancelling = cancel()
    const timer = calls.clock.setTimeout(() => {
      lease.destroy()
      destroyed.resolve()
    }, options.closeTimeoutMs)
    void settled.then(() => calls.clock.clearTimeout(timer))
  }
  const settled = Promise.allSettled([running])
  const watch = signal.aborted ? undefined : engine.runs.watch(signal, onAbort)
  if (watch === undefined) onAbort()
  try {
    await Promise.race([settled, destroyed.promise])
    if (cancelling === undefined) return await running
    // A cancel that arrives later would stop the next holder's statement.
    await cancelling
    throw signal.reason
  } finally {
    if (watch !== undefined) engine.runs.end(watch)
  }
}

// While the pool is exhausted, and where a holder was seen to wait for another connection, runs are marked: a mark costs
// more than the rest of a checkout.
function markFor<C>(engine: PoolEngine<C>): Mark | undefined {
  const { slots, queue, marks } = engine
  const isExhausted =
    slots.idle === 0 && (slots.taken >= slots.limits.maxSize || slots.places?.areWanted === true)
  // A group creates pools all the time: their first runs are counted together.
  const runs = slots.places === undefined ? queue.counts.started : marks.countRun()
  if (!marks.hasNested && !isExhausted && runs > FIRST_RUNS) return undefined
  return marks.holder()
}

function release<C>(lease: Lease<C>, mark: Mark | undefined, error?: unknown): void {
  if (mark !== undefined) mark.holds = false
  lease.release(error)
}

import type { RunOptions } from '../core/contract/options.ts'
import type { Pool } from '../core/pool.ts'

/** The options of a transaction that every database has. */
export interface TransactionOptions extends RunOptions {
  /**
   * Maximum number of repetitions of the transaction, from its BEGIN: after a serialization failure, after a deadlock, and when its
   * connection broke before COMMIT was sent. Never after a COMMIT whose outcome is unknown. `fn` runs again, so its
   * effects outside the database are repeated too. Default: 0.
   */
  readonly retries?: number | undefined
}

/**
 * A connection inside a transaction: the driver's own, with a method `transaction` for savepoints. Every use after the
 * transaction ended, or after its signal aborted, throws.
 */
export type Transaction<C> = C & {
  /**
   * Calls `fn` between SAVEPOINT and RELEASE. If `fn` throws, only its own work is rolled back and the error passes
   * through. One nested transaction at a time: a second one that starts before the first has settled is rejected.
   */
  transaction<T>(fn: (tx: Transaction<C>) => T | PromiseLike<T>): Promise<T>
}

/** The reason of a {@link TransactionError}. */
export type TransactionErrorCode = 'ROLLED_BACK' | 'COMMIT_UNKNOWN' | 'TRANSACTION_ENDED' | 'NESTED_OPEN'

/**
 * A transaction did not end as its caller expects. `code` is the reason:
 * - `ROLLED_BACK`: COMMIT was sent and the server rolled back, because a statement had failed and its error was caught.
 * - `COMMIT_UNKNOWN`: the connection was lost after COMMIT was sent. The transaction may or may not be committed.
 * - `TRANSACTION_ENDED`: the connection of a transaction was used after the transaction had ended.
 * - `NESTED_OPEN`: a nested transaction was not awaited before the next began, or before the outer one ended.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgManager, transaction, TransactionError } from 'cenote/pg'
 *
 * await using pool = new Pool(new PgManager(process.env.DATABASE_URL))
 * const work = transaction(pool, async (tx) => {
 *   await tx.query('select 1 / 0').catch(() => console.log('ignored')) // prints ignored
 * })
 * const error = await work.catch((error) => error)
 * if (error instanceof TransactionError) console.log(error.code) // prints ROLLED_BACK
 * ```
 */
export class TransactionError extends Error {
  override readonly name: string = 'TransactionError'
  readonly code: TransactionErrorCode

  constructor(code: TransactionErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}

/** The way in which one driver begins and ends transactions. Every method gets the connection of the lease. */
export interface TransactionDialect<C> {
  /** Sends one statement. */
  execute(connection: C, sql: string): unknown
  /** The statements that begin a transaction, in their order. */
  readonly begin: readonly string[]
  /** Sends COMMIT. False: the server answered that it rolled back. */
  commit(connection: C): boolean | PromiseLike<boolean>
  /** Whether an error of COMMIT proves that nothing was committed. False: the outcome is unknown. */
  isRefusal(connection: C, error: unknown): boolean
  /** Whether the same transaction may succeed when it is repeated: a serialization failure, a deadlock. */
  isTransient(error: unknown): boolean
  /**
   * Whether a statement that is sent now would be answered, and whether a transaction is open. `unusable`: the connection
   * is closed, broken, or busy with another statement. `transaction` if the driver does not report it.
   */
  stateOf(connection: C): 'idle' | 'transaction' | 'unusable'
}

const ROLLED_BACK =
  'COMMIT was answered with ROLLBACK: a statement of the transaction failed and its error was caught. Let the error through, or run work that may fail in tx.transaction()'

/** The progress of a transaction. */
interface Progress<T> {
  commit: 'not sent' | 'sent' | 'done'
  result?: T
  failure?: { readonly error: unknown }
}

/** Runs `fn` in a transaction of one connection of the pool, by the rules of a dialect. */
export async function runTransaction<C extends object, T>(
  dialect: TransactionDialect<C>,
  pool: Pick<Pool<C>, 'run'>,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  options: RunOptions = {},
): Promise<T> {
  if (typeof fn !== 'function') throw new TypeError(`fn must be a function (got ${quoted(fn)})`)
  const { signal, retries = 0 } = options
  const progress: Progress<T> = { commit: 'not sent' }
  let attempts = 0
  let calls = 0
  const work = async (connection: C): Promise<void> => {
    calls++
    for (;;) {
      attempts++
      try {
        progress.result = await attempt(dialect, connection, fn, signal, progress)
        return
      } catch (error) {
        const isUnknown = progress.commit === 'sent'
        const mayRepeat = !isUnknown && attempts <= retries && signal?.aborted !== true
        if (mayRepeat && isTransient(dialect, connection, error)) continue
        // `run` calls again when an error that is thrown here broke the connection.
        if (mayRepeat || (!isUnknown && calls > retries)) throw error
        progress.failure = { error }
        return
      }
    }
  }
  try {
    await pool.run(work, options)
  } catch (error) {
    // `run` rejects with the reason of an abort, even when COMMIT was sent before.
    if (progress.commit === 'not sent' || signal?.aborted !== true) throw error
    if (progress.commit === 'sent') throw commitUnknown(error)
  }
  if (progress.failure !== undefined) throw progress.failure.error
  return progress.result as T
}

async function attempt<C extends object, T>(
  dialect: TransactionDialect<C>,
  connection: C,
  fn: (tx: Transaction<C>) => T | PromiseLike<T>,
  signal: AbortSignal | undefined,
  progress: Progress<T>,
): Promise<T> {
  progress.commit = 'not sent'
  const level = new Level(dialect, connection, signal, { savepoints: 0 })
  for (const statement of dialect.begin) await dialect.execute(connection, statement)
  try {
    const result = await level.call(fn)
    signal?.throwIfAborted()
    progress.commit = 'sent'
    const isCommitted = await commit(dialect, connection)
    if (isCommitted) {
      progress.commit = 'done'
      return result
    }
    progress.commit = 'not sent'
    throw new TransactionError('ROLLED_BACK', ROLLED_BACK)
  } catch (error) {
    if (error instanceof TransactionError && error.code === 'COMMIT_UNKNOWN') throw error
    progress.commit = 'not sent'
    // A connection that is busy or broken cannot be rolled back: the pool closes it at return.
    if (dialect.stateOf(connection) === 'transaction')
      await settled(() => dialect.execute(connection, 'ROLLBACK'))
    throw signal?.aborted === true ? signal.reason : error
  }
}

function isTransient<C>(dialect: TransactionDialect<C>, connection: C, error: unknown): boolean {
  return dialect.isTransient(error) && dialect.stateOf(connection) !== 'unusable'
}

async function commit<C>(dialect: TransactionDialect<C>, connection: C): Promise<boolean> {
  try {
    return await dialect.commit(connection)
  } catch (error) {
    throw dialect.isRefusal(connection, error) ? error : commitUnknown(error)
  }
}

/** A transaction, or a savepoint inside one, while its function runs. */
class Level<C extends object> {
  readonly #dialect: TransactionDialect<C>
  readonly #connection: C
  readonly #signal: AbortSignal | undefined
  readonly #names: { savepoints: number }
  #hasEnded = false
  #hasNested = false

  constructor(
    dialect: TransactionDialect<C>,
    connection: C,
    signal: AbortSignal | undefined,
    names: { savepoints: number },
  ) {
    this.#dialect = dialect
    this.#connection = connection
    this.#signal = signal
    this.#names = names
  }

  async call<T>(fn: (tx: Transaction<C>) => T | PromiseLike<T>): Promise<T> {
    try {
      const result = await fn(this.#view())
      if (this.#hasNested) throw nestedOpen('the outer transaction ended')
      return result
    } finally {
      this.#hasEnded = true
    }
  }

  #view(): Transaction<C> {
    const nested = <T>(fn: (tx: Transaction<C>) => T | PromiseLike<T>): Promise<T> => this.#nested(fn)
    return new Proxy(this.#connection, {
      get: (target, key) => {
        this.#check()
        if (key === 'transaction') return nested
        // A driver's private fields and native methods exist only on the connection itself.
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function' || isFixed(target, key)) return value
        return (...given: unknown[]) => {
          this.#check()
          return Reflect.apply(value, target, given) as unknown
        }
      },
      set: (target, key, value) => Reflect.set(target, key, value, target),
    }) as Transaction<C>
  }

  #check(): void {
    if (this.#hasEnded) {
      throw new TransactionError(
        'TRANSACTION_ENDED',
        'the connection of a transaction was used after the transaction had ended. Await every statement inside fn',
      )
    }
    this.#signal?.throwIfAborted()
  }

  async #nested<T>(fn: (tx: Transaction<C>) => T | PromiseLike<T>): Promise<T> {
    this.#check()
    if (this.#hasNested) throw nestedOpen('the next one began')
    this.#hasNested = true
    const dialect = this.#dialect
    const name = `cenote_${++this.#names.savepoints}`
    try {
      await dialect.execute(this.#connection, `SAVEPOINT ${name}`)
      try {
        const inner = new Level(dialect, this.#connection, this.#signal, this.#names)
        const result = await inner.call(fn)
        // In a failed transaction PostgreSQL refuses it, so that an error that `fn` caught is not lost.
        await dialect.execute(this.#connection, `RELEASE SAVEPOINT ${name}`)
        return result
      } catch (error) {
        if (dialect.stateOf(this.#connection) !== 'unusable')
          await dialect.execute(this.#connection, `ROLLBACK TO SAVEPOINT ${name}`)
        throw error
      }
    } finally {
      this.#hasNested = false
    }
  }
}

// A proxy has to give a property that can never change as it is.
function isFixed(target: object, key: string | symbol): boolean {
  const own = Object.getOwnPropertyDescriptor(target, key)
  return own?.configurable === false && own.writable === false
}

function commitUnknown(cause: unknown): TransactionError {
  return new TransactionError(
    'COMMIT_UNKNOWN',
    'COMMIT was sent and its answer never arrived: the transaction may or may not be committed. Check before repeating it',
    cause,
  )
}

function nestedOpen(what: string): TransactionError {
  return new TransactionError(
    'NESTED_OPEN',
    `a nested transaction was still open when ${what}. Await tx.transaction() first`,
  )
}

// The pool detects a failed rollback at the return; the caller gets the error that made the rollback necessary.
async function settled(call: () => unknown): Promise<void> {
  try {
    await call()
  } catch {}
}

/** Checks the options that a dialect has of its own, and gives the rest, which are the pool's. Throws TypeError. */
export function checkTransactionOptions(
  options: RunOptions & { readonly isolation?: unknown; readonly readOnly?: unknown },
  isolations: readonly string[],
): RunOptions {
  const { isolation, readOnly, ...rest } = options
  if (isolation !== undefined && !isolations.includes(isolation as string)) {
    const allowed = isolations.map((level) => `'${level}'`).join(', ')
    throw new TypeError(`isolation must be one of ${allowed} (got ${quoted(isolation)})`)
  }
  if (readOnly !== undefined && typeof readOnly !== 'boolean')
    throw new TypeError(`readOnly must be true or false (got ${quoted(readOnly)})`)
  return rest
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

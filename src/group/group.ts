import { CLOSE_TIMEOUT_MS, type CloseResult } from '../core/close.ts'
import type { Lease } from '../core/callers/lease.ts'
import { PoolClosedError, PoolError, QueueFullError } from '../core/contract/errors.ts'
import type { ConnectionManager } from '../core/contract/manager.ts'
import { type AcquireOptions, checkCall, type RunOptions } from '../core/contract/options.ts'
import { wrongValue } from '../core/contract/rules.ts'
import type { PoolState } from '../core/contract/state.ts'
import { registerGroup } from '../core/inspection/live-pools.ts'
import { runOn, type Work } from '../core/run.ts'
import { explainGroup, explainKey } from './explain.ts'
import { checkResize, type GroupOptions, type ResolvedGroupOptions } from './options.ts'
import { Roster } from './roster.ts'
import type { GroupInsight, GroupState } from './state.ts'

/** Creates the manager of a key. `signal` aborts when the key is cleared, removed or forgotten, or the call takes too long. */
export type ManagerFactory<C> = (
  key: string,
  context: { readonly signal: AbortSignal },
) => ConnectionManager<C> | PromiseLike<ConnectionManager<C>>

type Call = Parameters<typeof checkCall>[0]

/**
 * The pools of many keys (tenants, databases, hosts, roles) under one limit of connections. A connection serves only the key
 * that opened it; a key that needs a slot takes it from a key that has no callers, or has more connections. No caller of one
 * key waits forever for the callers of another.
 *
 * @example
 * ```ts
 * import { PoolGroup } from 'cenote/group'
 * import { PgManager } from 'cenote/pg'
 *
 * const connectionString = process.env.DATABASE_URL
 * const make = (tenant: string) => new PgManager({ connectionString, application_name: tenant })
 * const group = new PoolGroup(make, { total: 20 })
 * const { rows } = await group.run('acme', (client) => client.query('select 40 + 2 as answer'))
 * console.log(rows[0].answer) // prints 42
 * console.log(group.keys(), group.state().taken) // prints [ 'acme' ] 1
 * group.clear('acme') // the configuration of the key changed
 * await group.remove('acme') // the key is gone
 * await group.close()
 * ```
 */
export class PoolGroup<C> implements AsyncDisposable {
  readonly #roster: Roster<C>
  readonly #unregister: () => void
  #closing: Promise<CloseResult> | undefined = undefined

  /**
   * Creates a group. `factory` is called for each key before it opens its first connection, and again after `clear`.
   * Throws PoolOptionsError.
   */
  constructor(factory: ManagerFactory<C>, options: GroupOptions<C>) {
    this.#roster = new Roster(factory, options)
    this.#unregister = registerGroup(this)
  }

  /** The group's name. */
  get name(): string {
    return this.#roster.options.name
  }

  /** The options with defaults filled in. `resize` does not change them: see `state()`. */
  get options(): ResolvedGroupOptions<C> {
    return this.#roster.options
  }

  /**
   * Calls `fn` with a connection of the key, and releases the connection whatever happens: as `run` of a pool. Rejects with
   * the errors of a pool, with ConnectError if the factory failed, and with QueueFullError beyond `maxKeys`. Default: the
   * options of the key's pool.
   */
  run<T>(key: string, fn: Work<C, T>, options?: RunOptions): Promise<T> {
    if (typeof fn !== 'function') return Promise.reject(wrongValue(this.#nameOf(key), 'fn', fn, 'a function'))
    const known = options === undefined && this.#closing === undefined ? this.#roster.ready(key) : undefined
    const member = known ?? this.#enter(key, 'run', options)
    if (member instanceof Error) return Promise.reject(member)
    return this.#roster.entered(member, runOn(member.engine, fn, options))
  }

  /** Acquires a connection of the key: as `acquire` of a pool. Rejects as `run` does. */
  acquire(key: string, options?: AcquireOptions): Promise<Lease<C>> {
    const member = this.#enter(key, 'acquire', options)
    if (member instanceof Error) return Promise.reject(member)
    return this.#roster.entered(member, member.engine.checkout.acquire(options, 'any'))
  }

  /** Acquires an idle connection of the key synchronously, or returns undefined. Never creates a key. */
  tryAcquire(key: string): Lease<C> | undefined {
    this.#checkKey(key)
    const member = this.#roster.get(key)
    if (member === undefined || this.#roster.refusal(member) !== undefined) return undefined
    const lease = member.engine.checkout.tryAcquire()
    if (lease !== undefined) this.#roster.activate(member)
    return lease
  }

  /**
   * Opens a connection of the key's manager that the group neither counts nor keeps: closing it is the caller's duty. Rejects
   * with ConnectError, PoolClosedError, QueueFullError or the signal's reason.
   */
  async dedicated(key: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<C> {
    const member = this.#enter(key, 'dedicated', options, false)
    if (member instanceof Error) throw member
    const { engine } = member
    const signal = options?.signal
    member.entering++
    try {
      signal?.throwIfAborted()
      await member.loaded(signal)
      if (engine.closed) throw engine.reports.closed()
      return await engine.connector.dedicated(signal)
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason
      throw error instanceof PoolClosedError ? error : engine.reports.connect(error)
    } finally {
      member.entering--
      this.#roster.left(member)
    }
  }

  /**
   * The configuration of a key changed, or of every key: idle connections are closed now, leased ones at their return, and the
   * factory is called again before the next connect. Waiting callers keep their places. Backoff and last error are forgotten.
   */
  clear(key?: string): void {
    if (key === undefined) return this.#roster.clearAll()
    this.#checkKey(key)
    this.#roster.clear(key)
  }

  /**
   * The key is gone: its callers are rejected with PoolClosedError, also those that come before this promise resolves; leased
   * connections are awaited for `timeoutMs` (default 10,000 ms), then their close is forced. A later caller creates the key
   * again. A second call returns the same promise. Rejects only if an argument is invalid.
   */
  remove(key: string, options?: { readonly timeoutMs?: number | undefined }): Promise<CloseResult> {
    try {
      this.#checkKey(key)
      if (options !== undefined) checkCall('close', options, this.#nameOf(key))
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#roster.remove(key, options?.timeoutMs ?? CLOSE_TIMEOUT_MS)
  }

  /** The group at this instant, or one key of it: undefined for a key without connections and callers. */
  state(): GroupState
  state(key: string): PoolState | undefined
  state(key?: string): GroupState | PoolState | undefined {
    if (key === undefined) return this.#roster.state(this.#closing !== undefined)
    this.#checkKey(key)
    return this.#roster.get(key)?.engine.state()
  }

  /** The group at this instant, key by key. It costs time that grows with the number of keys. */
  look(): GroupInsight {
    return { poolId: this.#roster.id, state: this.state(), keys: this.#roster.look() }
  }

  /** Explains what the callers of a key wait for, or that none waits; without a key, the same for the whole group. */
  explain(key?: string): string {
    if (key === undefined) return explainGroup(this.look())
    this.#checkKey(key)
    return explainKey(key, this.look(), this.#roster.get(key)?.engine)
  }

  /** The keys with connections or callers, and those not forgotten yet, in the order in which they were created. */
  keys(): string[] {
    return this.#roster.keys()
  }

  /**
   * Changes the limits. Resolves once any surplus is closed (leased connections at their return), or when another resize or
   * close overtakes it. Rejects with PoolOptionsError, and then nothing was changed.
   */
  async resize(sizes: {
    readonly total?: number | undefined
    readonly perKey?: GroupOptions<C>['perKey']
  }): Promise<void> {
    checkResize(sizes, this.name)
    if (this.#closing !== undefined) throw new PoolClosedError({ pool: this.name })
    await this.#roster.resize(sizes)
  }

  /**
   * Closes the group: as `remove` for every key. Later callers are rejected with PoolClosedError. A second call returns the
   * same result. Rejects only if an option is invalid.
   */
  async close(options?: { readonly timeoutMs?: number | undefined }): Promise<CloseResult> {
    if (options !== undefined) checkCall('close', options, this.name)
    this.#closing ??= this.#close(options?.timeoutMs ?? CLOSE_TIMEOUT_MS)
    return await this.#closing
  }

  /** Same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(timeoutMs: number): Promise<CloseResult> {
    const result = await this.#roster.close(timeoutMs)
    this.#unregister()
    return result
  }

  // Returns the key's member, or the error for its caller.
  #enter(key: string, call: Call, options: unknown, isCounted = true) {
    try {
      this.#checkKey(key)
      if (options !== undefined) checkCall(call, options, this.#nameOf(key))
      const roster = this.#roster
      const member = this.#closing === undefined ? roster.get(key) : undefined
      const refusal = this.#refusal(key, member)
      if (refusal !== undefined) {
        if (isCounted) roster.forgotten.refuse()
        return refusal
      }
      const entered = member ?? roster.create(key)
      if (entered.limitError !== undefined) throw entered.limitError
      roster.activate(entered)
      return entered
    } catch (error) {
      return error as Error
    }
  }

  #refusal(key: string, member: ReturnType<Roster<C>['get']>): PoolError | undefined {
    if (this.#closing !== undefined) return new PoolClosedError({ pool: this.#nameOf(key) })
    const active = this.#roster.refusal(member)
    if (active === undefined) return undefined
    const { maxKeys } = this.#roster.options
    return new QueueFullError(
      maxKeys,
      { pool: this.#nameOf(key), state: member?.engine.state() },
      `acquire rejected: callers of ${maxKeys} keys (maxKeys) already use group '${this.name}', and key '${key}' is one more. ` +
        'Raise maxKeys, or send fewer requests',
    )
  }

  #nameOf(key: string): string {
    return `${this.name}/${key}`
  }

  #checkKey(key: unknown): void {
    if (typeof key !== 'string') throw wrongValue(this.name, 'key', key, 'a string')
  }
}

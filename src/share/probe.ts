import { Lease } from '../core/callers/lease.ts'
import { PoolError } from '../core/contract/errors.ts'
import { textOf } from '../core/contract/messages.ts'
import type { ShareableConnection } from '../core/contract/share.ts'
import type { PoolEngine } from '../core/engine.ts'

/** Finds out, once for a share, whether what stands before the server can pipeline. */
export class Probe<C> {
  /** undefined: not known yet. */
  result: boolean | undefined
  readonly #pool: PoolEngine<C>
  readonly #shared: ShareableConnection<C>
  readonly #share: string
  #hasBroken = false

  constructor(pool: PoolEngine<C>, shared: ShareableConnection<C>, share: string) {
    this.#pool = pool
    this.#shared = shared
    this.#share = share
    this.result = shared.probe === undefined ? true : undefined
  }

  /** Whether the connection may carry seats. If not, it was closed. */
  async passes(lease: Lease<C>): Promise<boolean> {
    const { calls, options } = this.#pool
    const controller = new AbortController()
    const bounds = { what: 'probe', limitMs: options.validationTimeoutMs, controller }
    const outcome = await calls.outcome(bounds, async () =>
      this.#shared.probe?.(lease.connection, controller.signal),
    )
    if (outcome.ok && outcome.value === true) {
      this.result = true
      return true
    }
    const cause = outcome.ok ? undefined : outcome.error
    // A connection that broke during its first probe may have been lost for another reason.
    const isBroken = !outcome.ok && Lease.reasonToClose(lease, cause) !== undefined && !this.#hasBroken
    Lease.watch(lease, undefined)
    lease.destroy()
    if (isBroken) this.#hasBroken = true
    else this.#cannotPipeline(cause)
    return false
  }

  #cannotPipeline(cause: unknown): void {
    this.result = false
    const { name } = this.#pool.options
    const why = cause === undefined ? '' : ` (${textOf(cause)})`
    const text = `share '${this.#share}' lends each connection of pool '${name}' to one caller at a time, because three statements sent together were not answered${why}. Connect to the server directly, or through a pooler that can pipeline`
    this.#pool.reports.report(new PoolError('PROBE_FAILED', text, { pool: this.#share, cause }))
  }
}

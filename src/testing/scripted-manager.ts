import type { ConnectContext, ConnectionManager } from '../core/contract/manager.ts'

/**
 * The outcome of one call of a {@link ScriptedManager}: `ok`; `fail`: it rejects; `throw`: it throws synchronously;
 * `never`: its promise stays pending; `undefined`: it resolves with undefined; a promise: like `ok` once that has settled, and
 * rejects with it.
 */
export type Step = 'ok' | 'fail' | 'throw' | 'never' | 'undefined' | Promise<unknown>

/** A connection of a {@link ScriptedManager}. */
export interface ScriptedConnection {
  readonly id: number
  /** Set it to make hasBroken true. */
  broken: boolean
  /** Set it to make isValid false. */
  invalid: boolean
  open: boolean
  readonly lost: (error?: unknown) => void
}

/**
 * A manager whose every call follows a script, for faults that a real server cannot show. Each list is used up from its
 * front; when it is empty, `always` applies.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const manager = new ScriptedManager()
 * manager.connects.push('fail', 'ok') // the first connect fails, the second succeeds
 * const pool = new Pool(manager)
 * ;(await pool.acquire()).release()
 * console.log(pool.state().statistics.connects) // prints { opened: 1, failed: 1 }
 * ```
 */
export class ScriptedManager implements ConnectionManager<ScriptedConnection> {
  readonly connects: Step[] = []
  readonly checks: Step[] = []
  readonly closes: Step[] = []
  readonly always: { connect: Step; isValid: Step; close: Step } = {
    connect: 'ok',
    isValid: 'ok',
    close: 'ok',
  }
  /** Every connection ever opened. */
  readonly connections: ScriptedConnection[] = []
  readonly calls = { connect: 0, isValid: 0, hasBroken: 0, close: 0 }
  readonly signals: AbortSignal[] = []
  /** Maximum number of connections that were open concurrently. */
  mostOpen = 0
  fatal = false

  /** Connections that are open, as a server would count them. */
  get open(): number {
    return this.connections.filter(({ open }) => open).length
  }

  connect({ signal, lost }: ConnectContext): Promise<ScriptedConnection> {
    const id = ++this.calls.connect
    this.signals.push(signal)
    return take(this.connects, this.always.connect, `connect ${id} failed`).then((step) => {
      if (step === 'undefined') return undefined as never
      const connection = { id, broken: false, invalid: false, open: true, lost }
      this.connections.push(connection)
      this.mostOpen = Math.max(this.mostOpen, this.open)
      return connection
    })
  }

  isValid(connection: ScriptedConnection): Promise<boolean> {
    this.calls.isValid++
    return take(this.checks, this.always.isValid, 'isValid failed').then(() => !connection.invalid)
  }

  hasBroken(connection: ScriptedConnection): boolean {
    this.calls.hasBroken++
    return connection.broken
  }

  close(connection: ScriptedConnection): Promise<void> {
    this.calls.close++
    if (!connection.open) throw new Error(`connection ${connection.id} was closed twice`)
    connection.open = false
    return take(this.closes, this.always.close, 'close failed').then(() => undefined)
  }

  isFatal(): boolean {
    return this.fatal
  }
}

function take(steps: Step[], otherwise: Step, failure: string): Promise<Step> {
  const step = steps.splice(0, 1)[0] ?? otherwise
  if (step === 'throw') throw new Error(failure)
  if (step === 'fail') return Promise.reject(new Error(failure))
  if (step === 'never') return new Promise(() => {})
  return step instanceof Promise ? step.then(() => 'ok') : Promise.resolve(step)
}

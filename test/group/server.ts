import type { ConnectionManager } from '../../src/index.ts'
import { afterMicrotasks } from '../simulation/microtasks.ts'
import type { SimClock } from '../simulation/sim-clock.ts'
import type { Plan } from './plan.ts'

type Factory = (
  key: string,
  context: { readonly signal: AbortSignal },
) => ConnectionManager<Connection> | Promise<ConnectionManager<Connection>>

export const CONNECT_TIMEOUT_MS = 60
// Microtasks after which the pool has processed the end of an attempt.
const KNOWN_DELAY = 24
export const CLOSE_TIMEOUT_MS = 40
export const BACKOFF: { readonly minMs: number; readonly maxMs: number } = { minMs: 10, maxMs: 100 }

/** One connection, as the server sees it. */
export interface Connection {
  readonly id: number
  readonly key: string
  /** How often the key had been cleared when its manager was loaded. */
  readonly version: number
  openedAt: number
  isOpen: boolean
  isBroken: boolean
  /** Whether the group does not count it. */
  isLoose: boolean
  /** Leases of it that have ended. */
  served: number
}

/** What is known of one key without looking into the group. */
export interface KeyModel {
  version: number
  /** Loads under way, those aborted not counted. */
  loads: Set<AbortSignal>
  /** Whether the manager of the present version has been loaded since the key was created. */
  isLoaded: boolean
  /** Whether a connect succeeded after the last failure. */
  isKnown: boolean
  /** Whether the last attempt failed. */
  isFailing: boolean
  /** Whether a failure came after the last connection that served. */
  isSuspect: boolean
  /** When the last attempt failed whose backoff counts. */
  failedAt: number
  /** The same, until a later connection served. */
  backoffSince: number
  /** Number of failures, and of what ended a backoff. */
  failures: number
  attempts: Set<AbortSignal>
  live: number
}

/** The servers of all keys: counts what is really open, and notes what breaks a rule. */
export class Servers {
  live = 0
  /** The limit that holds now; above `total` only while a lowered one is being reached. */
  cap: number
  readonly connections: Connection[] = []
  readonly keys: Map<string, KeyModel> = new Map()
  /** Checks of the moment in which an attempt or a close begins. */
  onConnect: (key: string) => void = () => {}
  onLoadFailed: (key: string) => void = () => {}
  onClose: (connection: Connection) => void = () => {}

  readonly #plan: Plan
  readonly #clock: SimClock
  readonly #bad: (rule: string) => void
  #lastId = 0

  constructor(plan: Plan, clock: SimClock, bad: (rule: string) => void) {
    this.#plan = plan
    this.#clock = clock
    this.#bad = bad
    this.cap = plan.total
  }

  of(key: string): KeyModel {
    let model = this.keys.get(key)
    if (model === undefined) {
      model = {
        version: 0,
        loads: new Set(),
        isLoaded: false,
        isKnown: false,
        isFailing: false,
        isSuspect: false,
        failedAt: -Infinity,
        backoffSince: -Infinity,
        failures: 0,
        attempts: new Set(),
        live: 0,
      }
      this.keys.set(key, model)
    }
    return model
  }

  failed(model: KeyModel): void {
    model.isFailing = true
    model.isKnown = false
    model.isSuspect = true
    model.failedAt = this.#clock.now()
    this.#backsOff(model)
  }

  /** The backoff is over. */
  recovered(model: KeyModel): void {
    model.failures++
    model.backoffSince = -Infinity
  }

  // The pool processes a failure some microtasks after the server sees its signal abort: an attempt may begin in between.
  #backsOff(model: KeyModel): void {
    const at = this.#clock.now()
    const failure = ++model.failures
    afterMicrotasks(KNOWN_DELAY, () => {
      if (failure === model.failures) model.backoffSince = at
    })
  }

  /** The group's factory. */
  readonly factory: Factory = (key, { signal }) => {
    const { random, loadMs, hasBadLoads } = this.#plan
    const model = this.of(key)
    const { version } = model
    model.loads.add(signal)
    model.isLoaded = false
    if (model.loads.size > 1) this.#bad(`G12: ${model.loads.size} loads of key ${key} at a time`)
    const over = (): void => void model.loads.delete(signal)
    signal.addEventListener('abort', over)
    const finish = (): ConnectionManager<Connection> => {
      const isCurrent = !signal.aborted && version === model.version
      over()
      if (hasBadLoads && random.chance(0.2)) {
        if (isCurrent) {
          model.isSuspect = true
          this.onLoadFailed(key)
          model.failedAt = this.#clock.now()
          this.#backsOff(model)
        }
        throw new Error('the load failed')
      }
      if (isCurrent) model.isLoaded = true
      return this.#managerOf(key, version)
    }
    if (loadMs === 0) return finish()
    return this.#sleep(random.whole(1, loadMs)).then(finish)
  }

  #managerOf(key: string, version: number): ConnectionManager<Connection> {
    return {
      connect: ({ signal }) => this.#connect(key, version, signal),
      isValid: () => true,
      hasBroken: ({ isBroken }) => isBroken,
      isFatal: () => this.#plan.manners.get(key) === 'fatal',
      close: async (connection) => {
        if (connection.version !== version) this.#bad('a connection is closed by another manager')
        if (!connection.isOpen) this.#bad('a connection is closed twice')
        connection.isOpen = false
        if (!connection.isLoose) this.onClose(connection)
        const { random, closeMs, isRough } = this.#plan
        const hangs = isRough && random.chance(0.02)
        await this.#sleep(hangs ? CLOSE_TIMEOUT_MS - 1 : random.whole(0, closeMs))
        if (!connection.isLoose) this.count(key, -1)
        if (hangs) await new Promise(() => {})
      },
    }
  }

  async #connect(key: string, version: number, signal: AbortSignal): Promise<Connection> {
    const { random, manners, connectMs, isRough } = this.#plan
    const model = this.of(key)
    const manner = manners.get(key)
    this.onConnect(key)
    model.attempts.add(signal)
    this.count(key, 1)
    let isUp = true
    const down = (): void => {
      model.attempts.delete(signal)
      if (isUp) this.count(key, -1)
      isUp = false
    }
    signal.addEventListener('abort', () => {
      // The group gave up: by its time limit, or because the key was cleared or removed.
      if (isUp && (signal.reason as Error).message.includes('took longer')) this.failed(model)
      down()
    })
    if (manner === 'hanging' && random.chance(0.9)) await this.#sleep(3 * CONNECT_TIMEOUT_MS)
    await this.#sleep(random.whole(1, connectMs))
    const fails =
      manner === 'dead' ||
      manner === 'fatal' ||
      (manner === 'flaky' && random.chance(0.4)) ||
      (isRough && random.chance(0.01))
    if (fails) {
      if (isUp) this.failed(model)
      down()
      throw new Error('refused')
    }
    model.attempts.delete(signal)
    if (isUp) {
      model.isFailing = false
      model.isKnown = true
    }
    const connection: Connection = {
      id: ++this.#lastId,
      key,
      version,
      openedAt: this.#clock.now(),
      isOpen: true,
      isBroken: false,
      isLoose: !isUp,
      served: 0,
    }
    isUp = false
    this.connections.push(connection)
    return connection
  }

  count(key: string, by: number): void {
    const model = this.of(key)
    this.live += by
    model.live += by
    if (by < 0) this.cap = Math.max(this.total, Math.min(this.cap, this.live))
    if (this.live > this.cap) this.#bad(`G1: ${this.live} connections of ${this.cap}`)
  }

  /** The total that was asked for last. */
  total = 0

  setTotal(total: number): void {
    this.total = total
    this.cap = Math.max(total, this.live)
  }

  #sleep(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.#clock.after(durationMs, resolve))
  }
}

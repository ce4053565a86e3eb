import type { ConnectionInsight, PoolState } from '../index.ts'
import { Lanes } from './lanes.ts'
import {
  type ConnectFailures,
  type FleetRoster,
  type Frame,
  type HeldLease,
  KEEP_MS,
  type Leak,
  type PoolCard,
  TICK_MS,
} from './protocol.ts'
import { Ring } from './ring.ts'
import type { Subject } from './subject.ts'
import { WaitSample } from './waits.ts'

const MOST_HELD = 20
const MOST_LEAKS = 50
const MOST_KINDS_OF_FAILURE = 20

type WholeFrame = Frame & { readonly ids: readonly number[] }

/** The memory of one pool or group. It is bounded, whatever the pool does. */
export class Recording {
  readonly waits: WaitSample = new WaitSample()
  readonly #subject: Subject
  readonly #lanes = new Lanes()
  readonly #frames = new Ring<WholeFrame>(Math.ceil(KEEP_MS / TICK_MS))
  readonly #leaks: Leak[] = []
  readonly #failures = new Map<string, ConnectFailures>()
  // Written once, when a page first needs it: options do not change.
  #options: Readonly<Record<string, string>> | undefined = undefined
  #before: PoolState
  #startedAt: number
  #changes = 0
  #lastCard = ''
  #fleet: FleetRoster | undefined = undefined

  constructor(subject: Subject, now: number) {
    this.#subject = subject
    this.#before = subject.view(() => undefined).state
    this.#startedAt = now
  }

  leaked(leak: Leak): void {
    this.#changes++
    this.#leaks.push(leak)
    if (this.#leaks.length > MOST_LEAKS) this.#leaks.shift()
  }

  connectFailed(error: string, at: number): void {
    this.#changes++
    const times = (this.#failures.get(error)?.times ?? 0) + 1
    // The kind that failed last comes last: where there are too many, the one that has not been seen for longest goes.
    this.#failures.delete(error)
    this.#failures.set(error, { error, times, lastAt: at })
    if (this.#failures.size <= MOST_KINDS_OF_FAILURE) return
    for (const oldest of this.#failures.keys()) {
      this.#failures.delete(oldest)
      break
    }
  }

  fleetChanged(fleet: FleetRoster): void {
    this.#changes++
    this.#fleet = fleet
  }

  released(connection: number, heldMs: number, now: number): void {
    this.#lanes.released(connection, heldMs, now - this.#startedAt)
  }

  /** Ends the tick. `now` is monotonic, `at` the wall clock; `isSampled`: waits were, since it began. */
  tick(
    now: number,
    at: number,
    holderOf: (connection: number) => string | undefined,
    isSampled: boolean,
  ): Frame {
    const { state, connections, keys, diagnosis } = this.#subject.view(holderOf)
    const waits = this.waits.take()
    const { acquires, connects, closed } = state.statistics
    const before = this.#before.statistics
    const frame: WholeFrame = {
      at,
      ms: now - this.#startedAt,
      idle: state.idle,
      inUse: state.inUse,
      opening: state.opening,
      closing: state.closing,
      waiting: state.waiting,
      headWaitMs: state.headWaitMs,
      maxSize: state.maxSize,
      acquired: acquires.direct + acquires.waited - before.acquires.direct - before.acquires.waited,
      opened: connects.opened - before.connects.opened,
      closed: sum(closed) - sum(before.closed),
      connectFailures: connects.failed - before.connects.failed,
      timedOut: acquires.timedOut - before.acquires.timedOut,
      refused: acquires.refused - before.acquires.refused,
      waits: isSampled ? waits : undefined,
      ...this.#lanes.tick(connections, now - this.#startedAt),
      held: this.#held(connections, holderOf),
      diagnosis,
      ...(keys === undefined ? {} : { keys }),
    }
    this.#before = state
    this.#startedAt = now
    this.#frames.push(frame)
    return frame
  }

  #held(
    connections: readonly ConnectionInsight[],
    holderOf: (connection: number) => string | undefined,
  ): HeldLease[] {
    return connections
      .filter(({ doing }) => doing === 'leased')
      .sort((a, b) => b.heldMs - a.heldMs)
      .slice(0, MOST_HELD)
      .map(({ connection, heldMs }) => ({
        lane: this.#lanes.laneOf(connection),
        connection,
        heldMs,
        by: holderOf(connection),
      }))
  }

  /** All frames that are remembered. */
  history(): Frame[] {
    let before: readonly number[] | undefined
    return Array.from(this.#frames, (frame) => {
      const { ids, ...rest } = frame
      if (ids === before) return rest
      before = ids
      return frame
    })
  }

  card(): PoolCard {
    return {
      name: this.#subject.options.name,
      options: (this.#options ??= describeOptions(this.#subject.options)),
      leaks: this.#leaks,
      connectFailures: [...this.#failures.values()].toReversed(),
      closedBy: this.#before.statistics.closed,
      fleet: this.#fleet,
    }
  }

  /** The card, if it has changed since the last call. */
  changedCard(): PoolCard | undefined {
    const version = `${this.#changes} ${Object.values(this.#before.statistics.closed).join(' ')}`
    if (version === this.#lastCard) return undefined
    this.#lastCard = version
    return this.card()
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}

function describeOptions(options: object): Record<string, string> {
  return Object.fromEntries(
    Object.entries(options).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, describe(value)]],
    ),
  )
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'number') return value.toLocaleString('en', { maximumFractionDigits: 3 })
  if (typeof value !== 'object' || value === null) return String(value)
  if (Object.getPrototypeOf(value) !== Object.prototype) return 'an object'
  const entries = Object.entries(value).map(([name, each]) => `${name}: ${describe(each)}`)
  return `{ ${entries.join(', ')} }`
}

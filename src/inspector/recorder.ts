import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS } from '../core/telemetry/channels.ts'
import { TRACING_CHANNELS } from '../core/telemetry/tracing.ts'
import type {
  AcquireEvent,
  AcquireTrace,
  LeakEvent,
  OpenErrorEvent,
  PoolEvent,
  ReleaseEvent,
} from '../index.ts'
import type { FLEET_CHANNEL, FleetEvent } from '../fleet/index.ts'
import { Holders } from './holders.ts'
import { type Hello, type History, KEEP_MS, TICK_MS, type Tick, UNWATCHED_TICK_MS } from './protocol.ts'
import { Recording } from './recording.ts'
import { type Inspected, type Subject, subjectOf } from './subject.ts'

// A name instead of an import: a program without a fleet does not load it.
const FLEET: typeof FLEET_CHANNEL = 'cenote:fleet'

type Listener = (message: unknown) => void
type Listeners = readonly (readonly [string, Listener])[]

// A message of the history is small enough for a slow reader, and large enough to be worth its overhead.
const FRAMES_PER_MESSAGE = 100

/**
 * Reads each pool every tick and remembers what the page shows. While no page is open it subscribes only to what is rare, and its
 * ticks are so long that it costs next to nothing.
 */
export class Recorder {
  readonly #inspected: () => Iterable<Inspected>
  readonly #subjects = new WeakMap<Inspected, Subject>()
  readonly #recordings = new Map<number, Recording>()
  readonly #holders = new Holders()
  readonly #onTick: (tick: Tick) => void
  readonly #ends: (() => void)[] = []
  #timer: NodeJS.Timeout
  #stopSampling: (() => void) | undefined

  constructor(inspected: () => Iterable<Inspected>, onTick: (tick: Tick) => void) {
    this.#inspected = inspected
    this.#onTick = onTick
    this.#findPools()
    this.#ends.push(listen(this.#rare()))
    this.#timer = this.#every(UNWATCHED_TICK_MS)
  }

  /** Whether a page is open from now on. */
  watch(isWatched: boolean): void {
    if (isWatched === (this.#stopSampling !== undefined)) return
    clearInterval(this.#timer)
    // The frame that ends here is of the other kind than the next.
    this.tick()
    this.#stopSampling?.()
    this.#stopSampling = isWatched ? listen(this.#frequent()) : undefined
    if (!isWatched) this.#holders.clear()
    this.#timer = this.#every(isWatched ? TICK_MS : UNWATCHED_TICK_MS)
  }

  /** The pools and their cards. */
  hello(): Hello {
    const pools = Array.from(this.#recordings, ([key, recording]) => ({ key, card: recording.card() }))
    return { keepMs: KEEP_MS, pools }
  }

  /** All frames that are remembered now, one part at a time. */
  *history(): Generator<History> {
    const now = Date.now()
    for (const [key, recording] of [...this.#recordings]) {
      // Later frames reach the reader as ticks.
      const frames = recording.history().filter(({ at }) => at <= now)
      for (let from = 0; from < frames.length; from += FRAMES_PER_MESSAGE)
        yield { key, frames: frames.slice(from, from + FRAMES_PER_MESSAGE) }
    }
  }

  /** Reads every pool. */
  tick(): Tick {
    this.#findPools()
    const isSampled = this.#stopSampling !== undefined
    const [now, at] = [performance.now(), Date.now()]
    const pools = Array.from(this.#recordings, ([key, recording]) => {
      const frame = recording.tick(
        now,
        at,
        (connection) => this.#holders.holderOf(key, connection),
        isSampled,
      )
      const card = isSampled ? recording.changedCard() : undefined
      return card === undefined ? { key, frame } : { key, card, frame }
    })
    return { pools }
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#stopSampling?.()
    for (const end of this.#ends.splice(0)) end()
  }

  #every(ms: number): NodeJS.Timeout {
    return setInterval(() => this.#onTick(this.tick()), ms).unref()
  }

  #findPools(): void {
    const subjects = Array.from(this.#inspected(), (each) => this.#subjectOf(each))
    const present = new Map(subjects.map((subject) => [subject.id, subject]))
    for (const [key, subject] of present) {
      if (!this.#recordings.has(key)) this.#recordings.set(key, new Recording(subject, performance.now()))
    }
    for (const key of this.#recordings.keys()) {
      if (present.has(key)) continue
      this.#recordings.delete(key)
      this.#holders.forget(key)
    }
  }

  #subjectOf(inspected: Inspected): Subject {
    let subject = this.#subjects.get(inspected)
    if (subject === undefined) {
      subject = subjectOf(inspected)
      this.#subjects.set(inspected, subject)
    }
    return subject
  }

  // Subscriptions that exist also while no page is open: rare events.
  #rare(): Listeners {
    return [
      this.#on<OpenErrorEvent>(CHANNELS.openError, (recording, { error }) =>
        recording.connectFailed(error, Date.now()),
      ),
      this.#on<LeakEvent>(CHANNELS.leak, (recording, { connection, heldMs, stack }) =>
        recording.leaked({ at: Date.now(), connection, heldMs, stack }),
      ),
      this.#on<FleetEvent>(FLEET, (recording, { fleet, budget, members }) =>
        recording.fleetChanged({
          fleet,
          budget,
          members: members.map(({ id, share, demand, floor, isSelf, isAbsent }) => ({
            id,
            share,
            demand,
            floor,
            isSelf,
            isAbsent,
          })),
        }),
      ),
    ]
  }

  // Subscriptions to the events of each checkout, while a page is open.
  #frequent(): Listeners {
    const tracing = tracingChannel(TRACING_CHANNELS.acquire)
    return [
      this.#on<AcquireEvent>(CHANNELS.acquire, (recording, { waitMs }) => recording.waits.add(waitMs)),
      this.#on<ReleaseEvent>(CHANNELS.release, (recording, { connection, heldMs, poolId, groupId }) => {
        // The numbers of connections are unique within one key only, and a group has no lanes.
        if (groupId !== undefined) return
        this.#holders.released(poolId, connection)
        recording.released(connection, heldMs, performance.now())
      }),
      [
        tracing.start.name as string,
        (trace) => {
          if (this.#recordings.has((trace as AcquireTrace).poolId))
            this.#holders.began(trace as object, performance.now())
        },
      ],
      [
        tracing.asyncEnd.name as string,
        (trace) => {
          const { poolId, connection } = trace as AcquireTrace
          if (connection !== undefined) this.#holders.got(trace as object, poolId, connection)
        },
      ],
    ]
  }

  #on<E extends PoolEvent>(
    channel: string,
    note: (recording: Recording, event: E) => void,
  ): readonly [string, Listener] {
    return [
      channel,
      (message) => {
        const event = message as E
        const { poolId, groupId = poolId } = event
        const recording = this.#recordings.get(poolId) ?? this.#recordings.get(groupId)
        if (recording !== undefined) note(recording, event)
      },
    ]
  }
}

function listen(listeners: Listeners): () => void {
  for (const [channel, listener] of listeners) subscribe(channel, listener)
  return () => {
    for (const [channel, listener] of listeners) unsubscribe(channel, listener)
  }
}

import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS } from '../core/channels.ts'
import { TRACING_CHANNELS } from '../core/tracing.ts'
import type {
  AcquireEvent,
  AcquireTrace,
  InsightSource,
  LeakEvent,
  OpenErrorEvent,
  PoolEvent,
  ReleaseEvent,
} from '../index.ts'
import type { FLEET_CHANNEL, FleetEvent } from '../fleet/index.ts'
import { Holders } from './holders.ts'
import { type Hello, KEEP_MS, TICK_MS, type Tick } from './protocol.ts'
import { Recording } from './recording.ts'

// A name and no import: who has no fleet loads none.
const FLEET: typeof FLEET_CHANNEL = 'cenote:fleet'

type Listener = (message: unknown) => void

/** Listens to the channels of pools, looks at each pool every tick, and remembers what the page shows. */
export class Recorder {
  readonly #pools: () => Iterable<InsightSource>
  readonly #keys = new WeakMap<InsightSource, number>()
  readonly #recordings = new Map<number, Recording>()
  readonly #holders = new Holders()
  readonly #stopListening: () => void
  readonly #timer: NodeJS.Timeout

  constructor(pools: () => Iterable<InsightSource>, onTick: (tick: Tick) => void) {
    this.#pools = pools
    this.#findPools()
    this.#stopListening = this.#listen()
    this.#timer = setInterval(() => onTick(this.tick()), TICK_MS)
    this.#timer.unref()
  }

  /** All that is remembered. */
  hello(): Hello {
    const pools = Array.from(this.#recordings, ([key, recording]) => ({
      key,
      card: recording.card(),
      frames: recording.history(),
    }))
    return { tickMs: TICK_MS, keepMs: KEEP_MS, pools }
  }

  /** Looks at every pool. */
  tick(): Tick {
    this.#findPools()
    const [now, at] = [performance.now(), Date.now()]
    const pools = Array.from(this.#recordings, ([key, recording]) => {
      const frame = recording.tick(now, at, (connection) => this.#holders.holderOf(key, connection))
      const card = recording.changedCard()
      return card === undefined ? { key, frame } : { key, card, frame }
    })
    return { pools }
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#stopListening()
  }

  #findPools(): void {
    const present = new Map(Array.from(this.#pools(), (pool) => [this.#keyOf(pool), pool]))
    for (const [key, pool] of present) {
      if (!this.#recordings.has(key)) this.#recordings.set(key, new Recording(pool, performance.now()))
    }
    for (const key of this.#recordings.keys()) {
      if (present.has(key)) continue
      this.#recordings.delete(key)
      this.#holders.forget(key)
    }
  }

  #keyOf(pool: InsightSource): number {
    let key = this.#keys.get(pool)
    if (key === undefined) {
      key = pool.look().poolId
      this.#keys.set(pool, key)
    }
    return key
  }

  #listen(): () => void {
    const tracing = tracingChannel(TRACING_CHANNELS.acquire)
    const listeners: (readonly [string, Listener])[] = [
      this.#on<AcquireEvent>(CHANNELS.acquire, (recording, { waitMs }) => recording.waits.add(waitMs)),
      this.#on<ReleaseEvent>(CHANNELS.release, (recording, { connection, heldMs, poolId }) => {
        this.#holders.released(poolId, connection)
        recording.released(connection, heldMs, performance.now())
      }),
      this.#on<OpenErrorEvent>(CHANNELS.openError, (recording, { error }) =>
        recording.connectFailed(error, Date.now()),
      ),
      this.#on<LeakEvent>(CHANNELS.leak, (recording, { connection, heldMs, stack }) =>
        recording.leaked({ at: Date.now(), connection, heldMs, stack }),
      ),
      this.#on<FleetEvent>(FLEET, (recording, { fleet, budget, members }) =>
        recording.heardOfFleet({
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
    for (const [channel, listener] of listeners) subscribe(channel, listener)
    return () => {
      for (const [channel, listener] of listeners) unsubscribe(channel, listener)
    }
  }

  #on<E extends PoolEvent>(
    channel: string,
    note: (recording: Recording, event: E) => void,
  ): readonly [string, Listener] {
    return [
      channel,
      (message) => {
        const event = message as E
        const recording = this.#recordings.get(event.poolId)
        if (recording !== undefined) note(recording, event)
      },
    ]
  }
}

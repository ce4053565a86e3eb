import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import {
  type AcquireEvent,
  CHANNELS,
  type CloseEvent,
  type LeakEvent,
  type OpenErrorEvent,
  type OpenEvent,
  type Pool,
  type ReleaseEvent,
} from '../index.ts'
import { type Diagnosis, type Hello, KEEP_MS, type PoolCard, TICK_MS, type Tick } from './protocol.ts'
import { Recording } from './recording.ts'

/** Listens to the channels of pools and remembers what the page shows. */
export class Recorder {
  readonly #pools: () => Iterable<Pool<unknown>>
  readonly #diagnose: (pool: Pool<unknown>) => Diagnosis
  readonly #recordings = new Map<Pool<unknown>, { readonly key: number; readonly recording: Recording }>()
  readonly #byName = new Map<string, Recording>()
  readonly #subscriptions: (readonly [string, (message: unknown) => void])[]
  readonly #timer: NodeJS.Timeout
  #lastKey = 0

  constructor(
    pools: () => Iterable<Pool<unknown>>,
    diagnose: (pool: Pool<unknown>) => Diagnosis,
    onTick: (tick: Tick) => void,
  ) {
    this.#pools = pools
    this.#diagnose = diagnose
    this.#findPools()
    this.#subscriptions = this.#listeners()
    for (const [channel, listener] of this.#subscriptions) subscribe(channel, listener)
    this.#timer = setInterval(() => onTick(this.#tick()), TICK_MS)
    this.#timer.unref()
  }

  /** All that is remembered. */
  hello(): Hello {
    const pools = Array.from(this.#recordings.values(), ({ key, recording }) => ({
      key,
      card: recording.card(),
      frames: recording.history(),
    }))
    return { tickMs: TICK_MS, keepMs: KEEP_MS, pools }
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const [channel, listener] of this.#subscriptions) unsubscribe(channel, listener)
  }

  #tick(): Tick {
    this.#findPools()
    const [now, at] = [performance.now(), Date.now()]
    const pools = Array.from(this.#recordings.values(), ({ key, recording }) => {
      const frame = recording.tick(now, at, this.#diagnose)
      const card: PoolCard | undefined = recording.changedCard()
      return card === undefined ? { key, frame } : { key, card, frame }
    })
    return { pools }
  }

  #findPools(): void {
    const present = new Set(this.#pools())
    for (const pool of present) {
      if (this.#recordings.has(pool)) continue
      const recording = new Recording(pool, performance.now())
      this.#recordings.set(pool, { key: ++this.#lastKey, recording })
      this.#byName.set(pool.options.name, recording)
    }
    for (const pool of this.#recordings.keys()) {
      if (present.has(pool)) continue
      this.#recordings.delete(pool)
      this.#byName.delete(pool.options.name)
    }
  }

  #listeners(): (readonly [string, (message: unknown) => void])[] {
    const on = <E extends { readonly pool: string }>(
      channel: string,
      note: (recording: Recording, event: E, now: number) => void,
    ): readonly [string, (message: unknown) => void] => [
      channel,
      (message) => {
        const event = message as E
        const recording = this.#byName.get(event.pool)
        if (recording !== undefined) note(recording, event, performance.now())
      },
    ]
    return [
      on<AcquireEvent>(CHANNELS.acquire, ({ lanes, waits }, { connection, waitMs }, now) => {
        waits.add(waitMs)
        lanes.acquired(connection, now, undefined)
      }),
      on<ReleaseEvent>(CHANNELS.release, ({ lanes, tickStartedAt }, { connection }, now) =>
        lanes.released(connection, now, tickStartedAt),
      ),
      on<OpenEvent>(CHANNELS.open, ({ lanes }, { connection }, now) => void lanes.opened(connection, now)),
      on<CloseEvent>(CHANNELS.close, ({ lanes }, { connection }, now) => lanes.closing(connection, now)),
      on<OpenErrorEvent>(CHANNELS.openError, (recording, { error }) =>
        recording.connectFailed(error, Date.now()),
      ),
      on<LeakEvent>(CHANNELS.leak, (recording, { connection, heldMs, stack }) =>
        recording.leaked({ at: Date.now(), connection, heldMs, stack }),
      ),
    ]
  }
}

import {
  joinFleet,
  type BeatAnswer,
  type Beat,
  type FleetStore,
  type Membership,
} from '../../src/fleet/index.ts'
import type { Clock, Pool, TimerHandle } from '../../src/index.ts'
import type { Random } from '../simulation/random.ts'
import type { VirtualClock } from '../../src/testing/index.ts'

/** What the processes of one simulated fleet have in common. */
export interface FleetWorld {
  readonly clock: VirtualClock
  readonly store: FleetStore
  readonly random: Random
  readonly budget: number
  readonly leaseMs: number
  /** From 0 to 1: how much of what is sent, or answered, is lost, and how much comes late. */
  loss: number
  /** Called after each thing that happened. */
  look(): void
}

/** A process with a pool that is only counted: connections open at once, work holds them for a while, what is idle closes at once. */
export class FakeProcess {
  readonly floor: number
  readonly weight: number
  /** Connections that are open. */
  open: number = 0
  /** What its callers would use. */
  want: number = 0
  /** When the store forgets what it has beyond its floor. */
  expiresAt: number = -Infinity
  /** Since its lease ended it has not yet closed what it had beyond its floor. */
  isOver: boolean = false
  isCutOff: boolean = false
  isCrashed: boolean = false
  membership: Membership | undefined
  /** Set once joining has failed. */
  failure: unknown
  readonly #world: FleetWorld
  #maxSize = 100
  #minIdle = 0
  #inUse = 0
  // Of the last beat that the store took.
  #sequence = 0
  #paused: (() => void)[] | undefined
  #resized: (() => void)[] = []

  constructor(world: FleetWorld, name: string, floor: number, weight: number) {
    this.#world = world
    this.floor = floor
    this.weight = weight
    const { clock, budget, leaseMs } = world
    const own: Clock = {
      now: () => clock.now(),
      random: () => world.random.next(),
      setTimeout: (callback, delayMs) => clock.setTimeout(() => this.#whenAwake(callback), delayMs),
      clearTimeout: (handle: TimerHandle) => clock.clearTimeout(handle as never),
    }
    const pool = {
      options: { name, clock: own },
      look: () => ({ poolId: 0 }),
      state: () => ({
        closed: false,
        connections: this.open,
        opening: 0,
        closing: 0,
        minIdle: this.#minIdle,
        inUse: this.#inUse,
        waiting: Math.max(0, this.want - this.#inUse),
      }),
      resize: (sizes: { maxSize?: number; minIdle?: number }) => this.#resize(sizes),
    } as unknown as Pool<unknown>
    const store: FleetStore = { beat: (fleet, beat) => this.#send(fleet, beat), leave: async () => {} }
    joinFleet(pool, { store, budget, leaseMs, floor, weight }).then(
      (membership) => {
        this.membership = membership
        this.work(this.want)
      },
      (error: unknown) => (this.failure = error),
    )
  }

  /** Connections that the budget must have room for: a process that was forgotten may still have more than that. */
  get counted(): number {
    if (this.isCrashed) return 0
    if (this.#world.clock.now() >= this.expiresAt) this.isOver = this.open > this.floor
    return this.isOver ? Math.min(this.open, this.floor) : this.open
  }

  /** From now on its callers could use so many connections. */
  work(want: number): void {
    this.want = want
    if (this.isCrashed || this.#paused !== undefined || this.membership === undefined) return
    const goal = Math.min(want, this.#maxSize)
    if (goal > this.#inUse) {
      this.#inUse = goal
      this.open = Math.max(this.open, goal)
    }
    this.#world.look()
    // What is in use comes back later, one after the other.
    if (goal < this.#inUse) this.#after(this.#world.random.whole(1, 400), () => this.#giveBack())
  }

  /** Stops it as SIGSTOP does: nothing happens in it, and what it has stays open. */
  pause(): void {
    this.#paused ??= []
  }

  wake(): void {
    const missed = this.#paused ?? []
    this.#paused = undefined
    if (!this.isCrashed) for (const callback of missed) callback()
    this.work(this.want)
  }

  /** Ends it as SIGKILL does. */
  crash(): void {
    this.isCrashed = true
    this.open = 0
    this.#world.look()
  }

  #giveBack(): void {
    if (this.#inUse > Math.min(this.want, this.#maxSize)) this.#inUse--
    this.#close()
    this.work(this.want)
  }

  async #resize({ maxSize = this.#maxSize, minIdle = this.#minIdle }): Promise<void> {
    this.#maxSize = maxSize
    this.#minIdle = minIdle
    for (const done of this.#resized.splice(0)) done()
    this.#close()
    this.work(this.want)
    if (this.open > this.#maxSize) await new Promise<void>((resolve) => this.#resized.push(resolve))
  }

  #close(): void {
    this.open = Math.min(this.open, Math.max(this.#inUse, this.#maxSize))
    if (this.open > this.#maxSize) return
    if (this.open <= this.floor) this.isOver = false
    for (const done of this.#resized.splice(0)) done()
  }

  async #send(fleet: string, beat: Beat): Promise<BeatAnswer> {
    const { random, clock, store, loss, leaseMs } = this.#world
    if (this.isCutOff || random.chance(loss)) await this.#never()
    await this.#delay(random.chance(loss) ? random.whole(0, leaseMs) : random.whole(0, 20))
    const answer = await store.beat(fleet, beat)
    // One that a later one overtook does not make the lease longer.
    if (answer.refused === undefined && beat.sequence > this.#sequence) {
      this.#sequence = beat.sequence
      this.expiresAt = clock.now() + leaseMs
    }
    this.#world.look()
    if (random.chance(loss)) await this.#never()
    await this.#delay(random.whole(0, 20))
    return await new Promise((resolve) => this.#whenAwake(() => resolve(answer)))
  }

  #never(): Promise<never> {
    return new Promise(() => {})
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#world.clock.setTimeout(resolve, ms)
    })
  }

  #after(ms: number, then: () => void): void {
    this.#world.clock.setTimeout(() => this.#whenAwake(then), ms)
  }

  #whenAwake(callback: () => void): void {
    if (this.isCrashed) return
    if (this.#paused === undefined) callback()
    else this.#paused.push(callback)
  }
}

import { type Channel, channel } from 'node:diagnostics_channel'

import { Alarm } from '../core/runtime/alarm.ts'
import type { Clock } from '../core/contract/clock.ts'
import type { PoolState } from '../core/contract/state.ts'
import { allocate, type Claimant } from './allocate.ts'
import { Demand } from './demand.ts'
import { FleetError, refusal } from './fleet-error.ts'
import { FLEET_CHANNEL, type FleetEvent, type FleetMember } from './fleet-event.ts'
import type { ResolvedFleetOptions } from './options.ts'
import { type Beat, PROTOCOL } from './roster.ts'

// Two beats may fail before a lease is in danger.
const BEATS_PER_LEASE = 5
const SAMPLES_PER_BEAT = 5
// After this part of its lease without an answer a member shrinks to its floor, so that it has shrunk when its lease ends at the store.
const USABLE_PART_OF_LEASE = 0.8
// A lost roster is closed for one lease, the floor of a killed member is free after two, and giving way takes some time.
const JOIN_LEASES = 3

/** The pools that are members. Two memberships of one pool would undo each other's work. */
export const joined: WeakSet<object> = new WeakSet()

const beats: Channel = channel(FLEET_CHANNEL)

/** The parts of a pool that a membership uses. */
export interface FleetPool {
  state(): Pick<
    PoolState,
    'connections' | 'inUse' | 'opening' | 'closing' | 'waiting' | 'maxSize' | 'minIdle' | 'closed'
  >
  resize(sizes: { readonly maxSize: number; readonly minIdle: number }): Promise<void>
  look(): { readonly poolId: number }
  readonly options: { readonly name: string; readonly clock: Clock }
}

/** A pool's place in its fleet. Its timers keep no process alive. */
export class Membership implements AsyncDisposable {
  /** The name of this member: its pool's, and a random part. */
  readonly id: string
  readonly #pool: FleetPool
  // The pool or group that joined.
  readonly #member: object
  readonly #options: ResolvedFleetOptions
  readonly #clock: Clock
  readonly #beatMs: number
  #minIdle: number
  readonly #demand: Demand = new Demand()
  readonly #alarm: Alarm
  #members: readonly Claimant[] = []
  // The maxSize of the pool, and the number that the store keeps for it.
  #share: number
  #claim = 0
  #resizes = 0
  #sequence = 0
  #deadline = -Infinity
  #nextBeatAt = 0
  // Interval of beats that cannot wait for the regular one.
  #soonestBeatAt = 0
  #lastBeatMs = 0
  // In a large fleet this is the largest cost of a beat.
  #lastTarget: { members: readonly Claimant[]; demand: number; claim: number; target: number } | undefined
  #isBeating = false
  #lastBeat: Promise<unknown> = Promise.resolve()
  #isJoined = false
  #isStopped = false

  /** Use `joinFleet`. */
  constructor(pool: FleetPool, options: ResolvedFleetOptions, member: object = pool) {
    this.#pool = pool
    this.#member = member
    this.#options = options
    this.#clock = pool.options.clock
    this.#beatMs = options.leaseMs / BEATS_PER_LEASE
    this.#minIdle = pool.state().minIdle
    this.#share = options.floor
    this.id = `${pool.options.name}-${globalThis.crypto.randomUUID().slice(0, 8)}`
    this.#alarm = new Alarm(this.#clock, false, () => this.#tick())
  }

  /** Connections that this member may have now: its pool's `maxSize`. */
  get share(): number {
    return this.#share
  }

  /** Whether the store answered within the lease. If not, the member continues with its floor. */
  get isConnected(): boolean {
    return this.#clock.now() < this.#deadline
  }

  /** All members, as of the last beat. */
  members(): readonly FleetMember[] {
    return this.#members.map((member) => ({ ...member, isSelf: member.id === this.id }))
  }

  /** Waits for a place. Use `joinFleet`. */
  async join(): Promise<void> {
    const { floor, leaseMs, fleet } = this.#options
    await this.#resize(floor)
    const until = this.#clock.now() + JOIN_LEASES * leaseMs
    let failure: unknown
    while (this.#clock.now() < until) {
      failure = await this.#beat()
      // Floors of members that leave or died become free.
      if (failure instanceof FleetError && failure.code !== 'FLEET_FLOORS') throw failure
      if (this.#claim >= floor) {
        this.#isJoined = true
        this.#alarm.set(this.#clock.now() + this.#beatMs / SAMPLES_PER_BEAT)
        return
      }
      if (this.#pool.state().closed)
        throw new FleetError('FLEET_LEFT', `a closed pool cannot join the fleet '${fleet}'`)
      // A store that many members join concurrently gets fewer beats.
      await this.#pause(Math.max(this.#beatMs / 4, 2 * this.#lastBeatMs * this.#jitter()))
    }
    await this.#leaveStore()
    if (failure instanceof FleetError) throw failure
    if (failure !== undefined) {
      const message = `the store of the fleet '${fleet}' did not answer for ${JOIN_LEASES * leaseMs} ms. Check that it is reachable`
      throw new FleetError('FLEET_STORE', message, { cause: failure })
    }
    throw new FleetError(
      'FLEET_NO_ROOM',
      `no member of the fleet '${fleet}' gave up ${floor} connections (floor) in ${JOIN_LEASES * leaseMs} ms. Look for leases that are held for so long`,
    )
  }

  /**
   * Gives the share back for the others. Its pool is left with `maxSize` at its floor and no fleet that counts it: close it before, or
   * right after. Happens by itself once the pool is closed. Does not reject; the second call does nothing.
   */
  async leave(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#alarm.stop()
    // A beat that arrives after the leave would add the member again.
    await this.#lastBeat
    const until = this.#clock.now() + this.#options.leaseMs
    if (this.#pool.state().closed) {
      while (this.#open() > 0 && this.#clock.now() < until) await this.#pause(this.#beatMs / SAMPLES_PER_BEAT)
    } else {
      await Promise.race([this.#resize(this.#options.floor), this.#pause(this.#options.leaseMs)])
    }
    await this.#leaveStore()
  }

  /** Same as `leave()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave()
  }

  #tick(): void {
    if (this.#isStopped) return
    const now = this.#clock.now()
    // First, because a process that stood still for longer than its lease holds too many connections.
    if (now >= this.#deadline) this.#fallBack()
    const state = this.#pool.state()
    if (state.closed && this.#open() === 0) return void this.leave()
    if (!state.closed) this.#correct(state)
    this.#demand.sample(state)
    const isDue = now >= this.#nextBeatAt || (now >= this.#soonestBeatAt && this.#canMove())
    if (isDue && !this.#isBeating) this.#lastBeat = this.#beat()
    this.#alarm.set(now + this.#beatMs / SAMPLES_PER_BEAT)
  }

  // Undoes a resize of the pool by the program. A change of minIdle stays, within the share.
  #correct({ maxSize, minIdle }: Pick<PoolState, 'maxSize' | 'minIdle'>): void {
    if (minIdle !== Math.min(this.#minIdle, this.#share)) this.#minIdle = minIdle
    if (maxSize !== this.#share) void this.#apply(this.#share)
  }

  #open(): number {
    const { connections, opening, closing } = this.#pool.state()
    return connections + opening + closing
  }

  // Maximum that may be open now: more than the share while callers hold a surplus.
  #held(): number {
    return Math.max(this.#share, this.#open())
  }

  // One beat. Returns what it failed with.
  async #beat(): Promise<unknown> {
    const { store, fleet } = this.#options
    this.#isBeating = true
    const beganAt = this.#clock.now()
    this.#soonestBeatAt = beganAt + this.#beatMs / 4
    try {
      const beat = this.#prepare()
      // A beat that failed may have been applied: its answer is lost.
      this.#claim = Math.min(this.#claim, Math.max(beat.held, beat.wanted))
      const answer = await this.#bounded((signal) => store.beat(fleet, beat, signal))
      if (answer.refused !== undefined) throw refusal(answer, this.#options)
      // The content of a beat counts even if its lease ended on the way and other members were given the connections.
      const certain = answer.fits ? answer.share : Math.min(answer.share, this.#share)
      this.#deadline = beganAt + this.#options.leaseMs * USABLE_PART_OF_LEASE
      this.#heed(certain, answer.members)
      return undefined
    } catch (error) {
      this.#beatIn(this.#beatMs)
      this.#report(error)
      return error
    } finally {
      this.#isBeating = false
      this.#lastBeatMs = this.#clock.now() - beganAt
      // A busy store gets fewer beats: its queue would only grow.
      if (this.#lastBeatMs > this.#beatMs / 4) {
        this.#soonestBeatAt = this.#clock.now() + this.#lastBeatMs
        this.#nextBeatAt = Math.max(this.#nextBeatAt, this.#clock.now() + this.#lastBeatMs * this.#jitter())
      }
    }
  }

  #report(error: unknown): void {
    try {
      this.#options.onError(error)
    } catch {
      // A failure of onError itself cannot be reported.
    }
  }

  #prepare(): Beat {
    const { budget, floor, weight, leaseMs } = this.#options
    const demand = this.#demand.upTo(budget)
    const wanted = this.#target(demand)
    if (wanted < this.#share) void this.#resize(wanted)
    const held = this.#isJoined ? this.#held() : 0
    const sequence = ++this.#sequence
    return { protocol: PROTOCOL, id: this.id, sequence, budget, leaseMs, floor, weight, demand, held, wanted }
  }

  // Returns whether this member can return connections to a member that is short, or get some from one with a surplus.
  #canMove(): boolean {
    const others = this.#members.filter(({ id, isAbsent }) => id !== this.id && !isAbsent)
    const demand = this.#demand.upTo(this.#options.budget)
    const need = (each: Claimant): number => Math.max(each.demand, each.floor)
    const isOneShort = others.some((each) => need(each) > each.share)
    // The store has no record yet of the surplus that callers released.
    if (this.#claim > this.#held()) return isOneShort
    if (demand > this.#share) return others.some((each) => each.share > need(each))
    return this.#share > Math.max(demand, this.#options.floor) && isOneShort
  }

  // The share of this member by the last known demand of the others.
  #target(demand: number): number {
    const { budget, floor } = this.#options
    const own = this.#members.find(({ id }) => id === this.id)
    if (own === undefined || this.#clock.now() >= this.#deadline) return floor
    const last = this.#lastTarget
    if (last?.members === this.#members && last.demand === demand && last.claim === this.#claim)
      return last.target
    const present = this.#members.map((member) =>
      member === own ? { ...own, demand, share: this.#claim, isAbsent: false } : member,
    )
    const target = allocate(budget, present).get(this.id) ?? floor
    this.#lastTarget = { members: this.#members, demand, claim: this.#claim, target }
    return target
  }

  #heed(share: number, members: readonly Claimant[]): void {
    this.#claim = share
    this.#members = members
    if (beats.hasSubscribers) this.#publish()
    const own = members.find(({ id }) => id === this.id)
    const target = this.#target(own?.demand ?? 0)
    if (this.#isStopped || share < this.#options.floor) return this.#beatIn(this.#beatMs / 4)
    void this.#resize(Math.min(share, target))
    const isFree = members.reduce((sum, each) => sum + each.share, 0) < this.#options.budget
    // Free and returnable connections do not wait for the next beat.
    const isSoon = target < share ? this.#held() < share : target > share && isFree
    this.#beatIn(isSoon ? this.#beatMs / 4 : this.#beatMs)
  }

  #publish(): void {
    const { fleet, budget } = this.#options
    const { name } = this.#pool.options
    const event = { pool: name, poolId: this.#pool.look().poolId, fleet, budget, members: this.members() }
    beats.publish(event satisfies FleetEvent)
  }

  // The lease is over, or nearly: the store keeps only the floor for this member.
  #fallBack(): void {
    if (this.#share > this.#options.floor) void this.#resize(this.#options.floor)
    else this.#claim = Math.min(this.#claim, this.#held())
  }

  // Resolves once the surplus is closed.
  async #resize(share: number): Promise<void> {
    if (share === this.#share && this.#held() === share && this.#resizes > 0) return
    await this.#apply(share)
  }

  async #apply(share: number): Promise<void> {
    const resize = ++this.#resizes
    this.#share = share
    const hasSurplus = this.#open() > share
    try {
      await this.#pool.resize({ maxSize: share, minIdle: Math.min(this.#minIdle, share) })
    } catch {
      // Closed: it opens nothing more.
    }
    if (resize !== this.#resizes || !hasSurplus) return
    // A member that is short waits for this beat.
    this.#nextBeatAt = this.#clock.now()
    if (this.#isJoined && !this.#isStopped) this.#alarm.set(this.#clock.now())
  }

  #beatIn(delayMs: number): void {
    // Members that began together, or lost their store together, do not come together forever.
    this.#nextBeatAt = this.#clock.now() + delayMs * this.#jitter()
  }

  #jitter(): number {
    return 0.9 + 0.2 * (this.#clock.random?.() ?? Math.random())
  }

  async #leaveStore(): Promise<void> {
    const { store, fleet } = this.#options
    joined.delete(this.#member)
    try {
      await this.#bounded(() => store.leave(fleet, this.id))
    } catch (error) {
      // The lease ends by itself.
      this.#report(error)
    }
  }

  // A store that does not answer costs one beat. The signal ends what has not been sent by then.
  #bounded<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController()
    return new Promise((resolve, reject) => {
      const late = (): void => {
        const error = new Error(`the store did not answer in ${this.#beatMs} ms`)
        reject(error)
        controller.abort(error)
      }
      const timer = this.#clock.setTimeout(late, this.#beatMs)
      timer.unref?.()
      const end = (): void => this.#clock.clearTimeout(timer)
      call(controller.signal).then(resolve, reject).finally(end)
    })
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.setTimeout(resolve, ms)
    })
  }
}

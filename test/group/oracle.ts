import type { PoolGroup } from '../../src/group/index.ts'
import type { PoolState } from '../../src/index.ts'
import type { SimClock } from '../simulation/sim-clock.ts'
import type { Plan } from './plan.ts'
import { BACKOFF, type Connection, type Servers } from './server.ts'

interface Entry {
  readonly key: string
  readonly sequence: number
  readonly version: number
}

interface Want {
  readonly key: string
  held: number
  lacking: number
  readonly neverConnected: boolean
}

const BACKOFF_KEPT_MS = 2 * BACKOFF.maxMs

type Way = 'release' | 'breaks' | 'destroy' | 'detach'

/** Compares a group with its rules, from what it shows and from what its servers see. */
export class Oracle {
  readonly #plan: Plan
  readonly #clock: SimClock
  readonly #group: PoolGroup<Connection>
  readonly #servers: Servers
  readonly #bad: (rule: string) => void
  readonly #pending = new Map<string, Set<Entry>>()
  readonly #lastServed = new Map<string, number>()
  // Since when a key has wanted its first place, with the bound of that wait.
  readonly #since = new Map<string, { readonly at: number; readonly boundMs: number }>()
  // Attempts and loads under way when a key was cleared or removed.
  #before: AbortSignal[] = []
  #sequence = 0
  #taken = 0
  // Callers that waited for a load that failed.
  #loadFailed: Entry[] = []
  #hasRemoved = false
  #expected: boolean | undefined = undefined

  constructor(
    plan: Plan,
    clock: SimClock,
    group: PoolGroup<Connection>,
    servers: Servers,
    bad: (rule: string) => void,
  ) {
    this.#plan = plan
    this.#clock = clock
    this.#group = group
    this.#servers = servers
    this.#bad = bad
    servers.onConnect = (key) => this.#connects(key)
    servers.onLoadFailed = (key) => this.#loadFailed.push(...(this.#pending.get(key) ?? []))
    servers.onClose = (connection) => this.#closes(connection)
  }

  arrived(key: string): Entry {
    const entry = { key, sequence: ++this.#sequence, version: this.#servers.of(key).version }
    const entries = this.#pending.get(key) ?? new Set()
    this.#pending.set(key, entries.add(entry))
    return entry
  }

  left(entry: Entry, isServed: boolean): void {
    this.#pending.get(entry.key)?.delete(entry)
    if (isServed)
      this.#lastServed.set(entry.key, Math.max(entry.sequence, this.#lastServed.get(entry.key) ?? 0))
  }

  served(key: string, connection: Connection, version: number): void {
    if (connection.key !== key) this.#bad(`G2: key ${key} got a connection of key ${connection.key}`)
    if (!connection.isOpen) this.#bad(`key ${key} got a closed connection`)
    if (connection.version < version) this.#bad(`G10: a caller after clear got a connection from before it`)
  }

  beforeReturn(key: string, connection: Connection, way: Way): void {
    const model = this.#servers.of(key)
    if (way === 'breaks') {
      connection.isBroken = true
      if (connection.served === 0) this.#servers.failed(model)
    }
    if (way === 'detach' && connection.isOpen) {
      connection.isLoose = true
      this.#servers.count(key, -1)
    }
    this.#expected = way === 'release' && connection.isOpen ? this.#isClaimed(key, connection) : undefined
    if (way === 'release' || way === 'breaks') connection.served++
    // A connection that serves after the failure ends the backoff within the call.
    if (way === 'release' && connection.openedAt > model.failedAt) this.#servers.recovered(model)
  }

  afterReturn(key: string, connection: Connection, way: Way): void {
    if (way === 'detach') return
    const expected = this.#expected
    const model = this.#servers.of(key)
    const isProof = way === 'release' && connection.openedAt > model.failedAt
    if (isProof && (connection.isOpen || expected === true)) model.isSuspect = false
    if (expected !== undefined && expected === connection.isOpen)
      this.#bad(`G4: a returned connection of key ${key} was ${connection.isOpen ? 'kept' : 'closed'}`)
  }

  changed(what: string, key: string): void {
    this.#before = []
    for (const [each, model] of this.#servers.keys) {
      if (each !== key && what !== 'clearAll') continue
      if (what === 'resize') continue
      this.#before.push(...model.attempts, ...model.loads)
      model.version++
      model.isLoaded = false
      model.isKnown = false
      model.failedAt = -Infinity
      this.#servers.recovered(model)
      model.isFailing = false
      model.isSuspect = true
    }
    if (what === 'remove') this.#hasRemoved = true
  }

  afterChange(): void {
    if (this.#before.some(({ aborted }) => !aborted)) this.#bad('G10: an attempt or a load goes on')
  }

  /** All that is due has run. */
  settled(): void {
    const state = this.#group.state()
    const { statistics, taken, free, total } = state
    const keys = this.#group.keys()
    for (const [key, model] of this.#servers.keys) {
      if (keys.includes(key)) continue
      // Created anew by its next caller.
      model.isLoaded = false
    }
    for (const entry of this.#loadFailed)
      if (this.#pending.get(entry.key)?.has(entry) === true)
        this.#bad(`G12: a caller of key ${entry.key} waits on`)
    this.#loadFailed = []
    if (this.#clock.timers > 1) this.#bad(`${this.#clock.timers} timers`)
    if (total !== this.#servers.total) this.#bad('the total is another')
    if (taken > Math.max(total, this.#taken))
      this.#bad(`G1: ${taken} places of ${total}, ${this.#taken} before`)
    this.#taken = taken
    if (free !== Math.max(0, total - taken)) this.#bad('taken + free is not total')
    const states = keys.map((key) => this.#stateOf(key))
    const sum = (of: (state: PoolState) => number): number => states.reduce((all, each) => all + of(each), 0)
    // The closes of a removed key may go on when it is gone.
    const places = sum(placesOf)
    if (places > taken || (places < taken && !this.#hasRemoved))
      this.#bad(`${places} places by key, ${taken} taken`)
    const { started, direct, waited, timedOut, aborted, refused, pending } = statistics.acquires
    if (started !== direct + waited + timedOut + aborted + refused + pending)
      this.#bad('acquires do not conserve')
    const closed = Object.values(statistics.closed).reduce((all, count) => all + count, 0)
    const open = sum(({ connections }) => connections)
    if (statistics.connects.opened + statistics.added !== open + statistics.detached + closed)
      this.#bad('connections do not conserve')
    for (const [key, entries] of this.#pending) {
      const last = this.#lastServed.get(key) ?? 0
      for (const { sequence } of entries)
        if (sequence < last) this.#bad(`a caller of key ${key} was overtaken`)
    }
    for (const key of keys) {
      const { connections, opening, closing, maxSize } = this.#stateOf(key)
      if (connections + opening + closing > maxSize && !this.#plan.hasChanges)
        this.#bad(`G1: key ${key} beyond perKey`)
    }
    if (this.#plan.maxKeys < Infinity) {
      const active = states.filter(({ waiting, inUse }) => waiting > 0 || inUse > 0).length
      if (active > this.#plan.maxKeys) this.#bad(`${active} active keys of ${this.#plan.maxKeys}`)
    }
    if (taken <= total) this.#places(keys, free)
    this.#bounds(keys)
  }

  /** No caller is left, and much time has passed. */
  ended(): void {
    const { taken, wantingKeys, keys, waiting } = this.#group.state()
    if (taken + wantingKeys + keys + waiting > 0)
      this.#bad(`G11: left behind ${JSON.stringify(this.#group.state())}`)
    if (this.#clock.timers > 0) this.#bad('G11: a timer is left')
    if (this.#servers.live !== 0) this.#bad(`${this.#servers.live} connections are left at the servers`)
    if (this.#servers.connections.some(({ isOpen, isLoose }) => isOpen && !isLoose))
      this.#bad('a connection was never closed')
  }

  // Free places are given, and idle connections are taken, immediately.
  #places(keys: readonly string[], free: number): void {
    const wants = this.#wants(keys)
    const usable = this.#usable(wants)
    if (free > 0 && usable > 0) this.#bad(`G4: a place is free, and ${JSON.stringify(wants)} want one`)
    const { closing } = this.#group.state()
    const isResting = keys.some((key) => {
      const { idle, waiting } = this.#stateOf(key)
      return idle > 0 && waiting === 0
    })
    if (isResting && closing + free < usable)
      this.#bad(`G3: ${closing} are closing for ${usable} that are wanted`)
  }

  #bounds(keys: readonly string[]): void {
    const { hasChanges, isRough, manners, turnMs, holdMs, closeMs, connectMs, hasBadLoads, maxKeys } =
      this.#plan
    if (
      hasChanges ||
      isRough ||
      hasBadLoads ||
      maxKeys < Infinity ||
      [...manners.values()].some((manner) => manner !== 'well')
    )
      return
    const now = this.#clock.now()
    const without = this.#wants(keys).filter(({ held }) => held === 0)
    const names = new Set(without.map(({ key }) => key))
    for (const key of this.#since.keys()) if (!names.has(key)) this.#since.delete(key)
    const before = this.#since.size
    for (const { key, neverConnected } of without) {
      const known = this.#since.get(key)
      if (known !== undefined) {
        if (now > known.at + known.boundMs)
          this.#bad(`G5: key ${key} has waited ${now - known.at} ms, at most ${known.boundMs}`)
        continue
      }
      const { total } = this.#servers
      const places = neverConnected ? Math.max(1, Math.floor(total / 2)) : total
      const rounds = Math.ceil((Math.max(before, without.length - 1) + 1) / places)
      this.#since.set(key, { at: now, boundMs: rounds * (turnMs + holdMs + closeMs + connectMs) })
    }
  }

  #connects(key: string): void {
    const { total, failingShare } = this.#plan
    const model = this.#servers.of(key)
    const state = this.#group.state(key)
    if (state === undefined) return this.#bad(`key ${key} connects, and is not there`)
    if (this.#plan.hasChanges) return
    if (state.waiting === 0) this.#bad(`G8: key ${key} connects without callers`)
    const attemptsOf = (is: (key: string) => boolean): number =>
      [...this.#servers.keys].reduce((sum, [each, { attempts }]) => sum + (is(each) ? attempts.size : 0), 0)
    // A key that was forgotten is failing for as long as its backoff is kept.
    const isFailing = (each: string): boolean => {
      const other = this.#servers.of(each)
      return other.isFailing && this.#clock.now() - other.failedAt < BACKOFF_KEPT_MS
    }
    const failing = attemptsOf(isFailing)
    if (isFailing(key) && failing >= Math.max(1, Math.floor(total * failingShare)))
      this.#bad(`G9: ${failing + 1} attempts of failing keys`)
    const never = attemptsOf((each) => !this.#hasConnected(each))
    if (!this.#hasConnected(key) && never >= Math.max(1, Math.floor(total / 2)))
      this.#bad(`${never + 1} attempts of keys that never connected`)
    const waitMs = this.#clock.now() - model.backoffSince
    if (waitMs < BACKOFF.minMs && this.#plan.manners.get(key) !== 'fatal')
      this.#bad(`G9: key ${key} connects ${waitMs} ms after it failed`)
  }

  #closes(connection: Connection): void {
    const { key, served, isBroken } = connection
    if (served > 0 || isBroken || this.#plan.hasChanges || this.#plan.isRough) return
    const state = this.#group.state(key)
    if (state !== undefined && state.waiting > 0)
      this.#bad(`G6: key ${key} loses a connection that served nobody`)
  }

  // Whether a returned connection is closed for another key; undefined: the model does not tell.
  #isClaimed(key: string, connection: Connection): boolean | undefined {
    const state = this.#group.state()
    const keys = this.#group.keys()
    if (connection.version !== this.#servers.of(key).version || state.taken > state.total) return undefined
    if (this.#group.state(key)?.closed !== false || connection.isBroken) return undefined
    // Keys that fail are limited in ways that the model does not follow.
    if (keys.some((each) => this.#servers.of(each).isSuspect && this.#stateOf(each).waiting > 0))
      return undefined
    if (this.#plan.hasChanges && this.#group.state(key)!.maxSize < placesOf(this.#stateOf(key)))
      return undefined
    const wants = this.#wants(keys)
    const never = wants.reduce((sum, want) => sum + (want.neverConnected ? want.lacking : 0), 0)
    if (never > this.#neverAllowance()) return undefined
    const { waiting } = this.#stateOf(key)
    const a = placesOf(this.#stateOf(key))
    for (let provided = state.closing + state.free; provided > 0; provided--) {
      const next = first(wants)
      if (next === undefined) return false
      next.held++
      next.lacking--
    }
    const w = first(wants)
    if (w === undefined || w.key === key) return false
    if (waiting === 0) return true
    const isTurnOver = this.#clock.now() - connection.openedAt >= this.#plan.turnMs
    return a >= w.held + 2 || (w.held === 0 && a === 1 && isTurnOver)
  }

  #wants(keys: readonly string[]): Want[] {
    return keys.flatMap((key) => {
      const { isSuspect, isLoaded } = this.#servers.of(key)
      const { waiting, opening, connections, maxSize, closed } = this.#stateOf(key)
      const held = placesOf(this.#stateOf(key))
      const lacking = Math.min(waiting - opening, maxSize - held, Math.max(10, connections) - opening)
      if (isSuspect || !isLoaded || closed || lacking <= 0) return []
      return [{ key, held, lacking, neverConnected: !this.#hasConnected(key) }]
    })
  }

  #usable(wants: readonly Want[]): number {
    const sum = (neverConnected: boolean): number =>
      wants.reduce((all, want) => all + (want.neverConnected === neverConnected ? want.lacking : 0), 0)
    return sum(false) + Math.min(sum(true), Math.max(0, this.#neverAllowance()))
  }

  #neverAllowance(): number {
    const opening = this.#group
      .keys()
      .reduce((all, key) => all + (this.#hasConnected(key) ? 0 : this.#stateOf(key).opening), 0)
    return Math.max(1, Math.floor(this.#servers.total / 2)) - opening
  }

  // Since the key was created, or before it was forgotten.
  #hasConnected(key: string): boolean {
    return (this.#group.state(key)?.statistics.connects.opened ?? 0) > 0 || this.#servers.of(key).isKnown
  }

  #stateOf(key: string): PoolState {
    return this.#group.state(key) as PoolState
  }
}

function placesOf({ connections, opening, closing }: PoolState): number {
  return connections + opening + closing
}

function first(wants: readonly Want[]): Want | undefined {
  let best: Want | undefined
  for (const want of wants) if (want.lacking > 0 && (best === undefined || want.held < best.held)) best = want
  return best
}

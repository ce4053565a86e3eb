import type { CloseResult } from '../core/close.ts'
import type { ConnectionManager } from '../core/contract/manager.ts'
import type { ResolvedPoolOptions } from '../core/contract/options.ts'
import { wrongValue } from '../core/contract/rules.ts'
import { nextPoolId } from '../core/inspection/live-pools.ts'
import { Alarm } from '../core/runtime/alarm.ts'
import { AsyncMarks } from '../core/runtime/async-marks.ts'
import { Histogram } from '../core/runtime/histogram.ts'
import { type Outcome, PendingCall, UserCalls } from '../core/runtime/user-calls.ts'
import { Allotment } from './allotment.ts'
import { Backoffs } from './backoffs.ts'
import { GroupClock } from './group-clock.ts'
import { KnownKeys } from './known-keys.ts'
import { Member } from './member.ts'
import { type GroupOptions, limitOf, type ResolvedGroupOptions, resolveGroupOptions } from './options.ts'
import type { GroupState, KeyInsight } from './state.ts'
import { Totals } from './statistics.ts'

type Factory<C> = (
  key: string,
  context: { readonly signal: AbortSignal },
) => ConnectionManager<C> | PromiseLike<ConnectionManager<C>>

/** The keys of a group: creates them at the first caller, and forgets them when they have neither connections nor callers. */
export class Roster<C> {
  readonly options: ResolvedGroupOptions<C>
  readonly name: string
  /** A number among those of the pools. */
  readonly id: number = nextPoolId()
  readonly allotment: Allotment<C>
  readonly marks: AsyncMarks = new AsyncMarks()
  readonly allWaits: Histogram = new Histogram()
  readonly touched: ((member: Member<C>) => void) | undefined
  /** Counters of the keys that are gone, and of callers that reached no key. */
  readonly forgotten: Totals = new Totals()

  readonly #factory: Factory<C>
  readonly #calls: UserCalls
  readonly #clock: GroupClock
  readonly #members = new Map<string, Member<C>>()
  // Keys that were removed while a close was still under way.
  readonly #leaving = new Set<Member<C>>()
  // Keys that are to be forgotten, in the order in which their time comes.
  readonly #forgetting = new Map<Member<C>, number>()
  readonly #backoffs: Backoffs<C>
  readonly #known = new KnownKeys()
  readonly #alarm: Alarm
  // Keys with a caller or a lease, and those that may have lost it; kept only with maxKeys.
  readonly #active = new Set<Member<C>>()
  #maybeIdle: Member<C>[] = []
  #perKey: GroupOptions<C>['perKey']
  #resizes = 0

  constructor(factory: Factory<C>, options: GroupOptions<C>) {
    const resolved = resolveGroupOptions(options)
    if (typeof factory !== 'function') throw wrongValue(resolved.name, 'factory', factory, 'a function')
    this.options = resolved
    this.name = resolved.name
    this.#factory = factory
    this.#perKey = resolved.perKey
    this.#clock = new GroupClock(resolved.clock)
    this.#calls = new UserCalls(this.#clock)
    this.#backoffs = new Backoffs(this.#clock, resolved.pool.connectBackoff)
    this.#alarm = new Alarm(this.#calls.clock, false, () => this.#expire())
    const { total, turnMs, failingShare } = resolved
    this.allotment = new Allotment({ total, turnMs, failingShare }, (member) =>
      this.left(member as Member<C>),
    )
    this.touched = resolved.maxKeys === Infinity ? undefined : (member) => void this.#maybeIdle.push(member)
  }

  get(key: string): Member<C> | undefined {
    return this.#members.get(key)
  }

  /** The key, if it takes any caller and need not record one: for the quick way in. */
  ready(key: string): Member<C> | undefined {
    const member = this.#members.get(key)
    const isReady =
      member !== undefined &&
      this.touched === undefined &&
      this.#forgetting.size === 0 &&
      member.limitError === undefined
    return isReady ? member : undefined
  }

  keys(): string[] {
    return [...this.#members.keys()]
  }

  /** Creates a key. Throws PoolOptionsError if perKey returns a wrong value. */
  create(key: string): Member<C> {
    const maxSize = this.#limitOf(key)
    const { pool, maxIdle, name } = this.options
    const options: ResolvedPoolOptions<C> = Object.freeze({
      ...pool,
      name: `${name}/${key}`,
      maxSize,
      maxIdle: maxIdle ?? maxSize,
      clock: this.#clock,
    })
    let member: Member<C> | undefined
    // Connects of the key run in the async context of the group, not in that of the first caller.
    this.#calls.inPoolContext(() => {
      member = new Member<C>(this, key, options)
    })
    const created = member as unknown as Member<C>
    this.#members.set(key, created)
    this.#backoffs.restore(key, created.engine.connector.schedule)
    created.isKnown = this.#known.delete(key)
    return created
  }

  load(
    key: string,
    controller: AbortController,
  ): Outcome<ConnectionManager<C>> | PendingCall<ConnectionManager<C>> {
    const limitMs = this.options.pool.connectTimeoutMs
    return this.#calls.call({ what: `load of key '${key}'`, limitMs, controller }, () =>
      this.#factory(key, { signal: controller.signal }),
    )
  }

  /** maxKeys, if it rejects a caller of this key. */
  refusal(member: Member<C> | undefined): number | undefined {
    const { maxKeys } = this.options
    if (maxKeys === Infinity || member?.isActive === true) return undefined
    for (const touched of this.#maybeIdle) {
      touched.isTouched = false
      if (!touched.isActive) this.#active.delete(touched)
    }
    this.#maybeIdle = []
    return this.#active.size >= maxKeys ? maxKeys : undefined
  }

  /** A caller of the key comes. */
  activate(member: Member<C>): void {
    if (this.touched !== undefined) this.#active.add(member)
    if (this.#forgetting.size > 0) this.#forgetting.delete(member)
  }

  /** A caller has called into the key's pool. */
  entered<T>(member: Member<C>, result: Promise<T>): Promise<T> {
    const { engine } = member
    // Within a transition the caller joins the queue after it.
    if (engine.turns.isBusy) void this.#whileEntering(member, result)
    else if (engine.slots.taken === 0 && engine.queue.size === 0) this.left(member)
    return result
  }

  /** The key may have neither connections nor callers: then it is forgotten, now or later. */
  left(member: Member<C>): void {
    if (!member.isAtRest) return
    if (this.#leaving.delete(member)) this.forgotten.add(member.engine)
    if (member.removing !== undefined || this.#members.get(member.key) !== member) return
    const { forgetAfterMs } = this.options
    member.touch()
    if (forgetAfterMs === 0) return this.#forget(member)
    if (forgetAfterMs === Infinity || this.#forgetting.has(member)) return
    const at = this.#clock.now() + forgetAfterMs
    this.#forgetting.set(member, at)
    this.#alarm.setBy(at)
  }

  clear(key: string): void {
    this.#backoffs.forget(key)
    this.#known.delete(key)
    this.#members.get(key)?.clear()
  }

  clearAll(): void {
    this.#backoffs.clear()
    this.#known.clear()
    for (const member of [...this.#members.values()]) member.clear()
  }

  remove(key: string, timeoutMs: number): Promise<CloseResult> {
    const member = this.#members.get(key)
    this.#backoffs.forget(key)
    this.#known.delete(key)
    if (member === undefined) return Promise.resolve({ closed: 0, abandoned: 0 })
    return (member.removing ??= this.#close(member, timeoutMs))
  }

  async close(timeoutMs: number): Promise<CloseResult> {
    this.#resizes++
    const results = await Promise.all(this.keys().map((key) => this.remove(key, timeoutMs)))
    this.#backoffs.clear()
    this.#alarm.stop()
    return {
      closed: results.reduce((sum, { closed }) => sum + closed, 0),
      abandoned: results.reduce((sum, { abandoned }) => sum + abandoned, 0),
    }
  }

  async resize(sizes: { total?: number | undefined; perKey?: GroupOptions<C>['perKey'] }): Promise<void> {
    const resize = ++this.#resizes
    const { allotment } = this
    allotment.limits.total = sizes.total ?? allotment.limits.total
    this.#perKey = sizes.perKey ?? this.#perKey
    const members = [...this.#members.values()].filter(({ removing }) => removing === undefined)
    const resizes = members.map((member) => this.#resizeKey(member))
    let surplus = allotment.taken - allotment.coming - allotment.limits.total
    for (const { engine } of members) {
      if (surplus <= 0) break
      const { attempts } = engine.slots
      engine.abandonAttempts(Math.max(0, attempts - surplus))
      surplus -= attempts
    }
    allotment.settleNow()
    await Promise.all(resizes)
    await this.#until(() => resize !== this.#resizes || allotment.taken <= allotment.limits.total)
  }

  state(closed: boolean): GroupState {
    const { allotment } = this
    const totals = this.forgotten.copy()
    let [inUse, opening, waiting, failingKeys] = [0, 0, 0, 0]
    for (const member of this.#members.values()) {
      const { engine } = member
      totals.add(engine)
      inUse += engine.slots.inUse
      opening += engine.slots.attempts
      waiting += Math.max(0, engine.queue.size - engine.slots.arriving)
      if (engine.connector.schedule.isFailing) failingKeys++
    }
    for (const { engine } of this.#leaving) totals.add(engine)
    return {
      total: allotment.limits.total,
      taken: allotment.taken,
      free: allotment.free,
      inUse,
      opening,
      closing: allotment.coming,
      waiting,
      wantingKeys: allotment.wanting.size,
      keys: this.#members.size,
      failingKeys,
      closed,
      statistics: totals.statistics(this.allWaits),
    }
  }

  /** Returns the keys, keys that need a place first, in their order. It costs time that grows with their number. */
  look(): KeyInsight[] {
    const wanting = [...this.#members.values()].filter(({ lacking }) => lacking > 0)
    wanting.sort((a, b) => a.held - b.held || a.since - b.since)
    const ranks = new Map(wanting.map(({ key }, index) => [key, index + 1]))
    const insights = Array.from(this.#members.values(), ({ key, engine }) => ({
      key,
      slots: engine.slots.taken,
      waiting: Math.max(0, engine.queue.size - engine.slots.arriving),
      headWaitMs: engine.queue.headWaitMs,
      rank: ranks.get(key) ?? 0,
    }))
    return insights.sort((a, b) => (a.rank || Infinity) - (b.rank || Infinity) || b.slots - a.slots)
  }

  async #close(member: Member<C>, timeoutMs: number): Promise<CloseResult> {
    const result = await member.close(timeoutMs)
    this.#drop(member)
    return result
  }

  #forget(member: Member<C>): void {
    this.#backoffs.save(member.key, member.engine.connector.schedule)
    this.#remember(member)
    this.#alarm.setBy(this.#backoffs.expire())
    this.#drop(member)
    member.forget()
  }

  #remember({ key, isKnown, engine }: Member<C>): void {
    if (engine.connector.schedule.isFailing || (engine.slots.opened === 0 && !isKnown)) return
    this.#known.add(key, this.allotment.limits.total)
  }

  #drop(member: Member<C>): void {
    this.#members.delete(member.key)
    this.#forgetting.delete(member)
    this.#active.delete(member)
    this.allotment.leave(member)
    if (member.engine.slots.taken === 0) this.forgotten.add(member.engine)
    else this.#leaving.add(member)
  }

  #expire(): void {
    const now = this.#clock.now()
    let next = this.#backoffs.expire()
    for (const [member, at] of this.#forgetting) {
      if (at > now) {
        next = Math.min(next, at)
        break
      }
      this.#forgetting.delete(member)
      if (member.isAtRest && member.removing === undefined) this.#forget(member)
    }
    if (next < Infinity) this.#alarm.setBy(next)
  }

  #limitOf(key: string): number {
    const { total } = this.allotment.limits
    const pool = `${this.options.name}/${key}`
    const outcome = this.#calls.begin(() => limitOf(this.#perKey, total, key, pool), undefined)
    if ('ok' in outcome && outcome.ok) return outcome.value
    throw (outcome as { readonly error: unknown }).error
  }

  async #resizeKey(member: Member<C>): Promise<void> {
    const { engine } = member
    let maxSize: number
    try {
      maxSize = this.#limitOf(member.key)
      member.limitError = undefined
    } catch (error) {
      member.limitError = error as Error
      engine.rejectAll(() => error as never)
      return
    }
    await engine.resize(maxSize, 0)
  }

  async #whileEntering(member: Member<C>, result: Promise<unknown>): Promise<void> {
    member.entering++
    await Promise.allSettled([result])
    member.entering--
    this.left(member)
  }

  // Resolves when the condition is met; keeps the process alive until then.
  #until(isMet: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const alarm = new Alarm(this.#calls.clock, true, () => {})
      const { conditions } = this.allotment
      const test = (): void => {
        if (!isMet()) return
        conditions.delete(test)
        alarm.stop()
        resolve()
      }
      if (isMet()) return resolve()
      conditions.add(test)
      alarm.set(Infinity)
    })
  }
}

import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import type { Act, Reentry } from './reentry.ts'
import { SUBSCRIPTIONS } from './reentry.ts'
import type { SimConnection } from './server.ts'

/** What a call-out is about, for user code that acts on just that. */
export interface Subject {
  readonly connection?: SimConnection | undefined
  /** The driver's report of the end of a connection that is still being opened. */
  readonly lost?: (() => void) | undefined
}

/** An error of user code itself; a pool must bear it. */
export class UserCodeError extends Error {
  override name = 'UserCodeError'
}

/** The code of a user who calls the pool from wherever the pool calls him, as the plan has it. */
export class UserCode {
  readonly #act: (act: Act, place: string, subject: Subject) => void
  readonly #atPlace: ReadonlyMap<string, { readonly reentry: Reentry; seen: number }[]>

  constructor(reentries: readonly Reentry[], act: (act: Act, place: string, subject: Subject) => void) {
    this.#act = act
    const atPlace = new Map<string, { reentry: Reentry; seen: number }[]>()
    for (const reentry of reentries) {
      const there = atPlace.get(reentry.during) ?? []
      there.push({ reentry, seen: 0 })
      atPlace.set(reentry.during, there)
    }
    this.#atPlace = atPlace
  }

  /** Whether any of it runs there. */
  get isAnywhere(): boolean {
    return this.#atPlace.size > 0
  }

  isAt(place: string): boolean {
    return this.#atPlace.has(place)
  }

  /** The pool runs user code there. Throws only UserCodeError, where the plan has it. */
  runs(place: string, subject: Subject = {}): void {
    for (const each of this.#atPlace.get(place) ?? []) {
      const { skip, times, isLate, act } = each.reentry
      const nth = each.seen++
      if (nth < skip || nth >= skip + times) continue
      if (act.do === 'throw') throw new UserCodeError(`user code threw in ${place}`)
      if (isLate) queueMicrotask(() => this.#act(act, `a microtask of ${place}`, subject))
      else this.#act(act, place, subject)
    }
  }

  /** Subscribes to the channels that it runs on, of the pool of that name. Gives what ends it. */
  subscribe(pool: string): () => void {
    const ends = SUBSCRIPTIONS.filter((name) => this.isAt(name)).map((name) => {
      const hear = (message: unknown): void => {
        if ((message as { pool?: string }).pool === pool) this.runs(name)
      }
      subscribe(name, hear)
      return () => unsubscribe(name, hear)
    })
    return () => ends.forEach((end) => end())
  }
}

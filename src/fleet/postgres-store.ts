import { show } from '../core/contract/rules.ts'
import type { Claimant } from './allocate.ts'
import { Batches } from './batches.ts'
import { createFunction, createTable, functionOf } from './postgres-function.ts'
import type { Beat, BeatAnswer } from './roster.ts'
import type { FleetStore } from './store.ts'

/** An object that runs a query: a `pg.Pool` or `pg.Client`, or `{ query: (text, values) => pool.run((client) => client.query(text, values)) }`. */
export interface PostgresQueries {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>
}

interface Answers {
  readonly answers: readonly (
    | { readonly refused: 'budget' | 'protocol' | 'floors'; readonly instead: number }
    | { readonly refused?: undefined; readonly share: number; readonly fits: boolean }
  )[]
  /** null if all beats were refused and the fleet has no member. */
  readonly ids: readonly string[] | null
  /** The fields of each member: floor, weight, demand, share, and 1 if it is absent. */
  readonly numbers: string | null
}

// Room for the suffix of the function's name.
const TABLE = /^[a-z_][a-z0-9_]{0,54}(\.[a-z_][a-z0-9_]{0,54})?$/i
const TRIES = 5
// The table, schema or function does not exist.
const MISSING = new Set(['42P01', '42883', '3F000'])
// Another transaction came between, under an isolation level above READ COMMITTED.
const REPEATABLE = new Set(['40001', '40P01'])

/**
 * The roster in PostgreSQL itself, so that a fleet needs no other part: a table and a function, which the first beat creates, also
 * after they were dropped. A beat is one call of the function and one round trip. It works through any pool and any proxy. Its connection
 * is not counted in the budget unless you pass the fleet's own pool. A role that may not create them needs the rights to use them.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { joinFleet, PostgresStore } from 'cenote/fleet'
 * import { PgManager } from 'cenote/pg'
 *
 * const pool = new Pool(new PgManager(process.env.DATABASE_URL), { maxSize: 20 })
 * const client = await pool.dedicated() // the roster's own connection
 * const store = new PostgresStore(client)
 * {
 *   await using membership = await joinFleet(pool, { store, budget: 80, floor: 2 })
 *   console.log(membership.share >= 2) // prints true
 * }
 * await client.end()
 * await pool.close()
 * ```
 */
export class PostgresStore implements FleetStore {
  readonly #queries: PostgresQueries
  readonly #table: string
  readonly #batches: Batches<Beat, BeatAnswer>

  /**
   * `table`: its name, optionally with a schema; default 'cenote_fleet_members'. The function is named after it.
   * Throws TypeError for a name that is not plain.
   */
  constructor(queries: PostgresQueries, options: { readonly table?: string | undefined } = {}) {
    const { table = 'cenote_fleet_members' } = options
    if (typeof queries?.query !== 'function')
      throw new TypeError(`queries must be an object with query(text, values) (got ${show(queries)})`)
    if (typeof table !== 'string' || !TABLE.test(table))
      throw new TypeError(
        `table must be a name of at most 55 letters, digits and _, with or without its schema (got '${table}')`,
      )
    this.#queries = queries
    this.#table = table
    this.#batches = Batches.of(queries, table, (fleet, beats) => this.#send(fleet, beats))
  }

  async beat(fleet: string, beat: Beat, signal?: AbortSignal): Promise<BeatAnswer> {
    return await this.#batches.add(fleet, beat, signal)
  }

  async leave(fleet: string, id: string): Promise<void> {
    const text = `delete from ${this.#table} where fleet = $1 and member = $2`
    try {
      await this.#queries.query(text, [fleet, id])
    } catch (error) {
      if (!MISSING.has(codeOf(error))) throw error
    }
  }

  async #send(fleet: string, beats: readonly Beat[]): Promise<BeatAnswer[]> {
    const text = `select ${functionOf(this.#table)}($1, $2) as answer`
    const [row] = await this.#run(text, [fleet, JSON.stringify(beats)])
    const { answer } = row as { answer: Answers | string }
    // Some drivers leave JSON as text.
    const { answers, ids, numbers } = typeof answer === 'string' ? (JSON.parse(answer) as Answers) : answer
    const all = (numbers ?? '').split(',')
    const members = (ids ?? []).map((id, n): Claimant => {
      const [floor = 0, weight = 0, demand = 0, share = 0, isAbsent] = (all[n] as string)
        .split(' ')
        .map(Number)
      return { id, floor, weight, demand, share, isAbsent: isAbsent === 1 }
    })
    return answers.map((each) =>
      each.refused === undefined ? { refused: undefined, share: each.share, fits: each.fits, members } : each,
    )
  }

  // Runs a query that needs the table and the function, and creates them if they are missing.
  async #run(text: string, values: unknown[]): Promise<unknown[]> {
    let reason: unknown
    for (let left = TRIES; ; left--) {
      try {
        return (await this.#queries.query(text, values)).rows
      } catch (error) {
        const isMissing = MISSING.has(codeOf(error))
        if (left === 0 || !(isMissing || REPEATABLE.has(codeOf(error)))) throw reason ?? error
        // Members that begin together create them together, and collide: only one succeeds.
        if (left < TRIES) await new Promise((resolve) => setTimeout(resolve, Math.random() * 50))
        if (!isMissing) continue
        for (const create of [createTable(this.#table), createFunction(this.#table)])
          await this.#queries.query(create).catch((failure: unknown) => (reason = failure))
      }
    }
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code)
}

import { show } from '../core/rules.ts'
import { applyBeat, applyLeave, type Beat, type BeatAnswer, type Roster } from './roster.ts'
import type { FleetStore } from './store.ts'

/** What runs a query: a `pg.Pool` or `pg.Client`, or `{ query: (text, values) => pool.run((client) => client.query(text, values)) }`. */
export interface PostgresQueries {
  query(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>
}

interface Row {
  readonly version: string
  readonly now: number
  readonly roster: Roster | null
}

const TABLE = /^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$/i
const TRIES = 20

/**
 * The roster in PostgreSQL itself, so that a fleet needs no other part: one row a fleet, in a table that is made at the first beat. Each
 * beat reads the row and replaces it if nobody else has meanwhile, so it works through any pool and any proxy. Meant for fleets of up
 * to a few hundred members; beyond that use RedisStore. Its one connection is not counted in the budget unless you give it the fleet's own pool.
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
  #isReady: Promise<unknown> | undefined

  /** `table`: may have a schema; default 'cenote_fleets'. Throws TypeError for one that is no plain name. */
  constructor(queries: PostgresQueries, options: { readonly table?: string | undefined } = {}) {
    const { table = 'cenote_fleets' } = options
    if (typeof queries?.query !== 'function')
      throw new TypeError(`queries is ${show(queries)}: allowed is an object with query(text, values)`)
    if (typeof table !== 'string' || !TABLE.test(table))
      throw new TypeError(
        `table is '${table}': allowed is a name of letters, digits and _, with or without its schema`,
      )
    this.#queries = queries
    this.#table = table
  }

  async beat(fleet: string, beat: Beat): Promise<BeatAnswer> {
    return await this.#change(fleet, (roster, now) => applyBeat(roster, beat, now, true))
  }

  async leave(fleet: string, id: string): Promise<void> {
    await this.#change(fleet, (roster) => ({ roster: roster && applyLeave(roster, id), answer: undefined }))
  }

  async #change<T>(
    fleet: string,
    change: (roster: Roster | undefined, now: number) => { roster: Roster | undefined; answer: T },
  ): Promise<T> {
    await this.#prepare()
    for (let left = TRIES; left > 0; left--) {
      const row = await this.#read(fleet)
      const { roster, answer } = change(row?.roster ?? undefined, row?.now ?? 0)
      if (roster === undefined) return answer
      const text = `update ${this.#table} set version = version + 1, roster = $3 where fleet = $1 and version = $2 returning 1`
      const { rows } = await this.#queries.query(text, [fleet, row.version, JSON.stringify(roster)])
      if (rows.length === 1) return answer
    }
    throw new Error(`the row of the fleet '${fleet}' was changed by others ${TRIES} times in a row`)
  }

  async #read(fleet: string): Promise<Row> {
    const select = `select version, roster, extract(epoch from clock_timestamp()) * 1000 as now from ${this.#table} where fleet = $1`
    for (;;) {
      const { rows } = await this.#queries.query(select, [fleet])
      const row = rows[0] as { version: string; roster: Roster | null; now: string | number } | undefined
      if (row !== undefined) return { ...row, now: Number(row.now) }
      await this.#queries.query(`insert into ${this.#table} (fleet) values ($1) on conflict do nothing`, [
        fleet,
      ])
    }
  }

  #prepare(): Promise<unknown> {
    const create = `create table if not exists ${this.#table} (fleet text primary key, version bigint not null default 0, roster jsonb)`
    // Two that create it at one time may still collide: the loser finds it.
    this.#isReady ??= this.#queries
      .query(create)
      .catch(() => this.#queries.query(`select 1 from ${this.#table} limit 0`))
      .catch((error: unknown) => {
        this.#isReady = undefined
        throw error
      })
    return this.#isReady
  }
}

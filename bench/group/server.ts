import pg from 'pg'

import { ROLES } from './loads.ts'

/** What the names of the roles begin with. */
export const PREFIX = 'cenote_bench_'

/** The server: creates the roles, and counts their backends. */
export class Server {
  readonly url: string
  readonly #admin: pg.Client

  constructor(url: string) {
    this.url = url
    this.#admin = new pg.Client(url)
  }

  async open(): Promise<void> {
    await this.#admin.connect()
    await this.#drop()
    for (let role = 0; role < ROLES; role++)
      await this.#admin.query(`create role ${PREFIX}${role} login password 'bench'`)
  }

  async close(): Promise<void> {
    await this.#drop()
    await this.#admin.end()
  }

  urlOf(role: string): string {
    const url = new URL(this.url)
    url.username = `${PREFIX}${role}`
    url.password = 'bench'
    return url.href
  }

  async backends(): Promise<number> {
    const { rows } = await this.#admin.query<{ count: number }>(
      `select count(*)::int from pg_stat_activity where usename like '${PREFIX}%'`,
    )
    return rows[0]?.count ?? 0
  }

  /** Creates an empty schema, for the roster of a fleet. */
  async createSchema(name: string): Promise<void> {
    await this.dropSchema(name)
    await this.#admin.query(`create schema ${name}`)
  }

  async dropSchema(name: string): Promise<void> {
    await this.#admin.query(`drop schema if exists ${name} cascade`)
  }

  async #drop(): Promise<void> {
    await this.#admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where usename like '${PREFIX}%'`,
    )
    for (let role = 0; role < ROLES; role++) await this.#admin.query(`drop role if exists ${PREFIX}${role}`)
  }
}

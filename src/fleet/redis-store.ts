import { show } from '../core/contract/rules.ts'
import type { Claimant } from './allocate.ts'
import { BEAT } from './redis-script.ts'
import { type Beat, type BeatAnswer, KEPT_LEASES, KEPT_LEASES_IF_NEEDED } from './roster.ts'
import type { FleetStore } from './store.ts'

/** A client of Redis or Valkey: one of `redis` (`createClient`, `createCluster`), or of `ioredis`. */
export type RedisCommands =
  | {
      eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
      hDel(key: string, field: string): Promise<unknown>
    }
  | {
      eval(script: string, keys: number, ...keysAndArguments: string[]): Promise<unknown>
      hdel(key: string, field: string): Promise<unknown>
    }

// A fleet that was not used for a week is forgotten.
const KEPT_MS = 7 * 24 * 60 * 60 * 1_000
const SCRIPT = BEAT.replace('KEPT', String(KEPT_LEASES))
  .replace('NEEDED', String(KEPT_LEASES_IF_NEEDED))
  .replace('TTL', String(KEPT_MS))

/**
 * The roster in Redis or Valkey: a hash for each fleet (`cenote:fleet:{name}`, one slot of a cluster), one script per beat.
 * Redis may lose data at a flush, a restart or a failover. Therefore nothing is given out for one lease in three cases: the
 * roster is missing, the server has another `run_id` (needs the right to call INFO), or no member reported for half a lease.
 * In that lease the members report what they have. The first member of a new fleet waits for it once.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { joinFleet, RedisStore } from 'cenote/fleet'
 * import { ScriptedManager } from 'cenote/testing'
 * import { createClient } from 'redis'
 *
 * const client = await createClient({ url: process.env.REDIS_URL }).connect()
 * const pool = new Pool(new ScriptedManager(), { maxSize: 20 })
 * {
 *   const store = new RedisStore(client)
 *   await using membership = await joinFleet(pool, { store, budget: 80, floor: 2 })
 *   console.log(membership.share >= 2) // prints true
 * }
 * client.destroy()
 * ```
 */
export class RedisStore implements FleetStore {
  readonly #client: RedisCommands
  readonly #prefix: string

  /** `prefix`: of its keys, default 'cenote:fleet:'. Throws TypeError for a value that is not a client. */
  constructor(client: RedisCommands, options: { readonly prefix?: string | undefined } = {}) {
    const { prefix = 'cenote:fleet:' } = options
    if (typeof client?.eval !== 'function')
      throw new TypeError(`client must be a client of redis or ioredis (got ${show(client)})`)
    if (typeof prefix !== 'string') throw new TypeError(`prefix must be a string (got ${String(prefix)})`)
    this.#client = client
    this.#prefix = prefix
  }

  async beat(fleet: string, beat: Beat): Promise<BeatAnswer> {
    const [refused, numbers, ...fields] = (await this.#eval(fleet, JSON.stringify(beat))) as string[]
    if (refused === 'budget' || refused === 'protocol' || refused === 'floors')
      return { refused, instead: Number(numbers) }
    const members: Claimant[] = []
    for (let n = 0; n < fields.length; n += 2) {
      const [floor = 0, weight = 0, demand = 0, share = 0, isAbsent] = String(fields[n + 1])
        .split(' ')
        .map(Number)
      members.push({ id: String(fields[n]), floor, weight, demand, share, isAbsent: isAbsent === 1 })
    }
    const [share = 0, fits] = String(numbers).split(' ').map(Number)
    return { refused: undefined, share, fits: fits === 1, members }
  }

  async leave(fleet: string, id: string): Promise<void> {
    const [key, field] = [this.#key(fleet), `m${id}`]
    if ('hDel' in this.#client) await this.#client.hDel(key, field)
    else await this.#client.hdel(key, field)
  }

  #eval(fleet: string, argument: string): Promise<unknown> {
    const key = this.#key(fleet)
    if ('hDel' in this.#client) return this.#client.eval(SCRIPT, { keys: [key], arguments: [argument] })
    return this.#client.eval(SCRIPT, 1, key, argument)
  }

  #key(fleet: string): string {
    return `${this.#prefix}{${fleet}}`
  }
}

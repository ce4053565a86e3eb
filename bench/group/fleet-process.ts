// One process of a service with 200 roles: a group whose total is its share of the fleet's budget, and callers.
import pg from 'pg'

import { FleetError, joinFleet, type Membership, PostgresStore } from '../../src/fleet/index.ts'
import { PoolGroup } from '../../src/group/index.ts'
import { PgManager } from '../../src/managers/pg/pg.ts'
import { Random } from '../../test/simulation/random.ts'
import { LOADS } from './loads.ts'

const STATEMENT = 'select pg_sleep(0.005)'

/** What the process is told. */
export type FleetOrder =
  | {
      readonly do: 'start'
      /** Of a superuser, for the roster; the roles have this prefix and the password 'bench'. */
      readonly url: string
      readonly prefix: string
      readonly table: string
      readonly budget: number
      readonly seed: number
    }
  | { readonly do: 'work'; readonly callers: number }
  | { readonly do: 'finish' }

/** What the process reports when it has finished. */
export interface FleetReport {
  /** Waits with their statements, in milliseconds. */
  readonly tookMs: readonly number[]
  readonly errors: readonly string[]
  /** Callers that have not settled within the deadline of a group. */
  readonly hanging: number
  readonly largestShare: number
}

let group: PoolGroup<pg.Client>
let membership: Membership
let roster: pg.Client
let random: Random
let wanted = 0
let running = 0
let largestShare = 0
const tookMs: number[] = []
const errors: string[] = []

process.on('disconnect', () => process.exit())
process.on('message', (order: FleetOrder) => {
  if (order.do === 'start') void start(order)
  else if (order.do === 'work') {
    wanted = order.callers
    for (; running < wanted; running++) void call(running)
  } else void finish()
})

async function start(order: FleetOrder & { readonly do: 'start' }): Promise<void> {
  random = new Random(order.seed)
  roster = new pg.Client(order.url)
  await roster.connect()
  const store = new PostgresStore(roster, { table: order.table })
  const urlOf = (role: string): string => {
    const url = new URL(order.url)
    url.username = order.prefix + role
    url.password = 'bench'
    return url.href
  }
  group = new PoolGroup<pg.Client>((role) => new PgManager<pg.Client>(urlOf(role)), { total: order.budget })
  for (;;) {
    try {
      membership = await joinFleet(group, { store, budget: order.budget, floor: 2, leaseMs: 1_000 })
      break
    } catch (error) {
      // The members that came first have not made room yet.
      if (!(error instanceof FleetError) || error.code !== 'FLEET_NO_ROOM') throw error
    }
  }
  process.send?.('ready')
}

async function call(caller: number): Promise<void> {
  while (caller < wanted) {
    const role = String(LOADS.zipf.roleOf(caller, random))
    const startedAt = performance.now()
    try {
      await group.run(role, (client) => client.query(STATEMENT))
      tookMs.push(performance.now() - startedAt)
      largestShare = Math.max(largestShare, membership.share)
    } catch (error) {
      errors.push(error instanceof Error ? error.message : String(error))
    }
  }
  running--
}

async function finish(): Promise<void> {
  wanted = 0
  const deadline = performance.now() + 30_000
  while (running > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
  const report: FleetReport = { tookMs, errors, hanging: running, largestShare }
  await membership.leave()
  await group.close()
  await roster.end()
  process.send?.(report)
}

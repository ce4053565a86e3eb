import { PoolOptionsError } from '../core/contract/errors.ts'
import type { Pool } from '../core/pool.ts'
import type { PoolGroup } from '../group/group.ts'
import { type FleetPool, joined, Membership } from './membership.ts'
import { type FleetOptions, resolveFleetOptions } from './options.ts'

/**
 * Makes a pool, or a group of `cenote/group`, a member of a fleet, whose members share one budget of connections. From now on
 * the fleet decides `maxSize`, or the `total` of a group: capacity goes where the demand is. Resolves once the member has its
 * floor. Rejects with PoolOptionsError for a wrong option, and with FleetError when the fleet cannot take it; then `maxSize`
 * stays at its floor. Use the pool only after that: connections that it opens before are not counted.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { joinFleet, MemoryStore } from 'cenote/fleet'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { maxSize: 20 })
 * await using membership = await joinFleet(pool, { store: new MemoryStore(), budget: 80, floor: 2 })
 * console.log(membership.share) // prints 2
 * await pool.close()
 * ```
 */
export async function joinFleet<C>(pool: Pool<C> | PoolGroup<C>, options: FleetOptions): Promise<Membership> {
  const { name } = pool.options
  const resolved = resolveFleetOptions(name, options)
  if (joined.has(pool)) {
    const problem = `pool must be a member of no other fleet (got '${name}')`
    throw new PoolOptionsError(name, 'pool', name, problem)
  }
  joined.add(pool)
  const membership = new Membership('keys' in pool ? asPool(pool) : pool, resolved, pool)
  try {
    await membership.join()
  } catch (error) {
    joined.delete(pool)
    throw error
  }
  return membership
}

// A group as one pool, whose maxSize is its total.
function asPool<C>(group: PoolGroup<C>): FleetPool {
  return {
    options: group.options,
    look: () => group.look(),
    resize: ({ maxSize }) => group.resize({ total: maxSize }),
    state() {
      const { taken, total, inUse, opening, closing, waiting, closed } = group.state()
      const connections = taken - opening - closing
      return { connections, inUse, opening, closing, waiting, closed, maxSize: total, minIdle: 0 }
    },
  }
}

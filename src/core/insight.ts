import type { Circulation } from './circulation.ts'
import type { ServerInfo } from './manager.ts'
import { type Slot, SlotState } from './slot.ts'
import type { PoolState } from './state.ts'

/** What one connection, or one attempt to open one, does at the moment. */
export interface ConnectionInsight {
  /** The number of the connection, as in the channels' payloads. */
  readonly connection: number
  readonly doing: 'opening' | 'idle' | 'checking' | 'leased' | 'returning' | 'closing'
  /** Since it was opened; of an attempt, since it began. */
  readonly ageMs: number
  readonly uses: number
  /** How long its present lease is held; 0: it is not leased. */
  readonly heldMs: number
  /** The stack of its acquire, where leaks are looked for (`leakThresholdMs`). */
  readonly stack: string | undefined
}

/** More of a pool than its counts: what each connection does, and how connecting fares. */
export interface PoolInsight {
  readonly poolId: number
  readonly state: PoolState
  /** What the manager says that it connects to. */
  readonly server: ServerInfo | undefined
  readonly connections: readonly ConnectionInsight[]
  /** The last connect error since a success; undefined: the last attempt went well, or there was none. */
  readonly connectError: unknown
  /** When the next attempt is due, after a failure; undefined: no attempt waits. */
  readonly retryInMs: number | undefined
}

/** What can be looked into: any pool, of whatever it pools, also of another installed copy of the package. */
export interface InsightSource {
  readonly options: {
    readonly name: string
    readonly maxSize: number
    readonly validationTimeoutMs: number
    readonly closeTimeoutMs: number
  }
  look(): PoolInsight
}

const DOING: Readonly<Record<SlotState, ConnectionInsight['doing']>> = {
  [SlotState.idle]: 'idle',
  [SlotState.checking]: 'checking',
  [SlotState.suspect]: 'checking',
  [SlotState.leased]: 'leased',
  [SlotState.returning]: 'returning',
  [SlotState.closing]: 'closing',
  // Nobody sees it: it has left the pool.
  [SlotState.gone]: 'closing',
}

/** The pool at this instant, in time that grows with its connections. */
export function lookInto<C>(circulation: Circulation<C>): PoolInsight {
  const { slots, connector, calls, events } = circulation
  const now = calls.clock.now()
  const describe = (slot: Slot<C>): ConnectionInsight => ({
    connection: slot.id,
    doing: DOING[slot.state],
    ageMs: now - slot.openedAt,
    uses: slot.uses,
    heldMs: slot.state === SlotState.leased ? now - slot.leasedAt : 0,
    stack: circulation.traceOf(slot)?.stack,
  })
  const attempts = Array.from(slots.permits(), ({ id, startedAt }) => ({
    connection: id,
    doing: 'opening' as const,
    ageMs: now - startedAt,
    uses: 0,
    heldMs: 0,
    stack: undefined,
  }))
  return {
    poolId: events.poolId,
    state: circulation.state(),
    server: circulation.manager.server,
    connections: [...Array.from(slots.all(), describe), ...attempts],
    connectError: connector.lastError,
    retryInMs: connector.retryInMs,
  }
}

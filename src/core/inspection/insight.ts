import type { Leaks } from '../callers/leaks.ts'
import type { Connector } from '../connections/connector.ts'
import { type Slot, SlotState } from '../connections/slot.ts'
import type { ConnectionManager, ServerInfo } from '../contract/manager.ts'
import type { PoolState } from '../contract/state.ts'
import type { UserCalls } from '../runtime/user-calls.ts'
import type { Events } from '../telemetry/events.ts'
import { snapshot, type SnapshotSource } from './snapshot.ts'

/** The present activity of one connection, or of one attempt to open one. */
export interface ConnectionInsight {
  /** The number of the connection, as in the payloads of the channels. */
  readonly connection: number
  readonly doing: 'opening' | 'idle' | 'checking' | 'leased' | 'returning' | 'closing'
  /** Time since it opened, in milliseconds; for an attempt, since it began. */
  readonly ageMs: number
  readonly uses: number
  /** Duration of its present lease, in milliseconds; 0 when it is not leased. */
  readonly heldMs: number
  /** The stack of its acquire, if leaks are reported (`leakThresholdMs`). */
  readonly stack: string | undefined
}

/** More of a pool than its counts: what each connection does, and how connecting fares. */
export interface PoolInsight {
  readonly poolId: number
  readonly state: PoolState
  /** The server, as the manager describes it. */
  readonly server: ServerInfo | undefined
  readonly connections: readonly ConnectionInsight[]
  /** The last connect error; undefined when connecting works, or no connect was attempted. */
  readonly connectError: unknown
  /** When the next attempt is due after a failure, in milliseconds; undefined when no attempt waits. */
  readonly retryInMs: number | undefined
  /** Number of waiting callers that are known to hold a connection of this pool themselves. */
  readonly nested?: number | undefined
  /** The unit of its connections: those of a share are seats. */
  readonly unit?: 'connection' | 'seat' | undefined
}

/** Anything that describes itself like a pool: any pool, whatever it pools, also of another installed copy of the package. */
export interface InsightSource {
  readonly options: {
    readonly name: string
    readonly maxSize: number
    readonly validationTimeoutMs: number
    readonly closeTimeoutMs: number
    readonly leakThresholdMs?: number
  }
  look(): PoolInsight
}

const DOING: Readonly<Record<SlotState, ConnectionInsight['doing']>> = {
  [SlotState.opening]: 'opening',
  [SlotState.idle]: 'idle',
  [SlotState.checking]: 'checking',
  [SlotState.doubted]: 'checking',
  [SlotState.preparing]: 'checking',
  [SlotState.leased]: 'leased',
  [SlotState.resetting]: 'returning',
  [SlotState.closing]: 'closing',
  // Never visible: the slot has left the pool.
  [SlotState.gone]: 'closing',
}

/** The parts of a pool that an insight reads. */
export interface InspectedPool<C> extends SnapshotSource<C> {
  readonly manager: ConnectionManager<C>
  readonly connector: Connector<C>
  readonly calls: UserCalls
  readonly events: Events
  readonly leaks: Leaks<C> | undefined
  readonly unit: 'connection' | 'seat'
}

/** Describes the pool at this instant, in time that grows with its connections. */
export function lookInto<C>(pool: InspectedPool<C>): PoolInsight {
  const { slots, queue, connector, calls, events, leaks, manager } = pool
  const now = calls.clock.now()
  const describe = (slot: Slot<C>): ConnectionInsight => ({
    connection: slot.id,
    doing: DOING[slot.state],
    ageMs: now - slot.openedAt,
    uses: slot.uses,
    heldMs: slot.state === SlotState.leased ? now - slot.leasedAt : 0,
    stack: leaks?.traceOf(slot)?.stack,
  })
  const connections = Array.from(slots.all(), describe)
  const isOpening = ({ doing }: ConnectionInsight): boolean => doing === 'opening'
  return {
    poolId: events.poolId,
    state: snapshot(pool),
    server: manager.server,
    connections: [...connections.filter((each) => !isOpening(each)), ...connections.filter(isOpening)],
    connectError: connector.schedule.lastError,
    retryInMs: connector.schedule.retryInMs,
    nested: queue.nested,
    unit: pool.unit,
  }
}

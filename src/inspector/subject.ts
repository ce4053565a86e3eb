import { explain } from '../core/inspection/explain.ts'
import type { GroupInsight, GroupInsightSource } from '../group/index.ts'
import type { ConnectionInsight, InsightSource, PoolState } from '../index.ts'
import type { Diagnosis, KeyRow } from './protocol.ts'

const MOST_KEYS = 20
// A caller of a group that waits for so long is a problem.
const LONG_WAIT_MS = 1_000

/** The view of a pool, or of a group, at one instant. */
export interface View {
  readonly state: PoolState
  readonly connections: readonly ConnectionInsight[]
  /** The first keys of a group. */
  readonly keys?: readonly KeyRow[]
  readonly diagnosis: Diagnosis
}

/** A pool, or a group as one pool of all its keys. */
export interface Subject {
  readonly options: { readonly name: string }
  /** Its number in the payloads of the channels. */
  readonly id: number
  view(holderOf: (connection: number) => string | undefined): View
}

/** A pool or a group that the page can show. */
export type Inspected = InsightSource | GroupInsightSource

/** Returns the subject through which the inspector reads a pool or a group. */
export function subjectOf(inspected: Inspected): Subject {
  const { options } = inspected
  const id = inspected.look().poolId
  if (!isGroup(inspected)) return { options, id, view: (holderOf) => viewOfPool(inspected, holderOf) }
  return { options, id, view: () => viewOfGroup(inspected) }
}

function isGroup(inspected: Inspected): inspected is GroupInsightSource {
  return 'total' in inspected.options
}

function viewOfPool(pool: InsightSource, holderOf: (connection: number) => string | undefined): View {
  const { state, connections } = pool.look()
  const { severity, text } = explain(pool, { holderOf })
  return { state, connections, diagnosis: { severity, text } }
}

function viewOfGroup(group: GroupInsightSource): View {
  const { state, keys } = group.look()
  const headWaitMs = keys.reduce((most, each) => Math.max(most, each.headWaitMs), 0)
  const { total, taken, inUse, opening, closing, waiting, closed, statistics } = state
  return {
    state: {
      connections: taken - opening,
      idle: taken - inUse - opening - closing,
      inUse,
      opening,
      closing,
      waiting,
      headWaitMs,
      maxSize: total,
      minIdle: 0,
      generation: 0,
      paused: false,
      closed,
      statistics,
    },
    connections: [],
    keys: keys.slice(0, MOST_KEYS),
    diagnosis: { severity: severityOf(state, headWaitMs), text: group.explain() },
  }
}

function severityOf(
  { wantingKeys, failingKeys }: GroupInsight['state'],
  headWaitMs: number,
): Diagnosis['severity'] {
  if (failingKeys > 0 || (wantingKeys > 0 && headWaitMs >= LONG_WAIT_MS)) return 'problem'
  return wantingKeys > 0 ? 'notice' : 'ok'
}

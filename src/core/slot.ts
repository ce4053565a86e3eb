import type { HeapItem } from './heap.ts'

/**
 * Where a connection is. Numbers, because every checkout counts by them.
 * `checking`: asked isValid or a hook, on its way to a caller or back to idle; `suspect`: checked too, but nobody counts on it,
 * since another check did not answer; `returning`: being reset after a return.
 */
export const SlotState = {
  idle: 0,
  checking: 1,
  suspect: 2,
  leased: 3,
  returning: 4,
  closing: 5,
  gone: 6,
} as const
export type SlotState = (typeof SlotState)[keyof typeof SlotState]

const { idle, checking, suspect, leased, returning, closing, gone } = SlotState

// Legal edges, a set of next states for each state.
const NEXT: readonly number[] = [
  /* idle      */ (1 << checking) | (1 << suspect) | (1 << leased) | (1 << closing),
  /* checking  */ (1 << idle) | (1 << leased) | (1 << closing),
  /* suspect   */ (1 << idle) | (1 << checking) | (1 << leased) | (1 << closing),
  /* leased    */ (1 << idle) | (1 << checking) | (1 << returning) | (1 << closing) | (1 << gone),
  /* returning */ (1 << idle) | (1 << checking) | (1 << leased) | (1 << closing),
  /* closing   */ 1 << gone,
  /* gone      */ 0,
]

/** Whether a slot may go from one state to the other. */
export function isLegal(from: SlotState, to: SlotState): boolean {
  return ((NEXT[from] as number) & (1 << to)) !== 0
}

/** The place of one open connection. Its fields are changed by Slots alone, but for the marks of its users below. */
export class Slot<C> implements HeapItem {
  readonly id: number
  readonly connection: C
  readonly generation: number
  readonly openedAt: number
  /** Drawn once, at birth; Infinity: never. */
  readonly expiresAt: number
  state: SlotState = checking
  uses = 0
  /** Last return, or birth. A check does not change it, or checking would defeat idleTimeoutMs. */
  lastUsedAt: number
  /** Last isValid that passed, or birth. */
  checkedAt: number
  /** When that check began, in the order of Slots.tick. */
  checkedTick = 0
  /** The driver reported its end while it was leased. */
  lost = false
  /** Counted among the idle ones that need a replacement. */
  retiring = false
  leasedAt = 0
  /** Whether it is in a hook rather than in isValid while it is being checked. */
  inHook = false
  /** Gives up the call of the manager or of a hook that it waits for. */
  abandon: (() => void) | undefined = undefined
  previous: Slot<C> | undefined = undefined
  next: Slot<C> | undefined = undefined
  heapIndex = -1

  constructor(id: number, connection: C, generation: number, openedAt: number, expiresAt: number) {
    this.id = id
    this.connection = connection
    this.generation = generation
    this.openedAt = openedAt
    this.expiresAt = expiresAt
    this.lastUsedAt = openedAt
    this.checkedAt = openedAt
  }
}

import type { PendingCall } from '../runtime/user-calls.ts'

/**
 * The state of a slot. Numbers, because every checkout counts by them.
 * `opening`: a connect attempt, afterConnect included; `checking`: isValid runs for a caller; `doubted`: isValid runs in the
 * background, and no caller counts on it; `preparing`: beforeAcquire runs, or afterConnect of an added connection; `resetting`: reset or afterRelease runs.
 */
export const SlotState = {
  opening: 0,
  idle: 1,
  checking: 2,
  doubted: 3,
  preparing: 4,
  leased: 5,
  resetting: 6,
  closing: 7,
  gone: 8,
} as const
export type SlotState = (typeof SlotState)[keyof typeof SlotState]

const { idle, checking, doubted, preparing, leased, resetting, closing, gone } = SlotState
const to = (...states: SlotState[]): number => states.reduce<number>((set, state) => set | (1 << state), 0)

/** The legal next states of each state, as a set of bits. A hand-over from one caller to the next is `leased` to `leased`. */
export const NEXT: readonly number[] = /* @__PURE__ */ Object.freeze([
  /* opening   */ /* @__PURE__ */ to(idle, closing, gone),
  /* idle      */ /* @__PURE__ */ to(checking, doubted, preparing, leased, closing),
  /* checking  */ /* @__PURE__ */ to(idle, doubted, closing),
  /* doubted   */ /* @__PURE__ */ to(idle, closing),
  /* preparing */ /* @__PURE__ */ to(idle, closing),
  /* leased    */ /* @__PURE__ */ to(leased, idle, resetting, closing, gone),
  /* resetting */ /* @__PURE__ */ to(idle, closing),
  /* closing   */ /* @__PURE__ */ to(gone),
  /* gone      */ /* @__PURE__ */ to(),
])

/** Whether a slot may move from one state to the other. */
export function isLegal(from: SlotState, next: SlotState): boolean {
  return ((NEXT[from] as number) & (1 << next)) !== 0
}

/** One unit of maxSize: a connect attempt, then its connection until the close has settled. Only Slots changes its state. */
export class Slot<C> {
  readonly id: number
  readonly generation: number
  /** Failures of attempts that began in the same round count as one. */
  readonly round: number
  state: SlotState
  /** Undefined while the slot is opening. */
  connection: C = undefined as C
  /** When the attempt began. */
  readonly startedAt: number
  /** When the connection opened; while it is opening, when the attempt began. */
  openedAt: number
  /** Drawn once, when the connection opens; Infinity disables it. */
  expiresAt: number = Infinity
  /** When a connection of an old generation is closed; it is set by clear(). */
  clearAt = 0
  uses = 0
  /** Whether a holder returned it unbroken. */
  hasServed = false
  /** The last return, or when it opened. A check does not change it, or checking would defeat idleTimeoutMs. */
  lastUsedAt = 0
  /** The last isValid that passed, or when it opened. */
  checkedAt = 0
  /** When the last check began, or when it opened. */
  checkStartedAt = 0
  /** The order of that check among all checks and retries, see Slots.nextSequence. */
  checkSequence = 0
  /** The transition in which closeReasonFor passed, in which it was opened or passed a check, in which beforeAcquire passed. */
  inspectedIn: number = -1
  validIn: number = -1
  preparedIn: number = -1
  /** Whether the driver reported its end while that could not close it immediately. */
  lost = false
  /** The error with which the driver or the holder reported its end. */
  endedBy: unknown = undefined
  /** Called when the driver reports the end of the connection while it is leased; set by a holder that shares it. */
  onLost: ((error: unknown) => void) | undefined = undefined
  leasedAt = 0
  /** Aborted when the attempt is abandoned. */
  controller: AbortController | undefined = undefined
  /** Whether it keeps the process alive. */
  isRef = true
  /** The call of the manager or of a hook that it waits for. */
  pending: PendingCall<unknown> | undefined = undefined
  previous: Slot<C> | undefined = undefined
  next: Slot<C> | undefined = undefined

  constructor(id: number, generation: number, round: number, startedAt: number) {
    this.id = id
    this.generation = generation
    this.round = round
    this.startedAt = startedAt
    this.openedAt = startedAt
    this.state = SlotState.opening
  }
}

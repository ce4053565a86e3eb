/** Interval in which the inspector reads its pools while a page is open, in milliseconds. */
export const TICK_MS = 250
/** Interval in which it reads them while no page is open, in milliseconds. */
export const UNWATCHED_TICK_MS = 10_000
/** Length of the page's history, in milliseconds. */
export const KEEP_MS = 300_000

/**
 * The activity of one lane in one tick, as one character:
 * `A`–`J` leased at its end, `a`–`j` idle at its end, both with the share of the tick that it was leased (0 to 9 tenths);
 * `o` opening, `k` being checked, `r` being reset after a return, `x` closing, `.` empty.
 */
export type LaneCode = string

/** One connection that was leased at the end of a tick. */
export interface HeldLease {
  readonly lane: number
  readonly connection: number
  readonly heldMs: number
  /** The function and line that acquired it; undefined where the acquire was not sampled. */
  readonly by: string | undefined
}

/** One key of a group. */
export interface KeyRow {
  readonly key: string
  /** Its rank among the keys that wait for a slot, from 1 on; 0 if it waits for none. */
  readonly rank: number
  readonly slots: number
  readonly waiting: number
  readonly headWaitMs: number
}

/** The present problem and its remedy. */
export interface Diagnosis {
  readonly severity: 'ok' | 'notice' | 'problem'
  readonly text: string
}

/** Milliseconds that callers waited for the leases of one tick; 0 for a lease without a wait. */
export interface Waits {
  readonly p50: number
  readonly p95: number
  readonly p99: number
  readonly max: number
}

/** One pool in one tick. */
export interface Frame {
  /** The wall clock at its end. */
  readonly at: number
  /** Its length. Before it nothing is known, unless another frame ends there. */
  readonly ms: number
  readonly idle: number
  readonly inUse: number
  readonly opening: number
  readonly closing: number
  readonly waiting: number
  /** The age of the caller at the head of the queue; 0: no caller waits. */
  readonly headWaitMs: number
  readonly maxSize: number
  /** Within the tick. */
  readonly acquired: number
  readonly opened: number
  readonly closed: number
  readonly connectFailures: number
  readonly timedOut: number
  readonly refused: number
  /** undefined: no page was open, so waits were not sampled. */
  readonly waits: Waits | undefined
  /** One code for each lane. */
  readonly lanes: LaneCode
  /** The connection in each lane, 0 for none; absent in a {@link History} where it is as in the frame before. */
  readonly ids?: readonly number[]
  /** The leases held longest, the longest first. */
  readonly held: readonly HeldLease[]
  readonly diagnosis: Diagnosis
  /** The first keys of a group: those that wait for a slot, in their order, then those with the most slots. */
  readonly keys?: readonly KeyRow[]
}

/** A lease that was reported as a leak. */
export interface Leak {
  readonly at: number
  readonly connection: number
  readonly heldMs: number
  readonly stack: string | undefined
}

/** Failed attempts to connect, by the error's name and code. */
export interface ConnectFailures {
  readonly error: string
  readonly times: number
  readonly lastAt: number
}

/** The fleet with which a pool shares a budget, as its member last received it. */
export interface FleetRoster {
  readonly fleet: string
  readonly budget: number
  readonly members: readonly {
    readonly id: string
    readonly share: number
    readonly demand: number
    readonly floor: number
    readonly isSelf: boolean
    readonly isAbsent: boolean
  }[]
}

/** The facts about a pool that are sent in addition to its frames, after each change. */
export interface PoolCard {
  readonly name: string
  /** Resolved options as text; never a credential, since those are the manager's. */
  readonly options: Readonly<Record<string, string>>
  readonly leaks: readonly Leak[]
  readonly connectFailures: readonly ConnectFailures[]
  /** Connections closed since the pool was made, by reason. */
  readonly closedBy: Readonly<Record<string, number>>
  /** undefined: it is in none. */
  readonly fleet?: FleetRoster | undefined
}

/** The first message of the stream, and the answer to a reader that missed a change of a card. */
export interface Hello {
  readonly keepMs: number
  readonly pools: readonly { readonly key: number; readonly card: PoolCard }[]
}

/** The history of one pool, in several messages: the frames of one message follow those of the message before. */
export interface History {
  readonly key: number
  readonly frames: readonly Frame[]
}

/** One frame of each pool, and the cards that have changed. A reader that is slow misses some of these messages. */
export interface Tick {
  readonly pools: readonly { readonly key: number; readonly card?: PoolCard; readonly frame: Frame }[]
}

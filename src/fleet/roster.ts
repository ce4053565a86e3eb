import type { Claimant } from './allocate.ts'

/** The version of the rules below. Members of another one are refused: they would not understand each other's numbers. */
export const PROTOCOL = 1

/** For so many leases the floor of a member that is not heard of is kept for it: it may be alive and cut off from the store. */
export const KEPT_LEASES = 10

/** What a member tells the store at each beat. */
export interface Beat {
  readonly protocol: number
  readonly id: string
  /** Greater at each beat of a member: one that arrives late changes nothing. */
  readonly sequence: number
  readonly budget: number
  readonly leaseMs: number
  readonly floor: number
  readonly weight: number
  readonly demand: number
  /** What its pool may have open at this moment, at the most. */
  readonly held: number
  /** What it would like to have. */
  readonly wanted: number
}

/** One member, as the store keeps it. Times are the store's own. */
export interface RosterMember {
  readonly sequence: number
  readonly leaseMs: number
  readonly floor: number
  readonly weight: number
  readonly demand: number
  readonly share: number
  readonly expiresAt: number
}

/** All that a store keeps of a fleet. */
export interface Roster {
  readonly protocol: number
  readonly budget: number
  /** Until this time nothing is given out: whoever has something may not have been heard yet. */
  readonly closedUntil: number
  readonly members: Readonly<Record<string, RosterMember>>
}

/** What the store answers to a beat. */
export type BeatAnswer =
  | {
      readonly refused: undefined
      /** What the member may have from now on. */
      readonly share: number
      /** Whether the shares of all are within the budget. Not so while somebody holds what has been given to others too, or may have been. */
      readonly fits: boolean
      readonly members: readonly Claimant[]
    }
  | {
      /** `budget`: the fleet has another one; `protocol`: of another version; `floors`: too many for the budget. */
      readonly refused: 'budget' | 'protocol' | 'floors'
      /** What the fleet has instead: its budget, its protocol, or the floors that there are already. */
      readonly instead: number
    }

/**
 * One beat: the rule that keeps the shares of all within the budget. A store applies it to its roster in one step that no other beat
 * comes between. `isDurable`: a roster that is missing is a new fleet; otherwise it may have been lost, and then its members
 * have one lease to tell what they have before anything is given out.
 *
 * @example
 * ```ts
 * import { applyBeat } from 'cenote/fleet'
 *
 * const beat = { protocol: 1, id: 'a', sequence: 1, budget: 10, leaseMs: 5_000, floor: 2, weight: 1, demand: 4, held: 0, wanted: 4 }
 * const { answer } = applyBeat(undefined, beat, Date.now())
 * console.log(answer.refused) // prints undefined
 * ```
 */
export function applyBeat(
  before: Roster | undefined,
  beat: Beat,
  now: number,
  isDurable: boolean,
): { roster: Roster; answer: BeatAnswer } {
  const kept = prune(before?.members ?? {}, now)
  const isEmpty = Object.keys(kept).length === 0
  const roster: Roster = {
    protocol: isEmpty ? beat.protocol : (before?.protocol ?? beat.protocol),
    budget: isEmpty ? beat.budget : (before?.budget ?? beat.budget),
    closedUntil: before?.closedUntil ?? (isDurable ? now : now + beat.leaseMs),
    members: kept,
  }
  const refuse = (refused: 'budget' | 'protocol' | 'floors', instead: number) => ({
    roster,
    answer: { refused, instead } as const,
  })
  if (roster.protocol !== beat.protocol) return refuse('protocol', roster.protocol)
  if (roster.budget !== beat.budget) return refuse('budget', roster.budget)
  const own = kept[beat.id]
  const others = Object.entries(kept).filter(([id]) => id !== beat.id)
  const floors = others.reduce((sum, [, { floor }]) => sum + floor, 0)
  if (own === undefined && floors + beat.floor > beat.budget) return refuse('floors', floors)
  const taken = others.reduce((sum, [, { share }]) => sum + share, 0)
  const free = now < roster.closedUntil ? 0 : Math.max(0, roster.budget - taken)
  const accept = (members: Readonly<Record<string, RosterMember>>, share: number) => ({
    roster: { ...roster, members },
    answer: { refused: undefined, share, fits: share <= free, members: claimants(members, now) } as const,
  })
  if (own !== undefined && beat.sequence <= own.sequence) return accept(kept, own.share)
  // What it holds is a fact, whatever was given. More than that is out of what is free, even if it was given before.
  const share = Math.max(beat.held, Math.min(beat.wanted, free))
  const { sequence, leaseMs, floor, weight, demand } = beat
  const member = { sequence, leaseMs, floor, weight, demand, share, expiresAt: now + leaseMs }
  return accept({ ...kept, [beat.id]: member }, share)
}

/** The roster without a member that has nothing open any more. */
export function applyLeave(roster: Roster, id: string): Roster {
  const { [id]: _, ...members } = roster.members
  return { ...roster, members }
}

/** The members of a roster, as they are divided among. */
function claimants(members: Readonly<Record<string, RosterMember>>, now: number): Claimant[] {
  return Object.entries(members).map(([id, { floor, weight, demand, share, expiresAt }]) => ({
    id,
    floor,
    weight,
    demand,
    share,
    isAbsent: expiresAt <= now,
  }))
}

// After its lease a member has no more than its floor, and after some more nothing.
function prune(members: Readonly<Record<string, RosterMember>>, now: number): Record<string, RosterMember> {
  const kept: Record<string, RosterMember> = {}
  for (const [id, member] of Object.entries(members)) {
    const { expiresAt, leaseMs, floor, share } = member
    if (expiresAt > now) kept[id] = member
    else if (expiresAt + KEPT_LEASES * leaseMs > now) kept[id] = { ...member, share: Math.min(share, floor) }
  }
  return kept
}

import type { Claimant } from './allocate.ts'

/** The version of the rules below. Members of another one are refused: they would not understand each other's numbers. */
export const PROTOCOL = 1

/** Number of leases for which the floor of an absent member is kept: it may be alive and cut off from the store. */
export const KEPT_LEASES = 10
/** Number of leases after which that floor goes to a new member whose floor does not fit otherwise. */
export const KEPT_LEASES_IF_NEEDED = 1

/** The report of a member to the store at each beat. */
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
  /** Maximum that its pool may have open now. */
  readonly held: number
  /** Connections that the member could use. */
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
  /** Until this time nothing is handed out: a member that holds connections may not have reported yet. */
  readonly closedUntil: number
  readonly members: Readonly<Record<string, RosterMember>>
}

/** The answer of the store to a beat. */
export type BeatAnswer =
  | {
      readonly refused: undefined
      /** Connections that the member may have from now on. */
      readonly share: number
      /** Whether the shares of all are within the budget. False while a member may hold what others were given too. */
      readonly fits: boolean
      readonly members: readonly Claimant[]
    }
  | {
      /** `budget`: the fleet has another one; `protocol`: of another version; `floors`: too many for the budget. */
      readonly refused: 'budget' | 'protocol' | 'floors'
      /** The value of the fleet: its budget, its protocol, or the sum of the existing floors. */
      readonly instead: number
    }

/**
 * One beat: the rule that keeps the shares of all within the budget. A store applies it to its roster in one step that no other beat
 * comes between. `isDurable`: a roster that is missing is a new fleet; otherwise it may have been lost, and then its members
 * have one lease to report what they hold before anything is handed out.
 *
 * @example
 * ```ts
 * import { applyBeat } from 'cenote/fleet'
 *
 * const beat = { protocol: 1, id: 'a', sequence: 1, budget: 10, leaseMs: 5_000, floor: 2, weight: 1, demand: 4, held: 0, wanted: 4 }
 * const { answer } = applyBeat(undefined, beat, Date.now(), true)
 * console.log(answer.refused) // prints undefined
 * ```
 */
export function applyBeat(
  before: Roster | undefined,
  beat: Beat,
  now: number,
  isDurable: boolean,
): { roster: Roster; answer: BeatAnswer } {
  let kept = prune(before?.members ?? {}, now, KEPT_LEASES)
  const isEmpty = Object.keys(kept).length === 0
  const closedUntil =
    before === undefined ? (isDurable ? now : now + beat.leaseMs) : closing(before, beat.id, now)
  const meta = {
    protocol: isEmpty ? beat.protocol : (before?.protocol ?? beat.protocol),
    budget: isEmpty ? beat.budget : (before?.budget ?? beat.budget),
    closedUntil,
  }
  const own = kept[beat.id]
  const floorsOf = (members: Readonly<Record<string, RosterMember>>): number =>
    Object.entries(members).reduce((sum, [id, { floor }]) => (id === beat.id ? sum : sum + floor), 0)
  if (own === undefined && now >= closedUntil && floorsOf(kept) + beat.floor > meta.budget)
    kept = prune(kept, now, KEPT_LEASES_IF_NEEDED)
  const roster: Roster = { ...meta, members: kept }
  const refuse = (refused: 'budget' | 'protocol' | 'floors', instead: number) => ({
    roster,
    answer: { refused, instead } as const,
  })
  if (roster.protocol !== beat.protocol) return refuse('protocol', roster.protocol)
  if (roster.budget !== beat.budget) return refuse('budget', roster.budget)
  const others = Object.entries(kept).filter(([id]) => id !== beat.id)
  const floors = floorsOf(kept)
  if (own === undefined && floors + beat.floor > beat.budget) return refuse('floors', floors)
  const taken = others.reduce((sum, [, { share }]) => sum + share, 0)
  const free = now < roster.closedUntil ? 0 : Math.max(0, roster.budget - taken)
  const accept = (members: Readonly<Record<string, RosterMember>>, share: number) => ({
    roster: { ...roster, members },
    answer: { refused: undefined, share, fits: share <= free, members: claimants(members, now) } as const,
  })
  if (own !== undefined && beat.sequence <= own.sequence) return accept(kept, own.share)
  // A member counts with what it holds, whatever it was given. More comes from the free part, even if it was given before.
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

// Until when nothing is handed out. If several members were silent for a while, they are hardly all dead: the store stood still,
// its clock jumped, or it was restarted from an old snapshot. Then each has one lease to report what it holds.
function closing({ closedUntil, members }: Roster, id: string, now: number): number {
  const all = Object.values(members)
  if (all.length === 0) return closedUntil
  const longest = Math.max(...all.map(({ leaseMs }) => leaseMs))
  const ends = all.map(({ expiresAt, leaseMs }) => Math.min(expiresAt, now + leaseMs))
  const lastAt = Math.max(...all.map(({ leaseMs }, n) => (ends[n] as number) - leaseMs))
  const isAlone = all.length === 1 && members[id] !== undefined
  const isSilent = !isAlone && (Math.max(...ends) <= now || now - lastAt > longest / 2)
  // At most one lease, also when the clock was set back.
  return Math.min(isSilent ? now + longest : closedUntil, now + longest)
}

// After its lease a member has at most its floor, and after KEPT_LEASES more nothing. A clock that was set back makes no lease longer.
function prune(
  members: Readonly<Record<string, RosterMember>>,
  now: number,
  keptLeases: number,
): Record<string, RosterMember> {
  const kept: Record<string, RosterMember> = {}
  for (const [id, member] of Object.entries(members)) {
    const { expiresAt, leaseMs, floor, share } = member
    if (expiresAt > now + leaseMs) kept[id] = { ...member, expiresAt: now + leaseMs }
    else if (expiresAt > now) kept[id] = member
    else if (expiresAt + keptLeases * leaseMs > now) kept[id] = { ...member, share: Math.min(share, floor) }
  }
  return kept
}

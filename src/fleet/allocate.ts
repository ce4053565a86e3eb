/** The facts about a member by which a budget is divided. */
export interface Claimant {
  readonly id: string
  /** Connections that the member always has. An integer >= 0. */
  readonly floor: number
  /** Among members that are short, twice the weight gets twice as much. Above 0. */
  readonly weight: number
  /** Connections that it could use: in use, and callers that wait. */
  readonly demand: number
  /** Connections that the member has now. */
  readonly share: number
  /** Whether no beat arrived within its lease: what it holds is kept for it, and it gets no more. */
  readonly isAbsent: boolean
}

interface Range {
  readonly id: string
  readonly weight: number
  readonly low: number
  readonly high: number
}

/**
 * Divides a budget of connections: weighted max-min over demand. Each member has its floor. Beyond it no member gets more
 * than it could use while another is short, and short members are equal in share / weight. Unused connections stay where they
 * are as far as possible, and the rest is spread by weight: the whole budget is always given out, and small changes of demand
 * move nothing. The result does not depend on the order of the members. Throws RangeError when the floors alone exceed the
 * budget.
 *
 * @example
 * ```ts
 * import { allocate } from 'cenote/fleet'
 *
 * const member = { floor: 2, weight: 1, share: 2, isAbsent: false }
 * const shares = allocate(10, [
 *   { ...member, id: 'busy', demand: 20 },
 *   { ...member, id: 'calm', demand: 1 },
 * ])
 * console.log(shares) // prints 'busy' => 8
 * ```
 */
export function allocate(budget: number, members: readonly Claimant[]): Map<string, number> {
  const sorted = members.toSorted((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
  const floors = sorted.map((member) => (member.isAbsent ? member.share : member.floor))
  const least = sum(floors)
  if (least > budget)
    throw new RangeError(`the sum of the floors must be at most the budget, ${budget} (got ${least})`)
  let shares = floors
  for (const wish of [
    ({ demand }: Claimant) => demand,
    ({ share }: Claimant) => share,
    () => Number.MAX_SAFE_INTEGER,
  ]) {
    const ranges = sorted.map((member, n) => {
      const low = shares[n] as number
      const high = member.isAbsent ? low : Math.max(low, Math.ceil(wish(member)))
      return { id: member.id, weight: member.weight, low, high }
    })
    shares = fill(budget, ranges)
    if (sum(shares) === budget) break
  }
  return new Map(sorted.map(({ id }, n) => [id, shares[n] as number]))
}

// Raises all from `low` towards `high` with one water level, a connection at a time where it does not divide.
function fill(budget: number, ranges: readonly Range[]): number[] {
  if (sum(ranges.map(({ high }) => high)) <= budget) return ranges.map(({ high }) => high)
  const at = (level: number, { weight, low, high }: Range): number =>
    Math.min(Math.max(Math.floor(level * weight), low), high)
  const totalAt = (level: number): number => ranges.reduce((total, range) => total + at(level, range), 0)
  let below = 0
  let above = Math.max(...ranges.map(({ weight, low }) => (low + budget + 1) / weight))
  // Continues until no member rises by more than one connection between the two levels.
  while (above - below > above * 1e-12) {
    const middle = (below + above) / 2
    const total = totalAt(middle)
    if (total <= budget) below = middle
    else above = middle
    if (total === budget) break
  }
  const shares = ranges.map((range) => at(below, range))
  const next = (n: number): number => ((shares[n] as number) + 1) / (ranges[n] as Range).weight
  const rising = [...ranges.keys()].filter((n) => (shares[n] as number) < (ranges[n] as Range).high)
  const order = rising.toSorted((a, b) => next(a) - next(b))
  for (const n of order.slice(0, budget - sum(shares))) shares[n] = (shares[n] as number) + 1
  return shares
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

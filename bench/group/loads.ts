import { Random } from '../../test/simulation/random.ts'

/** Which role a caller uses next. */
export interface Load {
  readonly title: string
  readonly callers: number
  /** Draws the role of one call. */
  roleOf(caller: number, random: Random): number
  /** Whether the wait of this caller counts. */
  counts(caller: number, role: number): boolean
  /** Roles from this one on connect to a server that accepts connections and is silent. */
  readonly deadFrom: number
}

export type LoadName = 'zipf' | 'hot' | 'equal' | 'dead'

export const ROLES = 200
const zipf = weights(ROLES, 1)

export const LOADS: Record<LoadName, Load> = {
  zipf: {
    title: 'Zipf over 200 roles',
    callers: 64,
    roleOf: (_, random) => draw(zipf, random),
    counts: () => true,
    deadFrom: Infinity,
  },
  hot: {
    title: 'one role with 56 of 64 callers: the rare roles',
    callers: 64,
    roleOf: (caller, random) => (caller < 56 ? 0 : 1 + Math.floor(random.next() * (ROLES - 1))),
    counts: (caller) => caller >= 56,
    deadFrom: Infinity,
  },
  equal: {
    title: '30 equally busy roles',
    callers: 90,
    roleOf: (caller) => caller % 30,
    counts: () => true,
    deadFrom: Infinity,
  },
  dead: {
    title: '40 dead roles: the healthy ones',
    callers: 64,
    roleOf: (caller, random) =>
      caller < 24 ? ROLES - 40 + Math.floor(random.next() * 40) : Math.floor(random.next() * 10),
    counts: (caller) => caller >= 24,
    deadFrom: ROLES - 40,
  },
}

function weights(count: number, exponent: number): number[] {
  let sum = 0
  return Array.from({ length: count }, (_, index) => (sum += 1 / (index + 1) ** exponent))
}

function draw(cumulated: readonly number[], random: Random): number {
  const at = random.next() * (cumulated.at(-1) as number)
  return cumulated.findIndex((sum) => sum >= at)
}

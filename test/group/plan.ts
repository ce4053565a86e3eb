import { Random } from '../simulation/random.ts'

/** How the server of a key treats a connect. */
export type Manner = 'well' | 'dead' | 'hanging' | 'fatal' | 'flaky'

/** What one lifetime of a group is like; drawn from its seed. */
export interface Plan {
  readonly random: Random
  readonly total: number
  readonly perKey: number | ((key: string) => number) | undefined
  readonly keys: number
  readonly manners: ReadonlyMap<string, Manner>
  readonly turnMs: number
  readonly failingShare: number
  readonly forgetAfterMs: number
  readonly maxKeys: number
  readonly callers: number
  readonly hogs: number
  readonly connectMs: number
  readonly closeMs: number
  readonly holdMs: number
  readonly loadMs: number
  /** Whether loads fail now and then. */
  readonly hasBadLoads: boolean
  /** Whether the program clears, removes and resizes. */
  readonly hasChanges: boolean
  /** Whether callers abort, break, destroy and detach. */
  readonly isRough: boolean
  readonly untilMs: number
}

/** Draws a plan. */
export function planOf(seed: number): Plan {
  const random = new Random(seed)
  const total = random.whole(1, random.chance(0.2) ? 16 : 6)
  const keys = random.whole(1, 12)
  const limit = random.whole(1, total)
  const manners = new Map<string, Manner>()
  const hasBadKeys = random.chance(0.4)
  for (let key = 0; key < keys; key++) {
    const manner = hasBadKeys && random.chance(0.4)
    manners.set(String(key), manner ? random.pick(['dead', 'hanging', 'fatal', 'flaky'] as const) : 'well')
  }
  return {
    random,
    total,
    perKey: random.pick([undefined, undefined, limit, (key: string) => 1 + (Number(key) % limit)]),
    keys,
    manners,
    turnMs: random.pick([0, 10, 30]),
    failingShare: random.pick([0, 0.25, 0.5, 1]),
    forgetAfterMs: random.pick([0, 0, 40]),
    maxKeys: random.chance(0.1) ? random.whole(1, keys) : Infinity,
    callers: random.whole(1, 24),
    hogs: random.pick([0, 0.3, 0.8]),
    connectMs: random.whole(1, 20),
    closeMs: random.pick([0, 5, 10]),
    holdMs: random.whole(1, 15),
    loadMs: random.pick([0, 0, 8]),
    hasBadLoads: random.chance(0.1),
    hasChanges: random.chance(0.3),
    isRough: random.chance(0.5),
    untilMs: 400,
  }
}

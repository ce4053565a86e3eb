/** Throws when the pool's own bookkeeping is wrong: a bug of this package, never of its user. */
export function invariant(holds: boolean, broken: string): asserts holds {
  if (!holds) throw new Error(`cenote is in a state that should be impossible (${broken}); please report it`)
}

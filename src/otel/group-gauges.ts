import type { BatchObservableResult, Meter } from '@opentelemetry/api'

import type { GroupInsight } from '../group/index.ts'
import { ATTRIBUTES, INSTRUMENTS } from './names.ts'

type NamedGroup = { readonly name: string } & GroupInsight

// The keys of one group that are reported at one reading, and those that ever have a time series of their own.
const MOST_REPORTED = 10
const MOST_NAMED = 100
const OTHER = 'other'

/** Observes the keys of groups, in a number of time series that has a bound. Returns the function that ends it. */
export function observeGroups(meter: Meter, look: () => readonly NamedGroup[]): () => void {
  const { name: keysName, ...keysOptions } = INSTRUMENTS.groupKeys
  const { name: pendingName, ...pendingOptions } = INSTRUMENTS.keyPending
  const keys = meter.createObservableUpDownCounter(keysName, keysOptions)
  const pending = meter.createObservableUpDownCounter(pendingName, pendingOptions)
  // The keys of each group that have a time series. The SDK repeats the last value of each, so 0 is reported for the others.
  const named = new Map<string, Set<string>>()
  const read = (result: BatchObservableResult): void => {
    const groups = byName(look())
    // A group that has gone is reported as empty once.
    for (const name of named.keys()) if (!groups.has(name)) groups.set(name, [])
    for (const [name, same] of groups) {
      const group = { [ATTRIBUTES.poolName]: name }
      const observe = (state: string, of: (each: NamedGroup) => number): void =>
        result.observe(
          keys,
          same.reduce((sum, each) => sum + of(each), 0),
          { ...group, [ATTRIBUTES.keyState]: state },
        )
      observe('known', (each) => each.state.keys)
      observe('waiting', (each) => each.state.wantingKeys)
      observe('failing', (each) => each.state.failingKeys)
      const known = named.get(name) ?? new Set()
      named.set(name, known)
      for (const [key, waiting] of waitingOf(same, known))
        result.observe(pending, waiting, { ...group, [ATTRIBUTES.groupKey]: key })
      if (same.length === 0) named.delete(name)
    }
  }
  const all = [keys, pending]
  meter.addBatchObservableCallback(read, all)
  return () => meter.removeBatchObservableCallback(read, all)
}

// Returns the waiting callers of the keys with the most of them, and 0 for every other key that has a time series.
function waitingOf(groups: readonly NamedGroup[], named: Set<string>): Map<string, number> {
  const found = new Map(Array.from(named, (key) => [key, 0]))
  const top = groups
    .flatMap(({ keys }) => keys)
    .filter(({ waiting }) => waiting > 0)
    .sort((a, b) => b.waiting - a.waiting)
    .slice(0, MOST_REPORTED)
  for (const { key, waiting } of top) {
    const label = named.has(key) || named.size < MOST_NAMED ? key : OTHER
    named.add(label)
    found.set(label, (found.get(label) ?? 0) + waiting)
  }
  return found
}

// Groups of one name are one time series.
function byName(groups: readonly NamedGroup[]): Map<string, NamedGroup[]> {
  const found = new Map<string, NamedGroup[]>()
  for (const group of groups) {
    const same = found.get(group.name)
    if (same === undefined) found.set(group.name, [group])
    else same.push(group)
  }
  return found
}

import { textOf } from '../core/contract/messages.ts'
import type { PoolEngine } from '../core/engine.ts'
import type { GroupInsight } from './state.ts'

/** Explains what the callers of one key wait for. */
export function explainKey<C>(
  key: string,
  { state, keys }: GroupInsight,
  engine: PoolEngine<C> | undefined,
): string {
  const own = keys.find((each) => each.key === key)
  if (own === undefined || engine === undefined) return `key ${key} has neither connections nor callers.`
  if (own.waiting === 0) return `no caller of key ${key} waits: it has ${own.slots} of ${state.total} slots.`
  const { schedule } = engine.connector
  if (schedule.lastError !== undefined)
    return `key ${key} cannot connect (${textOf(schedule.lastError)}). Check its server, address and credentials.`
  const others = `${state.taken} of ${state.total} in use by ${keys.filter(({ slots }) => slots > 0).length} keys`
  if (own.rank > 0 && state.free > 0)
    return `key ${key} waits for a slot: ${others}, ${key} is ${ordinal(own.rank)}. The free slots are kept for keys that have connected before.`
  if (own.rank > 0)
    return `key ${key} waits for a slot: ${others}, ${key} is ${ordinal(own.rank)}. Raise total, or release connections sooner.`
  const { opening, maxSize } = engine.state()
  if (opening > 0) return `key ${key} waits for a connection that is being opened.`
  if (own.slots >= maxSize)
    return `key ${key} waits for a release: it has all ${maxSize} slots that it may have (perKey).`
  return `key ${key} waits for its configuration: the factory has not returned.`
}

const ORDINALS = [
  'first',
  'second',
  'third',
  'fourth',
  'fifth',
  'sixth',
  'seventh',
  'eighth',
  'ninth',
  'tenth',
]

function ordinal(rank: number): string {
  return ORDINALS[rank - 1] ?? `number ${rank}`
}

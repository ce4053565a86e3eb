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
  const others = `${state.taken} of ${state.total} in use by ${plural(keys.filter(({ slots }) => slots > 0).length, 'key')}`
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

/** Explains what the keys of the group wait for, or that none waits. */
export function explainGroup({ state, keys }: GroupInsight): string {
  const { taken, total, wantingKeys, failingKeys, free } = state
  const use = `${taken} of ${total} in use by ${plural(keys.filter(({ slots }) => slots > 0).length, 'key')}`
  const failing =
    failingKeys === 0
      ? ''
      : ` ${plural(failingKeys, 'key')} cannot connect: explain(key) and onError name the errors.`
  const [first] = keys
  if (wantingKeys === 0 || first === undefined) return `no key waits for a slot: ${use}.${failing}`
  const wait = `${plural(wantingKeys, 'key')} ${wantingKeys === 1 ? 'waits' : 'wait'} for a slot: ${use}`
  const head = `first is ${first.key}, with ${plural(first.waiting, 'caller')}`
  const advice =
    free > 0
      ? 'The free slots are kept for keys that have connected before.'
      : 'Raise total, or release connections sooner.'
  return `${wait}, ${head}. ${advice}${failing}`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
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

import { PoolOptionsError } from './errors.ts'
import { OTHER_NAMES } from './other-names.ts'

/** The rule of an option or argument: its text, and its test. */
export interface Rule {
  /** Follows `must be`. */
  readonly allowed: string
  readonly accepts: (value: unknown) => boolean
}

/** true or false. */
export const flag: Rule = { allowed: 'true or false', accepts: (value) => typeof value === 'boolean' }
/** A function. */
export const callable: Rule = { allowed: 'a function', accepts: (value) => typeof value === 'function' }
/** A name. */
export const text: Rule = {
  allowed: 'a non-empty string',
  accepts: (value) => typeof value === 'string' && value !== '',
}

/** A count. */
export function whole(min: number, max: 'finite' | 'or Infinity'): Rule {
  return {
    allowed: `an integer >= ${min}${max === 'finite' ? '' : ', or Infinity'}`,
    accepts: (value) =>
      (Number.isSafeInteger(value) || (max !== 'finite' && value === Infinity)) && Number(value) >= min,
  }
}

/** A time in milliseconds. */
export function duration(min: 'from 0' | 'above 0', max: 'finite' | 'or Infinity'): Rule {
  return {
    allowed: `a number of milliseconds ${min === 'from 0' ? '>= 0' : '> 0'}${max === 'finite' ? '' : ', or Infinity'}`,
    accepts: (value) =>
      typeof value === 'number' &&
      (min === 'from 0' ? value >= 0 : value > 0) &&
      (max !== 'finite' || value < Infinity),
  }
}

/** Two durations that belong together. */
export function pair(first: string, second: string, ordered: 'ordered' | 'any order'): Rule {
  const each = duration('above 0', 'finite')
  return {
    allowed: `{ ${first}, ${second} }, each ${each.allowed}${ordered === 'ordered' ? `, ${first} <= ${second}` : ''}, without other keys`,
    accepts: (value) => {
      if (typeof value !== 'object' || value === null) return false
      const fields = value as Record<string, unknown>
      const [one, two] = [fields[first], fields[second]]
      const known = Object.keys(fields).every((key) => key === first || key === second)
      return (
        known &&
        each.accepts(one) &&
        each.accepts(two) &&
        (ordered === 'any order' || Number(one) <= Number(two))
      )
    },
  }
}

/**
 * Checks each key against its rule. Returns the keys whose value is not undefined, so that an explicit undefined means the
 * default. Throws PoolOptionsError naming the key, the rule and the value.
 */
export function checkArguments(
  what: string,
  options: unknown,
  rules: Readonly<Record<string, Rule>>,
  pool: string,
): Record<string, unknown> {
  if (typeof options !== 'object' || options === null) {
    throw wrongValue(pool, what, options, 'an object')
  }
  const given: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, key) ? rules[key] : undefined
    if (rule === undefined) {
      const known = nearest(key, Object.keys(rules))
      throw new PoolOptionsError(pool, key, value, `${key} must be one of the ${what}: ${known}`)
    }
    if (value === undefined) continue
    if (!rule.accepts(value)) throw wrongValue(pool, key, value, rule.allowed)
    given[key] = value
  }
  return given
}

/** The error of a value that breaks a rule: `maxSize must be an integer >= 1 (got 0)`. */
export function wrongValue(pool: string, option: string, value: unknown, allowed: string): PoolOptionsError {
  return new PoolOptionsError(pool, option, value, `${option} must be ${allowed} (got ${show(value)})`)
}

/** A value as it may appear in a message. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return String(value)
  try {
    return JSON.stringify(value)
  } catch {
    // A value that JSON cannot show (a cycle, a bigint inside) still gets its error, without its content.
    return 'an object'
  }
}

function nearest(key: string, known: readonly string[]): string {
  const other = Object.hasOwn(OTHER_NAMES, key) ? (OTHER_NAMES[key] as string) : ''
  const [closest] = known.toSorted((a, b) => distance(key, a) - distance(key, b))
  return `did you mean ${known.includes(other) ? other : closest}? The names are ${known.join(', ')}`
}

// Edits (insert, delete, replace) from one word to another, case ignored.
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1]?.toLowerCase() === to[j - 1]?.toLowerCase()
      next.push(
        Math.min(
          (row[j] as number) + 1,
          (next[j - 1] as number) + 1,
          (row[j - 1] as number) + (same ? 0 : 1),
        ),
      )
    }
    row = next
  }
  return row[to.length] as number
}

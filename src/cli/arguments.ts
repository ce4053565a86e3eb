import { parseArgs } from 'node:util'

import { redact } from '../core/contract/redact.ts'

/** A command line that is invalid. Its message is one line. */
export class UsageError extends Error {}

/** One option of a command line: how its texts become a value. */
export interface Option<T> {
  readonly type: 'string' | 'boolean'
  readonly isList?: boolean
  /** `texts` is empty if the option is not given. Throws UsageError. */
  read(name: string, texts: readonly string[]): T
}

/** The values of options. */
export type Values<Options> = {
  readonly [Name in keyof Options]: Options[Name] extends Option<infer T> ? T : never
}

/** Whether an option is given. */
export const flag: Option<boolean> = { type: 'boolean', read: (_, texts) => texts.length > 0 }

/** A text, or undefined. */
export const text: Option<string | undefined> = { type: 'string', read: (_, texts) => texts.at(-1) }

/** Texts, one for each time that the option is given. */
export const texts: Option<readonly string[]> = { type: 'string', isList: true, read: (_, all) => all }

/** An integer from `min` to `max`. `otherwise` is the value if the option is not given. */
export function whole<D extends number | undefined = undefined>(
  min: number,
  max: number,
  otherwise?: D | (() => D),
): Option<number | D> {
  const rule = max === Infinity ? `an integer >= ${min}, or Infinity` : `an integer from ${min} to ${max}`
  return {
    type: 'string',
    read: (name, [given]) => {
      if (given === undefined) return (typeof otherwise === 'function' ? otherwise() : otherwise) as D
      const number = /^(\d+|Infinity)$/.test(given) ? Number(given) : Number.NaN
      if (number >= min && number <= max) return number
      throw wrong(name, given, rule)
    },
  }
}

/** A seed, random if it is not given. */
export const seed: Option<number> = whole(0, 2 ** 32 - 1, () => Math.floor(Math.random() * 2 ** 32))

/** One of several words. */
export function choice<T extends string, D extends T | undefined>(
  all: readonly T[],
  otherwise: D,
): Option<T | D> {
  return {
    type: 'string',
    read: (name, [given]) => (given === undefined ? otherwise : oneOf(all, name, given)),
  }
}

/** Some of several words, in the order of `all`; all of them if the option is not given. */
export function choices<T extends string>(all: readonly T[]): Option<readonly T[]> {
  return {
    type: 'string',
    isList: true,
    read: (name, given) => {
      const chosen = given.map((each) => oneOf(all, name, each))
      return chosen.length === 0 ? all : all.filter((each) => chosen.includes(each))
    },
  }
}

/** A text of a certain form, or undefined. */
export function matching(form: RegExp, rule: string): Option<string | undefined> {
  return {
    type: 'string',
    read: (name, [given]) => {
      if (given === undefined || form.test(given)) return given
      throw wrong(name, given, rule)
    },
  }
}

/** The error of an option whose value breaks a rule. */
export function wrong(name: string, value: string, rule: string): UsageError {
  return new UsageError(`--${name} must be ${rule} (got '${redact(value)}')`)
}

/** Reads a command line. Throws UsageError naming the option, its rule and its value. */
export function readArguments<Options extends Readonly<Record<string, Option<unknown>>>>(
  argv: readonly string[],
  options: Options,
  allowPositionals = false,
): Values<Options> & { readonly positionals: readonly string[] } {
  const given = parsed(argv, options, allowPositionals)
  const values = Object.entries(options).map(([name, option]) => {
    const all = [given.values[name] ?? []].flat().map(String)
    return [name, option.read(name, all)]
  })
  return { ...(Object.fromEntries(values) as Values<Options>), positionals: given.positionals }
}

/**
 * Runs a program: reads its command line, prints `help` for `--help`, and returns the exit code, which is 2 for an invalid
 * command line.
 */
export async function runProgram<Options extends Readonly<Record<string, Option<unknown>>>>(
  { name, help, options }: { readonly name: string; readonly help: string; readonly options: Options },
  run: (values: Values<Options>) => number | Promise<number>,
  argv: readonly string[] = process.argv.slice(2),
): Promise<number> {
  let values
  try {
    values = readArguments(argv, { ...options, help: flag })
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`cenote ${name}: ${error.message}. See --help`)
    return 2
  }
  if (values['help'] === true) {
    console.log(help)
    return 0
  }
  return await run(values as unknown as Values<Options>)
}

function parsed(
  argv: readonly string[],
  options: Readonly<Record<string, Option<unknown>>>,
  allowPositionals: boolean,
): ReturnType<typeof parseArgs> {
  const config = Object.entries(options).map(
    ([name, { type, isList = false }]) => [name, { type, multiple: isList }] as const,
  )
  try {
    return parseArgs({ args: [...argv], allowPositionals, options: Object.fromEntries(config) })
  } catch (error) {
    // Only the first sentence: the second explains how to escape a dash.
    throw new UsageError(String((error as Error).message.split('. ')[0]), { cause: error })
  }
}

function oneOf<T extends string>(all: readonly T[], name: string, given: string): T {
  const found = all.find((each) => each === given)
  if (found === undefined) throw wrong(name, given, `one of ${all.join(', ')}`)
  return found
}

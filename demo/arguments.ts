import { parseArgs } from 'node:util'

/** What the demonstration was asked to do. Durations are seconds here, as on the command line. */
export interface Arguments {
  readonly size: number
  readonly callers: number
  readonly seconds: number
  readonly seed: number
  readonly retries: number
  readonly port: number | undefined
  readonly url: string | undefined
  readonly json: boolean
  readonly help: boolean
}

/** A command line that cannot be followed: its message is one clear line. */
export class UsageError extends Error {}

export const HELP = `Runs a service's load through a pool on a real PostgreSQL, with faults, and reports what its callers saw.

  npm start -- [options]

  --size N      connections of the pool (1 to 100; default 10)
  --callers N   concurrent callers (1 to 1000; default 64)
  --seconds N   how long the load runs (4 to 600; default 15)
  --retries N   retries of each call whose connection broke (0 to 10; default 0)
  --seed N      of the random mix (0 to 4294967295; default: by chance, printed)
  --port N      for the embedded PostgreSQL (1024 to 65535; default: a free one)
  --url URL     use this PostgreSQL instead of the embedded one; it is not stopped, and only the pool's own backends are killed
  --json        print one JSON document and nothing else
  --help        print this`

/** Reads the command line. Throws UsageError that names the option, the value and what is allowed. */
export function readArguments(argv: readonly string[]): Arguments {
  const text = { type: 'string' } as const
  let values
  try {
    ;({ values } = parseArgs({
      args: [...argv],
      options: {
        size: text,
        callers: text,
        seconds: text,
        retries: text,
        seed: text,
        port: text,
        url: text,
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }))
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}. See --help`)
  }
  const whole = (
    name: 'size' | 'callers' | 'seconds' | 'retries' | 'seed' | 'port',
    min: number,
    max: number,
  ): number | undefined => {
    const value = values[name]
    if (value === undefined) return undefined
    if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
    throw new UsageError(`--${name} is '${value}': allowed is a whole number from ${min} to ${max}`)
  }
  const { url } = values
  if (url !== undefined && !/^postgres(ql)?:\/\//.test(url)) {
    throw new UsageError(`--url is '${url}': allowed is postgres://user:password@host:port/database`)
  }
  return {
    size: whole('size', 1, 100) ?? 10,
    callers: whole('callers', 1, 1_000) ?? 64,
    seconds: whole('seconds', 4, 600) ?? 15,
    retries: whole('retries', 0, 10) ?? 0,
    seed: whole('seed', 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32),
    port: whole('port', 1_024, 65_535),
    url,
    json: values.json ?? false,
    help: values.help ?? false,
  }
}

import { parseArgs } from 'node:util'

import { PoolOptionsError } from '../core/errors.ts'
import { resolveOptions } from '../core/options.ts'
import { examine, type Plan } from './doctor.ts'
import { readFacts, urlOf } from './server-url.ts'

/** What `cenote doctor --help` prints. */
export const DOCTOR_HELP = `cenote doctor <url>: whether a server, and what stands before it, bears a pool with these options.

It opens one connection, reads settings and counts, and writes nothing. <url>: postgres://… or mysql://…; with a password
in it, better as the variable CENOTE_URL than as an argument, which other users of the machine can see.

  --processes N         how many processes have such a pool (default 1)
  --max-size N          maxSize (default 10)
  --min-idle N          minIdle (default 0)
  --idle-timeout-ms N   idleTimeoutMs (default 600000), or Infinity
  --max-lifetime-ms N   maxLifetimeMs (default 1800000), or Infinity
  --keepalive-ms N      keepaliveMs (default Infinity)
  --json                print one JSON document and nothing else
  --help                print this

Exits with 0 when there is no problem, with 1 when there is one, and with 2 when it could not look.`

const NUMBERS = {
  'max-size': 'maxSize',
  'min-idle': 'minIdle',
  'idle-timeout-ms': 'idleTimeoutMs',
  'max-lifetime-ms': 'maxLifetimeMs',
  'keepalive-ms': 'keepaliveMs',
} as const

/** Examines the server; the exit code. Throws an error of one line for a bad argument or a server that cannot be reached. */
export async function doctor(argv: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      processes: text,
      ...(Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, text])) as Record<
        keyof typeof NUMBERS,
        typeof text
      >),
      json: flag,
      help: flag,
    },
  })
  if (values.help) {
    console.log(DOCTOR_HELP)
    return 0
  }
  const url = urlOf('doctor', positionals)
  const plan = planOf(values)
  const facts = await readFacts('doctor', url)
  const findings = examine(facts, plan)
  const hasProblem = findings.some(({ severity }) => severity === 'problem')
  // Infinity has no word in JSON.
  const plain = (_: string, value: unknown): unknown => (value === Infinity ? 'Infinity' : value)
  if (values.json) console.log(JSON.stringify({ server: facts, plan, findings }, plain, 2))
  else {
    const { engine, maxConnections, inUse } = facts
    console.log(`${engine}: max_connections ${maxConnections}, ${inUse} in use beside this one`)
    for (const { severity, text: said } of findings) console.log(`${severity}: ${said}`)
    if (findings.length === 0) console.log('nothing was found that these options conflict with')
  }
  return hasProblem ? 1 : 0
}

function planOf(values: Readonly<Record<string, unknown>>): Plan {
  const numberOf = (name: string): number => {
    const value = String(values[name])
    if (/^(\d+|Infinity)$/.test(value)) return Number(value)
    throw new Error(`--${name} is '${value}': allowed is a whole number. See --help`)
  }
  const options = Object.fromEntries(
    Object.entries(NUMBERS)
      .filter(([name]) => values[name] !== undefined)
      .map(([name, option]) => [option, numberOf(name)]),
  )
  const processes = values['processes'] === undefined ? 1 : numberOf('processes')
  if (processes < 1 || processes === Infinity)
    throw new Error(`--processes is '${processes}': allowed is a whole number from 1. See --help`)
  try {
    // By the pool's own rules and defaults.
    const manager = {
      connect: () => Promise.resolve({}),
      isValid: () => true,
      hasBroken: () => false,
      close() {},
    }
    const { maxSize, minIdle, idleTimeoutMs, maxLifetimeMs, keepaliveMs } = resolveOptions(manager, options)
    return { maxSize, minIdle, processes, idleTimeoutMs, maxLifetimeMs, keepaliveMs }
  } catch (error) {
    if (!(error instanceof PoolOptionsError)) throw error
    const [name] = Object.entries(NUMBERS).find(([, option]) => option === error.option) ?? []
    throw new Error(`--${name}: ${error.message}. See --help`, { cause: error })
  }
}
